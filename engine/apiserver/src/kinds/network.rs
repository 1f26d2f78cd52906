//! Ingresses, IngressClasses, NetworkPolicies.
//!
//! Source: https://github.com/kubernetes/kubernetes/blob/master/pkg/apis/networking/validation/validation.go

use std::net::IpAddr;

use serde_json::Value;

use super::{
    checked::Checked,
    checks::{
        Causes, add, domain_prefixed_path, immutable, indexed, is_set, items, label_selector, one_of,
        port_name_problems, port_number, port_or_name, require, subdomain, text, typed_reference,
        wildcard_problems,
    },
    ip, warnings,
};
use crate::{
    metadata::{label_problems, subdomain_problems},
    status::Cause,
};

const CONTROLLER_MAX_BYTES: usize = 250;
const CLASS_ANNOTATION: &str = "kubernetes.io/ingress.class";
const PATH_TYPES: [&str; 3] = ["Exact", "ImplementationSpecific", "Prefix"];
const PROTOCOLS: [&str; 3] = ["TCP", "UDP", "SCTP"];
const FORBIDDEN_IN_PATHS: [&str; 5] = ["//", "/./", "/../", "%2f", "%2F"];
const FORBIDDEN_AT_END: [&str; 2] = ["/..", "/."];

pub static INGRESS: Checked = Checked::new(ingress).warning(warnings::ingress).checking_status(|new, _| {
    let mut out = Vec::new();
    balancers(&mut out, &new["status"]["loadBalancer"]["ingress"]);
    out
});
pub static INGRESS_CLASS: Checked = Checked::new(ingress_class).comparing(|new, old| {
    let mut out = Vec::new();
    immutable(&mut out, &new["spec"]["controller"], &old["spec"]["controller"], "spec.controller");
    out
});
pub static NETWORK_POLICY: Checked = Checked::new(network_policy).always_warning(warnings::network_policy);

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
    // Only at creation.
    if annotation.is_string()
        && spec["ingressClassName"].is_string()
        && *annotation != spec["ingressClassName"]
        && ingress["metadata"]["resourceVersion"].is_null()
    {
        let why = "must match `ingressClassName` when both are specified";
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
        (true, false) => typed_reference(out, &backend["resource"], &format!("{path}.resource")),
        (false, true) => service_backend(out, &backend["service"], path),
    }
}

