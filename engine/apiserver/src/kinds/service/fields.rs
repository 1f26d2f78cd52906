//! The fields of a Service that follow from its type and from each other.
//!
//! Source: https://github.com/kubernetes/kubernetes/blob/master/pkg/registry/core/service/strategy.go and
//! https://github.com/kubernetes/kubernetes/blob/master/pkg/apis/core/v1/defaults.go (`SetDefaults_Service`)

use serde_json::{Value, json};

use crate::object::{remove, strings};

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
    for port in spec.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten() {
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
    if needs_node_ports(old) && needs_node_ports(service) {
        let before = old["spec"]["ports"].as_array().cloned().unwrap_or_default();
        let count = service["spec"]["ports"].as_array().map_or(0, Vec::len);
        for at in 0..count {
            let port = &service["spec"]["ports"][at];
            if port["nodePort"].as_u64().unwrap_or_default() != 0 {
                continue;
            }
            let same = before.iter().find(|other| {
                let protocol = |port: &Value| port["protocol"].as_str().unwrap_or("TCP").to_owned();
                other["port"] == port["port"] && protocol(other) == protocol(port)
            });
            let kept = same.map(|other| other["nodePort"].clone()).filter(|kept| !kept.is_null());
            let used = kept.as_ref().is_some_and(|kept| {
                service["spec"]["ports"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .any(|other| other["nodePort"] == *kept && other["protocol"] == port["protocol"])
            });
            if let Some(kept) = kept.filter(|_| !used) {
                service["spec"]["ports"][at]["nodePort"] = kept;
            }
        }
        let health = &old["spec"]["healthCheckNodePort"];
        if service["spec"]["healthCheckNodePort"].is_null() && !health.is_null() {
            service["spec"]["healthCheckNodePort"] = health.clone();
        }
    }
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
        for port in service["spec"]["ports"].as_array_mut().into_iter().flatten() {
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
