//! Ingresses, IngressClasses, NetworkPolicies, Endpoints, EndpointSlices.
//!
//! Source: https://github.com/kubernetes/kubernetes/blob/master/pkg/apis/networking/validation/validation.go

use std::net::IpAddr;

use serde_json::Value;

use super::{
    checked::Checked,
    checks::{
        Causes, add, immutable, indexed, is_set, items, label, label_selector, one_of, port_name_problems,
        port_number, port_or_name, require, subdomain, text, wildcard_problems,
    },
};
use crate::{
    metadata::{label_problems, rfc1035_problems, subdomain_problems, validate_labels},
    status::Cause,
};

const CLASS_ANNOTATION: &str = "kubernetes.io/ingress.class";
const PATH_TYPES: [&str; 3] = ["Exact", "ImplementationSpecific", "Prefix"];
const PROTOCOLS: [&str; 3] = ["SCTP", "TCP", "UDP"];
const FORBIDDEN_IN_PATHS: [&str; 5] = ["//", "/./", "/../", "%2f", "%2F"];
const FORBIDDEN_AT_END: [&str; 2] = ["/..", "/."];
const NO_IP: &str = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";

pub static INGRESS: Checked = Checked::new(ingress);
pub static INGRESS_CLASS: Checked = Checked::new(ingress_class).comparing(|new, old| {
    let mut out = Vec::new();
    immutable(&mut out, &new["spec"]["controller"], &old["spec"]["controller"], "spec.controller");
    out
});
pub static NETWORK_POLICY: Checked = Checked::new(network_policy);
pub static ENDPOINTS: Checked = Checked::new(endpoints).created_by_update();
pub static ENDPOINT_SLICE: Checked = Checked::new(endpoint_slice).comparing(|new, old| {
    let mut out = Vec::new();
    immutable(&mut out, &new["addressType"], &old["addressType"], "addressType");
    out
});

fn ingress(ingress: &Value) -> Causes {
    let (spec, mut out) = (&ingress["spec"], Vec::new());
    if items(&spec["rules"]).is_empty() && spec["defaultBackend"].is_null() {
        let why = "either `defaultBackend` or `rules` must be specified";
        out.push(Cause::invalid("spec", spec["rules"].clone(), why));
    }
    if !spec["defaultBackend"].is_null() {
        backend(&mut out, &spec["defaultBackend"], "spec.defaultBackend");
    }
    for (at, rule) in indexed(&spec["rules"], "spec.rules") {
        rule_host(&mut out, text(&rule["host"]), &format!("{at}.host"));
        if rule["http"].is_null() {
            continue;
        }
        let at = format!("{at}.http.paths");
        require(&mut out, &rule["http"]["paths"], &at);
        for (at, path) in indexed(&rule["http"]["paths"], &at) {
            http_path(&mut out, path, &at);
        }
    }
    for (at, tls) in indexed(&spec["tls"], "spec.tls") {
        for (at, host) in indexed(&tls["hosts"], &format!("{at}.hosts")) {
            add(&mut out, &at, text(host), host_problems(text(host)));
        }
        subdomain(&mut out, &tls["secretName"], &format!("{at}.secretName"));
    }
    subdomain(&mut out, &spec["ingressClassName"], "spec.ingressClassName");
    let annotation = &ingress["metadata"]["annotations"][CLASS_ANNOTATION];
    if annotation.is_string()
        && is_set(&spec["ingressClassName"])
        && ingress["metadata"]["resourceVersion"].is_null()
    {
        let why = "can not be set when the class field is also set";
        out.push(Cause::invalid(format!("annotations.{CLASS_ANNOTATION}"), annotation.clone(), why));
    }
    out
}

fn host_problems(host: &str) -> Vec<String> {
    if host.contains('*') { wildcard_problems(host) } else { subdomain_problems(host) }
}

fn rule_host(out: &mut Causes, host: &str, path: &str) {
    if host.is_empty() {
        return;
    }
    if host.parse::<IpAddr>().is_ok() {
        out.push(Cause::invalid(path, host, "must be a DNS name, not an IP address"));
    }
    add(out, path, host, host_problems(host));
}

