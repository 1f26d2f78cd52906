//! Label selectors, compiled once and asked often.
//!
//! An empty selector matches everything; callers that mean "nothing" when it is absent say so themselves.
//! Source: https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

/// Something that has labels.
pub trait Labels {
    fn label(&self, key: &str) -> Option<&str>;
}

impl Labels for BTreeMap<String, String> {
    fn label(&self, key: &str) -> Option<&str> {
        self.get(key).map(String::as_str)
    }
}

impl<L: Labels> Labels for Option<L> {
    fn label(&self, key: &str) -> Option<&str> {
        self.as_ref().and_then(|labels| labels.label(key))
    }
}

/// Pairs sorted by key.
impl Labels for [(Box<str>, Box<str>)] {
    fn label(&self, key: &str) -> Option<&str> {
        self.binary_search_by(|(name, _)| (**name).cmp(key)).ok().map(|at| &*self[at].1)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Requirement {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    DoesNotExist(String),
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{operator:?} is not a valid label selector operator")]
pub struct SelectorError {
    pub operator: String,
}

/// All requirements hold at once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector(Vec<Requirement>);

impl Selector {
    pub fn from_map(labels: &BTreeMap<String, String>) -> Selector {
        Selector(
            labels.iter().map(|(key, value)| Requirement::In(key.clone(), vec![value.clone()])).collect(),
        )
    }

    pub fn compile(selector: &LabelSelector) -> Result<Selector, SelectorError> {
        let mut compiled = selector.match_labels.as_ref().map(Selector::from_map).unwrap_or_default();
        for expression in selector.match_expressions.iter().flatten() {
            let key = expression.key.clone();
            let values = expression.values.clone().unwrap_or_default();
            compiled.0.push(match expression.operator.as_str() {
                "In" => Requirement::In(key, values),
                "NotIn" => Requirement::NotIn(key, values),
                "Exists" => Requirement::Exists(key),
                "DoesNotExist" => Requirement::DoesNotExist(key),
                operator => return Err(SelectorError { operator: operator.to_owned() }),
            });
        }
        Ok(compiled)
    }

    /// Adds `key = value` to what must hold.
    pub fn require(&mut self, key: &str, value: &str) {
        self.0.push(Requirement::In(key.to_owned(), vec![value.to_owned()]));
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn matches<L: Labels + ?Sized>(&self, labels: &L) -> bool {
        self.0.iter().all(|requirement| match requirement {
            Requirement::In(key, values) => {
                labels.label(key).is_some_and(|label| values.iter().any(|value| value == label))
            }
            Requirement::NotIn(key, values) => {
                labels.label(key).is_none_or(|label| values.iter().all(|value| value != label))
            }
            Requirement::Exists(key) => labels.label(key).is_some(),
            Requirement::DoesNotExist(key) => labels.label(key).is_none(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_operator_reads_labels_as_the_documentation_says() {
        let labels: BTreeMap<String, String> =
            [("app", "web"), ("tier", "front")].map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        let sorted: Vec<(Box<str>, Box<str>)> =
            vec![("app".into(), "web".into()), ("tier".into(), "front".into())];
        let expression = |key: &str, operator: &str, values: &[&str]| json!({"matchExpressions": [{"key": key, "operator": operator, "values": values}]});
        let cases = [
            (json!({}), true),
            (json!({"matchLabels": {"app": "web"}}), true),
            (json!({"matchLabels": {"app": "db"}}), false),
            (expression("app", "In", &["db", "web"]), true),
            (expression("none", "In", &["web"]), false),
            (expression("app", "NotIn", &["web"]), false),
            (expression("none", "NotIn", &["web"]), true),
            (expression("app", "Exists", &[]), true),
            (expression("app", "DoesNotExist", &[]), false),
            (expression("none", "DoesNotExist", &[]), true),
        ];
        for (selector, expected) in cases {
            let compiled = Selector::compile(&serde_json::from_value(selector.clone()).unwrap()).unwrap();
            assert_eq!(compiled.matches(&labels), expected, "{selector}");
            assert_eq!(compiled.matches(sorted.as_slice()), expected, "{selector}");
        }
    }
}
