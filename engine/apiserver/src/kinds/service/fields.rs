//! The fields of a Service that follow from its type and from each other.
//!
//! Source: https://github.com/kubernetes/kubernetes/blob/master/pkg/registry/core/service/strategy.go and
//! https://github.com/kubernetes/kubernetes/blob/master/pkg/apis/core/v1/defaults.go (`SetDefaults_Service`)

use serde_json::{Value, json};

use crate::{
    kinds::checks::{items, text},
    object::{remove, strings},
};

const AFFINITY_SECONDS: i64 = 10800;

pub fn kind(service: &Value) -> &str {
    service["spec"]["type"].as_str().unwrap_or("ClusterIP")
}

pub fn needs_cluster_ip(service: &Value) -> bool {
    matches!(kind(service), "ClusterIP" | "NodePort" | "LoadBalancer")
}

pub fn may_have_node_ports(service: &Value) -> bool {
    matches!(kind(service), "NodePort" | "LoadBalancer")
}

/// Whether those that it does not name are chosen for it.
pub fn needs_node_ports(service: &Value) -> bool {
    match kind(service) {
        "NodePort" => true,
        "LoadBalancer" => service["spec"]["allocateLoadBalancerNodePorts"].as_bool().unwrap_or(true),
        _ => false,
    }
}

pub fn is_headless(service: &Value) -> bool {
    service["spec"]["clusterIP"] == "None"
}

/// Whether something outside of the cluster reaches it.
pub fn is_external(service: &Value) -> bool {
    let by_address = || service["spec"]["externalIPs"].as_array().is_some_and(|own| !own.is_empty());
    match kind(service) {
        "NodePort" | "LoadBalancer" => true,
        "ClusterIP" => by_address(),
        _ => false,
    }
}

pub fn needs_health_port(service: &Value) -> bool {
    kind(service) == "LoadBalancer" && service["spec"]["externalTrafficPolicy"] == "Local"
}

fn fill(slot: &mut Value, value: Value) {
    if slot.is_null() {
        *slot = value;
    }
}

/// Brings `clusterIP` and `clusterIPs` together and fills in what depends on the type.
pub fn normalize(service: &mut Value) {
    let needs_ip = needs_cluster_ip(service);
    let (is_external, is_balancer) = (is_external(service), kind(service) == "LoadBalancer");
    let spec = &mut service["spec"];
    fill(&mut spec["type"], "ClusterIP".into());
    fill(&mut spec["sessionAffinity"], "None".into());
    for port in ports_mut(spec) {
        fill(&mut port["protocol"], "TCP".into());
        if port["targetPort"].is_null() || port["targetPort"] == 0 || port["targetPort"] == "" {
            port["targetPort"] = port["port"].clone();
        }
    }
    if spec["sessionAffinity"] == "None" {
        remove(spec, "sessionAffinityConfig");
    }
    if !needs_ip {
        return;
    }
    let single = spec["clusterIP"].as_str().unwrap_or_default().to_owned();
    let first = strings(&spec["clusterIPs"]).first().map(|ip| (*ip).to_owned());
    match first {
        None if !single.is_empty() => spec["clusterIPs"] = json!([single]),
        Some(first) if single.is_empty() => spec["clusterIP"] = first.into(),
        _ => {}
    }
    fill(&mut spec["internalTrafficPolicy"], "Cluster".into());
    if spec["sessionAffinity"] == "ClientIP"
        && spec["sessionAffinityConfig"]["clientIP"]["timeoutSeconds"].is_null()
    {
        spec["sessionAffinityConfig"] = json!({"clientIP": {"timeoutSeconds": AFFINITY_SECONDS}});
    }
    if is_external {
        fill(&mut spec["externalTrafficPolicy"], "Cluster".into());
    }
    if is_balancer {
        fill(&mut spec["allocateLoadBalancerNodePorts"], true.into());
    }
}

/// This cluster has one address family. A headless Service without selector may name both.
pub fn families(service: &mut Value) {
    if !needs_cluster_ip(service) {
        return;
    }
    let headless = is_headless(service);
    let spec = &mut service["spec"];
    let own_endpoints = spec["selector"].as_object().is_none_or(|selector| selector.is_empty());
    fill(&mut spec["ipFamilies"], json!(["IPv4"]));
    if headless && own_endpoints {
        let both = strings(&spec["ipFamilies"]).len() < 2 && spec["ipFamilyPolicy"] != "SingleStack";
        if both {
            let other = if spec["ipFamilies"][0] == "IPv4" { "IPv6" } else { "IPv4" };
            spec["ipFamilies"] = json!([spec["ipFamilies"][0], other]);
        }
        fill(&mut spec["ipFamilyPolicy"], "RequireDualStack".into());
    }
    fill(&mut spec["ipFamilyPolicy"], "SingleStack".into());
}

