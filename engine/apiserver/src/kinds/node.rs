//! Nodes and RuntimeClasses.
//!
//! Source: https://github.com/kubernetes/kubernetes/blob/master/pkg/apis/core/validation/validation.go (`ValidateNode`) and
//! https://github.com/kubernetes/kubernetes/blob/master/pkg/apis/node/validation/validation.go

use std::collections::BTreeSet;

use ipnet::IpNet;
use serde_json::{Value, json};

use super::{
    checked::Checked,
    checks::{Causes, add, immutable, indexed, is_set, items, one_of, require, resource_amounts, text},
    ip,
    pod_spec::{tolerations, validate_resources},
};
use crate::{
    metadata::{label_problems, label_value_problems, qualified_name_problems, validate_labels},
    status::Cause,
};

const EFFECTS: [&str; 3] = ["NoSchedule", "PreferNoSchedule", "NoExecute"];

pub static NODE: Checked = Checked::new(node).comparing(compare_nodes).checking_status(|new, old| {
    let mut out = compare_nodes(new, old);
    resources(&mut out, new);
    out
});
pub static RUNTIME_CLASS: Checked = Checked::new(runtime_class).comparing(|new, old| {
    let mut out = Vec::new();
    immutable(&mut out, &new["handler"], &old["handler"], "handler");
    out
});

fn node(node: &Value) -> Causes {
    let mut out = Vec::new();
    taints(&mut out, &node["spec"]["taints"]);
    resources(&mut out, node);
    let networks: Vec<IpNet> = indexed(&node["spec"]["podCIDRs"], "spec.podCIDRs")
        .filter_map(|(at, own)| ip::network(&mut out, text(own), &at))
        .collect();
    let one_each = match networks[..] {
        [first, second] => first.addr().is_ipv4() != second.addr().is_ipv4(),
        [_] | [] => true,
        _ => false,
    };
    if !one_each {
        let why = "may specify no more than one CIDR for each IP family";
        out.push(Cause::invalid("spec.podCIDRs", node["spec"]["podCIDRs"].clone(), why));
    }
    out
}

fn resources(out: &mut Causes, node: &Value) {
    for field in ["capacity", "allocatable"] {
        resource_amounts(out, &node["status"][field], &format!("status.{field}"));
    }
}

fn taints(out: &mut Causes, taints: &Value) {
    let mut seen = BTreeSet::new();
    // Upstream looks for them in the metadata, where they once were.
    for (at, taint) in indexed(taints, "metadata.taints") {
        let (key, value, effect) = (text(&taint["key"]), text(&taint["value"]), text(&taint["effect"]));
        add(out, &format!("{at}.key"), key, qualified_name_problems(key));
        let problems = label_value_problems(value);
        if !problems.is_empty() {
            out.push(Cause::invalid(format!("{at}.value"), value, &problems.join(";")));
        }
        if require(out, &taint["effect"], &format!("{at}.effect")) {
            one_of(out, &taint["effect"], &format!("{at}.effect"), &EFFECTS);
        }
        if !seen.insert((key, effect)) {
            let shown =
                json!({"Key": key, "Value": value, "Effect": effect, "TimeAdded": taint["timeAdded"]});
            let mut cause = Cause::duplicate(at.as_str(), shown);
            cause.message.push_str(": taints must be unique by key and effect pair");
            out.push(cause);
        }
    }
}

fn compare_nodes(new: &Value, old: &Value) -> Causes {
    let mut out = Vec::new();
    let mut addresses = BTreeSet::new();
    for (at, own) in indexed(&new["status"]["addresses"], "status.addresses") {
        if !addresses.insert((text(&own["type"]), text(&own["address"]))) {
            out.push(Cause::duplicate(at, json!({"Type": own["type"], "Address": own["address"]})));
        }
    }
    let (spec, before) = (&new["spec"], &old["spec"]);
    // The old field alone: upstream takes it over into the list, which then differs.
    let (first, list) = ("podCIDR", "podCIDRs");
    if is_set(&spec[first])
        && spec[first] != before[first]
        && is_set(&before[list])
        && spec[list] == before[list]
    {
        let why = "node updates may not change podCIDR except from \"\" to valid";
        out.push(Cause::forbidden("spec.podCIDRs", why));
    }
    for (field, called) in [("podCIDRs", "podCIDR"), ("providerID", "providerID")] {
        if is_set(&before[field]) && spec[field] != before[field] {
            let why = format!("node updates may not change {called} except from \"\" to valid");
            // One for each network that changed.
            let (now, was) = (items(&spec[field]), items(&before[field]));
            let count = match now.len() == was.len() {
                true => now.iter().zip(was).filter(|(now, was)| now != was).count().max(1),
                false => 1,
            };
            out.extend(std::iter::repeat_n(Cause::forbidden(format!("spec.{field}"), &why), count));
        }
    }
    out
}

