//! Which cluster addresses and node ports are taken.
//!
//! The lower end of the address range is kept for addresses that users choose, as on a stock server; the server itself
//! chooses at random from the rest, so that an address is not used again right after its Service is gone.
//! Source: https://kubernetes.io/docs/concepts/services-networking/cluster-ip-allocation/

use std::{collections::HashSet, net::Ipv4Addr, ops::RangeInclusive};

use ipnet::Ipv4Net;
use parking_lot::Mutex;
use serde_json::Value;

use super::{
    claims::Claims,
    fields::{is_headless, may_have_node_ports, needs_cluster_ip, needs_health_port, needs_node_ports},
};
use crate::status::Cause;

const HEALTH: &str = "spec.healthCheckNodePort";

pub struct Allocations {
    cidr: Ipv4Net,
    ports: RangeInclusive<u16>,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    addresses: HashSet<Ipv4Addr>,
    ports: HashSet<u16>,
}

impl Allocations {
    /// `services` are those that exist.
    pub fn new<'a>(
        cidr: Ipv4Net,
        ports: RangeInclusive<u16>,
        services: impl Iterator<Item = &'a Value>,
    ) -> Allocations {
        let mut taken = Taken::default();
        for claims in services.map(Claims::of) {
            taken.addresses.extend(claims.addresses);
            taken.ports.extend(claims.ports);
        }
        Allocations { cidr, ports, taken: Mutex::new(taken) }
    }

    pub fn free(&self, claims: &Claims) {
        let mut taken = self.taken.lock();
        for address in &claims.addresses {
            taken.addresses.remove(address);
        }
        for port in &claims.ports {
            taken.ports.remove(port);
        }
    }

    /// Fills in and takes what `service` needs; `held` it has already. All or nothing. Addresses are of the cluster's
    /// own range, and of `more` when that is full.
    pub fn allocate(&self, service: &mut Value, held: &Claims, more: &[Ipv4Net]) -> Result<(), Cause> {
        let mut taken = self.taken.lock();
        let mut new = Claims::default();
        let ranges: Vec<Ipv4Net> =
            std::iter::once(self.cidr).chain(more.iter().copied().filter(|one| *one != self.cidr)).collect();
        let result = address(&mut taken, &ranges, service, held, &mut new)
            .and_then(|()| self.node_ports(&mut taken, service, held, &mut new));
        if result.is_err() {
            for address in &new.addresses {
                taken.addresses.remove(address);
            }
            for port in &new.ports {
                taken.ports.remove(port);
            }
        }
        result
    }

    fn node_ports(
        &self,
        taken: &mut Taken,
        service: &mut Value,
        held: &Claims,
        new: &mut Claims,
    ) -> Result<(), Cause> {
        if !may_have_node_ports(service) {
            return Ok(());
        }
        let fills = needs_node_ports(service);
        let count = service["spec"]["ports"].as_array().map_or(0, Vec::len);
        // One number may serve several protocols of one Service.
        let mut own: Vec<(u16, String)> = Vec::new();
        for at in 0..count {
            let field = format!("spec.ports[{at}].nodePort");
            let port = &service["spec"]["ports"][at];
            let protocol = port["protocol"].as_str().unwrap_or("TCP").to_owned();
            let number = port["port"].clone();
            let asked = port["nodePort"].as_i64().unwrap_or_default();
            if asked == 0 && !fills {
                continue;
            }
            let sibling =
                service["spec"]["ports"].as_array().into_iter().flatten().take(at).find_map(|other| {
                    let same = other["port"] == number && other["protocol"] != *protocol;
                    same.then(|| other["nodePort"].as_u64()).flatten()
                });
            let chosen = match (asked, sibling) {
                (0, Some(sibling)) => sibling as u16,
                (0, None) => self.free_port(taken, &field, new)?,
                (asked, _) => {
                    let shared =
                        own.iter().find(|(port, other)| i64::from(*port) == asked && *other != protocol);
                    match shared {
                        Some((port, _)) => *port,
                        None => self.take_port(taken, held, asked, &field, new)?,
                    }
                }
            };
            own.push((chosen, protocol));
            service["spec"]["ports"][at]["nodePort"] = chosen.into();
        }
        self.health_port(taken, service, held, new)
    }

    fn health_port(
        &self,
        taken: &mut Taken,
        service: &mut Value,
        held: &Claims,
        new: &mut Claims,
    ) -> Result<(), Cause> {
        if !needs_health_port(service) {
            return Ok(());
        }
        let asked = service["spec"]["healthCheckNodePort"].as_i64().unwrap_or_default();
        if asked == 0 {
            service["spec"]["healthCheckNodePort"] = self.free_port(taken, HEALTH, new)?.into();
        } else {
            self.take_port(taken, held, asked, HEALTH, new)?;
        }
        Ok(())
    }

    fn free_port(&self, taken: &mut Taken, field: &str, new: &mut Claims) -> Result<u16, Cause> {
        let (low, high) = (u32::from(*self.ports.start()), u32::from(*self.ports.end()));
        let port = pick(low..high + 1, |port| !taken.ports.contains(&(port as u16))).ok_or_else(|| {
            Cause::new("InternalError", field, "failed to allocate a nodePort: range is full")
        })? as u16;
        taken.ports.insert(port);
        new.ports.push(port);
        Ok(port)
    }

    /// One that is `held` is not taken again.
    fn take_port(
        &self,
        taken: &mut Taken,
        held: &Claims,
        asked: i64,
        field: &str,
        new: &mut Claims,
    ) -> Result<u16, Cause> {
        if let Some(port) = held.ports.iter().find(|port| i64::from(**port) == asked) {
            return Ok(*port);
        }
        let Some(port) = u16::try_from(asked).ok().filter(|port| self.ports.contains(port)) else {
            let why = format!(
                "provided port is not in the valid range. The range of valid ports is {}-{}",
                self.ports.start(),
                self.ports.end()
            );
            return Err(Cause::invalid(field, asked, &why));
        };
        if !taken.ports.insert(port) {
            return Err(Cause::invalid(field, port, "provided port is already allocated"));
        }
        new.ports.push(port);
        Ok(port)
    }
}

