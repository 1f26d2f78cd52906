//! Which pods and claims a quota with scopes is about.
//!
//! Source: https://kubernetes.io/docs/concepts/policy/resource-quotas/#quota-scopes

use jiff::Timestamp;
use serde_json::Value;

/// What scopes look at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    pub is_pod: bool,
    pub is_claim: bool,
    /// Has a deadline.
    pub terminating: bool,
    pub best_effort: bool,
    pub priority_class: String,
    pub crosses_namespaces: bool,
    /// VolumeAttributesClasses, wanted and present.
    pub attributes_classes: Vec<String>,
    /// From then on only the object itself counts: its node does not take it away.
    pub given_up: Option<Timestamp>,
}

/// One condition, from `scopes` or from `scopeSelector`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    name: String,
    operator: String,
    values: Vec<String>,
}

impl Scope {
    pub fn all_of(spec: &Value) -> Vec<Scope> {
        let list = |value: &Value| -> Vec<String> {
            value.as_array().into_iter().flatten().filter_map(Value::as_str).map(String::from).collect()
        };
        let plain = list(&spec["scopes"]).into_iter().map(|name| Scope {
            name,
            operator: "Exists".into(),
            values: Vec::new(),
        });
        let selected = spec["scopeSelector"]["matchExpressions"].as_array().into_iter().flatten();
        let selected = selected.map(|one| Scope {
            name: one["scopeName"].as_str().unwrap_or_default().into(),
            operator: one["operator"].as_str().unwrap_or_default().into(),
            values: list(&one["values"]),
        });
        plain.chain(selected).collect()
    }

    pub fn covers(&self, facts: &Facts) -> bool {
        let of_pod = match self.name.as_str() {
            "VolumeAttributesClass" => return facts.is_claim && self.admits(&facts.attributes_classes),
            "Terminating" => facts.terminating,
            "NotTerminating" => !facts.terminating,
            "BestEffort" => facts.best_effort,
            "NotBestEffort" => !facts.best_effort,
            "CrossNamespacePodAffinity" => facts.crosses_namespaces,
            "PriorityClass" => {
                let class = Some(facts.priority_class.clone()).filter(|class| !class.is_empty());
                self.admits(class.as_slice())
            }
            _ => false,
        };
        facts.is_pod && of_pod
    }

    /// `present`: what the object names.
    fn admits(&self, present: &[String]) -> bool {
        let any = || present.iter().any(|own| self.values.contains(own));
        match self.operator.as_str() {
            "In" => any(),
            "NotIn" => !any(),
            "Exists" => !present.is_empty(),
            "DoesNotExist" => present.is_empty(),
            _ => false,
        }
    }
}