fn runtime_class(class: &Value) -> Causes {
    let mut out = Vec::new();
    let handler = text(&class["handler"]);
    add(&mut out, "handler", handler, label_problems(handler));
    let fixed = &class["overhead"]["podFixed"];
    validate_resources(&mut out, &json!({"limits": fixed}), "overhead");
    let scheduling = &class["scheduling"];
    out.extend(validate_labels(&scheduling["nodeSelector"], "scheduling.nodeSelector"));
    tolerations(&mut out, &scheduling["tolerations"], "scheduling.tolerations");
    out
}

#[cfg(test)]
mod tests {
    use super::{super::checks::assert_cases, *};

    #[test]
    fn nodes_get_the_stock_causes() {
        let spec = |spec: Value| json!({"spec": spec});
        let old = json!({"spec": {"podCIDR": "10.0.0.0/24", "podCIDRs": ["10.0.0.0/24"], "providerID": "p"}});
        assert_cases(
            old.clone(),
            node,
            &[
                (
                    spec(
                        json!({"taints": [{"key": "a", "effect": "NoSchedule"}, {"key": "a", "effect": "NoSchedule"}]}),
                    ),
                    &[
                        "metadata.taints[1]: Duplicate value: {\"Key\":\"a\",\"Value\":\"\",\"Effect\":\"NoSchedule\",\"TimeAdded\":null}: taints must be unique by key and effect pair",
                    ],
                ),
                (
                    spec(json!({"taints": [{"key": "a", "effect": "Never"}, {"key": "b"}]})),
                    &[
                        "metadata.taints[0].effect: Unsupported value: \"Never\": supported values: \"NoSchedule\", \"PreferNoSchedule\", \"NoExecute\"",
                        "metadata.taints[1].effect: Required value",
                    ],
                ),
                (
                    spec(json!({"podCIDRs": ["10.0.0.0/24", "10.0.1.0/24"]})),
                    &[
                        "spec.podCIDRs: Invalid value: [\"10.0.0.0/24\",\"10.0.1.0/24\"]: may specify no more than one CIDR for each IP family",
                    ],
                ),
                (
                    spec(json!({"podCIDRs": ["10.0.0.1/24"]})),
                    &[
                        "spec.podCIDRs[0]: Invalid value: \"10.0.0.1/24\": must not have bits set beyond the prefix length",
                    ],
                ),
                (
                    json!({"status": {"capacity": {"cpu": "-1", "pods": "1500m", "a.b/c": "1500m"}}}),
                    &[
                        "status.capacity.cpu: Invalid value: \"-1\": must be greater than or equal to 0",
                        "status.capacity.pods: Invalid value: \"1500m\": must be an integer",
                        "status.capacity.a.b/c: Invalid value: \"1500m\": must be an integer",
                    ],
                ),
            ],
        );
        assert_cases(
            old.clone(),
            |new| compare_nodes(new, &old),
            &[
                (
                    spec(json!({"podCIDRs": ["10.0.1.0/24"]})),
                    &[
                        "spec.podCIDRs: Forbidden: node updates may not change podCIDR except from \"\" to valid",
                    ],
                ),
                (
                    spec(json!({"podCIDR": "10.0.9.0/24"})),
                    &[
                        "spec.podCIDRs: Forbidden: node updates may not change podCIDR except from \"\" to valid",
                    ],
                ),
                (
                    spec(json!({"providerID": "q"})),
                    &[
                        "spec.providerID: Forbidden: node updates may not change providerID except from \"\" to valid",
                    ],
                ),
                (spec(json!({"unschedulable": true})), &[]),
                (
                    json!({"status": {"addresses": [{"type": "InternalIP", "address": "a"}, {"type": "InternalIP", "address": "a"}]}}),
                    &["status.addresses[1]: Duplicate value: {\"Type\":\"InternalIP\",\"Address\":\"a\"}"],
                ),
            ],
        );
    }

    #[test]
    fn runtime_classes_get_the_stock_causes() {
        assert_cases(
            json!({"handler": "runc"}),
            runtime_class,
            &[
                (
                    json!({"overhead": {"podFixed": {"cpu": "-1"}}}),
                    &["overhead.limits[cpu]: Invalid value: \"-1\": must be greater than or equal to 0"],
                ),
                (
                    json!({"scheduling": {"nodeSelector": {"a": "b c"}}}),
                    &[
                        "scheduling.nodeSelector: Invalid value: \"b c\": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')",
                    ],
                ),
                (
                    json!({"scheduling": {"tolerations": [{"key": "a", "operator": "Near"}]}}),
                    &[
                        "scheduling.tolerations[0].operator: Unsupported value: \"Near\": supported values: \"Equal\", \"Exists\"",
                    ],
                ),
            ],
        );
    }
}
