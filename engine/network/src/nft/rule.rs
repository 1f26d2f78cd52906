//! Rules, written from left to right as `nft` shows them.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::{
    Address, AnonymousMap, Comparison, Expression, FibAddress, Meta, Register, SetRef, Verdict,
    expression::{interface_name, netmask},
};

const RTN_LOCAL: u32 = libc::RTN_LOCAL as u32;
const IPS_DST_NAT: u32 = 1 << 5;
const CT_STATE_INVALID: u32 = 1;
const ICMP_REDIRECT: u8 = 5;

/// Where matches put what they compare; keys of lookups start here too.
const SCRATCH: Register = Register(0);
/// Where maps put an address and a port for NAT.
const TARGET: Register = Register(8);
const TARGET_PORT: Register = Register(9);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    pub expressions: Vec<Expression>,
    pub anonymous_maps: Vec<AnonymousMap>,
}

impl Rule {
    /// A rule for any packet.
    pub fn any() -> Rule {
        Rule::default()
    }

    /// A rule for IPv4 packets.
    pub fn ipv4() -> Rule {
        Rule::any().matching(
            Expression::Meta { key: Meta::NfProto, to: SCRATCH },
            true,
            vec![libc::NFPROTO_IPV4 as u8],
        )
    }

    fn then(mut self, expression: Expression) -> Rule {
        self.expressions.push(expression);
        self
    }

    fn matching(self, load: Expression, equal: bool, value: Vec<u8>) -> Rule {
        let how = if equal { Comparison::Equal } else { Comparison::NotEqual };
        self.then(load).then(Expression::Compare { register: SCRATCH, how, value })
    }

    pub fn not_to_interface(self, name: &str) -> Rule {
        self.matching(Expression::Meta { key: Meta::OifName, to: SCRATCH }, false, interface_name(name))
    }

    pub fn comes_from_group(self, group: u32) -> Rule {
        self.matching(
            Expression::Meta { key: Meta::IifGroup, to: SCRATCH },
            true,
            group.to_ne_bytes().to_vec(),
        )
    }

    pub fn goes_to_group(self, group: u32) -> Rule {
        self.matching(
            Expression::Meta { key: Meta::OifGroup, to: SCRATCH },
            true,
            group.to_ne_bytes().to_vec(),
        )
    }

    pub fn protocol(self, protocol: u8) -> Rule {
        self.matching(Expression::Meta { key: Meta::L4Proto, to: SCRATCH }, true, vec![protocol])
    }

    pub fn address(self, which: Address, equal: bool, net: Ipv4Net) -> Rule {
        let how = if equal { Comparison::Equal } else { Comparison::NotEqual };
        let loaded = self.then(Expression::Ipv4 { which, to: SCRATCH });
        let masked = match net.prefix_len() {
            32 => loaded,
            len => loaded.then(Expression::Mask { register: SCRATCH, mask: netmask(len) }),
        };
        masked.then(Expression::Compare { register: SCRATCH, how, value: net.network().octets().to_vec() })
    }

    /// The address is one of the node's own.
    pub fn local(self, which: FibAddress) -> Rule {
        self.matching(
            Expression::FibAddressType { which, to: SCRATCH },
            true,
            RTN_LOCAL.to_ne_bytes().to_vec(),
        )
    }

    pub fn connection_is_invalid(self) -> Rule {
        self.bits(Expression::CtState { to: SCRATCH }, CT_STATE_INVALID)
    }

    pub fn connection_has_dnat(self) -> Rule {
        self.bits(Expression::CtStatus { to: SCRATCH }, IPS_DST_NAT)
    }

    fn bits(self, load: Expression, bits: u32) -> Rule {
        self.then(load)
            .then(Expression::Mask { register: SCRATCH, mask: bits.to_ne_bytes().to_vec() })
            .then(Expression::Compare { register: SCRATCH, how: Comparison::NotEqual, value: vec![0; 4] })
    }

    pub fn icmp_redirect(self) -> Rule {
        self.protocol(libc::IPPROTO_ICMP as u8).matching(
            Expression::IcmpType { to: SCRATCH },
            true,
            vec![ICMP_REDIRECT],
        )
    }

