//! Status writes: only what changed, as a merge patch on the `status` subresource.
//!
//! Invariant: an unchanged status costs no request.
//! Source:    RFC 7386.

use coracle_kinds::Kind;
use kube::{
    Resource,
    api::{Patch, PatchParams},
};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::Api;

/// Writes `new` over `old`. `None` when both are equal and nothing was sent, else the object as it is now.
pub async fn patch_status<K, S>(
    api: &Api<K>,
    name: &str,
    old: Option<&S>,
    new: &S,
) -> Result<Option<K>, kube::Error>
where
    K: Kind + Resource<DynamicType = ()>,
    S: Serialize,
{
    let value = |status: &S| serde_json::to_value(status).map_err(kube::Error::SerdeError);
    let old = old.map(value).transpose()?.unwrap_or_else(|| json!({}));
    let Some(difference) = merge_difference(&old, &value(new)?) else { return Ok(None) };
    let patch = Patch::Merge(json!({ "status": difference }));
    api.patch_status(name, &PatchParams::default(), &patch).await.map(Some)
}

/// The merge patch that turns `old` into `new`; `None` when they are equal.
pub fn merge_difference(old: &Value, new: &Value) -> Option<Value> {
    if old == new {
        return None;
    }
    let (Value::Object(old), Value::Object(new)) = (old, new) else { return Some(new.clone()) };
    let mut patch = Map::new();
    for (key, value) in new {
        match old.get(key) {
            None => drop(patch.insert(key.clone(), value.clone())),
            Some(before) => {
                if let Some(difference) = merge_difference(before, value) {
                    patch.insert(key.clone(), difference);
                }
            }
        }
    }
    for key in old.keys().filter(|key| !new.contains_key(*key)) {
        patch.insert(key.clone(), Value::Null);
    }
    Some(Value::Object(patch))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_names_only_what_changed_and_nulls_what_went() {
        let cases = [
            (json!({"a": 1}), json!({"a": 1}), None),
            (json!({"a": 1, "b": 2}), json!({"a": 1, "b": 3}), Some(json!({"b": 3}))),
            (json!({"a": 1, "b": 2}), json!({"b": 2}), Some(json!({"a": null}))),
            (json!({"a": {"x": 1, "y": 2}}), json!({"a": {"x": 1}}), Some(json!({"a": {"y": null}}))),
            (json!({"l": [1, 2]}), json!({"l": [2]}), Some(json!({"l": [2]}))),
            (json!({}), json!({"a": {"b": []}}), Some(json!({"a": {"b": []}}))),
        ];
        for (old, new, expected) in cases {
            assert_eq!(merge_difference(&old, &new), expected, "{old} to {new}");
        }
    }
}