fn http_path(out: &mut Causes, path: &Value, at: &str) {
    let given = text(&path["path"]);
    let field = format!("{at}.path");
    match text(&path["pathType"]) {
        "" => out.push(Cause::required(format!("{at}.pathType"), "pathType must be specified")),
        "Exact" | "Prefix" => {
            if !given.starts_with('/') {
                out.push(Cause::invalid(field.as_str(), given, "must be an absolute path"));
            }
            for part in FORBIDDEN_IN_PATHS.into_iter().filter(|part| given.contains(part)) {
                out.push(Cause::invalid(field.as_str(), given, &format!("must not contain '{part}'")));
            }
            for part in FORBIDDEN_AT_END.into_iter().filter(|part| given.ends_with(part)) {
                out.push(Cause::invalid(field.as_str(), given, &format!("cannot end with '{part}'")));
            }
        }
        "ImplementationSpecific" => {
            if !given.is_empty() && !given.starts_with('/') {
                out.push(Cause::invalid(field, given, "must be an absolute path"));
            }
        }
        other => out.push(Cause::not_supported(format!("{at}.pathType"), other, &PATH_TYPES)),
    }
    backend(out, &path["backend"], &format!("{at}.backend"));
}

fn backend(out: &mut Causes, backend: &Value, path: &str) {
    match (backend["resource"].is_object(), backend["service"].is_object()) {
        (true, true) => out.push(Cause::invalid(path, "", "cannot set both resource and service backends")),
        (false, false) => out.push(Cause::invalid(path, "", "resource or service backend is required")),
        (true, false) => {
            for field in ["kind", "name"] {
                require(out, &backend["resource"][field], &format!("{path}.resource.{field}"));
            }
        }
        (false, true) => service_backend(out, &backend["service"], path),
    }
}

fn service_backend(out: &mut Causes, service: &Value, path: &str) {
    let at = format!("{path}.service");
    if require(out, &service["name"], &format!("{at}.name")) {
        add(out, &format!("{at}.name"), text(&service["name"]), rfc1035_problems(text(&service["name"])));
    }
    let (name, number) =
        (text(&service["port"]["name"]), service["port"]["number"].as_i64().unwrap_or_default());
    match (name, number) {
        ("", 0) => out.push(Cause::required(path, "port name or number is required")),
        ("", number) => port_number(out, number, &format!("{at}.port.number")),
        (name, 0) => add(out, &format!("{at}.port.name"), name, port_name_problems(name)),
        _ => out.push(Cause::invalid(path, "", "cannot set both port name & port number")),
    }
}

fn ingress_class(class: &Value) -> Causes {
    let (spec, mut out) = (&class["spec"], Vec::new());
    let controller = text(&spec["controller"]);
    if require(&mut out, &spec["controller"], "spec.controller") {
        if controller.len() > 250 {
            out.push(Cause::too_long("spec.controller", 250));
        }
        if !controller.contains('/') {
            let why = "must be a domain-prefixed path (such as \"acme.io/foo\")";
            out.push(Cause::invalid("spec.controller", controller, why));
        }
    }
    let parameters = &spec["parameters"];
    if !parameters.is_null() {
        for field in ["kind", "name"] {
            require(&mut out, &parameters[field], &format!("spec.parameters.{field}"));
        }
        one_of(&mut out, &parameters["scope"], "spec.parameters.scope", &["Cluster", "Namespace"]);
    }
    out
}

fn network_policy(policy: &Value) -> Causes {
    let (spec, mut out) = (&policy["spec"], Vec::new());
    label_selector(&mut out, &spec["podSelector"], "spec.podSelector");
    for (direction, peers) in [("ingress", "from"), ("egress", "to")] {
        for (at, rule) in indexed(&spec[direction], &format!("spec.{direction}")) {
            for (at, port) in indexed(&rule["ports"], &format!("{at}.ports")) {
                policy_port(&mut out, port, &at);
            }
            for (at, peer) in indexed(&rule[peers], &format!("{at}.{peers}")) {
                policy_peer(&mut out, peer, &at);
            }
        }
    }
    let types = &spec["policyTypes"];
    if items(types).len() > 2 {
        let why = "may not specify more than two policyTypes";
        out.push(Cause::invalid("spec.policyTypes", types.clone(), why));
        return out;
    }
    for (at, kind) in indexed(types, "spec.policyTypes") {
        one_of(&mut out, kind, &at, &["Egress", "Ingress"]);
    }
    out
}