    /// Loads `ip daddr . meta l4proto . th dport`.
    pub fn load_address_and_port(self) -> Rule {
        self.then(Expression::Ipv4 { which: Address::Destination, to: Register(0) })
            .then(Expression::Meta { key: Meta::L4Proto, to: Register(1) })
            .then(Expression::DestinationPort { to: Register(2) })
    }

    /// Loads `meta l4proto . th dport`.
    pub fn load_port(self) -> Rule {
        self.then(Expression::Meta { key: Meta::L4Proto, to: Register(0) })
            .then(Expression::DestinationPort { to: Register(1) })
    }

    /// Loads `ip saddr . ip daddr`.
    pub fn load_addresses(self) -> Rule {
        self.then(Expression::Ipv4 { which: Address::Source, to: Register(0) })
            .then(Expression::Ipv4 { which: Address::Destination, to: Register(1) })
    }

    /// Loads `ip saddr`.
    pub fn load_source(self) -> Rule {
        self.then(Expression::Ipv4 { which: Address::Source, to: Register(0) })
    }

    pub fn loaded_is_in(self, set: &str) -> Rule {
        self.then(Expression::Contains { set: SetRef::Named(set.to_owned()), key: SCRATCH })
    }

    pub fn verdict_of_loaded(self, map: &str) -> Rule {
        self.then(Expression::VerdictMap { set: SetRef::Named(map.to_owned()), key: SCRATCH })
    }

    /// DNAT to the address and port that the map has for the loaded key.
    pub fn dnat_to_loaded_in(self, map: &str) -> Rule {
        self.then(Expression::Map { set: SetRef::Named(map.to_owned()), key: SCRATCH, to: TARGET })
            .then(Expression::Dnat { address: TARGET, port: TARGET_PORT })
    }

    /// Makes the loaded key last for the set's timeout.
    pub fn remember_loaded(self, set: &str) -> Rule {
        self.then(Expression::Remember { set: set.to_owned(), key: SCRATCH })
    }

    pub fn one_in(self, modulus: u32) -> Rule {
        if modulus == 1 {
            return self;
        }
        self.matching(Expression::Random { modulus, to: SCRATCH }, true, 0u32.to_ne_bytes().to_vec())
    }

    pub fn dnat(self, address: Ipv4Addr, port: u16) -> Rule {
        self.then(Expression::Load { to: TARGET, value: address.octets().to_vec() })
            .then(Expression::Load { to: TARGET_PORT, value: port.to_be_bytes().to_vec() })
            .then(Expression::Dnat { address: TARGET, port: TARGET_PORT })
    }

    /// DNAT to one of `targets`, each as likely.
    pub fn dnat_to_random(self, targets: &[(Ipv4Addr, u16)]) -> Rule {
        if let [(address, port)] = targets {
            return self.dnat(*address, *port);
        }
        let mut rule = self
            .then(Expression::Random { modulus: targets.len() as u32, to: SCRATCH })
            .then(Expression::Map { set: SetRef::Anonymous(0), key: SCRATCH, to: TARGET })
            .then(Expression::Dnat { address: TARGET, port: TARGET_PORT });
        rule.anonymous_maps.push(AnonymousMap { targets: targets.to_vec() });
        rule
    }

    pub fn snat(self, address: Ipv4Addr) -> Rule {
        self.then(Expression::Load { to: TARGET, value: address.octets().to_vec() })
            .then(Expression::Snat { address: TARGET })
    }

    /// To the address of the link that the packet leaves by; ports at random, so that many clients do not race for one.
    pub fn masquerade(self) -> Rule {
        self.then(Expression::Masquerade { fully_random: true })
    }

    pub fn reject_with_tcp_reset(self) -> Rule {
        self.protocol(libc::IPPROTO_TCP as u8).then(Expression::RejectWithTcpReset)
    }

    pub fn reject_with_port_unreachable(self) -> Rule {
        self.then(Expression::RejectWithPortUnreachable)
    }

    pub fn verdict(self, verdict: Verdict) -> Rule {
        self.then(Expression::Verdict(verdict))
    }

    pub fn jump(self, chain: &str) -> Rule {
        self.verdict(Verdict::Jump(chain.to_owned()))
    }

    pub fn goto(self, chain: &str) -> Rule {
        self.verdict(Verdict::Goto(chain.to_owned()))
    }

    pub fn drop(self) -> Rule {
        self.verdict(Verdict::Drop)
    }
}
