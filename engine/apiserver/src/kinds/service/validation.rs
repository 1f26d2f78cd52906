//! What a Service must look like.
//!
//! Source: https://github.com/kubernetes/kubernetes/blob/master/pkg/apis/core/validation/validation.go (`validateService`)

use serde_json::{Value, json};

use super::{
    super::{
        checks::{Causes, add, indexed, is_set, items, one_of, port_number, port_or_name, require, text},
        endpoints::PROTOCOLS,
        ip, network,
    },
    families,
    fields::{is_external, is_headless, kind, needs_cluster_ip, needs_health_port},
};
use crate::{
    metadata::{label_problems, qualified_name_problems, subdomain_problems, validate_labels},
    status::Cause,
};

const TYPES: [&str; 4] = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
const DISTRIBUTIONS: [&str; 3] = ["PreferClose", "PreferSameZone", "PreferSameNode"];
const AFFINITY_MAX_SECONDS: i64 = 86400;
const TOPOLOGY_MODE: &str = "service.kubernetes.io/topology-mode";
const TOPOLOGY_HINTS: &str = "service.kubernetes.io/topology-aware-hints";
const RANGES: &str = "service.beta.kubernetes.io/load-balancer-source-ranges";
const BALANCER_ONLY: &str = "may only be used when `type` is 'LoadBalancer'";

pub fn validate(service: &Value) -> Causes {
    let (spec, mut out) = (&service["spec"], Vec::new());
    let annotations = &service["metadata"]["annotations"];
    let (mode, hints) = (&annotations[TOPOLOGY_MODE], &annotations[TOPOLOGY_HINTS]);
    if mode.is_string() && hints.is_string() && mode != hints {
        let why = format!("must match annotations[{TOPOLOGY_HINTS}] when both are specified");
        out.push(Cause::invalid(format!("metadata.annotations[{TOPOLOGY_MODE}]"), mode.clone(), &why));
    }
    if items(&spec["ports"]).is_empty() && !is_headless(service) && kind(service) != "ExternalName" {
        out.push(Cause::required("spec.ports", ""));
    }
    match kind(service) {
        own @ ("LoadBalancer" | "NodePort") if is_headless(service) => {
            let why = format!("may not be set to 'None' for {own} services");
            out.push(Cause::invalid("spec.clusterIPs[0]", "None", &why));
        }
        "ExternalName" => external_name(&mut out, spec),
        _ => {}
    }
    ports(&mut out, &spec["ports"]);
    out.extend(validate_labels(&spec["selector"], "spec.selector"));
    affinity(&mut out, spec);
    out.extend(families::validate(service));
    for (at, own) in indexed(&spec["externalIPs"], "spec.externalIPs") {
        ip::endpoint(&mut out, text(own), &at);
    }
    one_of(&mut out, &spec["type"], "spec.type", &TYPES);
    port_duplicates(&mut out, service);
    source_ranges(&mut out, service);
    traffic(&mut out, service);
    out
}

fn external_name(out: &mut Causes, spec: &Value) {
    for field in ["clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
        // A single address counts as the first of several.
        if is_set(&spec[field]) || (field == "clusterIPs" && is_set(&spec["clusterIP"])) {
            out.push(Cause::forbidden(format!("spec.{field}"), "may not be set for ExternalName services"));
        }
    }
    let name = text(&spec["externalName"]);
    match name.strip_suffix('.').unwrap_or(name) {
        "" => out.push(Cause::required("spec.externalName", "")),
        name => add(out, "spec.externalName", name, subdomain_problems(name)),
    }
}

fn ports(out: &mut Causes, ports: &Value) {
    let all = items(ports);
    for (position, (at, port)) in indexed(ports, "spec.ports").enumerate() {
        let (name, name_at) = (text(&port["name"]), format!("{at}.name"));
        if name.is_empty() {
            if all.len() > 1 {
                out.push(Cause::required(name_at, ""));
            }
        } else {
            add(out, &name_at, name, label_problems(name));
            if all[..position].iter().any(|other| other["name"] == name) {
                out.push(Cause::duplicate(name_at, name));
            }
        }
        port_number(out, port["port"].as_i64().unwrap_or_default(), &format!("{at}.port"));
        one_of(out, &port["protocol"], &format!("{at}.protocol"), &PROTOCOLS);
        if !port["targetPort"].is_null() {
            port_or_name(out, &port["targetPort"], &format!("{at}.targetPort"));
        }
        if let Some(protocol) = port["appProtocol"].as_str() {
            add(out, &format!("{at}.appProtocol"), protocol, qualified_name_problems(protocol));
        }
    }
}

