//! Which chains, sets and elements a Service or a pod needs. Pure: equal input gives an equal plan.
//!
//! Source: https://kubernetes.io/docs/reference/networking/virtual-ips/

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

use ipnet::Ipv4Net;
use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};

use super::{
    Endpoint, Endpoints,
    table::{Map, REJECT_CHAIN},
};
use crate::{
    HostPort,
    links::Lease,
    nft::{Address, FibAddress, Rule, Value, Verdict, concat},
};

/// What seldom changes while Coracle runs.
#[derive(Clone, Debug)]
pub struct Environment {
    pub pod_cidr: Ipv4Net,
    pub service_cidr: Ipv4Net,
    /// Further networks that Services have addresses of.
    pub more_services: Vec<Ipv4Net>,
    pub dns_ip: Ipv4Addr,
    /// The link that Services are routed to.
    pub bridge: String,
    /// The node's own address, if it is IPv4.
    pub node_ip: Option<Ipv4Addr>,
    /// TCP ports at which Coracle itself listens: they are never translated.
    pub own_ports: Vec<u16>,
}

/// An element of one of the table's maps.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    pub map: Map,
    pub bytes: Vec<u8>,
}

/// UDP clients of these addresses must be where `endpoints` are; flows to elsewhere are forgotten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UdpFront {
    pub addresses: BTreeSet<Ipv4Addr>,
    pub port: u16,
    pub node_port: Option<u16>,
    pub endpoints: BTreeSet<(Ipv4Addr, u16)>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    pub chains: BTreeMap<String, Vec<Rule>>,
    /// Sets of clients, with their timeout in seconds.
    pub affinity_sets: BTreeMap<String, u32>,
    pub elements: BTreeMap<Key, Value>,
    pub udp: Vec<UdpFront>,
}

const DEFAULT_AFFINITY_SECONDS: i32 = 10_800;
const LOCAL: &str = "Local";

/// Endpoints are asked for by port name and protocol.
pub fn plan_service(
    service: &Service,
    env: &Environment,
    endpoints: impl Fn(&str, &str) -> Endpoints,
) -> Plan {
    let mut plan = Plan::default();
    let Some(spec) = &service.spec else { return plan };
    let fronts = Fronts::of(service, spec);
    if spec.type_.as_deref() == Some("ExternalName") || fronts.cluster_ips.is_empty() {
        return plan;
    }
    for port in spec.ports.iter().flatten() {
        let protocol_name = port.protocol.as_deref().unwrap_or("TCP");
        let (Some(protocol), Ok(number)) = (protocol_number(protocol_name), u16::try_from(port.port)) else {
            continue;
        };
        let port_name = port.name.as_deref().unwrap_or_default();
        let Endpoints { usable, serving } = endpoints(port_name, protocol_name);
        let meta = &service.metadata;
        let label = format!(
            "{}/{}/{}/{number}",
            meta.namespace.as_deref().unwrap_or_default(),
            meta.name.as_deref().unwrap_or_default(),
            protocol_name.to_lowercase(),
        );
        let node_port = port.node_port.and_then(|port| u16::try_from(port).ok()).filter(|port| *port != 0);
        let fronts = &fronts;
        let context = PortPlan { env, spec, fronts, port, protocol, number, node_port, label, all: &usable };
        context.add_to(&mut plan);
        if i32::from(protocol) == libc::IPPROTO_UDP {
            plan.udp.push(context.udp_front(&serving));
        }
    }
    plan
}

/// The addresses a Service is reached at.
struct Fronts {
    cluster_ips: BTreeSet<Ipv4Addr>,
    external_ips: BTreeSet<Ipv4Addr>,
    load_balancer_ips: BTreeSet<Ipv4Addr>,
    source_ranges: Vec<Ipv4Net>,
}

