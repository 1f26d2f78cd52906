//! IPAddresses and ServiceCIDRs.
//!
//! Source: https://github.com/kubernetes/kubernetes/blob/master/pkg/apis/networking/validation/validation.go
//! (`ValidateIPAddress`, `ValidateServiceCIDR`)

use ipnet::IpNet;
use serde_json::{Value, json};

use super::{
    checked::Checked,
    checks::{Causes, IMMUTABLE, add, indexed, is_set, items, same, text},
    ip,
};
use crate::{
    metadata::{path_segment_problems, subdomain_problems},
    status::Cause,
    strategy::NameRule,
};

pub static IP_ADDRESS: Checked = Checked::new(ip_address)
    .comparing(|new, old| {
        let parent = &new["spec"]["parentRef"];
        if same(parent, &old["spec"]["parentRef"]) {
            return Vec::new();
        }
        // As upstream's own form is shown.
        let shown = ["Group", "Resource", "Namespace", "Name"]
            .map(|field| (field.to_owned(), text(&parent[field.to_lowercase()]).into()));
        let shown = if parent.is_null() { Value::Null } else { Value::Object(shown.into_iter().collect()) };
        vec![Cause::invalid("spec.parentRef", shown, IMMUTABLE)]
    })
    .named(NameRule::PathSegment);
pub static SERVICE_CIDR: Checked = Checked::new(service_cidr).once().comparing(service_cidr_update);

/// The other family may be added, nothing else.
fn service_cidr_update(new: &Value, old: &Value) -> Causes {
    const AT: &str = "spec.cidrs";
    let (now, before) = (items(&new["spec"]["cidrs"]), items(&old["spec"]["cidrs"]));
    let grows = before.len() == 1 && now.len() == 2;
    if !grows && now.len() != before.len() {
        return vec![Cause::invalid(AT, new["spec"]["cidrs"].clone(), IMMUTABLE)];
    }
    let changed = before.iter().zip(now).enumerate().filter(|(_, (before, now))| before != now);
    let mut out: Causes =
        changed.map(|(at, (_, now))| Cause::invalid(format!("{AT}[{at}]"), now.clone(), IMMUTABLE)).collect();
    if grows {
        out.extend(service_cidr(new));
    }
    out
}

fn ip_address(address: &Value) -> Causes {
    const AT: &str = "spec.parentRef";
    let mut out = Vec::new();
    ip::canonical_address(&mut out, crate::object::name(address), "metadata.name");
    let parent = &address["spec"]["parentRef"];
    if !is_set(parent) {
        out.push(Cause::required(AT, ""));
        return out;
    }
    if is_set(&parent["group"]) {
        add(
            &mut out,
            "spec.parentRef.group",
            text(&parent["group"]),
            subdomain_problems(text(&parent["group"])),
        );
    }
    for field in ["resource", "name", "namespace"] {
        let (value, at) = (&parent[field], format!("{AT}.{field}"));
        if is_set(value) {
            add(&mut out, &at, text(value), path_segment_problems(text(value)));
        } else if field != "namespace" {
            out.push(Cause::required(at, ""));
        }
    }
    out
}

fn service_cidr(cidr: &Value) -> Causes {
    const AT: &str = "spec.cidrs";
    let (cidrs, mut out) = (&cidr["spec"]["cidrs"], Vec::new());
    let count = items(cidrs).len();
    if count == 0 {
        out.push(Cause::required(AT, "at least one CIDR required"));
        return out;
    }
    if count > 2 {
        out.push(Cause::invalid(AT, json!({"CIDRs": cidrs}), "may only hold up to 2 values"));
        return out;
    }
    let parsed: Vec<IpNet> =
        indexed(cidrs, AT).filter_map(|(at, own)| ip::canonical_network(&mut out, text(own), &at)).collect();
    if let [IpNet::V4(_), IpNet::V4(_)] | [IpNet::V6(_), IpNet::V6(_)] = parsed[..] {
        let why = "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64";
        out.push(Cause::invalid(AT, cidrs.clone(), why));
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
                        "spec.cidrs[0]: Invalid value: \"10.0.0.1/16\": must not have bits set beyond the prefix length",
                    ],
                ),
                (json!({"spec": {"cidrs": ["10.0.0.0/16", "2001:db8::/64"]}}), &[]),
                (
                    json!({"spec": {"cidrs": ["a", "b", "c"]}}),
                    &[
                        "spec.cidrs: Invalid value: {\"CIDRs\":[\"a\",\"b\",\"c\"]}: may only hold up to 2 values",
                    ],
                ),
            ],
        );
    }

    #[test]
    fn addresses_and_networks_stay_what_they_are() {
        let old = json!({"spec": {"cidrs": ["10.0.0.0/16"]}});
        assert_cases(
            old.clone(),
            |new| service_cidr_update(new, &old),
            &[
                (
                    json!({"spec": {"cidrs": ["10.1.0.1/16"]}}),
                    &["spec.cidrs[0]: Invalid value: \"10.1.0.1/16\": field is immutable"],
                ),
                (
                    json!({"spec": {"cidrs": ["10.0.0.0/16", "10.1.0.0/16"]}}),
                    &[
                        "spec.cidrs: Invalid value: [\"10.0.0.0/16\",\"10.1.0.0/16\"]: may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64",
                    ],
                ),
                (json!({"spec": {"cidrs": []}}), &["spec.cidrs: Invalid value: []: field is immutable"]),
            ],
        );
        let old = json!({"spec": {"parentRef": {"resource": "services", "name": "s"}}});
        assert_cases(
            old.clone(),
            |new| (IP_ADDRESS.compare)(new, &old),
            &[(
                json!({"spec": {"parentRef": {"name": "t"}}}),
                &[
                    "spec.parentRef: Invalid value: {\"Group\":\"\",\"Resource\":\"services\",\"Namespace\":\"\",\"Name\":\"t\"}: field is immutable",
                ],
            )],
        );
    }
}
