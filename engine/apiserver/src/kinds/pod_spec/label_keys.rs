//! `matchLabelKeys` and `mismatchLabelKeys`: a pod's own values of these labels join the selectors that name them, so that
//! whoever reads the selector knows all.
//!
//! Source: https://github.com/kubernetes/kubernetes/blob/master/pkg/registry/core/pod/strategy.go (`mutatePodAffinity`,
//! `mutateTopologySpreadConstraints`)

use serde_json::{Value, json};

use super::super::checks::{items, text};

const TERMS: [&str; 4] = [
    "/affinity/podAffinity/requiredDuringSchedulingIgnoredDuringExecution",
    "/affinity/podAffinity/preferredDuringSchedulingIgnoredDuringExecution",
    "/affinity/podAntiAffinity/requiredDuringSchedulingIgnoredDuringExecution",
    "/affinity/podAntiAffinity/preferredDuringSchedulingIgnoredDuringExecution",
];
const KEYS: [(&str, &str); 2] = [("matchLabelKeys", "In"), ("mismatchLabelKeys", "NotIn")];

/// Of a pod that is created.
pub fn merge(pod: &mut Value) {
    let labels = pod["metadata"]["labels"].clone();
    let Some(spec) = pod.get_mut("spec") else { return };
    for list in TERMS.into_iter().chain(["/topologySpreadConstraints"]) {
        for term in spec.pointer_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            let weighted = term.get("podAffinityTerm").is_some();
            join(if weighted { &mut term["podAffinityTerm"] } else { term }, &labels);
        }
    }
}

fn join(term: &mut Value, labels: &Value) {
    // Without a selector, nothing is chosen.
    if !term["labelSelector"].is_object() {
        return;
    }
    for (field, operator) in KEYS {
        for key in items(&term[field]).to_vec() {
            let Some(value) = labels[text(&key)].as_str() else { continue };
            let own = json!({"key": key, "operator": operator, "values": [value]});
            match &mut term["labelSelector"]["matchExpressions"] {
                Value::Array(all) => all.push(own),
                slot => *slot = json!([own]),
            }
        }
    }
}

/// Whether the selector names the key otherwise than [`merge`] does.
pub fn names_itself(selector: &Value, key: &str) -> bool {
    let expressions = items(&selector["matchExpressions"]);
    let named = expressions.iter().filter(|own| text(&own["key"]) == key);
    let merged = |own: &&Value| own["operator"] == "In" && items(&own["values"]).len() == 1;
    let (count, of_merge) = (named.clone().count(), named.filter(merged).count().min(1));
    count > of_merge || !selector["matchLabels"][key].is_null()
}

/// Whether something of the selector is about the key beside an expression.
pub fn names_twice(selector: &Value, key: &str) -> bool {
    let expressions = items(&selector["matchExpressions"]).iter();
    let count = expressions.filter(|own| text(&own["key"]) == key).count();
    count > 1 || (count == 1 && !selector["matchLabels"][key].is_null())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pods_own_labels_join_its_selectors() {
        let selector = json!({"matchLabels": {"app": "x"}});
        let term = |own: Value| {
            let mut term = json!({"topologyKey": "k", "labelSelector": selector});
            coracle_schema::json_merge_patch(&mut term, &own);
            term
        };
        let mut pod = json!({"metadata": {"labels": {"hash": "1"}}, "spec": {
            "affinity": {
                "podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term(json!({"matchLabelKeys": ["hash", "none"]}))]},
                "podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
                    {"weight": 1, "podAffinityTerm": term(json!({"mismatchLabelKeys": ["hash"]}))},
                    {"weight": 1, "podAffinityTerm": {"matchLabelKeys": ["hash"]}}]}
            },
            "topologySpreadConstraints": [term(json!({"matchLabelKeys": ["hash"]}))]
        }});
        merge(&mut pod);
        let own = |operator: &str| json!([{"key": "hash", "operator": operator, "values": ["1"]}]);
        let terms = |path: &str| pod.pointer(path).cloned().unwrap_or_default();
        assert_eq!(terms(&format!("/spec{}/0/labelSelector/matchExpressions", TERMS[0])), own("In"));
        let weighted = format!("/spec{}/0/podAffinityTerm/labelSelector/matchExpressions", TERMS[3]);
        assert_eq!(terms(&weighted), own("NotIn"));
        assert_eq!(terms(&format!("/spec{}/1/podAffinityTerm/labelSelector", TERMS[3])), Value::Null);
        let spread = terms("/spec/topologySpreadConstraints/0/labelSelector");
        assert_eq!(spread["matchExpressions"], own("In"));
        assert!(!names_itself(&spread, "hash") && names_itself(&spread, "app"));
        let both = json!({"matchLabels": {"hash": "1"}, "matchExpressions": own("In")});
        assert!(names_twice(&both, "hash") && !names_twice(&spread, "hash"));
    }
}
