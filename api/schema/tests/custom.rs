//! Schemas of custom resources: pruning, defaults, values, and which schemas are structural.

use coracle_schema::{CustomSchema, FieldError, FieldErrorKind, Schema, check_custom_schema};
use serde_json::{Value, json};
use std::sync::Arc;

fn spec(spec: Value) -> Value {
    json!({ "type": "object", "properties": { "spec": spec } })
}

fn schema(root: Value) -> Schema {
    Schema::custom(Arc::new(CustomSchema::new(root))).unwrap()
}

fn text(error: &FieldError) -> String {
    let what = match &error.kind {
        FieldErrorKind::Required { detail } => format!("required {detail}"),
        FieldErrorKind::Type { value, detail } => format!("type {value}: {detail}"),
        FieldErrorKind::Invalid { value, detail } => format!("invalid {value}: {detail}"),
        FieldErrorKind::NotSupported { value, allowed } => {
            format!("unsupported {value}: {}", allowed.join(","))
        }
        FieldErrorKind::Duplicate { value } => format!("duplicate {value}"),
        FieldErrorKind::TooLong { max } => format!("too long {max}"),
        FieldErrorKind::TooMany { actual, max } => format!("too many {actual} {max}"),
        FieldErrorKind::Forbidden { detail } => format!("forbidden {detail}"),
    };
    format!("{}: {}", error.path, what.trim())
}

