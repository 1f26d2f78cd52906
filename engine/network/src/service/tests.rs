//! Plans, without a kernel.

use std::net::Ipv4Addr;

use k8s_openapi::api::core::v1::Service;
use serde_json::{Value, json};

use super::{Endpoint, Endpoints, Environment, Plan, endpoints_of, plan::Key, plan_service};
use crate::nft::{Value as Element, Verdict};

fn environment() -> Environment {
    Environment {
        pod_cidr: "10.42.0.0/16".parse().unwrap(),
        service_cidr: "10.43.0.0/16".parse().unwrap(),
        more_services: Vec::new(),
        bridge: "coracle0".into(),
        dns_ip: "10.43.0.10".parse().unwrap(),
        node_ip: Some("192.0.2.1".parse().unwrap()),
        own_ports: vec![80, 6443],
    }
}

/// `10.42.0.2:80` is on this node, with a `!` it is not.
fn endpoint(text: &str) -> Endpoint {
    let (address, port) = text.trim_end_matches('!').split_once(':').unwrap();
    Endpoint { address: address.parse().unwrap(), port: port.parse().unwrap(), local: !text.ends_with('!') }
}

fn plan(spec: Value, endpoints: &[&str]) -> Plan {
    let mut spec = spec;
    spec["ports"] = json!([{"port": 80, "protocol": "TCP", "nodePort": spec["nodePort"].as_i64()}]);
    spec.as_object_mut().unwrap().remove("nodePort");
    let service =
        serde_json::from_value(json!({"metadata": {"name": "web", "namespace": "default"}, "spec": spec}));
    plan_service(&service.unwrap(), &environment(), |_, _| {
        serving(endpoints.iter().map(|text| endpoint(text)).collect())
    })
}

fn serving(usable: Vec<Endpoint>) -> Endpoints {
    Endpoints { serving: usable.clone(), usable }
}

/// `map: what`, for each element.
fn elements(plan: &Plan) -> Vec<String> {
    let text = |(key, value): (&Key, &Element)| {
        let value = match value {
            Element::None => String::new(),
            Element::Target(address, port) => format!(" {address}:{port}"),
            Element::Verdict(Verdict::Goto(chain)) => format!(" {}", chain.split('-').next().unwrap()),
            Element::Verdict(verdict) => format!(" {verdict:?}"),
        };
        format!("{}:{value}", key.map.name())
    };
    plan.elements.iter().map(text).collect()
}

#[test]
fn own_ports_are_never_translated() {
    let endpoints = &["10.42.0.2:80"];
    for (spec, expected) in [
        (json!({"nodePort": 6443}), &[][..]),
        (json!({"externalIPs": ["192.0.2.1"]}), &[]),
        (json!({"nodePort": 30443}), &["node-port-targets: 10.42.0.2:80"]),
        (json!({"externalIPs": ["192.0.2.7"]}), &["service-targets: 10.42.0.2:80"]),
    ] {
        let mut all = vec!["service-targets: 10.42.0.2:80"];
        all.extend(expected);
        all.sort_unstable();
        let mut service = spec.clone();
        service["clusterIP"] = json!("10.43.0.80");
        let mut found = elements(&plan(service, endpoints));
        found.sort_unstable();
        assert_eq!(found, all, "{spec}");
    }
}