/// Node ports where none are, and ports that are there twice.
fn port_duplicates(out: &mut Causes, service: &Value) {
    let ports = &service["spec"]["ports"];
    let all = items(ports);
    let twice = |position: usize, field: &str| {
        let key = |port: &Value| (port["protocol"].clone(), port[field].clone());
        all[..position].iter().any(|other| key(other) == key(&all[position]))
    };
    let with_node_port: Vec<(usize, (String, &Value))> = indexed(ports, "spec.ports")
        .enumerate()
        .filter(|(_, (_, port))| port["nodePort"].as_i64().unwrap_or_default() != 0)
        .collect();
    if kind(service) == "ClusterIP" {
        for (_, (at, _)) in &with_node_port {
            let why = "may not be used when `type` is 'ClusterIP'";
            out.push(Cause::forbidden(format!("{at}.nodePort"), why));
        }
    }
    for (position, (at, port)) in with_node_port {
        if twice(position, "nodePort") {
            out.push(Cause::duplicate(format!("{at}.nodePort"), port["nodePort"].clone()));
        }
    }
    for (position, (at, port)) in indexed(ports, "spec.ports").enumerate() {
        if twice(position, "port") {
            // As upstream's own form of the port is shown.
            let shown = json!({"Name": "", "Protocol": port["protocol"], "AppProtocol": null,
                "Port": port["port"], "TargetPort": 0, "NodePort": 0});
            out.push(Cause::duplicate(at, shown));
        }
    }
}

fn affinity(out: &mut Causes, spec: &Value) {
    const AT: &str = "spec.sessionAffinityConfig";
    one_of(out, &spec["sessionAffinity"], "spec.sessionAffinity", &["ClientIP", "None"]);
    let config = &spec["sessionAffinityConfig"];
    match text(&spec["sessionAffinity"]) {
        "None" if !config.is_null() => {
            out.push(Cause::forbidden(AT, "must not be set when session affinity is None"));
        }
        "ClientIP" => {
            let (client, why) = (&config["clientIP"], "when session affinity type is ClientIP");
            let seconds = &client["timeoutSeconds"];
            let at = format!("{AT}.clientIP.timeoutSeconds");
            match seconds.as_i64() {
                _ if config.is_null() => out.push(Cause::required(AT, why)),
                _ if client.is_null() => out.push(Cause::required(format!("{AT}.clientIP"), why)),
                None => out.push(Cause::required(at, why)),
                Some(own) if !(1..=AFFINITY_MAX_SECONDS).contains(&own) => {
                    let why = format!("must be greater than 0 and less than {AFFINITY_MAX_SECONDS}");
                    out.push(Cause::invalid(at, own, &why));
                }
                Some(_) => {}
            }
        }
        _ => {}
    }
}

/// Of the field, or of the annotation from before there was one. Blanks around a range are part of the API.
fn source_ranges(out: &mut Causes, service: &Value) {
    // Upstream writes the field with a capital letter.
    const AT: &str = "spec.LoadBalancerSourceRanges";
    let is_balancer = kind(service) == "LoadBalancer";
    let ranges = &service["spec"]["loadBalancerSourceRanges"];
    let annotation = service["metadata"]["annotations"][RANGES].as_str();
    if is_set(ranges) {
        if !is_balancer {
            out.push(Cause::forbidden(AT, BALANCER_ONLY));
        }
        for (at, range) in indexed(ranges, AT) {
            ip::network(out, text(range).trim(), &at);
        }
    } else if let Some(list) = annotation {
        let at = format!("metadata.annotations[{RANGES}]");
        if !is_balancer {
            out.push(Cause::forbidden(at.as_str(), BALANCER_ONLY));
        }
        for range in list.split(',').map(str::trim).filter(|_| !list.trim().is_empty()) {
            ip::network(out, range, &at);
        }
    }
}