fn policy_port(out: &mut Causes, port: &Value, path: &str) {
    one_of(out, &port["protocol"], &format!("{path}.protocol"), &PROTOCOLS);
    let (first, last) = (&port["port"], &port["endPort"]);
    if !first.is_null() {
        port_or_name(out, first, &format!("{path}.port"));
    }
    let Some(end) = last.as_i64() else { return };
    let at = format!("{path}.endPort");
    match first.as_i64() {
        _ if first.is_null() => {
            out.push(Cause::invalid(at, end, "may not be specified when `port` is not specified"))
        }
        None => out.push(Cause::invalid(at, end, "may not be specified when `port` is non-numeric")),
        Some(first) if end < first => {
            out.push(Cause::invalid(at, end, "must be greater than or equal to `port`"));
        }
        Some(_) => port_number(out, end, &at),
    }
}

fn policy_peer(out: &mut Causes, peer: &Value, path: &str) {
    let mut count = 0;
    for field in ["podSelector", "namespaceSelector"] {
        if !peer[field].is_null() {
            count += 1;
            label_selector(out, &peer[field], &format!("{path}.{field}"));
        }
    }
    let block = &peer["ipBlock"];
    if !block.is_null() {
        count += 1;
        ip_block(out, block, &format!("{path}.ipBlock"));
    }
    if count == 0 {
        out.push(Cause::required(path, "must specify a peer"));
    } else if count > 1 && !block.is_null() {
        out.push(Cause::forbidden(path, "may not specify both ipBlock and another peer"));
    }
}

fn ip_block(out: &mut Causes, block: &Value, path: &str) {
    let parse = |value: &Value| text(value).parse::<ipnet::IpNet>().ok();
    let why = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
    if !require(out, &block["cidr"], &format!("{path}.cidr")) {
        return;
    }
    let Some(whole) = parse(&block["cidr"]) else {
        return out.push(Cause::invalid(format!("{path}.cidr"), block["cidr"].clone(), why));
    };
    for (at, except) in indexed(&block["except"], &format!("{path}.except")) {
        match parse(except) {
            None => out.push(Cause::invalid(at, except.clone(), why)),
            Some(part) if !whole.contains(&part) || part == whole => {
                out.push(Cause::invalid(at, except.clone(), "must be a strict subset of `cidr`"));
            }
            Some(_) => {}
        }
    }
}

fn address(out: &mut Causes, value: &Value, path: &str) {
    match text(value).parse::<IpAddr>() {
        Err(_) => out.push(Cause::invalid(path, value.clone(), NO_IP)),
        Ok(ip) if ip.is_unspecified() => {
            out.push(Cause::invalid(path, value.clone(), &format!("may not be unspecified ({ip})")));
        }
        Ok(ip) if ip.is_loopback() => {
            let range = if ip.is_ipv4() { "127.0.0.0/8" } else { "::1/128" };
            out.push(Cause::invalid(
                path,
                value.clone(),
                &format!("may not be in the loopback range ({range})"),
            ));
        }
        Ok(ip) if ip.is_multicast() => {
            let range = if ip.is_ipv4() { "224.0.0.0/24" } else { "ff00::/8" };
            out.push(Cause::invalid(
                path,
                value.clone(),
                &format!("may not be in the multicast range ({range})"),
            ));
        }
        Ok(_) => {}
    }
}

/// The API server's own endpoints: on a machine without a network it is reached over loopback only.
fn is_own(object: &Value) -> bool {
    let metadata = &object["metadata"];
    metadata["name"] == "kubernetes" && metadata["namespace"] == "default"
}

