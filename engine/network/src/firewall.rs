//! Firewalls of the machine that may drop what pods send: to the node, which answers their DNS, or past it.
//!
//! Reads:  the nftables rules of others (also those that `iptables` makes of its own).
//! Source: https://wiki.nftables.org/wiki-nftables/index.php/Configuring_chains#Base_chain_policy

use std::fmt;

use ipnet::Ipv4Net;

use crate::{
    NetworkError,
    netlink::{Batch, Family, Reply, Socket, attribute, attributes, text},
    service::TABLE,
};

const SUBSYSTEM: u16 = (libc::NFNL_SUBSYS_NFTABLES as u16) << 8;
const INPUT: u32 = 1;
const FORWARD: u32 = 2;

/// A chain that every packet to the node or past it meets, and that drops or rejects what no rule accepts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Firewall {
    table: Table,
    chain: String,
    is_forward: bool,
}

/// Shown as `nft` is told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Table {
    family: &'static str,
    name: String,
}

impl Firewall {
    /// Those that have no rule for the pods' network. Other rules may let pods through all the same.
    pub fn without_rule_for(pods: Ipv4Net) -> Result<Vec<Firewall>, NetworkError> {
        let socket = Socket::open(Family::Netfilter)?;
        let chains = list(&socket, "chains", libc::NFT_MSG_GETCHAIN)?;
        let hooked: Vec<(Firewall, bool)> = chains.iter().filter_map(hooked).collect();
        if hooked.is_empty() {
            return Ok(Vec::new());
        }
        let rules = list(&socket, "rules", libc::NFT_MSG_GETRULE)?;
        let open: Vec<_> = rules.iter().filter(|rule| names(rule, pods)).filter_map(table).collect();
        let refuses = |firewall: &Firewall| {
            let last = rules.iter().rev().find(|rule| firewall.holds(rule));
            last.is_some_and(refuses_everything)
        };
        let refusing = hooked.into_iter().filter(|(firewall, drops)| *drops || refuses(firewall));
        Ok(refusing
            .map(|(firewall, _)| firewall)
            .filter(|firewall| !open.contains(&firewall.table))
            .collect())
    }

    fn holds(&self, rule: &Reply) -> bool {
        let chain = rule.payload.get(4..).and_then(|of_rule| attribute(of_rule, 2)).map(text);
        chain.as_ref() == Some(&self.chain) && table(rule).as_ref() == Some(&self.table)
    }

    /// What lets the pods through, for a shell.
    pub fn remedy(&self, pods: Ipv4Net) -> String {
        let accept = |end: &str| format!("nft insert rule {self} ip {end} {pods} accept");
        match self.is_forward {
            true => format!("{}; {}", accept("saddr"), accept("daddr")),
            false => accept("saddr"),
        }
    }
}

impl fmt::Display for Firewall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.table.family, self.table.name, self.chain)
    }
}

fn list(socket: &Socket, what: &str, kind: i32) -> Result<Vec<Reply>, NetworkError> {
    let mut batch = Batch::default();
    let header = [libc::NFPROTO_UNSPEC as u8, libc::NFNETLINK_V0 as u8, 0, 0];
    batch.message(("list nftables", what), SUBSYSTEM | kind as u16, libc::NLM_F_DUMP, &header, |_| {});
    Ok(socket.execute(&batch)?)
}

/// A chain of others that packets to the node or past it meet, and whether it drops them by its policy.
fn hooked(chain: &Reply) -> Option<(Firewall, bool)> {
    let attributes = chain.payload.get(4..)?;
    let policy = number(attribute(attributes, 5)?)?;
    let hook = number(attribute(attribute(attributes, 4)?, 1)?)?;
    let (table, chain) = (table(chain)?, text(attribute(attributes, 3)?));
    let meets = [INPUT, FORWARD].contains(&hook) && table.name != TABLE;
    let firewall = Firewall { table, chain, is_forward: hook == FORWARD };
    meets.then_some((firewall, policy == libc::NF_DROP as u32))
}

/// A rule that asks nothing, and drops or rejects. `REJECT` of iptables is a target.
fn refuses_everything(rule: &Reply) -> bool {
    let expressions = rule.payload.get(4..).and_then(|of_rule| attribute(of_rule, 4)).unwrap_or_default();
    let mut refuses = false;
    for (_, expression) in attributes(expressions) {
        let data = attribute(expression, 2).unwrap_or_default();
        match text(attribute(expression, 1).unwrap_or_default()).as_str() {
            "counter" | "log" => {}
            "reject" => refuses = true,
            "target" => refuses = attribute(data, 1).map(text).as_deref() == Some("REJECT"),
            "immediate" => {
                let verdict = attribute(data, 2).and_then(|data| attribute(data, 2));
                let code = verdict.and_then(|verdict| attribute(verdict, 1)).and_then(number);
                refuses = code == Some(libc::NF_DROP as u32);
            }
            _ => return false,
        }
    }
    refuses
}

/// Of a chain or a rule, when it sees IPv4.
fn table(reply: &Reply) -> Option<Table> {
    let family = match i32::from(*reply.payload.first()?) {
        libc::NFPROTO_INET => "inet",
        libc::NFPROTO_IPV4 => "ip",
        _ => return None,
    };
    Some(Table { family, name: text(attribute(reply.payload.get(4..)?, 1)?) })
}

/// Whether a rule compares with the network: with its address, or with as many bytes of it as its prefix is long.
fn names(rule: &Reply, pods: Ipv4Net) -> bool {
    let address = pods.network().octets();
    let prefix = usize::from(pods.prefix_len());
    let whole_bytes = prefix.is_multiple_of(8).then_some(prefix / 8).filter(|bytes| *bytes > 0);
    [Some(address.len()), whole_bytes].into_iter().flatten().any(|len| {
        let value = [&(4 + len as u16).to_ne_bytes()[..], &1u16.to_ne_bytes(), &address[..len]].concat();
        rule.payload.windows(value.len()).any(|window| window == value)
    })
}

fn number(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.try_into().ok()?))
}