fn traffic(out: &mut Causes, service: &Value) {
    let (spec, is_balancer) = (&service["spec"], kind(service) == "LoadBalancer");
    for field in ["allocateLoadBalancerNodePorts", "loadBalancerClass"] {
        if !is_balancer && !spec[field].is_null() {
            out.push(Cause::forbidden(format!("spec.{field}"), BALANCER_ONLY));
        }
    }
    if let Some(class) = spec["loadBalancerClass"].as_str().filter(|_| is_balancer) {
        add(out, "spec.loadBalancerClass", class, qualified_name_problems(class));
    }
    const EXTERNAL: &str = "spec.externalTrafficPolicy";
    let policy = &spec["externalTrafficPolicy"];
    if is_external(service) {
        if require(out, policy, EXTERNAL) {
            one_of(out, policy, EXTERNAL, &["Cluster", "Local"]);
        }
    } else if is_set(policy) {
        out.push(Cause::invalid(
            EXTERNAL,
            policy.clone(),
            "may only be set for externally-accessible services",
        ));
    }
    const HEALTH: &str = "spec.healthCheckNodePort";
    let port = spec["healthCheckNodePort"].as_i64().unwrap_or_default();
    match (needs_health_port(service), port) {
        (true, 0) => out.push(Cause::required(HEALTH, "")),
        (true, port) => port_number(out, port, HEALTH),
        (false, 0) => {}
        (false, port) => {
            let why = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'";
            out.push(Cause::invalid(HEALTH, port, why));
        }
    }
    const INTERNAL: &str = "spec.internalTrafficPolicy";
    if needs_cluster_ip(service) {
        require(out, &spec["internalTrafficPolicy"], INTERNAL);
    }
    one_of(out, &spec["internalTrafficPolicy"], INTERNAL, &["Cluster", "Local"]);
    one_of(out, &spec["trafficDistribution"], "spec.trafficDistribution", &DISTRIBUTIONS);
}

