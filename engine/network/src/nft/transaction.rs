//! One atomic change of our table: the kernel applies all of it or nothing.

use std::net::Ipv4Addr;

use super::{
    Rule, Verdict,
    expression::{concat, value, verdict},
};
use crate::netlink::{Attributes, Batch, Refused, Socket};

/// The kernel puts a number in place of `%d`.
pub(super) const ANONYMOUS_MAP: &str = "__map%d";

const SUBSYSTEM: u16 = (libc::NFNL_SUBSYS_NFTABLES as u16) << 8;
const FAMILY_INET: u8 = libc::NFPROTO_INET as u8;
/// Nothing asks for an acknowledgement: errors come anyway, and thousands of them would not fit the socket.
const CREATE: i32 = libc::NLM_F_CREATE;

/// `nft`'s numbers of data types; only `nft list` looks at them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    Ipv4,
    Protocol,
    Port,
}

impl Type {
    fn number(self) -> u32 {
        match self {
            Type::Ipv4 => 7,
            Type::Protocol => 12,
            Type::Port => 13,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Set,
    VerdictMap,
    /// To `ipv4_addr . inet_service`.
    TargetMap,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetSpec<'a> {
    pub name: &'a str,
    pub key: &'a [Type],
    pub kind: Kind,
    /// Rules add elements, which last this long.
    pub timeout_seconds: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    None,
    Verdict(Verdict),
    Target(Ipv4Addr, u16),
}

/// A map from a random number to a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnonymousMap {
    pub targets: Vec<(Ipv4Addr, u16)>,
}

#[derive(Clone, Copy, Debug)]
pub enum Hook {
    Prerouting = 0,
    Input = 1,
    Forward = 2,
    Output = 3,
    Postrouting = 4,
}

#[derive(Clone, Copy, Debug)]
pub struct BaseChain {
    pub name: &'static str,
    /// `nat` or `filter`
    pub kind: &'static str,
    pub hook: Hook,
    pub priority: i32,
}

pub struct Transaction<'a> {
    table: &'a str,
    batch: Batch,
    next_id: u32,
}