/// An update that leaves out what the server chose keeps it.
pub fn carry_over(service: &mut Value, old: &Value) {
    let spec_is_empty = |field: &str, service: &Value| match &service["spec"][field] {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    };
    if needs_cluster_ip(old) && needs_cluster_ip(service) {
        for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
            let pair_is_empty = spec_is_empty(field, service)
                && (!field.starts_with("clusterIP")
                    || (spec_is_empty("clusterIP", service) || spec_is_empty("clusterIPs", service)));
            if pair_is_empty && !old["spec"][field].is_null() {
                service["spec"][field] = old["spec"][field].clone();
            }
        }
        // Only one of the two was given: the other follows it.
        if service["spec"]["clusterIP"] != service["spec"]["clusterIPs"][0] {
            let given = service["spec"]["clusterIP"].clone();
            if given != old["spec"]["clusterIP"] {
                service["spec"]["clusterIPs"] = json!([given]);
            }
        }
    }
    if may_have_node_ports(old) && needs_node_ports(service) {
        carry_over_node_ports(service, old);
    }
    let health = &old["spec"]["healthCheckNodePort"];
    let is_open = service["spec"]["healthCheckNodePort"].as_u64().unwrap_or_default() == 0;
    if needs_health_port(old) && needs_health_port(service) && is_open && !health.is_null() {
        service["spec"]["healthCheckNodePort"] = health.clone();
    }
}

/// A port is known by its name: whatever else of it changes, it keeps its node port, unless that is named for another.
fn carry_over_node_ports(service: &mut Value, old: &Value) {
    // What is no port is not open: it is refused.
    let node_port = |port: &Value| port["nodePort"].as_i64().filter(|number| *number != 0);
    let named: Vec<i64> = ports(service).iter().filter_map(node_port).collect();
    let mine = |name: &Value| {
        let same = ports(old).iter().find(|before| text(&before["name"]) == text(name));
        same.and_then(node_port).filter(|kept| !named.contains(kept))
    };
    for port in ports_mut(&mut service["spec"]) {
        if let (None, Some(kept)) = (node_port(port), mine(&port["name"])) {
            port["nodePort"] = kept.into();
        }
    }
}

fn ports(service: &Value) -> &[Value] {
    items(&service["spec"]["ports"])
}

/// Does not make a list where there is none.
fn ports_mut(spec: &mut Value) -> impl Iterator<Item = &mut Value> {
    spec.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten()
}

/// A change of type lets go of what the old type needed, unless the user sets it himself.
pub fn drop_unneeded(service: &mut Value, old: &Value) {
    let needs_ip = needs_cluster_ip(service);
    let is_balancer = kind(service) == "LoadBalancer";
    let drop_same = |service: &mut Value, field: &str| {
        if service["spec"][field] == old["spec"][field] {
            remove(&mut service["spec"], field);
        }
    };
    if needs_cluster_ip(old) && !needs_ip {
        for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy"] {
            drop_same(service, field);
        }
    }
    if may_have_node_ports(old) && !may_have_node_ports(service) {
        for port in ports_mut(&mut service["spec"]) {
            remove(port, "nodePort");
        }
    }
    if is_external(old) && !is_external(service) {
        drop_same(service, "externalTrafficPolicy");
    }
    if kind(old) == "LoadBalancer" && !is_balancer {
        for field in ["allocateLoadBalancerNodePorts", "loadBalancerClass", "healthCheckNodePort"] {
            drop_same(service, field);
        }
        service["status"]["loadBalancer"] = json!({});
    }
    if !needs_health_port(service) {
        drop_same(service, "healthCheckNodePort");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_update_that_leaves_node_ports_open_keeps_those_of_the_same_names() {
        for (before, after, expected) in [
            // Another port of the same name; two that share a number; a new one.
            (json!([{"port": 80, "nodePort": 30001}]), json!([{"port": 81}]), json!([30001])),
            (
                json!([{"name": "a", "port": 80, "nodePort": 30001}]),
                json!([{"name": "b", "port": 80}, {"name": "a", "port": 90, "protocol": "UDP"}]),
                json!([null, 30001]),
            ),
            (
                json!([{"name": "t", "port": 53, "nodePort": 30001}, {"name": "u", "port": 53, "nodePort": 30001}]),
                json!([{"name": "u", "port": 53}, {"name": "t", "port": 53}]),
                json!([30001, 30001]),
            ),
            (json!([{"port": 80, "nodePort": 30001}]), json!([{"port": 80, "nodePort": -1}]), json!([-1])),
            // Named for another.
            (
                json!([{"name": "a", "port": 80, "nodePort": 30001}]),
                json!([{"name": "b", "port": 80, "nodePort": 30001}, {"name": "a", "port": 90}]),
                json!([30001, null]),
            ),
        ] {
            let old = json!({"spec": {"type": "NodePort", "ports": before}});
            let mut new = json!({"spec": {"type": "NodePort", "ports": after}});
            carry_over(&mut new, &old);
            let found: Vec<&Value> = ports(&new).iter().map(|port| &port["nodePort"]).collect();
            assert_eq!(json!(found), expected, "{after}");
        }
    }

    #[test]
    fn a_balancer_keeps_its_health_port_also_without_node_ports() {
        let spec = |more: Value| {
            let mut spec = json!({"type": "LoadBalancer", "externalTrafficPolicy": "Local", "allocateLoadBalancerNodePorts": false});
            spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            json!({"spec": spec})
        };
        let mut new = spec(json!({}));
        carry_over(&mut new, &spec(json!({"healthCheckNodePort": 30001})));
        assert_eq!(new["spec"]["healthCheckNodePort"], 30001);
    }
}