pub fn validate_status(service: &Value) -> Causes {
    const AT: &str = "status.loadBalancer.ingress";
    let (list, mut out) = (&service["status"]["loadBalancer"]["ingress"], Vec::new());
    if is_set(list) && kind(service) != "LoadBalancer" {
        out.push(Cause::forbidden(AT, "may only be used when `spec.type` is 'LoadBalancer'"));
        return out;
    }
    network::balancers(&mut out, list);
    for (at, own) in indexed(list, AT) {
        let (at, mode) = (format!("{at}.ipMode"), &own["ipMode"]);
        if is_set(mode) && !is_set(&own["ip"]) {
            out.push(Cause::forbidden(at, "may not be specified when `ip` is not set"));
        } else {
            one_of(&mut out, mode, &at, &["Proxy", "VIP"]);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{
        super::{super::checks::assert_cases, update},
        *,
    };

    fn base() -> Value {
        json!({"spec": {"type": "ClusterIP", "sessionAffinity": "None", "internalTrafficPolicy": "Cluster", "clusterIP": "10.43.0.9", "clusterIPs": ["10.43.0.9"],
            "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack", "ports": [{"name": "a", "port": 80, "targetPort": 80, "protocol": "TCP"}]}})
    }

    fn spec(spec: Value) -> Value {
        json!({"spec": spec})
    }

    #[test]
    fn a_service_gets_the_stock_causes() {
        let ports = |list: Value| spec(json!({"ports": list}));
        assert_cases(
            base(),
            validate,
            &[
                (ports(json!([])), &["spec.ports: Required value"]),
                (
                    ports(json!([{"port": 0, "protocol": "TCP"}])),
                    &["spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive"],
                ),
                (
                    ports(
                        json!([{"name": "a", "port": 1, "protocol": "TCP"}, {"name": "a", "port": 2, "protocol": "TCP"}]),
                    ),
                    &["spec.ports[1].name: Duplicate value: \"a\""],
                ),
                (
                    ports(
                        json!([{"name": "a", "port": 1, "protocol": "TCP"}, {"port": 1, "protocol": "TCP"}]),
                    ),
                    &[
                        "spec.ports[1].name: Required value",
                        "spec.ports[1]: Duplicate value: {\"Name\":\"\",\"Protocol\":\"TCP\",\"AppProtocol\":null,\"Port\":1,\"TargetPort\":0,\"NodePort\":0}",
                    ],
                ),
                (
                    ports(json!([{"port": 1, "protocol": "TCP", "nodePort": 30000}])),
                    &["spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'"],
                ),
                (
                    ports(json!([{"port": 1, "protocol": "TCP", "targetPort": "NO_"}])),
                    &[
                        "spec.ports[0].targetPort: Invalid value: \"NO_\": must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)",
                        "spec.ports[0].targetPort: Invalid value: \"NO_\": must contain at least one letter (a-z)",
                    ],
                ),
                (
                    spec(json!({"type": "Magic"})),
                    &[
                        "spec.type: Unsupported value: \"Magic\": supported values: \"ClusterIP\", \"ExternalName\", \"LoadBalancer\", \"NodePort\"",
                    ],
                ),
                (
                    spec(json!({"sessionAffinity": "ClientIP"})),
                    &["spec.sessionAffinityConfig: Required value: when session affinity type is ClientIP"],
                ),
                (
                    spec(
                        json!({"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 86401}}}),
                    ),
                    &[
                        "spec.sessionAffinityConfig.clientIP.timeoutSeconds: Invalid value: 86401: must be greater than 0 and less than 86400",
                    ],
                ),
                (
                    spec(json!({"sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 1}}})),
                    &["spec.sessionAffinityConfig: Forbidden: must not be set when session affinity is None"],
                ),
                (
                    spec(json!({"externalIPs": ["127.0.0.1"], "externalTrafficPolicy": "Cluster"})),
                    &[
                        "spec.externalIPs[0]: Invalid value: \"127.0.0.1\": may not be in the loopback range (127.0.0.0/8, ::1/128)",
                    ],
                ),
                (
                    spec(json!({"loadBalancerSourceRanges": ["10.0.0.0/8"]})),
                    &[
                        "spec.LoadBalancerSourceRanges: Forbidden: may only be used when `type` is 'LoadBalancer'",
                    ],
                ),
                (
                    spec(json!({"allocateLoadBalancerNodePorts": true})),
                    &[
                        "spec.allocateLoadBalancerNodePorts: Forbidden: may only be used when `type` is 'LoadBalancer'",
                    ],
                ),
                (
                    spec(json!({"loadBalancerClass": "a.b/c"})),
                    &["spec.loadBalancerClass: Forbidden: may only be used when `type` is 'LoadBalancer'"],
                ),
                (
                    spec(json!({"externalTrafficPolicy": "Local"})),
                    &[
                        "spec.externalTrafficPolicy: Invalid value: \"Local\": may only be set for externally-accessible services",
                    ],
                ),
                (
                    spec(json!({"healthCheckNodePort": 30000})),
                    &[
                        "spec.healthCheckNodePort: Invalid value: 30000: may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'",
                    ],
                ),
                (
                    spec(json!({"internalTrafficPolicy": "Near"})),
                    &[
                        "spec.internalTrafficPolicy: Unsupported value: \"Near\": supported values: \"Cluster\", \"Local\"",
                    ],
                ),
                (
                    spec(json!({"trafficDistribution": "Far"})),
                    &[
                        "spec.trafficDistribution: Unsupported value: \"Far\": supported values: \"PreferClose\", \"PreferSameZone\", \"PreferSameNode\"",
                    ],
                ),
                (
                    spec(json!({"clusterIPs": ["None", "10.43.0.9"], "clusterIP": "None"})),
                    &[
                        "spec.clusterIPs: Invalid value: [\"None\",\"10.43.0.9\"]: 'None' must be the first and only value",
                    ],
                ),
                (
                    spec(json!({"clusterIPs": ["10.43.0.9", "10.43.0.8"]})),
                    &[
                        "spec.clusterIPs: Invalid value: [\"10.43.0.9\",\"10.43.0.8\"]: may specify no more than one IP for each IP family",
                    ],
                ),
                (
                    spec(json!({"clusterIPs": ["10.43.0.8"]})),
                    &["spec.clusterIPs: Invalid value: [\"10.43.0.8\"]: first value must match `clusterIP`"],
                ),
                (
                    spec(json!({"ipFamilies": ["IPv6"]})),
                    &[
                        "spec.clusterIPs[0]: Invalid value: \"10.43.0.9\": expected an IPv6 value as indicated by `ipFamilies[0]`",
                    ],
                ),
                (
                    spec(json!({"ipFamilies": ["IPv4", "IPv4"]})),
                    &["spec.ipFamilies[1]: Duplicate value: \"IPv4\""],
                ),
                (
                    spec(
                        json!({"type": "ExternalName", "externalName": "a.b", "clusterIPs": null, "ipFamilies": null, "ipFamilyPolicy": null}),
                    ),
                    &["spec.clusterIPs: Forbidden: may not be set for ExternalName services"],
                ),
                (
                    spec(json!({"type": "ExternalName", "clusterIP": null})),
                    &[
                        "spec.clusterIPs: Forbidden: may not be set for ExternalName services",
                        "spec.ipFamilies: Forbidden: may not be set for ExternalName services",
                        "spec.ipFamilyPolicy: Forbidden: may not be set for ExternalName services",
                        "spec.externalName: Required value",
                    ],
                ),
                (
                    spec(
                        json!({"type": "NodePort", "externalTrafficPolicy": "Cluster", "clusterIP": "None", "clusterIPs": ["None"]}),
                    ),
                    &[
                        "spec.clusterIPs[0]: Invalid value: \"None\": may not be set to 'None' for NodePort services",
                    ],
                ),
            ],
        );
    }

    #[test]
    fn addresses_families_and_classes_of_a_service_stay() {
        let mut old = base();
        for (field, value) in [
            ("type", json!("LoadBalancer")),
            ("loadBalancerClass", json!("a/b")),
            ("externalTrafficPolicy", json!("Local")),
            ("healthCheckNodePort", json!(30000)),
        ] {
            old["spec"][field] = value;
        }
        assert_cases(
            old.clone(),
            |new| update::validate(new, &old),
            &[
                (
                    spec(json!({"clusterIPs": ["10.43.0.8"]})),
                    &["spec.clusterIPs[0]: Invalid value: [\"10.43.0.8\"]: may not change once set"],
                ),
                (
                    spec(json!({"clusterIPs": []})),
                    &["spec.clusterIPs[0]: Invalid value: []: primary clusterIP can not be unset"],
                ),
                (
                    spec(json!({"ipFamilies": ["IPv6"]})),
                    &["spec.ipFamilies[0]: Invalid value: [\"IPv6\"]: may not change once set"],
                ),
                (
                    spec(json!({"loadBalancerClass": "a/c"})),
                    &["spec.loadBalancerClass: Invalid value: \"a/c\": may not change once set"],
                ),
                (
                    spec(json!({"healthCheckNodePort": 30001})),
                    &["spec.healthCheckNodePort: Forbidden: field is immutable"],
                ),
                (spec(json!({"type": "ExternalName", "clusterIPs": []})), &[]),
            ],
        );
    }

    #[test]
    fn this_cluster_has_one_family() {
        assert_cases(
            base(),
            families::available,
            &[
                (spec(json!({"ipFamilyPolicy": "PreferDualStack"})), &[]),
                (
                    spec(json!({"ipFamilyPolicy": "RequireDualStack"})),
                    &[
                        "spec.ipFamilyPolicy: Invalid value: \"RequireDualStack\": this cluster is not configured for dual-stack services",
                    ],
                ),
                (
                    spec(json!({"ipFamilies": ["IPv6"]})),
                    &["spec.ipFamilies[0]: Invalid value: \"IPv6\": not configured on this cluster"],
                ),
                (
                    spec(json!({"ipFamilies": null, "clusterIPs": ["fd00::1"]})),
                    &[
                        "spec.clusterIPs[0]: Invalid value: [\"fd00::1\"]: IPv6 is not configured on this cluster",
                    ],
                ),
            ],
        );
    }
}