impl Fronts {
    fn of(service: &Service, spec: &ServiceSpec) -> Fronts {
        let parse =
            |list: &Option<Vec<String>>| list.iter().flatten().filter_map(|ip| ip.parse().ok()).collect();
        let mut cluster_ips: BTreeSet<Ipv4Addr> = parse(&spec.cluster_ips);
        cluster_ips.extend(spec.cluster_ip.iter().filter_map(|ip| ip.parse::<Ipv4Addr>().ok()));
        let is_load_balancer = spec.type_.as_deref() == Some("LoadBalancer");
        let ingress = service
            .status
            .iter()
            .flat_map(|s| s.load_balancer.iter())
            .flat_map(|lb| lb.ingress.iter().flatten());
        Fronts {
            cluster_ips,
            external_ips: parse(&spec.external_ips),
            load_balancer_ips: ingress
                .filter(|ingress| is_load_balancer && ingress.ip_mode.as_deref() != Some("Proxy"))
                .filter_map(|ingress| ingress.ip.as_ref()?.parse().ok())
                .collect(),
            source_ranges: spec
                .load_balancer_source_ranges
                .iter()
                .flatten()
                .filter(|_| is_load_balancer)
                .filter_map(|range| range.trim().parse().ok())
                .collect(),
        }
    }
}

/// One port of one Service.
struct PortPlan<'a> {
    env: &'a Environment,
    spec: &'a ServiceSpec,
    fronts: &'a Fronts,
    port: &'a ServicePort,
    protocol: u8,
    number: u16,
    node_port: Option<u16>,
    label: String,
    all: &'a [Endpoint],
}

/// Where packets of one kind of front go.
#[derive(Clone)]
enum Way {
    Chain(String),
    /// The one endpoint there is. Needs no chain, which makes it cheap: the kernel checks all chains anew when one more is
    /// reached from a map.
    Target(Ipv4Addr, u16),
    Reject,
    /// There are endpoints, but none that the traffic policy allows.
    Drop,
}