fn endpoints(endpoints: &Value) -> Causes {
    let mut out = Vec::new();
    if is_own(endpoints) {
        return out;
    }
    for (at, subset) in indexed(&endpoints["subsets"], "subsets") {
        if items(&subset["addresses"]).is_empty() && items(&subset["notReadyAddresses"]).is_empty() {
            out.push(Cause::required(at.as_str(), "must specify `addresses` or `notReadyAddresses`"));
        }
        for list in ["addresses", "notReadyAddresses"] {
            for (at, own) in indexed(&subset[list], &format!("{at}.{list}")) {
                address(&mut out, &own["ip"], &format!("{at}.ip"));
                if is_set(&own["hostname"]) {
                    label(&mut out, &own["hostname"], &format!("{at}.hostname"));
                }
            }
        }
        let several = items(&subset["ports"]).len() > 1;
        for (at, port) in indexed(&subset["ports"], &format!("{at}.ports")) {
            let name = text(&port["name"]);
            if name.is_empty() && several {
                out.push(Cause::required(format!("{at}.name"), ""));
            } else if !name.is_empty() {
                add(&mut out, &format!("{at}.name"), name, label_problems(name));
            }
            port_number(&mut out, port["port"].as_i64().unwrap_or_default(), &format!("{at}.port"));
            one_of(&mut out, &port["protocol"], &format!("{at}.protocol"), &PROTOCOLS);
        }
    }
    out
}

const SLICE_ENDPOINTS_MAX: usize = 1000;
const SLICE_PORTS_MAX: usize = 20000;
const ADDRESSES_MAX: usize = 100;

fn endpoint_slice(slice: &Value) -> Causes {
    let mut out = Vec::new();
    if is_own(slice) {
        return out;
    }
    let kind = text(&slice["addressType"]);
    if require(&mut out, &slice["addressType"], "addressType") {
        one_of(&mut out, &slice["addressType"], "addressType", &["FQDN", "IPv4", "IPv6"]);
    }
    let count = items(&slice["endpoints"]).len();
    if count > SLICE_ENDPOINTS_MAX {
        out.push(Cause::too_many("endpoints", count, SLICE_ENDPOINTS_MAX));
        return out;
    }
    for (at, endpoint) in indexed(&slice["endpoints"], "endpoints") {
        let at_addresses = format!("{at}.addresses");
        let count = items(&endpoint["addresses"]).len();
        if count == 0 {
            out.push(Cause::required(at_addresses.as_str(), "must contain at least 1 address"));
        } else if count > ADDRESSES_MAX {
            out.push(Cause::too_many(at_addresses.as_str(), count, ADDRESSES_MAX));
        }
        for (at, own) in indexed(&endpoint["addresses"], &at_addresses) {
            slice_address(&mut out, own, &at, kind);
        }
        if is_set(&endpoint["hostname"]) {
            label(&mut out, &endpoint["hostname"], &format!("{at}.hostname"));
        }
    }
    slice_ports(&mut out, &slice["ports"]);
    out.extend(validate_labels(&slice["metadata"]["labels"], "metadata.labels"));
    out
}

fn slice_address(out: &mut Causes, own: &Value, path: &str, kind: &str) {
    let parsed = text(own).parse::<IpAddr>();
    match (kind, parsed) {
        ("FQDN", _) => subdomain(out, own, path),
        ("IPv4", Ok(IpAddr::V6(_))) => out.push(Cause::invalid(path, own.clone(), "must be an IPv4 address")),
        ("IPv6", Ok(IpAddr::V4(_))) => out.push(Cause::invalid(path, own.clone(), "must be an IPv6 address")),
        _ => address(out, own, path),
    }
}

fn slice_ports(out: &mut Causes, ports: &Value) {
    let all = items(ports);
    if all.len() > SLICE_PORTS_MAX {
        return out.push(Cause::too_many("ports", all.len(), SLICE_PORTS_MAX));
    }
    for (position, (at, port)) in indexed(ports, "ports").enumerate() {
        let name = text(&port["name"]);
        if !name.is_empty() {
            add(out, &format!("{at}.name"), name, label_problems(name));
        }
        if all[..position].iter().any(|other| text(&other["name"]) == name) {
            out.push(Cause::duplicate(format!("{at}.name"), name));
        }
        if let Some(number) = port["port"].as_i64() {
            port_number(out, number, &format!("{at}.port"));
        }
        one_of(out, &port["protocol"], &format!("{at}.protocol"), &PROTOCOLS);
    }
}

