//! What a Service must look like.
//!
//! Source: https://github.com/kubernetes/kubernetes/blob/master/pkg/apis/core/validation/validation.go (`ValidateService`)

use serde_json::Value;

use super::{
    super::checks::{PORT_RANGE, port_name_problems},
    fields::{is_headless, kind, needs_cluster_ip},
};
use crate::{
    metadata::{label_problems, subdomain_problems, validate_labels},
    object::strings,
    status::Cause,
};

const TYPES: [&str; 4] = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];

pub fn validate(service: &Value) -> Vec<Cause> {
    let spec = &service["spec"];
    let mut causes = Vec::new();
    let ports = spec["ports"].as_array().map(Vec::as_slice).unwrap_or_default();
    if ports.is_empty() && !is_headless(service) && kind(service) != "ExternalName" {
        causes.push(Cause::required("spec.ports", ""));
    }
    if !TYPES.contains(&kind(service)) {
        causes.push(Cause::not_supported("spec.type", kind(service), &TYPES));
    }
    for (at, port) in ports.iter().enumerate() {
        causes.extend(validate_port(port, ports.len() > 1, &format!("spec.ports[{at}]")));
    }
    causes.extend(duplicates(ports));
    causes.extend(validate_labels(&spec["selector"], "spec.selector"));
    one_of(&mut causes, spec, "sessionAffinity", &["ClientIP", "None"]);
    one_of(&mut causes, spec, "internalTrafficPolicy", &["Cluster", "Local"]);
    one_of(&mut causes, spec, "externalTrafficPolicy", &["Cluster", "Local"]);
    one_of(&mut causes, spec, "ipFamilyPolicy", &["PreferDualStack", "RequireDualStack", "SingleStack"]);
    if kind(service) == "ExternalName" {
        causes.extend(external_name(spec));
    }
    if let (true, Some(ip)) = (needs_cluster_ip(service), spec["clusterIP"].as_str()) {
        if ip != "None" && !ip.is_empty() && ip.parse::<std::net::IpAddr>().is_err() {
            let why = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
            causes.push(Cause::invalid("spec.clusterIPs[0]", ip, why));
        }
        if strings(&spec["clusterIPs"]).first().is_some_and(|first| *first != ip) {
            causes.push(Cause::invalid(
                "spec.clusterIPs",
                spec["clusterIPs"].clone(),
                "first value must match `clusterIP`",
            ));
        }
        if ip == "None" && matches!(kind(service), "NodePort" | "LoadBalancer") {
            let why = format!("may not be set to 'None' for {} services", kind(service));
            causes.push(Cause::invalid("spec.clusterIPs[0]", "None", &why));
        }
    }
    causes
}

fn one_of(causes: &mut Vec<Cause>, spec: &Value, field: &str, allowed: &[&str]) {
    if let Some(value) = spec[field].as_str().filter(|value| !allowed.contains(value)) {
        causes.push(Cause::not_supported(format!("spec.{field}"), value, allowed));
    }
}

fn external_name(spec: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    if !strings(&spec["clusterIPs"]).is_empty() {
        causes.push(Cause::forbidden("spec.clusterIPs", "may not be set when `type` is 'ExternalName'"));
    }
    let name = spec["externalName"].as_str().unwrap_or_default();
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.is_empty() {
        causes.push(Cause::required("spec.externalName", ""));
    } else {
        causes.extend(
            subdomain_problems(name).iter().map(|why| Cause::invalid("spec.externalName", name, why)),
        );
    }
    causes
}

fn validate_port(port: &Value, needs_name: bool, path: &str) -> Vec<Cause> {
    let mut causes = Vec::new();
    let name = port["name"].as_str().unwrap_or_default();
    if name.is_empty() {
        if needs_name {
            causes.push(Cause::required(format!("{path}.name"), ""));
        }
    } else {
        causes
            .extend(label_problems(name).iter().map(|why| Cause::invalid(format!("{path}.name"), name, why)));
    }
    let number = port["port"].as_i64().unwrap_or_default();
    if !(1..=65535).contains(&number) {
        causes.push(Cause::invalid(format!("{path}.port"), number, PORT_RANGE));
    }
    let protocol = port["protocol"].as_str().unwrap_or("TCP");
    if !matches!(protocol, "TCP" | "UDP" | "SCTP") {
        causes.push(Cause::not_supported(format!("{path}.protocol"), protocol, &["SCTP", "TCP", "UDP"]));
    }
    let target = &port["targetPort"];
    if target.as_i64().is_some_and(|target| !(1..=65535).contains(&target)) {
        causes.push(Cause::invalid(format!("{path}.targetPort"), target.clone(), PORT_RANGE));
    }
    if let Some(text) = target.as_str() {
        causes.extend(
            port_name_problems(text)
                .into_iter()
                .map(|why| Cause::invalid(format!("{path}.targetPort"), text, why)),
        );
    }
    causes
}

fn duplicates(ports: &[Value]) -> Vec<Cause> {
    let mut causes = Vec::new();
    for (at, port) in ports.iter().enumerate() {
        let earlier = &ports[..at];
        let name = &port["name"];
        if name.as_str().is_some_and(|name| !name.is_empty())
            && earlier.iter().any(|other| other["name"] == *name)
        {
            causes.push(Cause::duplicate(format!("spec.ports[{at}].name"), name.clone()));
        }
        let key = |port: &Value| (port["protocol"].clone(), port["port"].clone());
        if earlier.iter().any(|other| key(other) == key(port)) {
            let shown = serde_json::json!({"protocol": port["protocol"], "port": port["port"]});
            causes.push(Cause::duplicate(format!("spec.ports[{at}]"), shown));
        }
        let node_key = |port: &Value| (port["protocol"].clone(), port["nodePort"].clone());
        let set = port["nodePort"].as_u64().unwrap_or_default() != 0;
        if set && earlier.iter().any(|other| node_key(other) == node_key(port)) {
            causes.push(Cause::duplicate(format!("spec.ports[{at}].nodePort"), port["nodePort"].clone()));
        }
    }
    causes
}

pub fn validate_update(service: &Value, old: &Value) -> Vec<Cause> {
    if !(needs_cluster_ip(service) && needs_cluster_ip(old)) {
        return Vec::new();
    }
    let before = old["spec"]["clusterIPs"][0].as_str().unwrap_or_default();
    let after = service["spec"]["clusterIPs"][0].as_str().unwrap_or_default();
    if before.is_empty() || before == after {
        return Vec::new();
    }
    vec![Cause::invalid(
        "spec.clusterIPs[0]",
        service["spec"]["clusterIPs"].clone(),
        "may not change once set",
    )]
}