fn address(
    taken: &mut Taken,
    ranges: &[Ipv4Net],
    service: &mut Value,
    held: &Claims,
    new: &mut Claims,
) -> Result<(), Cause> {
    if !needs_cluster_ip(service) || is_headless(service) {
        return Ok(());
    }
    let asked = service["spec"]["clusterIP"].as_str().unwrap_or_default().to_owned();
    if asked.is_empty() {
        let address = ranges.iter().find_map(|range| free_address(taken, *range)).ok_or_else(|| {
            Cause::new("InternalError", "spec.clusterIPs", "failed to allocate a serviceIP: range is full")
        })?;
        taken.addresses.insert(address);
        new.addresses.push(address);
        service["spec"]["clusterIP"] = address.to_string().into();
        service["spec"]["clusterIPs"] = vec![address.to_string()].into();
        return Ok(());
    }
    let refuse = |why: String| {
        let why = format!("failed to allocate IP {asked}: {why}");
        Err(Cause::invalid("spec.clusterIPs", vec![asked.clone()], &why))
    };
    // What is no address is for validation to refuse.
    let Ok(address) = asked.parse::<Ipv4Addr>() else { return Ok(()) };
    if held.addresses.contains(&address) {
        return Ok(());
    }
    let Some(range) = ranges.iter().find(|range| range.contains(&address)) else {
        return refuse("the provided network does not match the current range".into());
    };
    if address == range.network() || address == range.broadcast() {
        return refuse(format!(
            "the provided IP ({address}) is not in the valid range. The range of valid IPs is {range}"
        ));
    }
    if !taken.addresses.insert(address) {
        return refuse("provided IP is already allocated".into());
    }
    new.addresses.push(address);
    Ok(())
}

fn free_address(taken: &Taken, range: Ipv4Net) -> Option<Ipv4Addr> {
    let first = u32::from(range.network()).checked_add(1)?;
    let count = u32::from(range.broadcast()).checked_sub(first)?;
    let band = (count / 16).clamp(16, 256).min(count);
    let is_free = |at| !taken.addresses.contains(&Ipv4Addr::from(first + at));
    let at = pick(band..count, is_free).or_else(|| pick(0..band, is_free))?;
    Some(Ipv4Addr::from(first + at))
}

