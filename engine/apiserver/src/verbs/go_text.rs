//! Values and errors as Go prints them, for messages that a stock server builds from both.
//!
//! Source: https://pkg.go.dev/fmt (`%+v`) and https://pkg.go.dev/k8s.io/apimachinery/pkg/runtime (`FromUnstructured`)

use serde_json::Value;

/// `map[a:1 b:[x y]]`
pub fn print(value: &Value) -> String {
    let joined = |parts: Vec<String>| parts.join(" ");
    match value {
        Value::Null => "<nil>".into(),
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", joined(items.iter().map(print).collect())),
        Value::Object(fields) => {
            let mut parts: Vec<String> =
                fields.iter().map(|(key, value)| format!("{key}:{}", print(value))).collect();
            parts.sort();
            format!("map[{}]", joined(parts))
        }
        other => other.to_string(),
    }
}

/// What the converter says where the JSON decoder says `json: cannot unmarshal X into … of type Y`.
pub fn conversion_error(decoder: &str) -> String {
    let found = decoder.strip_prefix("json: cannot unmarshal ").and_then(|rest| rest.split(' ').next());
    let (Some(found), Some((_, wanted))) = (found, decoder.rsplit_once(" of type ")) else {
        return decoder.to_owned();
    };
    let kind = match found {
        "object" => "map",
        "array" => "slice",
        "number" => "int64",
        other => other,
    };
    match wanted {
        list if list.starts_with("[]") => format!("cannot restore slice from {kind}"),
        map if map.starts_with("map[") => format!("cannot restore map from {kind}"),
        structure if structure.contains('.') => format!("cannot restore struct from: {kind}"),
        simple => format!("unrecognized type: {simple}"),
    }
}
