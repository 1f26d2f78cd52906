//! JSON merge patch (RFC 7386) and JSON patch (RFC 6902).

use crate::error::PatchError;
use crate::go_type::json_type;
use serde_json::{Map, Value};

/// What the copies of one patch may add, as on a stock server: the limit of a request's body.
const MAX_COPIED_BYTES: usize = 3 * 1024 * 1024;

const OPERATIONS: [&str; 6] = ["add", "remove", "replace", "move", "copy", "test"];

/// RFC 7386.
pub fn json_merge_patch(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(target) = target else { return };
    for (key, value) in patch {
        if value.is_null() {
            target.shift_remove(key);
        } else {
            json_merge_patch(target.entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}

/// RFC 6902. `patch` is the array of operations. All or nothing.
pub fn json_patch(target: &mut Value, patch: &Value) -> Result<(), PatchError> {
    let Value::Array(operations) = patch else {
        return undecodable(patch, "value of type jsonpatch.Patch");
    };
    operations.iter().try_for_each(decode)?;
    let mut changed = target.clone();
    let mut copied_bytes = 0;
    for operation in operations {
        apply(&mut changed, operation, &mut copied_bytes)?;
    }
    *target = changed;
    Ok(())
}

fn undecodable<T>(value: &Value, into: &str) -> Result<T, PatchError> {
    let kind = json_type(value);
    Err(PatchError::Invalid(format!("error decoding patch: json: cannot unmarshal {kind} into Go {into}")))
}

/// An operation is an object (null is an empty one) with texts. What it says is looked at when it is applied.
fn decode(operation: &Value) -> Result<(), PatchError> {
    if !matches!(operation, Value::Object(_) | Value::Null) {
        return undecodable(operation, "value of type handlers.jsonPatchOp");
    }
    ["op", "path", "from"].into_iter().try_for_each(|field| match operation.get(field) {
        None | Some(Value::String(_) | Value::Null) => Ok(()),
        Some(other) => undecodable(other, &format!("struct field jsonPatchOp.{field} of type string")),
    })
}

fn not_applicable<T>(text: String) -> Result<T, PatchError> {
    Err(PatchError::NotApplicable(text))
}

/// `copied_bytes` counts over the whole patch: copies of copies double.
fn apply(target: &mut Value, operation: &Value, copied_bytes: &mut usize) -> Result<(), PatchError> {
    let text = |name: &str| operation.get(name).and_then(Value::as_str);
    let name = text("op").unwrap_or("unknown");
    let needed = |field: &str| {
        let missing = || format!("{name} operation failed to decode {field}: missing value");
        text(field).map_or_else(|| not_applicable(missing()), Ok)
    };
    if !OPERATIONS.contains(&name) {
        return not_applicable(format!("Unexpected kind: {name}"));
    }
    let path = needed("path")?;
    let value = || operation.get("value").cloned().unwrap_or(Value::Null);
    match name {
        "add" => add(target, path, value(), name),
        "remove" => remove(target, path, name).map(drop),
        "replace" => replace(target, path, value()),
        "move" => {
            let from = needed("from")?;
            let moved = remove(target, from, name)?;
            add(target, path, moved, name)
        }
        "copy" => {
            let from = needed("from")?;
            let Some(copied) = lookup(target, from).cloned() else {
                return not_applicable(format!(
                    "copy operation does not apply: doc is missing from path: {from}: missing value"
                ));
            };
            *copied_bytes += size_bytes(&copied);
            if *copied_bytes > MAX_COPIED_BYTES {
                return not_applicable(format!(
                    "Unable to complete the copy, the accumulated size increase of copy is {copied_bytes}, exceeding the limit {MAX_COPIED_BYTES}"
                ));
            }
            add(target, path, copied, name)
        }
        "test" => match lookup(target, path) {
            Some(found) if equal(found, &value()) => Ok(()),
            None if value().is_null() => Ok(()),
            _ => Err(PatchError::TestFailed(format!("testing value {path} failed: test failed"))),
        },
        other => not_applicable(format!("Unexpected kind: {other}")),
    }
}

/// Numbers are equal by value, objects whatever the order of their keys.
fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| equal(a, b)))
        }
        _ => a == b,
    }
}

/// Of its JSON.
fn size_bytes(value: &Value) -> usize {
    struct Count(usize);
    impl std::io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    // Counting does not fail.
    let _ = serde_json::to_writer(&mut count, value);
    count.0
}

fn lookup<'a>(target: &'a Value, path: &str) -> Option<&'a Value> {
    target.pointer(path)
}

/// The container that a path's last part is in, and that part.
fn parent<'a>(
    target: &'a mut Value,
    path: &str,
    operation: &str,
) -> Result<(&'a mut Value, String), PatchError> {
    let missing = || {
        PatchError::NotApplicable(format!(
            "{operation} operation does not apply: doc is missing path: \"{path}\": missing value"
        ))
    };
    let (before, last) = path.rsplit_once('/').ok_or_else(missing)?;
    let container = target.pointer_mut(before).ok_or_else(missing)?;
    Ok((container, last.replace("~1", "/").replace("~0", "~")))
}

fn index(part: &str, len: usize, operation: &str, path: &str) -> Result<usize, PatchError> {
    let parsed = part.parse::<i64>().map_err(|_| {
        PatchError::NotApplicable(format!(
            "error in {operation} for path: '{path}': strconv.Atoi: parsing \"{part}\": invalid syntax"
        ))
    })?;
    let at = if parsed < 0 { parsed + len as i64 } else { parsed };
    usize::try_from(at).ok().filter(|at| *at <= len).ok_or_else(|| {
        PatchError::NotApplicable(format!("error in {operation} for path: '{path}': Unable to access invalid index: {parsed}: invalid index referenced"))
    })
}