/// One of the range that is free, from a random start.
fn pick(range: std::ops::Range<u32>, is_free: impl Fn(u32) -> bool) -> Option<u32> {
    let count = range.end.checked_sub(range.start).filter(|count| *count > 0)?;
    let random = uuid::Uuid::new_v4().into_bytes();
    let offset = u32::from_le_bytes([random[0], random[1], random[2], random[3]]) % count;
    (0..count).map(|step| range.start + (offset + step) % count).find(|at| is_free(*at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn allocations() -> Allocations {
        Allocations::new("10.43.0.0/16".parse().expect("cidr"), 30000..=30001, std::iter::empty())
    }

    fn service(spec: Value) -> Value {
        json!({"spec": spec})
    }

    #[test]
    fn an_open_address_is_filled_in_and_a_taken_or_foreign_one_refused() {
        let all = allocations();
        let mut first = service(json!({"type": "ClusterIP"}));
        all.allocate(&mut first, &Claims::default(), &[]).expect("allocates");
        let address = first["spec"]["clusterIP"].as_str().expect("filled").to_owned();
        let mut again = service(json!({"type": "ClusterIP", "clusterIP": address}));
        let cause = all.allocate(&mut again, &Claims::default(), &[]).expect_err("taken");
        assert!(cause.message.ends_with("provided IP is already allocated"), "{cause}");
        all.free(&Claims::of(&first));
        all.allocate(&mut again, &Claims::default(), &[]).expect("free again");
        let mut foreign = service(json!({"type": "ClusterIP", "clusterIP": "1.2.3.4"}));
        let cause = all.allocate(&mut foreign, &Claims::default(), &[]).expect_err("foreign");
        assert!(cause.message.ends_with("the provided network does not match the current range"), "{cause}");
        let mut network = service(json!({"type": "ClusterIP", "clusterIP": "10.43.0.0"}));
        let cause = all.allocate(&mut network, &Claims::default(), &[]).expect_err("the network's own");
        assert!(cause.message.contains("The range of valid IPs is 10.43.0.0/16"), "{cause}");
    }

    #[test]
    fn another_range_serves_what_is_asked_of_it_and_when_the_first_is_full() {
        let all = Allocations::new("10.43.0.0/30".parse().expect("cidr"), 30000..=30001, std::iter::empty());
        let more = ["10.50.0.0/24".parse().expect("cidr")];
        let given = |address: &str, more: &[Ipv4Net]| {
            let mut service = service(json!({"type": "ClusterIP", "clusterIP": address}));
            let done = all.allocate(&mut service, &Claims::default(), more);
            done.map(|()| service["spec"]["clusterIP"].as_str().expect("filled").to_owned())
        };
        assert_eq!(given("10.50.0.7", &more).expect("of the other range"), "10.50.0.7");
        assert!(given("10.50.0.7", &more).is_err(), "taken");
        for _ in 0..2 {
            assert!(given("", &more).expect("of the first").starts_with("10.43.0."));
        }
        assert!(given("", &[]).expect_err("full").message.ends_with("range is full"));
        assert!(given("", &more).expect("of the second").starts_with("10.50.0."));
    }

    #[test]
    fn a_failed_allocation_takes_nothing() {
        let all = allocations();
        let ports = json!([{"port": 1, "protocol": "TCP"}, {"port": 2, "protocol": "TCP"}, {"port": 3, "protocol": "TCP"}]);
        let mut three = service(json!({"type": "NodePort", "ports": ports}));
        assert!(all.allocate(&mut three, &Claims::default(), &[]).is_err());
        let two = json!([{"port": 1, "protocol": "TCP"}, {"port": 2, "protocol": "TCP"}]);
        all.allocate(&mut service(json!({"type": "NodePort", "ports": two})), &Claims::default(), &[])
            .expect("both are free");
    }

    #[test]
    fn a_balancer_without_node_ports_of_its_own_gets_those_it_names_and_a_health_port() {
        let all = allocations();
        let balancer = |port: i32| {
            service(
                json!({"type": "LoadBalancer", "allocateLoadBalancerNodePorts": false, "externalTrafficPolicy": "Local",
                "ports": [{"port": 1, "protocol": "TCP"}, {"port": 2, "protocol": "TCP", "nodePort": port}]}),
            )
        };
        let mut first = balancer(30000);
        all.allocate(&mut first, &Claims::default(), &[]).expect("allocates");
        assert_eq!(first["spec"]["ports"][0].get("nodePort"), None);
        assert_eq!(first["spec"]["healthCheckNodePort"], 30001);
        let range = "The range of valid ports is 30000-30001";
        for (port, why) in
            [(30000, "provided port is already allocated"), (22, range), (95536, range), (-1, range)]
        {
            let cause = all.allocate(&mut balancer(port), &Claims::default(), &[]).expect_err("refused");
            assert!(cause.message.ends_with(why), "{cause}");
        }
    }

    #[test]
    fn protocols_of_one_port_share_a_node_port() {
        let all = allocations();
        let ports = json!([{"port": 53, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}]);
        let mut dns = service(json!({"type": "NodePort", "ports": ports}));
        all.allocate(&mut dns, &Claims::default(), &[]).expect("allocates");
        assert_eq!(dns["spec"]["ports"][0]["nodePort"], dns["spec"]["ports"][1]["nodePort"]);
    }
}
