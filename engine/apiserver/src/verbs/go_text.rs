//! Errors as Go's converter prints them.
//!
//! Source: https://pkg.go.dev/k8s.io/apimachinery/pkg/runtime (`FromUnstructured`)

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
