//! What the scale subresource reads from a custom resource: two numbers of replicas and a selector in text form.
//!
//! Source: https://github.com/kubernetes/apiextensions-apiserver/blob/master/pkg/registry/customresource/validator.go

use coracle_schema::go_type;
use serde_json::Value;

use crate::status::Cause;

/// Where they are, as field names.
#[derive(Clone, Debug)]
pub struct ScalePaths {
    pub spec: Vec<String>,
    pub status: Vec<String>,
    pub selector: Option<Vec<String>>,
}

/// What the subresource could not serve; of a status update, what the status alone can have wrong.
pub fn validate(paths: &ScalePaths, object: &Value, subresource: &str) -> Vec<Cause> {
    let spec = (subresource != "status").then(|| replicas(object, &paths.spec)).flatten();
    let selector = paths.selector.as_ref().and_then(|path| {
        let why = at(object, path).and_then(|value| match value {
            Some(value) if !value.is_string() => Err(unlike(path, value, "string")),
            _ => Ok(()),
        });
        why.err().map(|why| Cause::invalid(text(path), "", &why))
    });
    [spec, replicas(object, &paths.status), selector].into_iter().flatten().collect()
}

fn replicas(object: &Value, path: &[String]) -> Option<Cause> {
    let number = at(object, path).and_then(|value| match value {
        Some(value) => value.as_i64().ok_or_else(|| unlike(path, value, "int64")),
        None => Ok(0),
    });
    let max = i32::MAX;
    let (given, why) = match number {
        Err(why) => (0, why),
        Ok(given) if given < 0 => (given, "should be a non-negative integer".to_owned()),
        Ok(given) if given > max.into() => (given, format!("should be less than or equal to {max}")),
        Ok(_) => return None,
    };
    Some(Cause::invalid(text(path), given, &why))
}

/// The value at the path; null on the way there is absence.
fn at<'a>(object: &'a Value, path: &[String]) -> Result<Option<&'a Value>, String> {
    let mut value = object;
    for (depth, name) in path.iter().enumerate() {
        value = match value {
            Value::Object(fields) => match fields.get(name) {
                Some(inner) => inner,
                None => return Ok(None),
            },
            Value::Null => return Ok(None),
            other => return Err(unlike(&path[..=depth], other, "map[string]interface{}")),
        };
    }
    Ok(Some(value))
}

fn unlike(path: &[String], value: &Value, wanted: &str) -> String {
    let (path, found) = (text(path), go_type(value));
    format!("{path} accessor error: {} is of the type {found}, expected {wanted}", go_value(value))
}

/// As Go's `%v` prints it: maps by the order of their keys.
fn go_value(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".into(),
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(go_value).collect::<Vec<_>>().join(" ")),
        Value::Object(fields) => {
            let mut all: Vec<_> =
                fields.iter().map(|(key, value)| format!("{key}:{}", go_value(value))).collect();
            all.sort_unstable();
            format!("map[{}]", all.join(" "))
        }
        other => other.to_string(),
    }
}

fn text(path: &[String]) -> String {
    format!(".{}", path.join("."))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::crd::simple_path;

    #[test]
    fn replicas_are_numbers_that_a_scale_can_have_and_a_selector_is_text() {
        let paths = ScalePaths {
            spec: simple_path(".spec.replicas"),
            status: simple_path(".status.replicas"),
            selector: Some(simple_path(".status.selector")),
        };
        let rows = [
            (json!({}), ""),
            (json!({"spec": {"replicas": 3}, "status": {"replicas": 0, "selector": "a=b"}}), ""),
            (json!({"spec": null}), ""),
            (
                json!({"spec": {"replicas": -1}}),
                ".spec.replicas: Invalid value: -1: should be a non-negative integer",
            ),
            (
                json!({"spec": {"replicas": 2147483648_i64}}),
                ".spec.replicas: Invalid value: 2147483648: should be less than or equal to 2147483647",
            ),
            (
                json!({"spec": {"replicas": "3"}}),
                ".spec.replicas: Invalid value: 0: .spec.replicas accessor error: 3 is of the type string, expected int64",
            ),
            (
                json!({"spec": true}),
                ".spec.replicas: Invalid value: 0: .spec.replicas accessor error: true is of the type bool, expected map[string]interface{}",
            ),
            (
                json!({"spec": [{"b": [1, null], "a": "x"}]}),
                ".spec.replicas: Invalid value: 0: .spec.replicas accessor error: [map[a:x b:[1 <nil>]]] is of the type []interface {}, expected map[string]interface{}",
            ),
            (
                json!({"status": {"replicas": -2}}),
                ".status.replicas: Invalid value: -2: should be a non-negative integer",
            ),
            (
                json!({"status": {"selector": 5}}),
                ".status.selector: Invalid value: \"\": .status.selector accessor error: 5 is of the type int64, expected string",
            ),
        ];
        let lines = |causes: Vec<Cause>| -> Vec<String> {
            causes.iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect()
        };
        for (object, expected) in rows {
            assert_eq!(lines(validate(&paths, &object, "")).join("; "), expected, "{object}");
        }
        let wrong = json!({"spec": {"replicas": -1}});
        assert!(validate(&paths, &wrong, "status").is_empty(), "the status alone is looked at");
    }
}
