//! Nodes and RuntimeClasses.
//!
//! Source: https://github.com/kubernetes/kubernetes/blob/master/pkg/apis/core/validation/validation.go (`ValidateNode`) and
//! https://github.com/kubernetes/kubernetes/blob/master/pkg/apis/node/validation/validation.go

use std::collections::BTreeSet;

use ipnet::IpNet;
use serde_json::{Value, json};

use super::{
    checked::{Checked, drop_unused},
    checks::{Causes, add, immutable, indexed, is_set, items, one_of, require, resource_amounts, text},
    ip,
    pod_spec::{tolerations, validate_resources},
    warnings,
};
use crate::{
    metadata::{label_problems, label_value_problems, qualified_name_problems, validate_labels},
    status::{Cause, quote},
    strategy::Context,
};

const EFFECTS: [&str; 3] = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
const FEATURE_MAX_BYTES: usize = 253;
const FEATURE: &str = "must start with an UpperCamelCase segment, with subsequent segments separated by '/' (e.g., MyFeature or MyFeature/mySubFeature), and contain only alphanumeric characters and slashes";

pub static NODE: Checked = Checked::new(node)
    .warning(warnings::node)
    .preparing(prepare)
    .preparing_status(|node, old| drop_unused(node, Some(old), "status", &["config"]))
    .comparing(compare_nodes)
    .checking_status(|new, old| {
        let mut out = Vec::new();
        resources(&mut out, new);
        features(&mut out, &new["status"]["declaredFeatures"]);
        out.extend(compare_nodes(new, old));
        out
    });
pub static RUNTIME_CLASS: Checked =
    Checked::new(runtime_class).warning(warnings::runtime_class).created_by_update().comparing(|new, old| {
        let mut out = Vec::new();
        immutable(&mut out, &new["handler"], &old["handler"], "handler");
        out
    });

/// The first network alone is authoritative, as clients know it that do not know the list; kubelets are not configured
/// by the API.
fn prepare(node: &mut Value, old: Option<&Value>, _context: Context<'_>) {
    drop_unused(node, old, "spec", &["configSource"]);
    if old.is_none() {
        drop_unused(node, None, "status", &["config"]);
    }
    let Some(spec) = node.get_mut("spec") else { return };
    let first = spec["podCIDR"].clone();
    if is_set(&first) && first != spec["podCIDRs"][0] {
        spec["podCIDRs"] = json!([first]);
    }
    if is_set(&spec["podCIDRs"]) {
        spec["podCIDR"] = spec["podCIDRs"][0].clone();
    }
}

fn node(node: &Value) -> Causes {
    let mut out = Vec::new();
    taints(&mut out, &node["spec"]["taints"]);
    resources(&mut out, node);
    let swap = &node["status"]["nodeInfo"]["swap"]["capacity"];
    if let Some(bytes) = swap.as_i64().filter(|bytes| *bytes <= 0) {
        // Upstream looks for it in the metadata.
        out.push(Cause::invalid("metadata.nodeSwapStatus.capacity", bytes, "must be greater than zero"));
    }
    features(&mut out, &node["status"]["declaredFeatures"]);
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

/// `MyFeature`, `MyFeature/mySubFeature`; sorted, each once.
fn features(out: &mut Causes, names: &Value) {
    const AT: &str = "status.declaredFeatures";
    for (at, name) in indexed(names, AT) {
        let name = text(name);
        let is_word = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric());
        let fits = name.starts_with(|c: char| c.is_ascii_uppercase()) && name.split('/').all(is_word);
        let why = match name.len() > FEATURE_MAX_BYTES {
            true => format!("must be no more than {FEATURE_MAX_BYTES} characters"),
            false if fits => continue,
            false => FEATURE.into(),
        };
        out.push(Cause::invalid(at, name, &format!("invalid feature name {}: {why}", quote(name))));
    }
    for (at, pair) in items(names).windows(2).enumerate() {
        let (at, before, name) = (format!("{AT}[{}]", at + 1), text(&pair[0]), text(&pair[1]));
        if before == name {
            out.push(Cause::duplicate(at, name));
        } else if before > name {
            out.push(Cause::invalid(at, name, "list must be sorted alphabetically"));
        }
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
    if text(&spec["externalID"]) != text(&before["externalID"]) {
        out.push(Cause::forbidden("spec.externalID", "may not be updated"));
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
    let mut seen = BTreeSet::new();
    for (at, own) in indexed(&scheduling["tolerations"], "scheduling.tolerations") {
        let [key, operator, value, effect] =
            ["key", "operator", "value", "effect"].map(|field| text(&own[field]));
        if !seen.insert([key, operator, value, effect]) {
            let shown = json!({"Key": key, "Operator": operator, "Value": value, "Effect": effect,
                "TolerationSeconds": own["tolerationSeconds"]});
            out.push(Cause::duplicate(at, shown));
        }
    }
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
                (
                    json!({"status": {"nodeInfo": {"swap": {"capacity": 0}}}}),
                    &["metadata.nodeSwapStatus.capacity: Invalid value: 0: must be greater than zero"],
                ),
                (json!({"status": {"declaredFeatures": ["A", "B/c"]}}), &[]),
                (
                    json!({"status": {"declaredFeatures": ["B", "a", "a"]}}),
                    &[
                        &format!(
                            "status.declaredFeatures[1]: Invalid value: \"a\": invalid feature name \"a\": {FEATURE}"
                        ),
                        &format!(
                            "status.declaredFeatures[2]: Invalid value: \"a\": invalid feature name \"a\": {FEATURE}"
                        ),
                        "status.declaredFeatures[2]: Duplicate value: \"a\"",
                    ],
                ),
                (
                    json!({"status": {"declaredFeatures": ["B", "A"]}}),
                    &["status.declaredFeatures[1]: Invalid value: \"A\": list must be sorted alphabetically"],
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
                (spec(json!({"externalID": "e"})), &["spec.externalID: Forbidden: may not be updated"]),
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
                (
                    json!({"scheduling": {"tolerations": [{"key": "a"}, {"key": "a", "effect": "NoExecute"}, {"key": "a"}]}}),
                    &[
                        "scheduling.tolerations[2]: Duplicate value: {\"Key\":\"a\",\"Operator\":\"\",\"Value\":\"\",\"Effect\":\"\",\"TolerationSeconds\":null}",
                    ],
                ),
            ],
        );
    }
}