fn add(target: &mut Value, path: &str, value: Value, operation: &str) -> Result<(), PatchError> {
    if path.is_empty() {
        *target = value;
        return Ok(());
    }
    match parent(target, path, operation)? {
        (Value::Object(map), key) => {
            map.insert(key, value);
        }
        (Value::Array(items), key) if key == "-" => items.push(value),
        (Value::Array(items), key) => {
            let at = index(&key, items.len(), operation, path)?;
            items.insert(at, value);
        }
        _ => {
            return not_applicable(format!(
                "{operation} operation does not apply: doc is missing path: \"{path}\": missing value"
            ));
        }
    }
    Ok(())
}

fn remove(target: &mut Value, path: &str, operation: &str) -> Result<Value, PatchError> {
    let gone = format!(
        "error in {operation} for path: '{path}': Unable to remove nonexistent key: {}: missing value",
        path.rsplit('/').next().unwrap_or_default()
    );
    match parent(target, path, operation)? {
        (Value::Object(map), key) => map.shift_remove(&key).map_or_else(|| not_applicable(gone), Ok),
        (Value::Array(items), key) => {
            let at = index(&key, items.len(), operation, path)?;
            if at == items.len() {
                return not_applicable(format!(
                    "error in {operation} for path: '{path}': Unable to access invalid index: {at}: invalid index referenced"
                ));
            }
            Ok(items.remove(at))
        }
        _ => not_applicable(gone),
    }
}

fn replace(target: &mut Value, path: &str, value: Value) -> Result<(), PatchError> {
    if path.is_empty() {
        *target = value;
        return Ok(());
    }
    let missing = format!("replace operation does not apply: doc is missing key: {path}: missing value");
    let (container, key) = parent(target, path, "replace")?;
    let place = match container {
        Value::Object(map) => map.get_mut(&key),
        Value::Array(items) => {
            let at = index(&key, items.len(), "replace", path)?;
            items.get_mut(at)
        }
        _ => None,
    };
    match place {
        Some(place) => {
            *place = value;
            Ok(())
        }
        None => not_applicable(missing),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn merge_patches_follow_the_examples_of_the_rfc() {
        for (target, patch, expected) in [
            (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "b"}), json!({"b": "c"}), json!({"a": "b", "b": "c"})),
            (json!({"a": "b"}), json!({"a": null}), json!({})),
            (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": {"b": "c"}}), json!({"a": {"b": "d", "c": null}}), json!({"a": {"b": "d"}})),
            (json!(["a", "b"]), json!(["c", "d"]), json!(["c", "d"])),
            (json!({"e": null}), json!({"a": 1}), json!({"e": null, "a": 1})),
            (json!([1, 2]), json!({"a": "b", "c": null}), json!({"a": "b"})),
            (json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}})),
        ] {
            let mut result = target.clone();
            json_merge_patch(&mut result, &patch);
            assert_eq!(result, expected, "{target} {patch}");
        }
    }

    #[test]
    fn operations_apply_in_order() {
        for (target, patch, expected) in [
            (
                json!({"a": [1, 2]}),
                json!([{"op": "add", "path": "/a/1", "value": 9}]),
                json!({"a": [1, 9, 2]}),
            ),
            (json!({"a": [1]}), json!([{"op": "add", "path": "/a/-", "value": 9}]), json!({"a": [1, 9]})),
            (json!({"a/b": 1}), json!([{"op": "remove", "path": "/a~1b"}]), json!({})),
            (
                json!({"a": 1}),
                json!([{"op": "test", "path": "/a", "value": 1}, {"op": "replace", "path": "/a", "value": 2}]),
                json!({"a": 2}),
            ),
            (
                json!({"a": 1}),
                json!([{"op": "move", "from": "/a", "path": "/b"}, {"op": "copy", "from": "/b", "path": "/c"}]),
                json!({"b": 1, "c": 1}),
            ),
        ] {
            let mut result = target.clone();
            json_patch(&mut result, &patch).unwrap();
            assert_eq!(result, expected, "{patch}");
        }
    }

    #[test]
    fn what_is_no_operation_does_not_apply_and_what_is_no_text_does_not_decode() {
        let applied = |patch: Value| json_patch(&mut json!({"a": 1}), &patch);
        for operation in [
            json!({"op": "poke", "path": "/a"}),
            json!({"path": "/a"}),
            json!(null),
            json!({"op": "remove"}),
            json!({"op": "move", "path": "/b"}),
        ] {
            assert!(matches!(applied(json!([operation])), Err(PatchError::NotApplicable(_))), "{operation}");
        }
        let text = |patch: Value| match applied(patch) {
            Err(PatchError::Invalid(text)) => text,
            other => panic!("{other:?}"),
        };
        assert_eq!(
            text(json!([{"op": "poke"}, {"op": 1}])),
            "error decoding patch: json: cannot unmarshal number into Go struct field jsonPatchOp.op of type string"
        );
        assert_eq!(
            text(json!(["add"])),
            "error decoding patch: json: cannot unmarshal string into Go value of type handlers.jsonPatchOp"
        );
    }

    #[test]
    fn a_failed_operation_undoes_those_before_it() {
        let mut target = json!({"a": 1});
        let patch = json!([{"op": "replace", "path": "/a", "value": 2}, {"op": "remove", "path": "/b"}]);
        assert!(matches!(json_patch(&mut target, &patch), Err(PatchError::NotApplicable(_))));
        assert_eq!(target, json!({"a": 1}));
    }
}
