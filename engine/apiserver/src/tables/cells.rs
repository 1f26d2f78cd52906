//! What cells are made of: texts, counts, lists cut short, label maps and selectors.
//!
//! Invariant: an absent field never fails, it shows as the stock server shows it (`<none>`, `<unset>`, 0).
//! Source: https://github.com/kubernetes/kubernetes/blob/master/pkg/printers/internalversion/printers.go

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::Value;

use super::{Column, age};

pub const NONE: &str = "<none>";
pub const UNSET: &str = "<unset>";
/// How many hosts, ports or addresses a cell shows before `+ n more...`.
pub const LIST_MAX: usize = 3;

/// A column of texts.
pub const fn text(name: &'static str, description: &'static str) -> Column {
    Column { name, kind: "string", format: "", description, priority: 0 }
}

pub const fn integer(name: &'static str, description: &'static str) -> Column {
    Column { kind: "integer", ..text(name, description) }
}

pub const fn boolean(name: &'static str, description: &'static str) -> Column {
    Column { kind: "boolean", ..text(name, description) }
}

impl Column {
    /// Only with `-o wide`.
    pub const fn wide(self) -> Column {
        Column { priority: 1, ..self }
    }
}

/// The string, or nothing.
pub fn shown(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// The string, or `otherwise` when it is absent or empty.
pub fn shown_or<'a>(value: &'a Value, otherwise: &'a str) -> &'a str {
    value.as_str().filter(|text| !text.is_empty()).unwrap_or(otherwise)
}

pub fn number(value: &Value) -> i64 {
    value.as_i64().unwrap_or_default()
}

/// A number or a string (`IntOrString`, quantities) as text.
pub fn either(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

pub fn items(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

pub fn count(value: &Value) -> usize {
    match value {
        Value::Array(items) => items.len(),
        Value::Object(fields) => fields.len(),
        _ => 0,
    }
}

/// `True` or `False`.
pub fn capital_bool(value: &Value) -> &'static str {
    match value.as_bool() {
        Some(true) => "True",
        Some(false) => "False",
        None => UNSET,
    }
}

/// Joined by commas, or `otherwise`.
pub fn joined(parts: impl IntoIterator<Item = impl AsRef<str>>, otherwise: &str) -> String {
    let text = parts.into_iter().map(|part| part.as_ref().to_owned()).collect::<Vec<_>>().join(",");
    if text.is_empty() { otherwise.into() } else { text }
}

/// At most [`LIST_MAX`] of the parts, then how many more there are.
pub fn cut_short(parts: &[String], otherwise: &str) -> String {
    let text = joined(parts.iter().take(LIST_MAX), otherwise);
    match parts.len().checked_sub(LIST_MAX).filter(|more| *more > 0) {
        Some(more) => format!("{text} + {more} more..."),
        None => text,
    }
}

/// A label map: `a=b,c=d`.
pub fn labels(map: &Value) -> String {
    let sorted: BTreeSet<String> =
        map.as_object().into_iter().flatten().map(|(key, value)| format!("{key}={}", shown(value))).collect();
    joined(sorted, NONE)
}

/// A `metav1.LabelSelector`: `a=b,c in (d,e),!f`.
pub fn selector(selector: &Value) -> String {
    let mut requirements: Vec<(String, String)> = Vec::new();
    for (key, value) in selector["matchLabels"].as_object().into_iter().flatten() {
        requirements.push((key.clone(), format!("{key}={}", shown(value))));
    }
    for expression in items(&selector["matchExpressions"]) {
        let key = shown(&expression["key"]);
        let values: BTreeSet<&str> = items(&expression["values"]).iter().map(shown).collect();
        let values = values.into_iter().collect::<Vec<_>>().join(",");
        let text = match shown(&expression["operator"]) {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "Exists" => key.to_owned(),
            "DoesNotExist" => format!("!{key}"),
            _ => return "<error>".into(),
        };
        requirements.push((key.to_owned(), text));
    }
    requirements.sort();
    joined(requirements.into_iter().map(|(_, text)| text), NONE)
}

/// The names and the images of a pod spec's containers.
pub fn containers(spec: &Value) -> [Value; 2] {
    let list = |field: &str| joined(items(&spec["containers"]).iter().map(|own| shown(&own[field])), "");
    [list("name").into(), list("image").into()]
}

/// Time since, or `otherwise` when it never happened.
pub fn since_or(time: &Value, now: Timestamp, otherwise: &str) -> String {
    if time.is_null() { otherwise.into() } else { age::since(time, now) }
}

/// `creationTimestamp` as it is: for the kinds that show no age.
pub fn created(object: &Value) -> Value {
    object["metadata"]["creationTimestamp"].clone()
}

/// The condition of this type.
pub fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    items(&object["status"]["conditions"]).iter().find(|condition| condition["type"] == kind)
}

pub fn has_condition(object: &Value, kind: &str) -> bool {
    condition(object, kind).is_some_and(|condition| condition["status"] == "True")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn selectors_read_as_in_kubectl() {
        for (object, text) in [
            (json!(null), "<none>"),
            (json!({}), "<none>"),
            (json!({"matchLabels": {"b": "2", "a": "1"}}), "a=1,b=2"),
            (
                json!({"matchExpressions": [
                    {"key": "z", "operator": "In", "values": ["2", "1"]},
                    {"key": "c", "operator": "DoesNotExist"},
                    {"key": "d", "operator": "Exists"}
                ]}),
                "!c,d,z in (1,2)",
            ),
        ] {
            assert_eq!(selector(&object), text);
        }
    }

    #[test]
    fn long_lists_are_cut_short() {
        let parts: Vec<String> = ["a", "b", "c", "d", "e"].map(String::from).to_vec();
        assert_eq!(cut_short(&parts[..3], NONE), "a,b,c");
        assert_eq!(cut_short(&parts, NONE), "a,b,c + 2 more...");
        assert_eq!(cut_short(&[], NONE), "<none>");
    }
}
