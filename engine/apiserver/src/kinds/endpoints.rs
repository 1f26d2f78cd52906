//! Endpoints and EndpointSlices.
//!
//! Source: https://github.com/kubernetes/kubernetes/blob/master/pkg/apis/discovery/validation/validation.go and
//! https://github.com/kubernetes/kubernetes/blob/master/pkg/apis/core/validation/validation.go (`ValidateEndpoints`)

use std::{collections::BTreeSet, net::IpAddr};

use serde_json::Value;

use super::{
    checked::Checked,
    checks::{Causes, add, immutable, indexed, is_set, items, label, one_of, port_number, require, text},
    ip, warnings,
};
use crate::{
    metadata::{
        label_problems, label_value_problems, qualified_name_problems, subdomain_problems, validate_labels,
    },
    status::Cause,
};

pub const PROTOCOLS: [&str; 3] = ["SCTP", "TCP", "UDP"];
const ENDPOINTS_MAX: usize = 1000;
const PORTS_MAX: usize = 20000;
const ADDRESSES_MAX: usize = 100;
const TOPOLOGY_MAX: usize = 16;
const HINTS_MAX: usize = 8;

pub static ENDPOINTS: Checked = Checked::new(endpoints).warning(warnings::endpoints).created_by_update();
pub static ENDPOINT_SLICE: Checked =
    Checked::new(endpoint_slice).always_warning(warnings::endpoint_slice).comparing(|new, old| {
        let mut out = Vec::new();
        immutable(&mut out, &new["addressType"], &old["addressType"], "addressType");
        out
    });

/// The API server's own endpoints: on a machine without a network it is reached over loopback only.
fn is_own(object: &Value) -> bool {
    let metadata = &object["metadata"];
    metadata["name"] == "kubernetes" && metadata["namespace"] == "default"
}

fn node_name(out: &mut Causes, parent: &Value, path: &str) {
    if let Some(name) = parent["nodeName"].as_str() {
        add(out, &format!("{path}.nodeName"), name, subdomain_problems(name));
    }
}

fn app_protocol(out: &mut Causes, port: &Value, path: &str) {
    if let Some(name) = port["appProtocol"].as_str() {
        add(out, &format!("{path}.appProtocol"), name, qualified_name_problems(name));
    }
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
                subset_address(&mut out, own, &at);
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
            app_protocol(&mut out, port, &at);
        }
    }
    out
}

fn subset_address(out: &mut Causes, own: &Value, path: &str) {
    let (given, at) = (text(&own["ip"]), format!("{path}.ip"));
    let parsed = ip::address(out, given, &at);
    if is_set(&own["hostname"]) {
        label(out, &own["hostname"], &format!("{path}.hostname"));
    }
    node_name(out, own, path);
    match parsed {
        Some(parsed) => ip::not_special(out, parsed, given, &at),
        None => out.push(Cause::invalid(at, given, "must be a valid IP address")),
    }
}

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
    if count > ENDPOINTS_MAX {
        out.push(Cause::too_many("endpoints", count, ENDPOINTS_MAX));
    } else {
        for (at, endpoint) in indexed(&slice["endpoints"], "endpoints") {
            slice_endpoint(&mut out, endpoint, &at, kind);
        }
    }
    slice_ports(&mut out, &slice["ports"]);
    out
}

