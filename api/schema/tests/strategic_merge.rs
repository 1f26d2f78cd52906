//! Strategic merge patch, case by case.

use coracle_schema::{GroupVersionKind, PatchError, Registry};
use serde_json::{Value, json};

fn merged(target: &Value, patch: &Value) -> Result<Value, PatchError> {
    let schema = Registry::builtin().schema(&GroupVersionKind::new("", "v1", "Pod")).unwrap();
    let mut result = target.clone();
    schema.strategic_merge(&mut result, patch)?;
    Ok(result)
}

fn containers(list: Value) -> Value {
    json!({"spec": {"containers": list}})
}

#[test]
fn patches_merge_as_the_table_says() {
    for (what, target, patch, expected) in [
        (
            "a list is merged by its key",
            containers(json!([{"name": "a", "image": "1"}, {"name": "b", "image": "1"}])),
            containers(json!([{"name": "b", "image": "2"}, {"name": "c"}])),
            containers(json!([{"name": "a", "image": "1"}, {"name": "b", "image": "2"}, {"name": "c"}])),
        ),
        (
            "an element is deleted by its key",
            containers(json!([{"name": "a"}, {"name": "b"}])),
            containers(json!([{"$patch": "delete", "name": "a"}])),
            containers(json!([{"name": "b"}])),
        ),
        (
            "a list is replaced",
            containers(json!([{"name": "a"}, {"name": "b"}])),
            containers(json!([{"name": "c"}, {"$patch": "replace"}])),
            containers(json!([{"name": "c"}])),
        ),
        (
            "null deletes",
            json!({"metadata": {"labels": {"a": "1", "b": "2"}}}),
            json!({"metadata": {"labels": {"a": null}}}),
            json!({"metadata": {"labels": {"b": "2"}}}),
        ),
        (
            "an atomic list is replaced",
            json!({"spec": {"tolerations": [{"key": "a"}]}}),
            json!({"spec": {"tolerations": [{"key": "b"}]}}),
            json!({"spec": {"tolerations": [{"key": "b"}]}}),
        ),
        (
            "primitives are added once",
            json!({"metadata": {"finalizers": ["a", "b"]}}),
            json!({"metadata": {"finalizers": ["b", "c"]}}),
            json!({"metadata": {"finalizers": ["a", "b", "c"]}}),
        ),
        (
            "primitives are deleted",
            json!({"metadata": {"finalizers": ["a", "b"]}}),
            json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"]}}),
            json!({"metadata": {"finalizers": ["b"]}}),
        ),
        (
            "the order is set",
            containers(json!([{"name": "a"}, {"name": "b"}, {"name": "x"}])),
            json!({"spec": {"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}], "containers": [{"name": "a", "image": "1"}]}}),
            containers(json!([{"name": "b"}, {"name": "a", "image": "1"}, {"name": "x"}])),
        ),
        (
            "what is new comes first",
            containers(json!([{"name": "a"}, {"name": "b"}])),
            containers(json!([{"name": "c"}, {"name": "b", "image": "1"}, {"name": "d"}])),
            containers(json!([{"name": "c"}, {"name": "a"}, {"name": "b", "image": "1"}, {"name": "d"}])),
        ),
        (
            "what is new comes first, also where the order is set",
            containers(json!([{"name": "x"}])),
            json!({"spec": {"$setElementOrder/containers": [{"name": "a"}], "containers": [{"name": "a"}]}}),
            containers(json!([{"name": "a"}, {"name": "x"}])),
        ),
        (
            "an object is replaced",
            json!({"spec": {"securityContext": {"runAsUser": 1}}}),
            json!({"spec": {"securityContext": {"$patch": "replace", "runAsGroup": 2}}}),
            json!({"spec": {"securityContext": {"runAsGroup": 2}}}),
        ),
        (
            "only named keys are retained",
            json!({"spec": {"volumes": [{"name": "v", "emptyDir": {}}]}}),
            json!({"spec": {"volumes": [{"name": "v", "$retainKeys": ["name", "hostPath"], "hostPath": {"path": "/"}}]}}),
            json!({"spec": {"volumes": [{"name": "v", "hostPath": {"path": "/"}}]}}),
        ),
        (
            "nulls of a new object are dropped",
            json!({}),
            json!({"metadata": {"labels": {"a": null, "b": "1"}}}),
            json!({"metadata": {"labels": {"b": "1"}}}),
        ),
    ] {
        assert_eq!(merged(&target, &patch).unwrap(), expected, "{what}");
    }
}

#[test]
fn an_element_without_its_key_is_refused() {
    let error =
        merged(&containers(json!([{"name": "a"}])), &containers(json!([{"image": "1"}]))).unwrap_err();
    assert_eq!(error.to_string(), "map: map[image:1] does not contain declared merge key: name");
}