impl PortPlan<'_> {
    fn add_to(&self, plan: &mut Plan) {
        let everyone = self.balance(plan, "svc", self.all, Vec::new());
        let local: Vec<Endpoint> = self.all.iter().copied().filter(|endpoint| endpoint.local).collect();
        let all_local = local.len() == self.all.len();

        let internal = match self.spec.internal_traffic_policy.as_deref() {
            Some(LOCAL) if !all_local => self.balance(plan, "int", &local, Vec::new()),
            _ => everyone.clone(),
        };
        let external = match self.spec.external_traffic_policy.as_deref() {
            // Pods and the node itself are not outside: they keep all endpoints.
            Some(LOCAL) if !all_local => {
                let inside = vec![
                    everyone.finish(Rule::ipv4().address(Address::Source, true, self.env.pod_cidr)),
                    everyone.finish(Rule::ipv4().local(FibAddress::Source)),
                ];
                self.balance(plan, "ext", &local, inside)
            }
            _ => everyone.clone(),
        };
        let firewalled = self.firewall(plan, &external);

        for ip in &self.fronts.cluster_ips {
            // The node itself answers at the DNS address, unless somebody runs a DNS of their own.
            if *ip != self.env.dns_ip || internal.is_open() {
                self.front(plan, Map::ServiceIps, Map::NoEndpoints, Some(*ip), self.number, &internal);
            }
        }
        for ip in &self.fronts.external_ips {
            self.front(plan, Map::ServiceIps, Map::NoEndpoints, Some(*ip), self.number, &external);
        }
        for ip in &self.fronts.load_balancer_ips {
            self.front(plan, Map::ServiceIps, Map::NoEndpoints, Some(*ip), self.number, &firewalled);
        }
        if let Some(node_port) = self.node_port {
            self.front(plan, Map::NodePorts, Map::NoEndpointNodePorts, None, node_port, &external);
        }
        for endpoint in self.all.iter().filter(|endpoint| !self.is_here(endpoint)) {
            let key = key(Map::RemoteEndpoints, Some(endpoint.address), self.protocol, endpoint.port);
            plan.elements.insert(key, Value::None);
        }
    }

    /// A chain that sends to one of `endpoints`, after `before`.
    fn balance(&self, plan: &mut Plan, prefix: &str, endpoints: &[Endpoint], before: Vec<Rule>) -> Way {
        if self.all.is_empty() {
            return Way::Reject;
        }
        if endpoints.is_empty() && before.is_empty() {
            return Way::Drop;
        }
        let is_sticky = self.spec.session_affinity.as_deref() == Some("ClientIP");
        if let ([endpoint], true, false) = (endpoints, before.is_empty(), is_sticky) {
            return Way::Target(endpoint.address, endpoint.port);
        }
        let mut rules = before;
        if endpoints.is_empty() {
            rules.push(Rule::any().drop());
        } else if is_sticky {
            rules.extend(self.with_affinity(plan, endpoints));
        } else {
            let targets: Vec<_> =
                endpoints.iter().map(|endpoint| (endpoint.address, endpoint.port)).collect();
            rules.push(Rule::any().dnat_to_random(&targets));
        }
        let name = self.chain_name(prefix);
        plan.chains.insert(name.clone(), rules);
        Way::Chain(name)
    }

    /// Each endpoint remembers its clients. Endpoints that go take their clients with them, the others keep theirs.
    fn with_affinity(&self, plan: &mut Plan, endpoints: &[Endpoint]) -> Vec<Rule> {
        let config = self.spec.session_affinity_config.as_ref().and_then(|config| config.client_ip.as_ref());
        let seconds =
            config.and_then(|client_ip| client_ip.timeout_seconds).unwrap_or(DEFAULT_AFFINITY_SECONDS);
        let seconds = u32::try_from(seconds).unwrap_or(1).max(1);
        let set = |endpoint: &Endpoint| {
            self.chain_name(&format!("affinity-{:x}-{:x}", endpoint.address.to_bits(), endpoint.port))
        };
        let mut rules = Vec::with_capacity(endpoints.len() * 2);
        for endpoint in endpoints {
            let name = set(endpoint);
            let known = Rule::ipv4().load_source().loaded_is_in(&name).remember_loaded(&name);
            rules.push(known.dnat(endpoint.address, endpoint.port));
            plan.affinity_sets.insert(name, seconds);
        }
        for (index, endpoint) in endpoints.iter().enumerate() {
            let chosen = Rule::ipv4().one_in((endpoints.len() - index) as u32).load_source();
            rules.push(chosen.remember_loaded(&set(endpoint)).dnat(endpoint.address, endpoint.port));
        }
        rules
    }

    /// `loadBalancerSourceRanges`
    fn firewall(&self, plan: &mut Plan, to: &Way) -> Way {
        if self.fronts.source_ranges.is_empty() || matches!(to, Way::Reject | Way::Drop) {
            return to.clone();
        }
        let mut rules: Vec<Rule> = self
            .fronts
            .source_ranges
            .iter()
            .map(|range| match range.prefix_len() {
                0 => to.finish(Rule::any()),
                _ => to.finish(Rule::ipv4().address(Address::Source, true, *range)),
            })
            .collect();
        rules.push(Rule::any().drop());
        let name = self.chain_name("fw");
        plan.chains.insert(name.clone(), rules);
        Way::Chain(name)
    }

    fn front(&self, plan: &mut Plan, open: Map, closed: Map, ip: Option<Ipv4Addr>, port: u16, way: &Way) {
        if self.is_own(ip, port) {
            return;
        }
        let (map, value) = match way {
            Way::Chain(chain) => (open, Value::Verdict(Verdict::Goto(chain.clone()))),
            Way::Target(address, port) => (open.of_targets(), Value::Target(*address, *port)),
            Way::Reject => (closed, Value::Verdict(Verdict::Goto(REJECT_CHAIN.to_owned()))),
            Way::Drop => (closed, Value::Verdict(Verdict::Drop)),
        };
        plan.elements.entry(key(map, ip, self.protocol, port)).or_insert(value);
    }

    /// A Service there would shut everybody out of the API or the ingress.
    fn is_own(&self, ip: Option<Ipv4Addr>, port: u16) -> bool {
        i32::from(self.protocol) == libc::IPPROTO_TCP
            && (ip.is_none() || ip == self.env.node_ip)
            && self.env.own_ports.contains(&port)
    }

    fn is_here(&self, endpoint: &Endpoint) -> bool {
        self.env.pod_cidr.contains(&endpoint.address) || self.env.node_ip == Some(endpoint.address)
    }

    /// A client stays with an endpoint that still serves, whoever else has become ready.
    fn udp_front(&self, serving: &[Endpoint]) -> UdpFront {
        let Fronts { cluster_ips, external_ips, load_balancer_ips, .. } = self.fronts;
        UdpFront {
            addresses: [cluster_ips, external_ips, load_balancer_ips]
                .into_iter()
                .flatten()
                .copied()
                .collect(),
            port: self.number,
            node_port: self.node_port,
            endpoints: serving.iter().map(|endpoint| (endpoint.address, endpoint.port)).collect(),
        }
    }

    /// Unique by a hash, readable by the rest; the kernel takes 127 bytes.
    fn chain_name(&self, prefix: &str) -> String {
        let identity = format!("{}/{}", self.label, self.port.name.as_deref().unwrap_or_default());
        let mut name = format!("{prefix}-{:08x}-{}", fnv1a(identity.as_bytes()), self.label);
        name.truncate(120);
        name
    }
}

