//! What protobuf said beyond the schema, where JSON says it.

use coracle_schema::{CustomSchema, GroupVersionKind, Registry, Schema, unknown_fields};
use serde_json::{Value, json};

fn builtin(group: &str, kind: &str) -> Schema {
    let gvk = GroupVersionKind { group: group.into(), version: "v1".into(), kind: kind.into() };
    Registry::builtin().schema(&gvk).expect("built in")
}

fn pruned(schema: &Schema, mut object: Value) -> String {
    match schema.prune(&mut object) {
        Ok(issues) if issues.is_empty() => object.to_string(),
        Ok(issues) => {
            format!("{} {object}", issues.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
        }
        Err(error) => error.to_string(),
    }
}

#[test]
fn whole_fields_in_base64_are_a_last_member_of_every_struct() {
    const REFUSED: &str = "$unknown must hold protobuf fields in base64: ";
    let rows = [
        (json!({"$unknown": "uD4H", "kind": "Pod"}), r#"{"kind":"Pod","$unknown":"uD4H"}"#),
        (json!({"spec": {"$unknown": "uD4H"}}), r#"{"spec":{"$unknown":"uD4H"}}"#),
        (
            json!({"spec": {"containers": [{"$unknown": "wj4A", "name": "a", "image": null}]}}),
            r#"{"spec":{"containers":[{"name":"a","$unknown":"wj4A"}]}}"#,
        ),
        (json!({"kind": "Pod", "$unknown": ""}), r#"{"kind":"Pod"}"#),
        (json!({"$unknown": 7}), r#"unknown field "$unknown" {}"#),
        (json!({"spec": {"$unknown": null}}), r#"unknown field "spec.$unknown" {"spec":{}}"#),
        // Here it is a key as any other.
        (json!({"metadata": {"labels": {"$unknown": "?"}}}), r#"{"metadata":{"labels":{"$unknown":"?"}}}"#),
        (json!({"$unknown": "uD4"}), "Invalid padding"),
        (json!({"spec": {"$unknown": "?"}}), "Invalid symbol 63, offset 0."),
        (json!({"$unknown": "uD4="}), "unexpected EOF"),
        (json!({"$unknown": "AAE="}), "proto: illegal tag 0 (wire type 0)"),
        (json!({"$unknown": "DA=="}), "proto: illegal wireType 4"),
        (json!({"$unknown": "ww=="}), "unexpected EOF"),
    ];
    for (object, expected) in rows {
        let seen = pruned(&builtin("", "Pod"), object.clone());
        assert_eq!(seen.strip_prefix(REFUSED).unwrap_or(&seen), expected, "{object}");
    }
}

#[test]
fn groups_end_where_they_began_and_are_not_nested_without_end() {
    let nested = |depth: usize| [vec![0x0b; depth], vec![0x0c; depth]].concat();
    for (bytes, fits) in [
        (vec![0x0b, 0x10, 0x01, 0x0c], true),
        (vec![0x0b, 0x13, 0x0c, 0x14], false),
        (vec![0x0b], false),
        (nested(64), true),
        (nested(65), false),
        (nested(100_000), false),
    ] {
        let text = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, &bytes);
        assert_eq!(unknown_fields(&text).is_ok(), fits, "{}", bytes.len());
    }
}

#[test]
fn defaults_come_before_it() {
    let mut service = json!({"spec": {"ports": [{"port": 80, "$unknown": "uD4H"}], "$unknown": "uD4H"}});
    let schema = builtin("", "Service");
    schema.default(&mut service);
    assert!(service["spec"]["ports"][0]["protocol"] == "TCP", "{service}");
    let last = |object: &Value| object.as_object().and_then(|own| own.keys().next_back().cloned());
    for object in [&service["spec"], &service["spec"]["ports"][0]] {
        assert_eq!(last(object).as_deref(), Some("$unknown"), "{service}");
    }
    schema.forget_unknown(&mut service);
    assert!(!service.to_string().contains('$'), "{service}");
}

#[test]
fn to_custom_resources_it_is_a_field_as_any_other() {
    let root = json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {"a": {"type": "string"}}}}});
    let inner = json!({"type": "object", "$unknown": "uD4H", "default": {"$unknown": "a value"}});
    let published = CustomSchema::new(json!({"properties": {"a": {"items": inner, "$unknown": "uD4H"}}}));
    let kept =
        json!({"properties": {"a": {"items": {"type": "object", "default": {"$unknown": "a value"}}}}});
    assert_eq!(*published.root(), kept);
    let schema = Schema::custom(CustomSchema::new(root).into()).expect("a schema");
    let object = json!({"$unknown": "uD4H", "spec": {"a": "b", "$unknown": "uD4H"},
        "metadata": {"name": "x", "$unknown": "?", "ownerReferences": [{"name": "o", "$unknown": "uD4H"}]}});
    let left = r#"{"spec":{"a":"b"},"metadata":{"name":"x","ownerReferences":[{"name":"o"}]}}"#;
    let paths = ["metadata.$unknown", "metadata.ownerReferences[0].$unknown", "$unknown", "spec.$unknown"];
    let issues = paths.map(|path| format!("unknown field \"{path}\"")).join(", ");
    assert_eq!(pruned(&schema, object), format!("{issues} {left}"));
}