impl<'a> Transaction<'a> {
    pub fn new(table: &'a str) -> Transaction<'a> {
        let mut batch = Batch::default();
        frame(&mut batch, libc::NFNL_MSG_BATCH_BEGIN as u16);
        Transaction { table, batch, next_id: 1 }
    }

    /// Whether nothing was asked.
    pub fn is_empty(&self) -> bool {
        self.batch.message_count() == 1
    }

    pub fn commit(mut self, socket: &Socket) -> Result<(), Refused> {
        if self.is_empty() {
            return Ok(());
        }
        frame(&mut self.batch, libc::NFNL_MSG_BATCH_END as u16);
        socket.execute(&self.batch).map(drop)
    }

    fn message(
        &mut self,
        what: (&'static str, String),
        kind: i32,
        flags: i32,
        fill: impl FnOnce(&mut Attributes<'_>),
    ) {
        let header = [FAMILY_INET, libc::NFNETLINK_V0 as u8, 0, 0];
        self.batch.message(what, SUBSYSTEM | kind as u16, flags, &header, fill);
    }

    pub fn add_table(&mut self) {
        let table = self.table;
        self.message(("create nftables table", table.to_owned()), libc::NFT_MSG_NEWTABLE, CREATE, |a| {
            a.text(1, table).be32(2, 0);
        });
    }

    /// With everything in it.
    pub fn delete_table(&mut self) {
        let table = self.table;
        self.message(("delete nftables table", table.to_owned()), libc::NFT_MSG_DELTABLE, 0, |a| {
            a.text(1, table);
        });
    }

    pub fn add_base_chain(&mut self, chain: &BaseChain) {
        let table = self.table;
        self.message(("create nftables chain", chain.name.to_owned()), libc::NFT_MSG_NEWCHAIN, CREATE, |a| {
            a.text(1, table).text(3, chain.name);
            a.nest(4, |a| {
                a.be32(1, chain.hook as u32).be32(2, chain.priority as u32);
            });
            a.be32(5, libc::NF_ACCEPT as u32).text(7, chain.kind);
        });
    }

    pub fn add_chain(&mut self, name: &str) {
        let table = self.table;
        self.message(("create nftables chain", name.to_owned()), libc::NFT_MSG_NEWCHAIN, CREATE, |a| {
            a.text(1, table).text(3, name);
        });
    }

    /// Deletes the rules of a chain.
    pub fn flush_chain(&mut self, name: &str) {
        let table = self.table;
        self.message(("flush nftables chain", name.to_owned()), libc::NFT_MSG_DELRULE, 0, |a| {
            a.text(1, table).text(2, name);
        });
    }

    pub fn delete_chain(&mut self, name: &str) {
        let table = self.table;
        self.message(("delete nftables chain", name.to_owned()), libc::NFT_MSG_DELCHAIN, 0, |a| {
            a.text(1, table).text(3, name);
        });
    }

    pub fn add_rule(&mut self, chain: &str, rule: &Rule) {
        let ids: Vec<u32> =
            rule.anonymous_maps.iter().map(|map| self.add_anonymous_map(chain, map)).collect();
        let table = self.table;
        let flags = CREATE | libc::NLM_F_APPEND;
        self.message(("add nftables rule to chain", chain.to_owned()), libc::NFT_MSG_NEWRULE, flags, |a| {
            a.text(1, table).text(2, chain);
            a.nest(4, |a| {
                for expression in &rule.expressions {
                    a.nest(1, |a| expression.encode(a, &ids));
                }
            });
        });
    }

    pub fn add_set(&mut self, set: &SetSpec<'_>) {
        let table = self.table;
        let id = self.id();
        let key_type = set.key.iter().fold(0, |number, part| (number << 6) | part.number());
        let mut flags = if set.kind == Kind::Set { 0 } else { libc::NFT_SET_MAP };
        if set.timeout_seconds.is_some() {
            flags |= libc::NFT_SET_TIMEOUT | libc::NFT_SET_EVAL;
        }
        self.message(("create nftables set", set.name.to_owned()), libc::NFT_MSG_NEWSET, CREATE, |a| {
            a.text(1, table).text(2, set.name).be32(3, flags as u32);
            a.be32(4, key_type).be32(5, 4 * set.key.len() as u32);
            match set.kind {
                Kind::Set => {}
                Kind::VerdictMap => {
                    a.be32(6, DATA_VERDICT);
                }
                Kind::TargetMap => target_data(a),
            }
            if let Some(seconds) = set.timeout_seconds {
                a.nest(9, |a| {
                    a.be32(1, MOST_REMEMBERED);
                });
                a.be64(11, u64::from(seconds) * 1000);
            }
            a.be32(10, id);
        });
    }

    pub fn delete_set(&mut self, name: &str) {
        let table = self.table;
        self.message(("delete nftables set", name.to_owned()), libc::NFT_MSG_DELSET, 0, |a| {
            a.text(1, table).text(2, name);
        });
    }

    pub fn add_element(&mut self, set: &str, key: &[u8], data: &Value) {
        self.element(
            ("add element to nftables set", set.to_owned()),
            libc::NFT_MSG_NEWSETELEM,
            CREATE,
            set,
            |a| {
                element(a, key, data);
            },
        );
    }

    pub fn delete_element(&mut self, set: &str, key: &[u8]) {
        let (kind, flags) = (libc::NFT_MSG_DELSETELEM, 0);
        self.element(("delete element of nftables set", set.to_owned()), kind, flags, set, |a| {
            element(a, key, &Value::None);
        });
    }

    fn element(
        &mut self,
        what: (&'static str, String),
        kind: i32,
        flags: i32,
        set: &str,
        fill: impl FnOnce(&mut Attributes<'_>),
    ) {
        let table = self.table;
        self.message(what, kind, flags, |a| {
            a.text(1, table).text(2, set).nest(3, fill);
        });
    }

    fn add_anonymous_map(&mut self, chain: &str, map: &AnonymousMap) -> u32 {
        let table = self.table;
        let id = self.id();
        let flags = libc::NFT_SET_ANONYMOUS | libc::NFT_SET_CONSTANT | libc::NFT_SET_MAP;
        let what = || ("add endpoints to nftables chain", chain.to_owned());
        self.message(what(), libc::NFT_MSG_NEWSET, CREATE, |a| {
            a.text(1, table).text(2, ANONYMOUS_MAP).be32(3, flags as u32).be32(4, TYPE_INTEGER).be32(5, 4);
            target_data(a);
            a.nest(9, |a| {
                a.be32(1, map.targets.len() as u32);
            });
            a.be32(10, id).bytes(13, &KEY_IS_HOST_ENDIAN);
        });
        // A nested list holds 64 KiB.
        for (chunk, targets) in map.targets.chunks(1000).enumerate() {
            self.message(what(), libc::NFT_MSG_NEWSETELEM, CREATE, |a| {
                a.text(1, table).text(2, ANONYMOUS_MAP).be32(4, id);
                a.nest(3, |a| {
                    for (index, (address, port)) in targets.iter().enumerate() {
                        let number = (chunk * 1000 + index) as u32;
                        element(a, &number.to_ne_bytes(), &Value::Target(*address, *port));
                    }
                });
            });
        }
        id
    }

    fn id(&mut self) -> u32 {
        self.next_id += 1;
        self.next_id
    }
}

const DATA_VERDICT: u32 = 0xffff_ff00;
const TYPE_INTEGER: u32 = 4;
/// How many clients a Service with session affinity remembers for each endpoint.
const MOST_REMEMBERED: u32 = 65_536;
/// `NFTNL_UDATA_SET_KEYBYTEORDER`, for `nft list`.
const KEY_IS_HOST_ENDIAN: [u8; 6] = [0, 4, 1, 0, 0, 0];

fn frame(batch: &mut Batch, kind: u16) {
    let header = [libc::AF_UNSPEC as u8, libc::NFNETLINK_V0 as u8, 0, libc::NFNL_SUBSYS_NFTABLES as u8];
    batch.message(("commit nftables transaction", ""), kind, 0, &header, |_| {});
}

fn target_data(a: &mut Attributes<'_>) {
    a.be32(6, (Type::Ipv4.number() << 6) | Type::Port.number()).be32(7, 8);
}

fn element(a: &mut Attributes<'_>, key: &[u8], data: &Value) {
    a.nest(1, |a| {
        a.nest(1, |a| value(a, key));
        match data {
            Value::None => {}
            Value::Verdict(what) => {
                a.nest(2, |a| verdict(a, what));
            }
            Value::Target(address, port) => {
                let mut bytes = address.octets().to_vec();
                concat(&mut bytes, &port.to_be_bytes());
                a.nest(2, |a| value(a, &bytes));
            }
        }
    });
}

/// Whether somebody took our table away.
pub fn table_exists(socket: &Socket, table: &str) -> Result<bool, Refused> {
    let mut batch = Batch::default();
    let header = [FAMILY_INET, libc::NFNETLINK_V0 as u8, 0, 0];
    let kind = SUBSYSTEM | libc::NFT_MSG_GETTABLE as u16;
    batch
        .message(("look up nftables table", table), kind, 0, &header, |a| {
            a.text(1, table);
        })
        .tolerate(&[libc::ENOENT]);
    Ok(!socket.execute(&batch)?.is_empty())
}
