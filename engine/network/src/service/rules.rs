//! What the table holds, and the smallest transaction from there to what it must hold.
//!
//! Invariant: after a change that succeeded the kernel's table equals the plans; after one that failed everything is
//!            replaced, also in one transaction. Several owners may ask for the same element (two Services with one external
//!            address): the first has it, the next gets it when the first lets go.
//! Writes:    the table, the connection tracking entries of UDP clients whose endpoint is gone.

use std::{
    collections::{BTreeSet, HashMap},
    mem,
    sync::Arc,
};

use ipnet::Ipv4Net;

use super::{
    TABLE, conntrack,
    plan::{Environment, Key, Plan, UdpFront},
    table,
};
use crate::{
    NetworkError,
    netlink::{Family, Refused, Socket},
    nft::{Kind, SetSpec, Transaction, Type, Value, table_exists},
};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Owner {
    Service { namespace: Arc<str>, name: Arc<str> },
    Pod(String),
}

pub struct Rules {
    env: Environment,
    socket: Socket,
    plans: HashMap<Owner, Plan>,
    claims: HashMap<Key, Vec<Owner>>,
    /// The kernel refused the last change as a whole.
    is_behind: bool,
}

impl Rules {
    /// Nothing is changed until [`Rules::replace_all`].
    pub fn new(env: Environment) -> Result<Rules, NetworkError> {
        let socket = Socket::open(Family::Netfilter)?;
        Ok(Rules { env, socket, plans: HashMap::new(), claims: HashMap::new(), is_behind: false })
    }

    pub fn environment(&self) -> &Environment {
        &self.env
    }

    /// Further networks of Services; the kernel hears of them with the next [`Rules::replace_all`].
    /// Returns whether they changed.
    pub fn set_more_services(&mut self, networks: Vec<Ipv4Net>) -> bool {
        let before = mem::replace(&mut self.env.more_services, networks);
        before != self.env.more_services
    }

    /// Takes plans over without telling the kernel; for [`Rules::replace_all`].
    pub fn stage(&mut self, changes: Vec<(Owner, Plan)>) {
        self.record(changes);
    }

    /// Makes the table anew, in one transaction.
    pub fn replace_all(&mut self) -> Result<(), NetworkError> {
        self.is_behind = true;
        let mut t = Transaction::new(TABLE);
        table::recreate(&mut t, &self.env);
        for plan in self.plans.values() {
            create_chains(&mut t, &Plan::default(), plan);
        }
        for (key, owners) in &self.claims {
            if let Some(value) = self.value(key, owners) {
                t.add_element(key.map.name(), &key.bytes, value);
            }
        }
        t.commit(&self.socket)?;
        self.is_behind = false;
        let fronts = self.plans.values().flat_map(|plan| plan.udp.clone()).collect();
        self.forget_flows(fronts);
        Ok(())
    }

    /// Changes what these owners have, and nothing else. An empty plan removes.
    pub fn update(&mut self, changes: Vec<(Owner, Plan)>) -> Result<(), NetworkError> {
        let mut fronts = Vec::new();
        for (owner, plan) in &changes {
            let old = self.plans.get(owner).map_or(&[][..], |plan| &plan.udp);
            let is_gone = |front: &&UdpFront| !plan.udp.iter().any(|new| new.is_reached_as(front));
            fronts.extend(old.iter().filter(is_gone).map(UdpFront::emptied));
            let changed = plan.udp.iter().filter(|front| !old.contains(front));
            fronts.extend(changed.filter(|front| self.may_have_clients(front, old)).cloned());
        }
        let t = self.record(changes);
        if let Err(refused) = t.commit(&self.socket) {
            tracing::warn!(error = %chain(&refused), "nftables change refused, replacing the table");
            return self.replace_all();
        }
        self.forget_flows(fronts);
        Ok(())
    }

    /// Replaces the table when somebody removed it (`nft flush ruleset`), or when the last change failed.
    pub fn restore_if_lost(&mut self) -> Result<(), NetworkError> {
        if self.is_behind {
            return self.replace_all();
        }
        if table_exists(&self.socket, TABLE)? {
            return Ok(());
        }
        tracing::warn!(table = TABLE, "nftables table was removed by somebody else, restoring it");
        self.replace_all()
    }

    pub fn owners(&self) -> impl Iterator<Item = &Owner> {
        self.plans.keys()
    }

    /// Takes the plans over and returns the transaction that makes the kernel follow.
    fn record(&mut self, changes: Vec<(Owner, Plan)>) -> Transaction<'static> {
        let changes: Vec<_> = changes
            .into_iter()
            .filter(|(owner, plan)| self.plans.get(owner).unwrap_or(&Plan::default()) != plan)
            .collect();
        let touched: BTreeSet<Key> = changes
            .iter()
            .flat_map(|(owner, plan)| {
                plan.elements
                    .keys()
                    .chain(self.plans.get(owner).into_iter().flat_map(|old| old.elements.keys()))
            })
            .cloned()
            .collect();
        let before: Vec<(Key, Option<Value>)> =
            touched.into_iter().map(|key| (key.clone(), self.current(&key).cloned())).collect();

