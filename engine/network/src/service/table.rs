//! The fixed part of the table `inet coracle`: its maps, its base chains and their few rules. What changes with Services
//! and pods is in elements and chains of their own (`plan.rs`).
//!
//! Invariant: what is addressed to the service network is translated, answered by the node (the DNS address) or
//!            rejected; nothing of it leaves the machine.

use ipnet::Ipv4Net;

use super::plan::Environment;
use crate::{
    links::{self, POD_LINKS_GROUP},
    nft::{Address, BaseChain, FibAddress, Hook, Kind, Rule, SetSpec, Transaction, Type},
};

/// The maps and sets whose elements come and go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Map {
    /// Address, protocol, port of a Service with one endpoint → that endpoint.
    ServiceTargets,
    /// Address, protocol, port → chain of the Service.
    ServiceIps,
    /// Protocol, port of any address of the node → the one endpoint.
    NodePortTargets,
    /// Protocol, port of any address of the node → chain of the Service.
    NodePorts,
    /// Address, protocol, port of a Service that has nobody to answer → reject or drop.
    NoEndpoints,
    NoEndpointNodePorts,
    HostPorts,
    /// With the address that the pod asks for.
    HostPortsAt,
    /// Pairs of a pod's address with itself.
    Hairpin,
    /// Endpoints outside this machine: their answers must come back through us.
    RemoteEndpoints,
}

const IP_PORT: &[Type] = &[Type::Ipv4, Type::Protocol, Type::Port];
const PORT: &[Type] = &[Type::Protocol, Type::Port];

impl Map {
    const ALL: [Map; 10] = [
        Map::ServiceTargets,
        Map::NodePortTargets,
        Map::ServiceIps,
        Map::NodePorts,
        Map::NoEndpoints,
        Map::NoEndpointNodePorts,
        Map::HostPorts,
        Map::HostPortsAt,
        Map::Hairpin,
        Map::RemoteEndpoints,
    ];

    pub fn name(self) -> &'static str {
        self.spec().name
    }

    /// The map for the same fronts with a single endpoint.
    pub fn of_targets(self) -> Map {
        match self {
            Map::ServiceIps => Map::ServiceTargets,
            Map::NodePorts => Map::NodePortTargets,
            other => other,
        }
    }

    fn spec(self) -> SetSpec<'static> {
        let (name, key, kind) = match self {
            Map::ServiceTargets => ("service-targets", IP_PORT, Kind::TargetMap),
            Map::NodePortTargets => ("node-port-targets", PORT, Kind::TargetMap),
            Map::ServiceIps => ("service-ips", IP_PORT, Kind::VerdictMap),
            Map::NodePorts => ("service-node-ports", PORT, Kind::VerdictMap),
            Map::NoEndpoints => ("no-endpoint-services", IP_PORT, Kind::VerdictMap),
            Map::NoEndpointNodePorts => ("no-endpoint-node-ports", PORT, Kind::VerdictMap),
            Map::HostPorts => ("host-ports", PORT, Kind::TargetMap),
            Map::HostPortsAt => ("host-ports-at", IP_PORT, Kind::TargetMap),
            Map::Hairpin => ("hairpin", &[Type::Ipv4, Type::Ipv4][..], Kind::Set),
            Map::RemoteEndpoints => ("remote-endpoints", IP_PORT, Kind::Set),
        };
        SetSpec { name, key, kind, timeout_seconds: None }
    }
}

/// Answers "connection refused" at once.
pub const REJECT_CHAIN: &str = "reject";
const SERVICES_CHAIN: &str = "services";
const REFUSALS_CHAIN: &str = "refusals";

const DSTNAT: i32 = -100;
const SRCNAT: i32 = 100;
const RAW: i32 = -300;
const FILTER: i32 = 0;

const PREROUTING: BaseChain =
    BaseChain { name: "prerouting", kind: "nat", hook: Hook::Prerouting, priority: DSTNAT };
const NAT_OUTPUT: BaseChain =
    BaseChain { name: "nat-output", kind: "nat", hook: Hook::Output, priority: DSTNAT };
const POSTROUTING: BaseChain =
    BaseChain { name: "postrouting", kind: "nat", hook: Hook::Postrouting, priority: SRCNAT };
const ANTI_SPOOF: BaseChain =
    BaseChain { name: "anti-spoof", kind: "filter", hook: Hook::Prerouting, priority: RAW };
const FORWARD: BaseChain =
    BaseChain { name: "forward", kind: "filter", hook: Hook::Forward, priority: FILTER };
const INPUT: BaseChain = BaseChain { name: "input", kind: "filter", hook: Hook::Input, priority: FILTER };
const OUTPUT: BaseChain = BaseChain { name: "output", kind: "filter", hook: Hook::Output, priority: FILTER };

