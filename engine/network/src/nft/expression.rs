//! The expressions that our rules are made of, and their netlink form.

use std::net::Ipv4Addr;

use crate::netlink::Attributes;

/// A 32-bit register (`NFT_REG32_00` and on). A concatenated key fills consecutive ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Register(pub u8);

impl Register {
    fn number(self) -> u32 {
        8 + u32::from(self.0)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Drop,
    Jump(String),
    Goto(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meta {
    OifName,
    /// The device group that a packet comes from.
    IifGroup,
    OifGroup,
    NfProto,
    L4Proto,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FibAddress {
    Source,
    Destination,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Address {
    Source,
    Destination,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    Equal,
    NotEqual,
}

/// A set of the table by name, or one of the rule's own anonymous maps by position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SetRef {
    Named(String),
    Anonymous(usize),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expression {
    Meta {
        key: Meta,
        to: Register,
    },
    /// IPv4 address out of the network header.
    Ipv4 {
        which: Address,
        to: Register,
    },
    /// Destination port out of the transport header; at the same place for TCP, UDP and SCTP.
    DestinationPort {
        to: Register,
    },
    /// The type byte of an ICMP message.
    IcmpType {
        to: Register,
    },
    CtState {
        to: Register,
    },
    CtStatus {
        to: Register,
    },
    /// The kind of address (`RTN_LOCAL` …), as the routing table sees it.
    FibAddressType {
        which: FibAddress,
        to: Register,
    },
    Mask {
        register: Register,
        mask: Vec<u8>,
    },
    Compare {
        register: Register,
        how: Comparison,
        value: Vec<u8>,
    },
    /// The rule ends when the key is not in the set.
    Contains {
        set: SetRef,
        key: Register,
    },
    /// Loads the value of `key`, or ends the rule.
    Map {
        set: SetRef,
        key: Register,
        to: Register,
    },
    /// Does what the verdict of `key` says, or ends the rule.
    VerdictMap {
        set: SetRef,
        key: Register,
    },
    Random {
        modulus: u32,
        to: Register,
    },
    Load {
        to: Register,
        value: Vec<u8>,
    },
    Verdict(Verdict),
    Dnat {
        address: Register,
        port: Register,
    },
    Snat {
        address: Register,
    },
    Masquerade {
        fully_random: bool,
    },
    RejectWithTcpReset,
    RejectWithPortUnreachable,
    /// Adds `key`, or makes it last for the set's timeout again.
    Remember {
        set: String,
        key: Register,
    },
}

impl Expression {
    fn name(&self) -> &'static str {
        match self {
            Expression::Meta { .. } => "meta",
            Expression::Ipv4 { .. } | Expression::DestinationPort { .. } | Expression::IcmpType { .. } => {
                "payload"
            }
            Expression::CtState { .. } | Expression::CtStatus { .. } => "ct",
            Expression::FibAddressType { .. } => "fib",
            Expression::Mask { .. } => "bitwise",
            Expression::Compare { .. } => "cmp",
            Expression::Contains { .. } | Expression::Map { .. } | Expression::VerdictMap { .. } => "lookup",
            Expression::Random { .. } => "numgen",
            Expression::Load { .. } | Expression::Verdict(_) => "immediate",
            Expression::Dnat { .. } | Expression::Snat { .. } => "nat",
            Expression::Masquerade { .. } => "masq",
            Expression::RejectWithTcpReset | Expression::RejectWithPortUnreachable => "reject",
            Expression::Remember { .. } => "dynset",
        }
    }

    /// Writes `NFTA_EXPR_NAME` and `NFTA_EXPR_DATA`. `anonymous` gives the transaction's ids of the rule's own maps.
    pub(super) fn encode(&self, a: &mut Attributes<'_>, anonymous: &[u32]) {
        a.text(1, self.name());
        a.nest(2, |a| self.encode_data(a, anonymous));
    }

    fn encode_data(&self, a: &mut Attributes<'_>, anonymous: &[u32]) {
        match self {
            Expression::Meta { key, to } => {
                let key = match key {
                    Meta::OifName => 7,
                    Meta::NfProto => 15,
                    Meta::L4Proto => 16,
                    Meta::IifGroup => 21,
                    Meta::OifGroup => 22,
                };
                a.be32(1, to.number()).be32(2, key);
            }
            Expression::Ipv4 { which, to } => {
                let offset = if *which == Address::Source { 12 } else { 16 };
                payload(a, *to, PAYLOAD_NETWORK, offset, 4);
            }
            Expression::DestinationPort { to } => payload(a, *to, PAYLOAD_TRANSPORT, 2, 2),
            Expression::IcmpType { to } => payload(a, *to, PAYLOAD_TRANSPORT, 0, 1),
            Expression::CtState { to } => {
                a.be32(1, to.number()).be32(2, 0);
            }
            Expression::CtStatus { to } => {
                a.be32(1, to.number()).be32(2, 2);
            }
            Expression::FibAddressType { which, to } => {
                let flags = if *which == FibAddress::Source { 1 } else { 2 };
                a.be32(1, to.number()).be32(2, 3).be32(3, flags);
            }
            Expression::Mask { register, mask } => {
                a.be32(1, register.number()).be32(2, register.number()).be32(3, mask.len() as u32);
                a.nest(4, |a| value(a, mask));
                a.nest(5, |a| value(a, &vec![0; mask.len()]));
            }
            Expression::Compare { register, how, value: expected } => {
                a.be32(1, register.number()).be32(2, u32::from(*how == Comparison::NotEqual));
                a.nest(3, |a| value(a, expected));
            }
            Expression::Contains { set, key } => lookup(a, set, *key, None, anonymous),
            Expression::Map { set, key, to } => lookup(a, set, *key, Some(to.number()), anonymous),
            Expression::VerdictMap { set, key } => lookup(a, set, *key, Some(REGISTER_VERDICT), anonymous),
            Expression::Random { modulus, to } => {
                a.be32(1, to.number()).be32(2, *modulus).be32(3, 1).be32(4, 0);
            }
            Expression::Load { to, value: data } => {
                a.be32(1, to.number()).nest(2, |a| value(a, data));
            }
            Expression::Verdict(what) => {
                a.be32(1, REGISTER_VERDICT).nest(2, |a| verdict(a, what));
            }
            Expression::Dnat { address, port } => {
                a.be32(1, 1)
                    .be32(2, libc::NFPROTO_IPV4 as u32)
                    .be32(3, address.number())
                    .be32(5, port.number());
            }
            Expression::Snat { address } => {
                a.be32(1, 0).be32(2, libc::NFPROTO_IPV4 as u32).be32(3, address.number());
            }
            Expression::Masquerade { fully_random } => {
                if *fully_random {
                    a.be32(1, NAT_RANGE_PROTO_RANDOM_FULLY);
                }
            }
            Expression::RejectWithTcpReset => {
                a.be32(1, 1).u8(2, 0);
            }
            Expression::RejectWithPortUnreachable => {
                a.be32(1, REJECT_ICMPX).u8(2, 1);
            }
            Expression::Remember { set, key } => {
                a.text(1, set).be32(3, 1).be32(4, key.number());
            }
        }
    }
}

const REJECT_ICMPX: u32 = 2;
const REGISTER_VERDICT: u32 = 0;
const PAYLOAD_NETWORK: u32 = 1;
const PAYLOAD_TRANSPORT: u32 = 2;
const NAT_RANGE_PROTO_RANDOM_FULLY: u32 = 1 << 4;

fn payload(a: &mut Attributes<'_>, to: Register, base: u32, offset: u32, len: u32) {
    a.be32(1, to.number()).be32(2, base).be32(3, offset).be32(4, len);
}

fn lookup(a: &mut Attributes<'_>, set: &SetRef, key: Register, to: Option<u32>, anonymous: &[u32]) {
    match set {
        SetRef::Named(name) => {
            a.text(1, name);
        }
        SetRef::Anonymous(index) => {
            a.text(1, super::transaction::ANONYMOUS_MAP).be32(4, anonymous[*index]);
        }
    }
    a.be32(2, key.number());
    if let Some(to) = to {
        a.be32(3, to);
    }
}

/// `NFTA_DATA_VALUE`
pub(super) fn value(a: &mut Attributes<'_>, bytes: &[u8]) {
    a.bytes(1, bytes);
}

/// `NFTA_DATA_VERDICT`
pub(super) fn verdict(a: &mut Attributes<'_>, verdict: &Verdict) {
    let (code, chain) = match verdict {
        Verdict::Drop => (0, None),
        Verdict::Jump(chain) => (-3, Some(chain)),
        Verdict::Goto(chain) => (-4, Some(chain)),
    };
    a.nest(2, |a| {
        a.be32(1, code as u32);
        if let Some(chain) = chain {
            a.text(2, chain);
        }
    });
}

/// Appends a field to a concatenated key: each starts at a register of its own.
pub fn concat(key: &mut Vec<u8>, field: &[u8]) {
    key.extend_from_slice(field);
    while !key.len().is_multiple_of(4) {
        key.push(0);
    }
}

/// The bytes of a network name in a register.
pub fn interface_name(name: &str) -> Vec<u8> {
    let mut bytes = name.as_bytes().to_vec();
    bytes.resize(libc::IFNAMSIZ, 0);
    bytes
}

pub fn netmask(prefix_len: u8) -> Vec<u8> {
    let bits = u32::MAX.checked_shl(32 - u32::from(prefix_len)).unwrap_or(0);
    Ipv4Addr::from_bits(bits).octets().to_vec()
}