        let mut replaced = Vec::with_capacity(changes.len());
        for (owner, plan) in changes {
            let old = self.plans.remove(&owner).unwrap_or_default();
            self.claim(&owner, &old, &plan);
            if plan != Plan::default() {
                self.plans.insert(owner.clone(), plan);
            }
            replaced.push((owner, old));
        }

        let mut t = Transaction::new(TABLE);
        let empty = Plan::default();
        for (owner, old) in &replaced {
            create_chains(&mut t, old, self.plans.get(owner).unwrap_or(&empty));
        }
        for (key, old) in &before {
            let new = self.current(key);
            if old.as_ref() == new {
                continue;
            }
            if old.is_some() {
                t.delete_element(key.map.name(), &key.bytes);
            }
            if let Some(new) = new {
                t.add_element(key.map.name(), &key.bytes, new);
            }
        }
        for (owner, old) in &replaced {
            delete_chains(&mut t, old, self.plans.get(owner).unwrap_or(&empty));
        }
        t
    }

    fn claim(&mut self, owner: &Owner, old: &Plan, new: &Plan) {
        for key in old.elements.keys().filter(|key| !new.elements.contains_key(key)) {
            if let Some(owners) = self.claims.get_mut(key) {
                owners.retain(|other| other != owner);
                if owners.is_empty() {
                    self.claims.remove(key);
                }
            }
        }
        for key in new.elements.keys().filter(|key| !old.elements.contains_key(key)) {
            let owners = self.claims.entry(key.clone()).or_default();
            if !owners.is_empty() && new.elements[key] != Value::None {
                tracing::warn!(owner = ?owner, holder = ?owners[0], "address and port are in use by another owner");
            }
            owners.push(owner.clone());
        }
    }

    /// What the kernel should hold at `key`.
    fn current(&self, key: &Key) -> Option<&Value> {
        self.value(key, self.claims.get(key)?)
    }

    fn value(&self, key: &Key, owners: &[Owner]) -> Option<&Value> {
        self.plans.get(owners.first()?)?.elements.get(key)
    }

    /// Deletes the table.
    pub fn remove() -> Result<(), NetworkError> {
        let mut t = Transaction::new(TABLE);
        t.add_table();
        t.delete_table();
        Ok(t.commit(&Socket::open(Family::Netfilter)?)?)
    }

    /// A new front on addresses of the service network has none: there was nobody to let them in. Looking through the
    /// connection tracking table costs milliseconds.
    fn may_have_clients(&self, front: &UdpFront, old: &[UdpFront]) -> bool {
        let is_known = old.iter().any(|other| other.port == front.port);
        let is_outside = front.addresses.iter().any(|address| !self.env.service_cidr.contains(address));
        is_known || is_outside || front.node_port.is_some()
    }

    /// Best effort: a flow that stays ends when its client is silent.
    fn forget_flows(&self, fronts: Vec<UdpFront>) {
        if let Err(refused) = conntrack::forget_stale(&self.socket, &fronts, self.env.node_ip) {
            tracing::warn!(error = %chain(&refused), "could not forget stale UDP flows");
        }
    }
}

impl UdpFront {
    /// Under the same addresses and ports, whoever serves it.
    fn is_reached_as(&self, other: &UdpFront) -> bool {
        (&self.addresses, self.port, self.node_port) == (&other.addresses, other.port, other.node_port)
    }

    /// The same front, served by nobody.
    fn emptied(&self) -> UdpFront {
        let mut front = self.clone();
        mem::take(&mut front.endpoints);
        front
    }
}

fn create_chains(t: &mut Transaction<'_>, old: &Plan, new: &Plan) {
    for (name, seconds) in &new.affinity_sets {
        match old.affinity_sets.get(name) {
            Some(before) if before == seconds => continue,
            // The kernel keeps a set's timeout for life. Rules that use it are replaced below, in this transaction.
            Some(_) => {
                for chain in old.chains.keys() {
                    t.flush_chain(chain);
                }
                t.delete_set(name);
            }
            None => {}
        }
        let set = SetSpec { name, key: &[Type::Ipv4], kind: Kind::Set, timeout_seconds: Some(*seconds) };
        t.add_set(&set);
    }
    // Chains first: rules name each other's.
    for name in new.chains.keys().filter(|name| !old.chains.contains_key(*name)) {
        t.add_chain(name);
    }
    let flushed = new
        .affinity_sets
        .iter()
        .any(|(name, seconds)| old.affinity_sets.get(name).is_some_and(|s| s != seconds));
    for (name, rules) in &new.chains {
        if !flushed && old.chains.get(name) == Some(rules) {
            continue;
        }
        if old.chains.contains_key(name) {
            t.flush_chain(name);
        }
        for rule in rules {
            t.add_rule(name, rule);
        }
    }
}

fn delete_chains(t: &mut Transaction<'_>, old: &Plan, new: &Plan) {
    let gone: Vec<_> = old.chains.keys().filter(|name| !new.chains.contains_key(*name)).collect();
    // Chains that name each other can only go when none does any more.
    for name in &gone {
        t.flush_chain(name);
    }
    for name in &gone {
        t.delete_chain(name);
    }
    for name in old.affinity_sets.keys().filter(|name| !new.affinity_sets.contains_key(*name)) {
        t.delete_set(name);
    }
}

fn chain(refused: &Refused) -> String {
    format!("{} `{}`: {}", refused.action, refused.subject, refused.source)
}