fn slice_endpoint(out: &mut Causes, endpoint: &Value, path: &str, kind: &str) {
    let at = format!("{path}.addresses");
    let count = items(&endpoint["addresses"]).len();
    if count == 0 {
        out.push(Cause::required(at.as_str(), "must contain at least 1 address"));
    } else if count > ADDRESSES_MAX {
        out.push(Cause::too_many(at.as_str(), count, ADDRESSES_MAX));
    }
    for (at, own) in indexed(&endpoint["addresses"], &at) {
        slice_address(out, text(own), &at, kind);
    }
    node_name(out, endpoint, path);
    let topology = &endpoint["deprecatedTopology"];
    let at = format!("{path}.deprecatedTopology");
    let count = topology.as_object().map_or(0, serde_json::Map::len);
    if count > TOPOLOGY_MAX {
        out.push(Cause::too_many(at.as_str(), count, TOPOLOGY_MAX));
    }
    out.extend(validate_labels(topology, &at));
    if endpoint["hostname"].is_string() {
        let name = text(&endpoint["hostname"]);
        add(out, &format!("{path}.hostname"), name, label_problems(name));
    }
    for list in ["forZones", "forNodes"] {
        hints(out, &endpoint["hints"][list], &format!("{path}.hints.{list}"));
    }
}

fn slice_address(out: &mut Causes, own: &str, path: &str, kind: &str) {
    if kind == "FQDN" {
        return domain_name(out, own, path);
    }
    let before = out.len();
    let Some(parsed) = ip::address(out, own, path).filter(|_| out.len() == before) else { return };
    match (kind, parsed) {
        ("IPv4", IpAddr::V6(_)) => out.push(Cause::invalid(path, own, "must be an IPv4 address")),
        ("IPv6", IpAddr::V4(_)) => out.push(Cause::invalid(path, own, "must be an IPv6 address")),
        _ => {}
    }
    ip::not_special(out, parsed, own, path);
}

/// At least two labels.
fn domain_name(out: &mut Causes, name: &str, path: &str) {
    if name.is_empty() {
        return out.push(Cause::required(path, ""));
    }
    let name = name.strip_suffix('.').unwrap_or(name);
    let problems = subdomain_problems(name);
    if !problems.is_empty() {
        return out.push(Cause::invalid(path, name, &problems.join(",")));
    }
    if !name.contains('.') {
        let why = "should be a domain with at least two segments separated by dots";
        return out.push(Cause::invalid(path, name, why));
    }
    let bad = name.split('.').map(|part| (part, label_problems(part))).find(|(_, why)| !why.is_empty());
    out.extend(bad.map(|(part, why)| Cause::invalid(path, part, &why.join(","))));
}

fn hints(out: &mut Causes, list: &Value, path: &str) {
    let count = items(list).len();
    if count > HINTS_MAX {
        return out.push(Cause::too_many(path, count, HINTS_MAX));
    }
    let mut names = BTreeSet::new();
    for (at, hint) in indexed(list, path) {
        let (name, at) = (text(&hint["name"]), format!("{at}.name"));
        if !names.insert(name) {
            out.push(Cause::duplicate(at.as_str(), name));
        }
        add(out, &at, name, label_value_problems(name));
    }
}

fn slice_ports(out: &mut Causes, ports: &Value) {
    let all = items(ports);
    if all.len() > PORTS_MAX {
        return out.push(Cause::too_many("ports", all.len(), PORTS_MAX));
    }
    let mut names = BTreeSet::new();
    for (at, port) in indexed(ports, "ports") {
        let name = text(&port["name"]);
        if !name.is_empty() {
            add(out, &format!("{at}.name"), name, label_problems(name));
        }
        if !names.insert(name) {
            out.push(Cause::duplicate(format!("{at}.name"), name));
        }
        one_of(out, &port["protocol"], &format!("{at}.protocol"), &PROTOCOLS);
        app_protocol(out, port, &at);
    }
}

#[cfg(test)]
mod tests {
    use super::{super::checks::assert_cases, *};
    use serde_json::json;