#[test]
fn values_get_the_stock_errors() {
    let string = |rest: Value| {
        let mut schema = json!({ "type": "string" });
        schema.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        schema
    };
    let rows: Vec<(Value, Value, &[&str])> = vec![
        (
            json!({"type": "integer"}),
            json!("x"),
            &["spec: type \"string\": spec in body must be of type integer: \"string\""],
        ),
        (json!({"type": "integer"}), json!(1.0), &[]),
        (
            json!({"type": "integer"}),
            json!(null),
            &["spec: type \"null\": spec in body must be of type integer: \"null\""],
        ),
        (json!({"type": "integer", "nullable": true}), json!(null), &[]),
        (
            json!({"type": "integer", "minimum": 1}),
            json!(0),
            &["spec: invalid 0: spec in body should be greater than or equal to 1"],
        ),
        (
            json!({"type": "integer", "maximum": 1, "exclusiveMaximum": true}),
            json!(1),
            &["spec: invalid 1: spec in body should be less than 1"],
        ),
        (
            json!({"type": "number", "multipleOf": 2}),
            json!(3),
            &["spec: invalid 3: spec in body should be a multiple of 2"],
        ),
        (json!({"x-kubernetes-int-or-string": true}), json!("80%"), &[]),
        (
            json!({"x-kubernetes-int-or-string": true}),
            json!(true),
            &["spec: type \"boolean\": spec in body must be of type integer,string: \"boolean\""],
        ),
        (string(json!({"enum": ["a", "b"]})), json!("c"), &["spec: unsupported \"c\": a,b"]),
        (
            string(json!({"pattern": "^a+$"})),
            json!("b"),
            &["spec: invalid \"b\": spec in body should match '^a+$'"],
        ),
        (string(json!({"maxLength": 1})), json!("ab"), &["spec: too long 1"]),
        (
            string(json!({"minLength": 3})),
            json!("ab"),
            &["spec: invalid \"ab\": spec in body should be at least 3 chars long"],
        ),
        (string(json!({"format": "date-time"})), json!("2026-01-02T03:04:05Z"), &[]),
        (
            string(json!({"format": "date-time"})),
            json!("later"),
            &["spec: type \"later\": spec in body must be of type date-time: \"later\""],
        ),
        (
            string(json!({"format": "ipv4"})),
            json!("1.2.3"),
            &["spec: type \"1.2.3\": spec in body must be of type ipv4: \"1.2.3\""],
        ),
        (
            json!({"type": "array", "maxItems": 1, "items": {"type": "string"}}),
            json!(["a", "b"]),
            &["spec: too many 2 1"],
        ),
        (
            json!({"type": "array", "items": {"type": "string"}}),
            json!(["a", 1]),
            &["spec[1]: type \"integer\": spec[1] in body must be of type string: \"integer\""],
        ),
        (
            json!({"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}}),
            json!(["a", "a"]),
            &["spec[1]: duplicate \"a\""],
        ),
        (
            json!({"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["n"], "items": {"type": "object", "properties": {"n": {"type": "string"}}}}),
            json!([{"n": "a"}, {"n": "a"}]),
            &["spec[1]: duplicate {\"n\":\"a\"}"],
        ),
        (
            json!({"type": "object", "required": ["a"], "properties": {"a": {"type": "string"}}}),
            json!({}),
            &["spec.a: required"],
        ),
        (
            json!({"type": "object", "additionalProperties": {"type": "integer"}}),
            json!({"x": "1"}),
            &["spec.x: type \"string\": spec.x in body must be of type integer: \"string\""],
        ),
        (
            json!({"type": "object", "maxProperties": 1, "additionalProperties": {"type": "integer"}}),
            json!({"x": 1, "y": 2}),
            &["spec: too many 2 1"],
        ),
        (
            json!({"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "string"}}, "oneOf": [{"required": ["a"]}, {"required": ["b"]}]}),
            json!({"a": "1", "b": "2"}),
            &[
                "<nil>: invalid \"\": \"spec\" must validate one and only one schema (oneOf). Found 2 valid alternatives",
            ],
        ),
        (
            json!({"type": "string", "not": {"enum": ["x"]}}),
            json!("x"),
            &["<nil>: invalid \"\": \"spec\" must not validate the schema (not)"],
        ),
        // A value of the wrong type is held to the rest of its schema; a format is what is spoken of.
        (
            json!({"type": "integer", "format": "int32", "multipleOf": 2, "minimum": 0}),
            json!(1.5),
            &[
                "spec: type \"float64\": spec in body must be of type int32: \"float64\"",
                "<nil>: invalid \"\": Checked value must be of type integer with format int32 in spec",
                "spec: invalid 1.5: spec in body should be a multiple of 2",
            ],
        ),
        (
            json!({"type": "integer", "multipleOf": 2, "minimum": 0}),
            json!(-1),
            &[
                "spec: invalid -1: spec in body should be a multiple of 2",
                "spec: invalid -1: spec in body should be greater than or equal to 0",
            ],
        ),
        (
            json!({"type": "integer", "format": "int32", "maximum": 10}),
            json!(1_000_000_000_000_i64),
            &[
                "<nil>: invalid \"\": Checked value must be of type integer with format int32 in spec",
                "spec: invalid 1000000000000: spec in body should be less than or equal to 10",
            ],
        ),
        (
            json!({"type": "number", "maximum": 1e10}),
            json!(2e10),
            &["spec: invalid 20000000000.0: spec in body should be less than or equal to 1e+10"],
        ),
        (
            json!({"type": "boolean", "format": "x"}),
            json!(1),
            &["spec: type \"integer\": spec in body must be of type boolean: \"integer\""],
        ),
        (
            string(json!({"format": "date-time"})),
            json!(true),
            &["spec: type \"\": spec in body must be of type date-time: \"\""],
        ),
        (string(json!({"format": "date-time"})), json!([]), &[]),
        (string(json!({"enum": ["a"], "nullable": true})), Value::Null, &["spec: unsupported null: a"]),
        (
            string(json!({"minLength": 1, "pattern": "^a+$", "enum": ["a"]})),
            json!(""),
            &[
                "spec: invalid \"\": spec in body should be at least 1 chars long",
                "spec: unsupported \"\": a",
            ],
        ),
        (
            json!({"x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}]}),
            json!(true),
            &[
                "spec: type \"boolean\": spec in body must be of type integer,string: \"boolean\"",
                "<nil>: invalid \"\": \"spec\" must validate at least one schema (anyOf)",
                "spec: type \"boolean\": spec in body must be of type integer: \"boolean\"",
            ],
        ),
        (
            json!({"type": "object", "properties": {"a": {"type": "string"}}, "allOf": [{"required": ["a"]}, {"required": ["b"]}]}),
            json!({}),
            &[
                "spec.a: required",
                "spec.b: required",
                "<nil>: invalid \"\": \"spec\" must validate all the schemas (allOf). None validated",
            ],
        ),
        (
            json!({"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["n"], "items": {"type": "object", "properties": {"n": {"type": "string"}}}}),
            json!(["a", "b"]),
            &[
                "spec[0]: type \"string\": spec[0] in body must be of type object: \"string\"",
                "spec[1]: type \"string\": spec[1] in body must be of type object: \"string\"",
                "spec[0]: invalid \"a\": must be an object for an array of list-type map",
            ],
        ),
    ];
    for (part, value, expected) in rows {
        let schema = CustomSchema::new(spec(part.clone()));
        let object = json!({ "spec": value });
        let errors = [schema.validate(&object, None), schema.validate_lists(&object, None)].concat();
        assert_eq!(errors.iter().map(text).collect::<Vec<_>>(), expected, "{part} {value}");
    }
}

#[test]
fn an_update_is_not_checked_where_it_changes_nothing() {
    let schema = CustomSchema::new(spec(json!({"type": "object", "properties": {
        "a": {"type": "integer", "minimum": 5}, "b": {"type": "integer", "minimum": 5},
    }})));
    let old = json!({"spec": {"a": 1, "b": 9}});
    assert!(schema.validate(&json!({"spec": {"a": 1, "b": 8}}), Some(&old)).is_empty());
    assert_eq!(schema.validate(&json!({"spec": {"a": 2, "b": 8}}), Some(&old)).len(), 1);
}

#[test]
fn unknown_fields_are_pruned_and_named() {
    let root = json!({"type": "object", "properties": {
        "spec": {"type": "object", "properties": {
            "known": {"type": "string"},
            "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
            "map": {"type": "object", "additionalProperties": {"type": "object", "properties": {"a": {"type": "string"}}}},
            "list": {"type": "array", "items": {"type": "object", "properties": {"a": {"type": "string"}}}},
            "pod": {"type": "object", "x-kubernetes-embedded-resource": true, "properties": {"spec": {"type": "object"}}},
        }},
    }});
    let mut object = json!({
        "apiVersion": "a/v1", "kind": "K", "metadata": {"name": "n", "odd": 1}, "other": 1,
        "spec": {
            "known": "x", "unknown": 1, "free": {"any": {"thing": 1}}, "map": {"k": {"a": "1", "b": 2}},
            "list": [{"b": 1}], "pod": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "x": 1, "spec": {}},
        },
    });
    let issues: Vec<String> =
        schema(root).prune(&mut object).unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(
        issues,
        ["metadata.odd", "other", "spec.list[0].b", "spec.map.k.b", "spec.pod.x", "spec.unknown"]
            .map(|path| format!("unknown field \"{path}\""))
    );
    assert_eq!(
        object,
        json!({
            "apiVersion": "a/v1", "kind": "K", "metadata": {"name": "n"},
            "spec": {
                "known": "x", "free": {"any": {"thing": 1}}, "map": {"k": {"a": "1"}}, "list": [{}],
                "pod": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {}},
            },
        })
    );
}

#[test]
fn a_null_that_is_neither_allowed_nor_replaced_is_as_good_as_absent() {
    let root = json!({"type": "object", "properties": {
        "spec": {"type": "object", "properties": {
            "defaulted": {"type": "string", "default": "d"},
            "nullable": {"type": "string", "nullable": true},
            "plain": {"type": "string"},
            "either": {"x-kubernetes-int-or-string": true},
            "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
            "map": {"type": "object", "additionalProperties": {"type": "string"}},
            "any": {"type": "object", "additionalProperties": true},
            "list": {"type": "array", "items": {"type": "object", "properties": {"a": {"type": "string"}}}},
        }},
    }});
    let mut object = json!({"spec": {
        "defaulted": null, "nullable": null, "plain": null, "either": null, "free": {"x": null},
        "map": {"k": null}, "any": {"k": null}, "list": [{"a": null}, null],
    }});
    assert_eq!(schema(root).prune(&mut object).unwrap(), []);
    assert_eq!(
        object,
        json!({"spec": {
            "defaulted": null, "nullable": null, "free": {"x": null}, "map": {}, "any": {"k": null}, "list": [{}, null],
        }})
    );
}

#[test]
fn defaults_fill_what_is_absent_and_what_may_not_be_null() {
    let schema = schema(
        json!({"type": "object", "properties": {"spec": {"type": "object", "default": {}, "properties": {
            "a": {"type": "string", "default": "A"},
            "n": {"type": "string", "nullable": true, "default": "N"},
            "inner": {"type": "object", "default": {"x": 1}, "properties": {"x": {"type": "integer"}, "y": {"type": "integer", "default": 2}}},
            "list": {"type": "array", "items": {"type": "object", "properties": {"z": {"type": "string", "default": "Z"}}}},
        }}}}),
    );
    for (object, expected) in [
        (json!({}), json!({"spec": {"a": "A", "n": "N", "inner": {"x": 1, "y": 2}}})),
        (
            json!({"spec": {"a": null, "n": null, "inner": {}, "list": [{}, {"z": "q"}]}}),
            json!({"spec": {"a": "A", "n": null, "inner": {"y": 2}, "list": [{"z": "Z"}, {"z": "q"}]}}),
        ),
    ] {
        let mut object = object;
        schema.default(&mut object);
        assert_eq!(object, expected);
    }
}

#[test]
fn only_structural_schemas_are_accepted() {
    let rows: Vec<(Value, &[&str])> = vec![
        (json!({"type": "string"}), &[]),
        (json!({}), &["s.properties[spec].type: required must not be empty for specified object fields"]),
        (
            json!({"type": "text"}),
            &["s.properties[spec].type: unsupported \"text\": array,boolean,integer,number,object,string"],
        ),
        (json!({"type": "array"}), &["s.properties[spec].items: required must be specified"]),
        (
            json!({"type": "string", "$ref": "x"}),
            &["s.properties[spec].$ref: forbidden $ref is not supported"],
        ),
        (
            json!({"type": "integer", "default": "x"}),
            &["s.properties[spec].default: type \"string\":  in body must be of type integer: \"string\""],
        ),
        (
            json!({"type": "object", "default": {"x": 1}}),
            &["s.properties[spec].default: invalid {\"x\":1}: must not have unknown fields"],
        ),
        (
            json!({"type": "string", "anyOf": [{"type": "string"}]}),
            &["s.properties[spec].anyOf[0].type: forbidden must be empty to be structural"],
        ),
        (
            json!({"x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}]}),
            &[],
        ),
        (
            json!({"x-kubernetes-int-or-string": true, "allOf": [{"anyOf": [{"type": "integer"}, {"type": "string"}]}, {"pattern": "a"}]}),
            &[],
        ),
        (
            json!({"x-kubernetes-int-or-string": true, "anyOf": [{"type": "string"}, {"type": "integer"}]}),
            &[
                "s.properties[spec].anyOf[0].type: forbidden must be empty to be structural",
                "s.properties[spec].anyOf[1].type: forbidden must be empty to be structural",
            ],
        ),
        (
            json!({"x-kubernetes-int-or-string": true, "x-kubernetes-preserve-unknown-fields": true, "x-kubernetes-embedded-resource": true}),
            &[
                "s.properties[spec].type: required must be object if x-kubernetes-embedded-resource is true",
                "s.properties[spec].x-kubernetes-embedded-resource: invalid true: must be false if x-kubernetes-int-or-string is true",
                "s.properties[spec].x-kubernetes-preserve-unknown-fields: invalid true: must be false if x-kubernetes-int-or-string is true",
            ],
        ),
        (
            json!({"type": "object", "additionalProperties": true, "properties": {"a": {"type": "string"}}}),
            &[],
        ),
        (
            json!({"type": "object", "additionalProperties": false, "properties": {"a": {"type": "string"}}}),
            &[
                "s.properties[spec].additionalProperties: forbidden additionalProperties and properties are mutual exclusive",
            ],
        ),
        (
            json!({"type": "array", "items": {}}),
            &["s.properties[spec].items.type: required must not be empty for specified array items"],
        ),
        (
            json!({"type": "array", "items": [{"type": "string"}]}),
            &["s.properties[spec].items: forbidden items must be a schema object and not an array"],
        ),
        (
            json!({"type": "null"}),
            &[
                "s.properties[spec].type: unsupported \"null\": array,boolean,integer,number,object,string",
                "s.properties[spec].type: forbidden type cannot be set to null, use nullable as an alternative",
            ],
        ),
        (
            json!({"type": "string", "uniqueItems": true, "x-kubernetes-preserve-unknown-fields": false}),
            &[
                "s.properties[spec].uniqueItems: forbidden uniqueItems cannot be set to true since the runtime complexity becomes quadratic",
                "s.properties[spec].x-kubernetes-preserve-unknown-fields: invalid false: must be true or undefined",
            ],
        ),
        (
            json!({"type": "string", "x-kubernetes-embedded-resource": true}),
            &[
                "s.properties[spec].properties: required must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields",
                "s.properties[spec].type: invalid \"string\": must be object if x-kubernetes-embedded-resource is true",
            ],
        ),
        (
            json!({"type": "object", "x-kubernetes-embedded-resource": true, "properties": {"kind": {"type": "integer"}, "metadata": {"type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true}}}),
            &[
                "s.properties[spec].properties[kind].type: invalid \"integer\": must be string",
                "s.properties[spec].properties[metadata].x-kubernetes-embedded-resource: forbidden must not be used inside of resource meta",
            ],
        ),
        (
            json!({"type": "object", "not": {"properties": {"metadata": {}}, "title": "t", "x-kubernetes-validations": [{"rule": "true"}]}}),
            &[
                "s.properties[spec].not.properties[metadata]: forbidden must not be specified in a nested context",
                "s.properties[spec].not.title: forbidden must be empty to be structural",
                "s.properties[spec].not.x-kubernetes-validations: forbidden must be empty to be structural",
            ],
        ),
        (
            json!({"type": "string", "x-kubernetes-map-type": "deep", "x-kubernetes-list-map-keys": ["a"]}),
            &[
                "s.properties[spec].type: invalid \"string\": must be object if x-kubernetes-map-type is specified",
                "s.properties[spec].x-kubernetes-map-type: unsupported \"deep\": atomic,granular",
                "s.properties[spec].x-kubernetes-list-type: required must be map if x-kubernetes-list-map-keys is non-empty",
            ],
        ),
        (
            json!({"type": "array", "items": {"type": "object"}, "x-kubernetes-list-type": "set"}),
            &[
                "s.properties[spec].items.x-kubernetes-map-type: invalid null: must be atomic as item of a list with x-kubernetes-list-type=set",
            ],
        ),
        (
            json!({"type": "array", "items": {"type": "string", "nullable": true}, "x-kubernetes-list-type": "set", "x-kubernetes-list-map-keys": ["a"]}),
            &[
                "s.properties[spec].x-kubernetes-list-type: invalid \"set\": must be map if x-kubernetes-list-map-keys is non-empty",
                "s.properties[spec].items.nullable: forbidden cannot be nullable when x-kubernetes-list-type is set",
            ],
        ),
        (
            json!({"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "tree"}),
            &["s.properties[spec].x-kubernetes-list-type: unsupported \"tree\": atomic,set,map"],
        ),
        (
            json!({"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "map"}),
            &[
                "s.properties[spec].x-kubernetes-list-map-keys: required must not be empty if x-kubernetes-list-type is map",
                "s.properties[spec].items.type: invalid \"string\": must be object if parent array's x-kubernetes-list-type is map",
            ],
        ),
        (
            json!({"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["a", "b", "c", "c"], "items": {"type": "object", "properties": {
                "a": {"type": "object"}, "c": {"type": "string", "nullable": true}}, "required": ["a"]}}),
            &[
                "s.properties[spec].items.properties[a].type: invalid \"object\": must be a scalar type if parent array's x-kubernetes-list-type is map",
                "s.properties[spec].x-kubernetes-list-map-keys: invalid [\"a\",\"b\",\"c\",\"c\"]: entries must all be names of item properties",
                "s.properties[spec].x-kubernetes-list-map-keys: invalid [\"a\",\"b\",\"c\",\"c\"]: must not contain duplicate entries",
                "s.properties[spec].items.properties[c].default: required this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property",
                "s.properties[spec].items.properties[c].nullable: forbidden this property is in x-kubernetes-list-map-keys, so it cannot be nullable",
                "s.properties[spec].items.properties[c].default: required this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property",
                "s.properties[spec].items.properties[c].nullable: forbidden this property is in x-kubernetes-list-map-keys, so it cannot be nullable",
            ],
        ),
    ];
    for (part, expected) in rows {
        let errors = check_custom_schema(&spec(part.clone()), "s");
        assert_eq!(errors.iter().map(text).collect::<Vec<_>>(), expected, "{part}");
    }
}

#[test]
fn the_root_of_a_schema_is_that_of_an_object() {
    const METADATA: &str =
        "must not specify anything other than name and generateName, but metadata is implicitly specified";
    let rows: Vec<(Value, Vec<String>)> = vec![
        (json!({"type": "object"}), vec![]),
        (json!({}), vec!["s.type: required must not be empty at the root".into()]),
        (
            json!({"type": "array", "items": {"type": "string"}}),
            vec!["s.type: invalid \"array\": must be object at the root".into()],
        ),
        (
            json!({"type": "object", "nullable": true}),
            vec!["s.nullable: forbidden nullable cannot be true at the root".into()],
        ),
        (
            json!({"type": "object", "additionalProperties": {"type": "string"}}),
            vec!["s.additionalProperties: forbidden must not be used at the root".into()],
        ),
        (
            json!({"type": "object", "properties": {"metadata": {"type": "object", "properties": {"name": {"type": "string", "pattern": "^a"}}}}}),
            vec![],
        ),
        (
            json!({"type": "object", "properties": {"metadata": {"type": "object", "properties": {"labels": {"type": "object"}}}}}),
            vec![format!("s.properties[metadata]: forbidden {METADATA}")],
        ),
        (
            json!({"type": "object", "properties": {"metadata": {"type": "object", "description": "d"}}}),
            vec![format!("s.properties[metadata]: forbidden {METADATA}")],
        ),
        (
            json!({"type": "object", "properties": {"kind": {"type": "string", "default": "K"}}}),
            vec!["s.properties[kind].default: forbidden must not be set in top-level kind".into()],
        ),
        (
            json!({"type": "object", "anyOf": [{"required": ["a"], "properties": {"b": {"minimum": 1}}}]}),
            vec!["s.properties[b]: required because it is defined in s.anyOf[0].properties[b]".into()],
        ),
    ];
    for (schema, expected) in rows {
        let errors = check_custom_schema(&schema, "s");
        assert_eq!(errors.iter().map(text).collect::<Vec<_>>(), expected, "{schema}");
    }
}
