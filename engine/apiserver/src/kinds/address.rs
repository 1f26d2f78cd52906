//! IPAddresses and ServiceCIDRs.
//!
//! Source: https://github.com/kubernetes/kubernetes/blob/master/pkg/apis/networking/validation/validation.go
//! (`ValidateIPAddress`, `ValidateServiceCIDR`)

use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::Value;

use super::{
    checked::Checked,
    checks::{Causes, immutable, indexed, is_set, items, require, text},
};
use crate::{status::Cause, strategy::NameRule};

pub static IP_ADDRESS: Checked = Checked::new(ip_address)
    .comparing(|new, old| {
        let mut out = Vec::new();
        immutable(&mut out, &new["spec"]["parentRef"], &old["spec"]["parentRef"], "spec.parentRef");
        out
    })
    .named(NameRule::PathSegment);
pub static SERVICE_CIDR: Checked = Checked::new(service_cidr).comparing(|new, old| {
    let (now, before) = (items(&new["spec"]["cidrs"]), items(&old["spec"]["cidrs"]));
    // The other family may be added, nothing else.
    if now == before || (before.len() == 1 && now.len() == 2 && now[0] == before[0]) {
        return Vec::new();
    }
    vec![Cause::invalid("spec.cidrs", new["spec"]["cidrs"].clone(), super::checks::IMMUTABLE)]
});

fn ip_address(address: &Value) -> Causes {
    let mut out = Vec::new();
    let name = crate::object::name(address);
    match name.parse::<IpAddr>() {
        Err(_) => {
            let why = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
            out.push(Cause::invalid("metadata.name", name, why));
        }
        Ok(parsed) if parsed.to_string() != name => {
            let why = format!("must be in canonical form (\"{parsed}\")");
            out.push(Cause::invalid("metadata.name", name, &why));
        }
        Ok(_) => {}
    }
    let parent = &address["spec"]["parentRef"];
    if !is_set(parent) {
        out.push(Cause::required("spec.parentRef", ""));
        return out;
    }
    for field in ["resource", "name"] {
        require(&mut out, &parent[field], &format!("spec.parentRef.{field}"));
    }
    out
}

fn service_cidr(cidr: &Value) -> Causes {
    let mut out = Vec::new();
    let all = items(&cidr["spec"]["cidrs"]);
    if all.is_empty() {
        out.push(Cause::required("spec.cidrs", "at least one CIDR required"));
        return out;
    }
    if all.len() > 2 {
        let why = "may only hold up to 2 values";
        out.push(Cause::invalid("spec", cidr["spec"].clone(), why));
        return out;
    }
    let parsed: Vec<IpNet> = all.iter().filter_map(|own| text(own).parse().ok()).collect();
    if let [IpNet::V4(_), IpNet::V4(_)] | [IpNet::V6(_), IpNet::V6(_)] = parsed[..] {
        let why = "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64";
        out.push(Cause::invalid("spec.cidrs", cidr["spec"]["cidrs"].clone(), why));
    }
    for (at, own) in indexed(&cidr["spec"]["cidrs"], "spec.cidrs") {
        match text(own).parse::<IpNet>() {
            Err(_) => {
                let why = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
                out.push(Cause::invalid(at, own.clone(), why));
            }
            Ok(net) if net.trunc().to_string() != text(own) => {
                let why = format!("must be in canonical form (\"{}\")", net.trunc());
                out.push(Cause::invalid(at, own.clone(), &why));
            }
            Ok(_) => {}
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{super::checks::assert_cases, *};
    use serde_json::json;

    #[test]
    fn addresses_and_networks_get_the_stock_causes() {
        assert_cases(
            json!({"metadata": {"name": "10.0.0.1"}, "spec": {"parentRef": {"resource": "services", "name": "s"}}}),
            ip_address,
            &[
                (
                    json!({"metadata": {"name": "ten"}}),
                    &[
                        "metadata.name: Invalid value: \"ten\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
                    ],
                ),
                (
                    json!({"metadata": {"name": "2001:db8:0::1"}}),
                    &[
                        "metadata.name: Invalid value: \"2001:db8:0::1\": must be in canonical form (\"2001:db8::1\")",
                    ],
                ),
                (json!({"spec": {"parentRef": null}}), &["spec.parentRef: Required value"]),
                (json!({"spec": {"parentRef": {"name": ""}}}), &["spec.parentRef.name: Required value"]),
            ],
        );
        assert_cases(
            json!({"spec": {"cidrs": ["10.0.0.0/16"]}}),
            service_cidr,
            &[
                (json!({"spec": {"cidrs": []}}), &["spec.cidrs: Required value: at least one CIDR required"]),
                (
                    json!({"spec": {"cidrs": ["10.0.0.1/16"]}}),
                    &[
                        "spec.cidrs[0]: Invalid value: \"10.0.0.1/16\": must be in canonical form (\"10.0.0.0/16\")",
                    ],
                ),
                (json!({"spec": {"cidrs": ["10.0.0.0/16", "2001:db8::/64"]}}), &[]),
            ],
        );
    }
}