/// Replaces whatever the table holds by its fixed part, within the caller's transaction.
pub fn recreate(t: &mut Transaction<'_>, env: &Environment) {
    // Creating first makes deleting valid.
    t.add_table();
    t.delete_table();
    t.add_table();
    for map in Map::ALL {
        t.add_set(&map.spec());
    }
    for chain in [REJECT_CHAIN, SERVICES_CHAIN, REFUSALS_CHAIN] {
        t.add_chain(chain);
    }
    for chain in [&PREROUTING, &NAT_OUTPUT, &POSTROUTING, &ANTI_SPOOF, &FORWARD, &INPUT, &OUTPUT] {
        t.add_base_chain(chain);
    }
    let more = env.more_services.iter().map(|network| {
        (REFUSALS_CHAIN, Rule::ipv4().address(Address::Destination, true, *network).goto(REJECT_CHAIN))
    });
    for (chain, rule) in rules(env).into_iter().chain(more) {
        t.add_rule(chain, &rule);
    }
}

fn rules(env: &Environment) -> Vec<(&'static str, Rule)> {
    // Links of pods have no address of their own on the node.
    let gateway = links::bridge::gateway(env.pod_cidr);
    let loopback = Ipv4Net::new_assert([127, 0, 0, 0].into(), 8);
    let to = Address::Destination;
    let to_node = || Rule::ipv4().local(FibAddress::Destination);
    // On 127.0.0.1 too, as in kube-proxy's iptables mode: it is what people try first.
    let to_node_port = || to_node().load_port();
    let to_service = || Rule::ipv4().load_address_and_port();
    vec![
        (PREROUTING.name, Rule::any().jump(SERVICES_CHAIN)),
        (NAT_OUTPUT.name, Rule::any().jump(SERVICES_CHAIN)),
        (SERVICES_CHAIN, to_service().dnat_to_loaded_in(Map::ServiceTargets.name())),
        (SERVICES_CHAIN, to_service().verdict_of_loaded(Map::ServiceIps.name())),
        (SERVICES_CHAIN, to_node_port().dnat_to_loaded_in(Map::NodePortTargets.name())),
        (SERVICES_CHAIN, to_node_port().verdict_of_loaded(Map::NodePorts.name())),
        (SERVICES_CHAIN, to_service().dnat_to_loaded_in(Map::HostPortsAt.name())),
        (SERVICES_CHAIN, to_node().load_port().dnat_to_loaded_in(Map::HostPorts.name())),
        // A pod that reaches itself through a Service must not see its own address as the client's.
        (POSTROUTING.name, Rule::ipv4().load_addresses().loaded_is_in(Map::Hairpin.name()).snat(gateway)),
        (POSTROUTING.name, to_pod().address(Address::Source, true, loopback).snat(gateway)),
        (
            POSTROUTING.name,
            Rule::ipv4()
                .connection_has_dnat()
                .load_address_and_port()
                .loaded_is_in(Map::RemoteEndpoints.name())
                .masquerade(),
        ),
        (
            POSTROUTING.name,
            Rule::ipv4()
                .address(Address::Source, true, env.pod_cidr)
                .address(to, false, env.pod_cidr)
                .not_to_interface("lo")
                .masquerade(),
        ),
        // `route_localnet` is on for pods' links, so that host ports work on 127.0.0.1: pods must not reach it.
        (ANTI_SPOOF.name, from_pod().address(to, true, loopback).drop()),
        (ANTI_SPOOF.name, from_pod().address(Address::Source, true, loopback).drop()),
        (FORWARD.name, from_pod().connection_is_invalid().drop()),
        (FORWARD.name, Rule::any().jump(REFUSALS_CHAIN)),
        (INPUT.name, Rule::any().jump(REFUSALS_CHAIN)),
        // A pod that reaches itself through a Service comes in and goes out by one link, and that is right.
        (OUTPUT.name, to_pod().icmp_redirect().drop()),
        (OUTPUT.name, Rule::any().jump(REFUSALS_CHAIN)),
        (REFUSALS_CHAIN, to_service().verdict_of_loaded(Map::NoEndpoints.name())),
        (REFUSALS_CHAIN, to_node_port().verdict_of_loaded(Map::NoEndpointNodePorts.name())),
        (
            REFUSALS_CHAIN,
            Rule::ipv4()
                .address(to, true, env.service_cidr)
                .address(to, false, Ipv4Net::from(env.dns_ip))
                .goto(REJECT_CHAIN),
        ),
        (REJECT_CHAIN, Rule::any().reject_with_tcp_reset()),
        (REJECT_CHAIN, Rule::any().reject_with_port_unreachable()),
    ]
}

fn from_pod() -> Rule {
    Rule::ipv4().comes_from_group(POD_LINKS_GROUP)
}

fn to_pod() -> Rule {
    Rule::ipv4().goes_to_group(POD_LINKS_GROUP)
}