impl Way {
    /// The end of a rule for packets that go this way.
    fn finish(&self, rule: Rule) -> Rule {
        match self {
            Way::Chain(chain) => rule.goto(chain),
            Way::Target(address, port) => rule.dnat(*address, *port),
            Way::Reject | Way::Drop => rule.drop(),
        }
    }

    fn is_open(&self) -> bool {
        matches!(self, Way::Chain(_) | Way::Target(..))
    }
}

/// Host ports, and the way of a pod to itself.
pub fn plan_pod(lease: &Lease) -> Plan {
    let mut plan = Plan::default();
    let mut hairpin = lease.address.octets().to_vec();
    concat(&mut hairpin, &lease.address.octets());
    plan.elements.insert(Key { map: Map::Hairpin, bytes: hairpin }, Value::None);
    for HostPort { host_ip, host_port, container_port, protocol } in &lease.host_ports {
        let Some(protocol) = protocol_number(protocol) else { continue };
        let at = host_ip.filter(|ip| !ip.is_unspecified());
        let map = if at.is_some() { Map::HostPortsAt } else { Map::HostPorts };
        let target = Value::Target(lease.address, *container_port);
        plan.elements.insert(key(map, at, protocol, *host_port), target);
        if i32::from(protocol) == libc::IPPROTO_UDP {
            plan.udp.push(UdpFront {
                addresses: at.into_iter().collect(),
                port: *host_port,
                node_port: at.is_none().then_some(*host_port),
                endpoints: BTreeSet::from([(lease.address, *container_port)]),
            });
        }
    }
    plan
}

fn key(map: Map, ip: Option<Ipv4Addr>, protocol: u8, port: u16) -> Key {
    let mut bytes = Vec::with_capacity(12);
    if let Some(ip) = ip {
        concat(&mut bytes, &ip.octets());
    }
    concat(&mut bytes, &[protocol]);
    concat(&mut bytes, &port.to_be_bytes());
    Key { map, bytes }
}

fn protocol_number(name: &str) -> Option<u8> {
    let number = match name {
        "TCP" => libc::IPPROTO_TCP,
        "UDP" => libc::IPPROTO_UDP,
        "SCTP" => libc::IPPROTO_SCTP,
        _ => return None,
    };
    u8::try_from(number).ok()
}

/// http://www.isthe.com/chongo/tech/comp/fnv/
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
