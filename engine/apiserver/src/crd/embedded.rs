//! Resources within custom resources: each says what it is, and has metadata that could be an object's own.
//!
//! Source: https://github.com/kubernetes/apiextensions-apiserver/blob/master/pkg/apiserver/schema/objectmeta/validation.go

use coracle_schema::CustomSchema;
use serde_json::{Map, Value};

use crate::{
    metadata::{rfc1035_problems, validate_embedded},
    status::Cause,
};

const EMPTY: &str = "must not be empty";

pub fn validate(schema: &CustomSchema, object: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    schema.each_embedded(object, &mut |path, fields| one(path, fields, &mut causes));
    causes
}

fn one(path: &str, fields: &Map<String, Value>, causes: &mut Vec<Cause>) {
    let at = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    for (name, problem) in [("apiVersion", version_problem as fn(&str) -> _), ("kind", kind_problem)] {
        let why = match fields.get(name) {
            None => {
                causes.push(Cause::required(at(name), EMPTY));
                continue;
            }
            Some(Value::String(text)) if text.is_empty() => EMPTY.into(),
            Some(Value::String(text)) => match problem(text) {
                None => continue,
                Some(why) => why,
            },
            Some(_) => "must be a string".into(),
        };
        causes.push(Cause::invalid(at(name), fields[name].clone(), &why));
    }
    if let Some(metadata) = fields.get("metadata") {
        causes.extend(validate_embedded(metadata, &at("metadata")));
    }
}

fn version_problem(text: &str) -> Option<String> {
    (text.matches('/').count() > 1).then(|| format!("unexpected GroupVersion string: {text}"))
}

fn kind_problem(text: &str) -> Option<String> {
    let problems = rfc1035_problems(&text.to_lowercase());
    let why = || format!("may have mixed case, but should otherwise match: {}", problems.join(","));
    (!problems.is_empty()).then(why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_resource_within_another_says_what_it_is_and_has_metadata_like_any_other() {
        let resource = json!({"type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true});
        let schema = CustomSchema::new(json!({"type": "object", "properties": {
            "one": resource, "list": {"type": "array", "items": resource},
            "map": {"type": "object", "additionalProperties": resource},
        }}));
        let with =
            |metadata: Value| json!({"one": {"apiVersion": "a/v1", "kind": "A", "metadata": metadata}});
        let rows: [(Value, &[&str]); 10] = [
            (with(json!({})), &[]),
            (
                json!({"list": [{}]}),
                &[
                    "list[0].apiVersion: Required value: must not be empty",
                    "list[0].kind: Required value: must not be empty",
                ],
            ),
            (
                json!({"map": {"k.l": {"apiVersion": "", "kind": 1}}}),
                &[
                    "map[k.l].apiVersion: Invalid value: \"\": must not be empty",
                    "map[k.l].kind: Invalid value: 1: must be a string",
                ],
            ),
            (
                json!({"one": {"apiVersion": "a/b/c", "kind": "A_B"}}),
                &[
                    "one.apiVersion: Invalid value: \"a/b/c\": unexpected GroupVersion string: a/b/c",
                    "one.kind: Invalid value: \"A_B\": may have mixed case, but should otherwise match: a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')",
                ],
            ),
            (with(json!({"name": "A b", "namespace": "n"})), &[]),
            (
                with(json!({"name": "a/b", "generateName": "%"})),
                &[
                    "one.metadata.generateName: Invalid value: \"%\": may not contain '%'",
                    "one.metadata.name: Invalid value: \"a/b\": may not contain '/'",
                ],
            ),
            (
                with(json!({"namespace": "a.b"})),
                &["one.metadata.namespace: Invalid value: \"a.b\": must not contain dots"],
            ),
            (
                with(json!({"generation": -1})),
                &["one.metadata.generation: Invalid value: -1: must be greater than or equal to 0"],
            ),
            (
                with(json!({"labels": {"a/": "v"}, "annotations": {"a/": "v"}, "finalizers": ["a/"]})),
                &[
                    "one.metadata.labels: Invalid value: \"a/\": name part must be non-empty",
                    "one.metadata.labels: Invalid value: \"a/\": name part must consist",
                    "one.metadata.annotations: Invalid value: \"a/\": name part must be non-empty",
                    "one.metadata.annotations: Invalid value: \"a/\": name part must consist",
                    "one.metadata.finalizers: Invalid value: \"a/\": name part must be non-empty",
                    "one.metadata.finalizers: Invalid value: \"a/\": name part must consist",
                ],
            ),
            (
                with(json!({"ownerReferences": [{"apiVersion": "v1", "kind": "A", "name": "a"}]})),
                &["one.metadata.ownerReferences.uid: Invalid value: \"\": must not be empty"],
            ),
        ];
        for (object, expected) in rows {
            let causes: Vec<String> = validate(&schema, &object).iter().map(ToString::to_string).collect();
            let alike = causes.iter().zip(expected).all(|(own, expected)| own.starts_with(expected));
            assert!(causes.len() == expected.len() && alike, "{object}: {causes:#?}");
        }
    }
}