    #[test]
    fn an_endpoint_slice_gets_the_stock_causes() {
        let one = |endpoint: Value| json!({"endpoints": [endpoint]});
        let many = |count: usize, of: Value| vec![of; count];
        assert_cases(
            json!({"addressType": "IPv4", "endpoints": [{"addresses": ["10.0.0.1"]}], "ports": [{"name": "a", "protocol": "TCP", "port": 80}]}),
            endpoint_slice,
            &[
                (json!({"addressType": ""}), &["addressType: Required value"]),
                (
                    json!({"addressType": "IP"}),
                    &[
                        "addressType: Unsupported value: \"IP\": supported values: \"FQDN\", \"IPv4\", \"IPv6\"",
                    ],
                ),
                (
                    json!({"addressType": "IPv6"}),
                    &["endpoints[0].addresses[0]: Invalid value: \"10.0.0.1\": must be an IPv6 address"],
                ),
                (
                    one(json!({"addresses": []})),
                    &["endpoints[0].addresses: Required value: must contain at least 1 address"],
                ),
                (
                    one(json!({"addresses": many(101, json!("10.0.0.1"))})),
                    &["endpoints[0].addresses: Too many: 101: must have at most 100 items"],
                ),
                (
                    one(json!({"addresses": ["2001:db8::1"]})),
                    &["endpoints[0].addresses[0]: Invalid value: \"2001:db8::1\": must be an IPv4 address"],
                ),
                (
                    one(json!({"addresses": ["127.0.0.1"]})),
                    &[
                        "endpoints[0].addresses[0]: Invalid value: \"127.0.0.1\": may not be in the loopback range (127.0.0.0/8, ::1/128)",
                    ],
                ),
                (
                    one(
                        json!({"addresses": ["10.0.0.1"], "nodeName": "n", "hints": {"forZones": [{"name": "z"}, {"name": "z"}]}}),
                    ),
                    &["endpoints[0].hints.forZones[1].name: Duplicate value: \"z\""],
                ),
                (
                    one(
                        json!({"addresses": ["10.0.0.1"], "hints": {"forNodes": many(9, json!({"name": "z"}))}}),
                    ),
                    &["endpoints[0].hints.forNodes: Too many: 9: must have at most 8 items"],
                ),
                (
                    json!({"endpoints": many(1001, json!({"addresses": ["10.0.0.1"]}))}),
                    &["endpoints: Too many: 1001: must have at most 1000 items"],
                ),
                (
                    json!({"ports": [{"name": "a", "protocol": "TCP"}, {"name": "a", "protocol": "ICMP"}]}),
                    &[
                        "ports[1].name: Duplicate value: \"a\"",
                        "ports[1].protocol: Unsupported value: \"ICMP\": supported values: \"SCTP\", \"TCP\", \"UDP\"",
                    ],
                ),
                (json!({"addressType": "FQDN", "endpoints": [{"addresses": ["a.b."]}]}), &[]),
                (
                    json!({"addressType": "FQDN", "endpoints": [{"addresses": ["a"]}]}),
                    &[
                        "endpoints[0].addresses[0]: Invalid value: \"a\": should be a domain with at least two segments separated by dots",
                    ],
                ),
            ],
        );
    }

    #[test]
    fn endpoints_get_the_stock_causes() {
        let subset = |subset: Value| json!({"subsets": [subset]});
        assert_cases(
            subset(json!({"addresses": [{"ip": "10.0.0.1"}]})),
            endpoints,
            &[
                (
                    subset(json!({})),
                    &["subsets[0]: Required value: must specify `addresses` or `notReadyAddresses`"],
                ),
                (
                    subset(json!({"addresses": [{"ip": "x"}]})),
                    &[
                        "subsets[0].addresses[0].ip: Invalid value: \"x\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
                        "subsets[0].addresses[0].ip: Invalid value: \"x\": must be a valid IP address",
                    ],
                ),
                (
                    subset(
                        json!({"notReadyAddresses": [{"ip": "10.0.0.1"}], "ports": [{"port": 1, "protocol": "TCP"}, {"port": 0, "name": "b", "protocol": "TCP"}]}),
                    ),
                    &[
                        "subsets[0].ports[0].name: Required value",
                        "subsets[0].ports[1].port: Invalid value: 0: must be between 1 and 65535, inclusive",
                    ],
                ),
            ],
        );
    }
}