#[cfg(test)]
mod tests {
    use super::{super::checks::assert_cases, *};
    use serde_json::json;

    fn one_path(path: Value) -> Value {
        let mut whole = json!({"path": "/", "pathType": "Prefix", "backend": {"service": {"name": "s", "port": {"number": 80}}}});
        coracle_schema::json_merge_patch(&mut whole, &path);
        json!({"spec": {"rules": [{"host": "a.b", "http": {"paths": [whole]}}]}})
    }

    #[test]
    fn an_ingress_gets_the_stock_causes() {
        let at = "spec.rules[0].http.paths[0]";
        let texts: Vec<String> = vec![
            format!("{at}.path: Invalid value: \"x\": must be an absolute path"),
            format!("{at}.pathType: Required value: pathType must be specified"),
            format!(
                "{at}.pathType: Unsupported value: \"Regex\": supported values: \"Exact\", \"ImplementationSpecific\", \"Prefix\""
            ),
            format!("{at}.path: Invalid value: \"/a//b\": must not contain '//'"),
            format!("{at}.backend: Invalid value: \"\": resource or service backend is required"),
            format!("{at}.backend: Required value: port name or number is required"),
            format!("{at}.backend: Invalid value: \"\": cannot set both port name & port number"),
        ];
        assert_cases(
            one_path(json!({})),
            ingress,
            &[
                (one_path(json!({"path": "x"})), &[&texts[0]]),
                (one_path(json!({"pathType": null})), &[&texts[1]]),
                (one_path(json!({"pathType": "Regex"})), &[&texts[2]]),
                (one_path(json!({"path": "/a//b"})), &[&texts[3]]),
                (one_path(json!({"backend": {"service": null}})), &[&texts[4]]),
                (one_path(json!({"backend": {"service": {"port": null}}})), &[&texts[5]]),
                (one_path(json!({"backend": {"service": {"port": {"name": "x"}}}})), &[&texts[6]]),
                (
                    json!({"spec": {"rules": null}}),
                    &["spec: Invalid value: null: either `defaultBackend` or `rules` must be specified"],
                ),
                (
                    json!({"spec": {"rules": [{"host": "1.2.3.4"}]}}),
                    &[
                        "spec.rules[0].host: Invalid value: \"1.2.3.4\": must be a DNS name, not an IP address",
                    ],
                ),
                (json!({"spec": {"rules": [{"host": "*.a.b"}]}}), &[]),
                (json!({"spec": {"rules": [{"http": {}}]}}), &["spec.rules[0].http.paths: Required value"]),
            ],
        );
    }

    #[test]
    fn a_network_policy_gets_the_stock_causes() {
        let ingress = |rule: Value| json!({"spec": {"ingress": [rule]}});
        assert_cases(
            json!({"spec": {"podSelector": {}}}),
            network_policy,
            &[
                (
                    ingress(json!({"from": [{}]})),
                    &["spec.ingress[0].from[0]: Required value: must specify a peer"],
                ),
                (
                    ingress(json!({"ports": [{"port": 0}]})),
                    &[
                        "spec.ingress[0].ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
                    ],
                ),
                (
                    ingress(json!({"ports": [{"port": 9, "endPort": 8}]})),
                    &[
                        "spec.ingress[0].ports[0].endPort: Invalid value: 8: must be greater than or equal to `port`",
                    ],
                ),
                (
                    ingress(json!({"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["11.0.0.0/8"]}}]})),
                    &[
                        "spec.ingress[0].from[0].ipBlock.except[0]: Invalid value: \"11.0.0.0/8\": must be a strict subset of `cidr`",
                    ],
                ),
                (
                    json!({"spec": {"policyTypes": ["Out"]}}),
                    &[
                        "spec.policyTypes[0]: Unsupported value: \"Out\": supported values: \"Egress\", \"Ingress\"",
                    ],
                ),
            ],
        );
    }
}