#[test]
fn each_kind_of_service_has_its_elements() {
    let vip = "10.43.0.80";
    for (spec, endpoints, expected) in [
        (json!({"clusterIP": "None"}), &["10.42.0.2:80"][..], &[][..]),
        (json!({"type": "ExternalName", "externalName": "x"}), &[], &[]),
        (json!({"clusterIP": vip}), &["10.42.0.2:80"], &["service-targets: 10.42.0.2:80"]),
        (json!({"clusterIP": vip}), &["10.42.0.2:80", "10.42.0.3:80"], &["service-ips: svc"]),
        (json!({"clusterIP": vip}), &[], &["no-endpoint-services: reject"]),
        (
            json!({"clusterIP": vip}),
            &["203.0.113.9:80!"],
            &["service-targets: 203.0.113.9:80", "remote-endpoints:"],
        ),
        (json!({"clusterIP": vip, "sessionAffinity": "ClientIP"}), &["10.42.0.2:80"], &["service-ips: svc"]),
        (
            json!({"clusterIP": vip, "internalTrafficPolicy": "Local"}),
            &["203.0.113.9:80!"],
            &["no-endpoint-services: Drop", "remote-endpoints:"],
        ),
        (
            json!({"clusterIP": vip, "type": "NodePort", "nodePort": 30080, "externalTrafficPolicy": "Local"}),
            &["10.42.0.2:80", "203.0.113.9:80!"],
            &["service-ips: svc", "service-node-ports: ext", "remote-endpoints:"],
        ),
        (
            json!({"clusterIP": vip, "type": "NodePort", "nodePort": 30080}),
            &[],
            &["no-endpoint-services: reject", "no-endpoint-node-ports: reject"],
        ),
        (json!({"clusterIP": "10.43.0.10"}), &[], &[]),
        (json!({"clusterIP": "10.43.0.10"}), &["10.42.0.2:53"], &["service-targets: 10.42.0.2:53"]),
    ] {
        assert_eq!(elements(&plan(spec.clone(), endpoints)), expected, "{spec} {endpoints:?}");
    }
}

#[test]
fn chain_names_fit_the_kernel_and_differ_by_port_and_service() {
    let long = "x".repeat(63);
    let service = serde_json::from_value(json!({
        "metadata": {"name": long, "namespace": long},
        "spec": {"clusterIP": "10.43.0.80", "ports": [{"name": "a", "port": 80}, {"name": "b", "port": 81}]},
    }));
    let pods = || serving(vec![endpoint("10.42.0.2:80"), endpoint("10.42.0.3:80")]);
    let plan = plan_service(&service.unwrap(), &environment(), |_, _| pods());
    assert_eq!(plan.chains.len(), 2);
    assert!(plan.chains.keys().all(|name| name.len() < 128));
}

#[test]
fn endpoints_that_terminate_take_new_flows_only_when_none_is_ready_and_keep_theirs() {
    let slice = |conditions: [Value; 3]| {
        let endpoint = |(number, conditions): (usize, &Value)| json!({"addresses": [format!("10.42.0.{number}")], "conditions": conditions});
        let endpoints: Vec<Value> = conditions.iter().enumerate().map(endpoint).collect();
        serde_json::from_value(json!({
            "metadata": {"name": "s"}, "addressType": "IPv4",
            "ports": [{"name": "", "port": 53, "protocol": "UDP"}], "endpoints": endpoints,
        }))
        .unwrap()
    };
    let ready = json!({"ready": true});
    let draining = json!({"ready": false, "serving": true, "terminating": true});
    let starting = json!({"ready": false, "serving": false});
    let service: Service = serde_json::from_value(json!({
        "metadata": {"name": "dns", "namespace": "default"},
        "spec": {"clusterIP": "10.43.0.53", "ports": [{"port": 53, "protocol": "UDP"}]},
    }))
    .unwrap();
    for (conditions, new, kept) in [
        ([ready.clone(), draining.clone(), starting.clone()], "0", "0 1"),
        ([starting.clone(), draining.clone(), starting.clone()], "1", "1"),
        ([starting.clone(), starting.clone(), starting], "", ""),
        ([json!({}), ready, draining], "0 1", "0 1 2"),
    ] {
        let slice = slice(conditions);
        let of = |name: &str, protocol: &str| endpoints_of([&slice].into_iter(), name, protocol);
        let hosts = |addresses: &mut dyn Iterator<Item = Ipv4Addr>| {
            addresses.map(|address| address.octets()[3].to_string()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(hosts(&mut of("", "UDP").usable.iter().map(|endpoint| endpoint.address)), new);
        let plan = plan_service(&service, &environment(), of);
        assert_eq!(hosts(&mut plan.udp[0].endpoints.iter().map(|(address, _)| *address)), kept);
    }
}