fn service_backend(out: &mut Causes, service: &Value, path: &str) {
    let at = format!("{path}.service");
    if require(out, &service["name"], &format!("{at}.name")) {
        add(out, &format!("{at}.name"), text(&service["name"]), label_problems(text(&service["name"])));
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

/// Where an Ingress can be reached, as its controller says.
pub fn balancers(out: &mut Causes, list: &Value) {
    for (at, own) in indexed(list, "status.loadBalancer.ingress") {
        if is_set(&own["ip"]) {
            ip::address(out, text(&own["ip"]), &format!("{at}.ip"));
        }
        let (host, at) = (text(&own["hostname"]), format!("{at}.hostname"));
        if !host.is_empty() {
            add(out, &at, host, subdomain_problems(host));
            if host.parse::<IpAddr>().is_ok() {
                out.push(Cause::invalid(at, host, "must be a DNS name, not an IP address"));
            }
        }
    }
}

fn ingress_class(class: &Value) -> Causes {
    const AT: &str = "spec.parameters";
    let (spec, mut out) = (&class["spec"], Vec::new());
    let controller = text(&spec["controller"]);
    if controller.len() > CONTROLLER_MAX_BYTES {
        out.push(Cause::too_long("spec.controller", CONTROLLER_MAX_BYTES));
    }
    domain_prefixed_path(&mut out, controller, "spec.controller");
    let parameters = &spec["parameters"];
    if parameters.is_null() {
        return out;
    }
    typed_reference(&mut out, parameters, AT);
    let (scope, namespace) = (&parameters["scope"], &parameters["namespace"]);
    if !require(&mut out, scope, "spec.parameters.scope") {
        return out;
    }
    one_of(&mut out, scope, "spec.parameters.scope", &["Cluster", "Namespace"]);
    let at = format!("{AT}.namespace");
    match (text(scope), namespace.as_str()) {
        ("Namespace", None) => {
            out.push(Cause::required(at, "`parameters.scope` is set to 'Namespace'"));
        }
        ("Namespace", Some(name)) => add(&mut out, &at, name, label_problems(name)),
        ("Cluster", Some(_)) => out.push(Cause::forbidden(at, "`parameters.scope` is set to 'Cluster'")),
        _ => {}
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
        one_of(&mut out, kind, &at, &["Ingress", "Egress"]);
    }
    out
}

fn policy_port(out: &mut Causes, port: &Value, path: &str) {
    one_of(out, &port["protocol"], &format!("{path}.protocol"), &PROTOCOLS);
    let (first, at) = (&port["port"], format!("{path}.endPort"));
    let end = port["endPort"].as_i64();
    match (first, end) {
        (Value::Null, Some(end)) => {
            out.push(Cause::invalid(at, end, "may not be specified when `port` is not specified"));
        }
        (Value::Null, None) => {}
        (Value::String(_), end) => {
            let why = "may not be specified when `port` is non-numeric";
            out.extend(end.map(|end| Cause::invalid(at, end, why)));
            port_or_name(out, first, &format!("{path}.port"));
        }
        (first, end) => {
            port_or_name(out, first, &format!("{path}.port"));
            let Some(end) = end else { return };
            if end < first.as_i64().unwrap_or_default() {
                out.push(Cause::invalid(at.as_str(), end, "must be greater than or equal to `port`"));
            }
            port_number(out, end, &at);
        }
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
    let at = format!("{path}.cidr");
    if !require(out, &block["cidr"], &at) {
        return;
    }
    let Some(whole) = ip::network(out, text(&block["cidr"]), &at) else { return };
    for (at, except) in indexed(&block["except"], &format!("{path}.except")) {
        let part = ip::network(out, text(except), &at);
        if part.is_some_and(|part| !whole.contains(&part) || part == whole) {
            out.push(Cause::invalid(at, except.clone(), "must be a strict subset of `cidr`"));
        }
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
                (one_path(json!({"backend": {"service": {"name": "1s"}}})), &[]),
                (
                    json!({"metadata": {"annotations": {"kubernetes.io/ingress.class": "a"}}, "spec": {"ingressClassName": "b"}}),
                    &[
                        "annotations.kubernetes.io/ingress.class: Invalid value: \"a\": must match `ingressClassName` when both are specified",
                    ],
                ),
                (
                    json!({"metadata": {"annotations": {"kubernetes.io/ingress.class": "a"}}, "spec": {"ingressClassName": "a"}}),
                    &[],
                ),
                (json!({"spec": {"rules": [{"http": {}}]}}), &["spec.rules[0].http.paths: Required value"]),
            ],
        );
    }

    #[test]
    fn an_ingress_class_gets_the_stock_causes() {
        let parameters = |own: Value| json!({"spec": {"parameters": own}});
        assert_cases(
            json!({"spec": {"controller": "a.b/c"}}),
            ingress_class,
            &[
                (json!({"spec": {"controller": null}}), &["spec.controller: Required value"]),
                (
                    json!({"spec": {"controller": "a.b"}}),
                    &[
                        "spec.controller: Invalid value: \"a.b\": must be a domain-prefixed path (such as \"acme.io/foo\")",
                    ],
                ),
                (
                    parameters(json!({"kind": "K", "name": "a/b", "scope": "Cluster", "namespace": "n"})),
                    &[
                        "spec.parameters.name: Invalid value: \"a/b\": may not contain '/'",
                        "spec.parameters.namespace: Forbidden: `parameters.scope` is set to 'Cluster'",
                    ],
                ),
                (
                    parameters(json!({"kind": "K", "name": "n", "scope": "Namespace"})),
                    &["spec.parameters.namespace: Required value: `parameters.scope` is set to 'Namespace'"],
                ),
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
                    ingress(json!({"from": [{"ipBlock": {"cidr": "10.0.0.1/8"}}]})),
                    &[
                        "spec.ingress[0].from[0].ipBlock.cidr: Invalid value: \"10.0.0.1/8\": must not have bits set beyond the prefix length",
                    ],
                ),
                (
                    ingress(json!({"ports": [{"protocol": "ICMP", "endPort": 8}]})),
                    &[
                        "spec.ingress[0].ports[0].protocol: Unsupported value: \"ICMP\": supported values: \"TCP\", \"UDP\", \"SCTP\"",
                        "spec.ingress[0].ports[0].endPort: Invalid value: 8: may not be specified when `port` is not specified",
                    ],
                ),
                (
                    json!({"spec": {"policyTypes": ["Out"]}}),
                    &[
                        "spec.policyTypes[0]: Unsupported value: \"Out\": supported values: \"Ingress\", \"Egress\"",
                    ],
                ),
            ],
        );
    }
}
