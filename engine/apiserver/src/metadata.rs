//! The rules that every object's metadata follows: names, labels, annotations, finalizers, owners, what may change.
//!
//! Source: https://github.com/kubernetes/apimachinery/blob/master/pkg/api/validation/objectmeta.go and
//! https://github.com/kubernetes/apimachinery/blob/master/pkg/util/validation/validation.go

use serde_json::Value;

use crate::{
    object::{finalizers, meta_str, strings},
    registry::Served,
    status::Cause,
    strategy::NameRule,
};

const LABEL_MAX_BYTES: usize = 63;
const SUBDOMAIN_MAX_BYTES: usize = 253;
/// All annotations of an object together.
const ANNOTATIONS_MAX_BYTES: usize = 256 * 1024;

const LABEL_TEXT: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const SUBDOMAIN_TEXT: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const RFC1035_TEXT: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
const QUALIFIED_TEXT: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const VALUE_TEXT: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";

/// Upstream counts names of DNS in characters, and keys and values of labels in bytes.
fn too_long(max: usize, of: &str) -> String {
    format!("must be no more than {max} {of}")
}

fn edges(text: &str, is_edge: impl Fn(char) -> bool) -> bool {
    text.starts_with(&is_edge) && text.ends_with(&is_edge)
}

fn lower_alnum(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit()
}

fn is_label(text: &str) -> bool {
    edges(text, lower_alnum) && text.chars().all(|c| lower_alnum(c) || c == '-')
}

pub fn label_problems(text: &str) -> Vec<String> {
    let mut problems = Vec::new();
    if text.len() > LABEL_MAX_BYTES {
        problems.push(too_long(LABEL_MAX_BYTES, "characters"));
    }
    if !is_label(text) {
        // A name with dots is a subdomain: the stock server says so shortly.
        let dotted = text.contains('.') && text.split('.').all(is_label);
        problems.push(if dotted { "must not contain dots".into() } else { LABEL_TEXT.into() });
    }
    problems
}

pub fn subdomain_problems(text: &str) -> Vec<String> {
    let mut problems = Vec::new();
    if text.len() > SUBDOMAIN_MAX_BYTES {
        problems.push(too_long(SUBDOMAIN_MAX_BYTES, "characters"));
    }
    if !text.split('.').all(is_label) {
        problems.push(SUBDOMAIN_TEXT.into());
    }
    problems
}

pub fn rfc1035_problems(text: &str) -> Vec<String> {
    let mut problems = Vec::new();
    if text.len() > LABEL_MAX_BYTES {
        problems.push(too_long(LABEL_MAX_BYTES, "characters"));
    }
    if !is_label(text) || !text.starts_with(|c: char| c.is_ascii_lowercase()) {
        problems.push(RFC1035_TEXT.into());
    }
    problems
}

pub fn path_segment_problems(text: &str) -> Vec<String> {
    match text {
        "." => return vec!["may not be '.'".into()],
        ".." => return vec!["may not be '..'".into()],
        _ => {}
    }
    ['/', '%'].into_iter().filter(|c| text.contains(*c)).map(|c| format!("may not contain '{c}'")).collect()
}

/// A label or annotation key, a finalizer: `name` or `prefix/name`.
pub fn qualified_name_problems(text: &str) -> Vec<String> {
    let mut problems = Vec::new();
    let parts: Vec<&str> = text.split('/').collect();
    let name = match parts[..] {
        [name] => name,
        [prefix, name] => {
            if prefix.is_empty() {
                problems.push("prefix part must be non-empty".into());
            } else {
                problems.extend(
                    subdomain_problems(prefix).into_iter().map(|problem| format!("prefix part {problem}")),
                );
            }
            name
        }
        _ => {
            return vec![
                "a qualified name must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
                    .into(),
            ];
        }
    };
    if name.is_empty() {
        problems.push("name part must be non-empty".into());
    } else if name.len() > LABEL_MAX_BYTES {
        problems.push(format!("name part {}", too_long(LABEL_MAX_BYTES, "bytes")));
    }
    if !is_word(name) {
        problems.push(QUALIFIED_TEXT.into());
    }
    problems
}

fn is_word(text: &str) -> bool {
    edges(text, |c| c.is_ascii_alphanumeric())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

pub fn label_value_problems(text: &str) -> Vec<String> {
    let mut problems = Vec::new();
    if text.len() > LABEL_MAX_BYTES {
        problems.push(too_long(LABEL_MAX_BYTES, "bytes"));
    }
    if !text.is_empty() && !is_word(text) {
        problems.push(VALUE_TEXT.into());
    }
    problems
}

pub fn name_problems(rule: NameRule, name: &str) -> Vec<String> {
    match rule {
        NameRule::Subdomain => subdomain_problems(name),
        NameRule::Label => label_problems(name),
        NameRule::Rfc1035Label => rfc1035_problems(name),
        NameRule::PathSegment => path_segment_problems(name),
    }
}

fn causes(field: &str, value: &str, problems: Vec<String>) -> impl Iterator<Item = Cause> {
    problems.into_iter().map(move |problem| Cause::invalid(field, value, &problem))
}

/// Everything about metadata that must hold at creation.
pub fn validate(served: &Served, object: &Value) -> Vec<Cause> {
    let mut found = Vec::new();
    let rule = served.strategy.name_rule();
    let generate_name = meta_str(object, "generateName");
    if !generate_name.is_empty() {
        // What follows is made by the server: the prefix is checked as if it ended well.
        let masked = generate_name.strip_suffix('-').map(|start| format!("{start}a"));
        let problems = name_problems(rule, masked.as_deref().unwrap_or(generate_name));
        found.extend(causes("metadata.generateName", generate_name, problems));
    }
    let name = meta_str(object, "name");
    if name.is_empty() {
        found.push(Cause::required("metadata.name", "name or generateName is required"));
    } else {
        found.extend(causes("metadata.name", name, name_problems(rule, name)));
    }
    let namespace = meta_str(object, "namespace");
    if served.api.namespaced {
        if namespace.is_empty() {
            found.push(Cause::required("metadata.namespace", ""));
        } else {
            found.extend(causes("metadata.namespace", namespace, label_problems(namespace)));
        }
    }
    found.extend(labels_and_annotations(&object["metadata"], "metadata"));
    found.extend(owner_references(&object["metadata"], "metadata"));
    found.extend(finalizer_names(served, object));
    found
}

/// `field` is the path of a label map.
pub fn validate_labels(labels: &Value, field: &str) -> Vec<Cause> {
    let mut found = Vec::new();
    for (key, value) in labels.as_object().into_iter().flatten() {
        found.extend(causes(field, key, qualified_name_problems(key)));
        let value = value.as_str().unwrap_or_default();
        found.extend(causes(field, value, label_value_problems(value)));
    }
    found
}

/// The metadata of a resource within another one, at `field`: it may lack a name, and be of a namespace or of none.
pub fn validate_embedded(metadata: &Value, field: &str) -> Vec<Cause> {
    let text = |name: &str| metadata[name].as_str().unwrap_or_default();
    let mut found = Vec::new();
    for (name, problems) in [
        ("generateName", path_segment_problems as fn(&str) -> Vec<String>),
        ("name", path_segment_problems),
        ("namespace", label_problems),
    ] {
        if !text(name).is_empty() {
            found.extend(causes(&format!("{field}.{name}"), text(name), problems(text(name))));
        }
    }
    if let Some(generation) = metadata["generation"].as_i64().filter(|generation| *generation < 0) {
        let why = "must be greater than or equal to 0";
        found.push(Cause::invalid(format!("{field}.generation"), generation, why));
    }
    found.extend(labels_and_annotations(metadata, field));
    found.extend(owner_references(metadata, field));
    found.extend(qualified_finalizers(metadata, field));
    found
}

fn labels_and_annotations(metadata: &Value, field: &str) -> Vec<Cause> {
    let mut found = validate_labels(&metadata["labels"], &format!("{field}.labels"));
    found.extend(validate_annotations(&metadata["annotations"], &format!("{field}.annotations")));
    found
}

pub fn validate_annotations(annotations: &Value, field: &str) -> Vec<Cause> {
    let (mut found, mut total_bytes) = (Vec::new(), 0);
    for (key, value) in annotations.as_object().into_iter().flatten() {
        found.extend(causes(field, key, qualified_name_problems(&key.to_lowercase())));
        total_bytes += key.len() + value.as_str().unwrap_or_default().len();
    }
    if total_bytes > ANNOTATIONS_MAX_BYTES {
        found.push(Cause::too_long(field, ANNOTATIONS_MAX_BYTES));
    }
    found
}

fn owner_references(metadata: &Value, field: &str) -> Vec<Cause> {
    let mut found = Vec::new();
    let mut controller = None;
    let at = &format!("{field}.ownerReferences");
    for reference in metadata["ownerReferences"].as_array().into_iter().flatten() {
        let text = |field: &str| reference[field].as_str().unwrap_or_default();
        let version = text("apiVersion");
        if version.is_empty() || version.ends_with('/') {
            found.push(Cause::invalid(format!("{at}.apiVersion"), version, "version must not be empty"));
        }
        for (field, value) in
            [("kind", "must not be empty"), ("name", "must not be empty"), ("uid", "must not be empty")]
        {
            if text(field).is_empty() {
                found.push(Cause::invalid(format!("{at}.{field}"), text(field), value));
            }
        }
        if version == "v1" && text("kind") == "Event" {
            found.push(Cause::invalid(
                at,
                "/v1, Kind=Event",
                "/v1, Kind=Event is disallowed from being an owner",
            ));
        }
        if reference["controller"] != true {
            continue;
        }
        let own = format!("{}/{}", text("kind"), text("name"));
        let Some(first) = &controller else {
            controller = Some(own);
            continue;
        };
        let why = format!(
            "Only one reference can have Controller set to true. Found \"true\" in references for {first} and {own}"
        );
        found.push(Cause::invalid(at, metadata["ownerReferences"].clone(), &why));
    }
    found
}

/// Groups whose own server does not know the standard finalizers, as that of custom resources.
const FREE_FINALIZERS: [&str; 3] =
    ["admissionregistration.k8s.io", "apiextensions.k8s.io", "apiregistration.k8s.io"];

fn finalizer_names(served: &Served, object: &Value) -> Vec<Cause> {
    let mut found = qualified_finalizers(&object["metadata"], "metadata");
    let is_free = served.custom.is_some() || FREE_FINALIZERS.contains(&&*served.api.gvk.group);
    for (at, name) in finalizers(object).iter().enumerate().filter(|_| !is_free) {
        if !name.contains('/') && !matches!(*name, "orphan" | "foregroundDeletion" | "kubernetes") {
            found.push(Cause::invalid(
                format!("metadata.finalizers[{at}]"),
                *name,
                "name is neither a standard finalizer name nor is it fully qualified",
            ));
        }
    }
    found
}

fn qualified_finalizers(metadata: &Value, field: &str) -> Vec<Cause> {
    let (mut found, at) = (Vec::new(), format!("{field}.finalizers"));
    let names = strings(&metadata["finalizers"]);
    for name in &names {
        found.extend(causes(&at, name, qualified_name_problems(name)));
    }
    if names.contains(&"orphan") && names.contains(&"foregroundDeletion") {
        let why = "finalizer orphan and foregroundDeletion cannot be both set";
        found.push(Cause::invalid(at, metadata["finalizers"].clone(), why));
    }
    found
}

/// What must hold between an object and its next state.
pub fn validate_update(served: &Served, object: &Value, old: &Value) -> Vec<Cause> {
    let mut found = Vec::new();
    if super::object::is_deleting(old) {
        let before = finalizers(old);
        let added: Vec<&str> = finalizers(object).into_iter().filter(|name| !before.contains(name)).collect();
        if !added.is_empty() {
            let list = added.iter().map(|name| crate::status::quote(name)).collect::<Vec<_>>().join(", ");
            let detail = format!(
                "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{list}}}"
            );
            found.push(Cause::forbidden("metadata.finalizers", &detail));
        }
    }
    for field in
        ["name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"]
    {
        let (new, before) = (&object["metadata"][field], &old["metadata"][field]);
        if new != before {
            found.push(Cause::invalid(format!("metadata.{field}"), new.clone(), "field is immutable"));
        }
    }
    found.extend(labels_and_annotations(&object["metadata"], "metadata"));
    found.extend(owner_references(&object["metadata"], "metadata"));
    found.extend(finalizer_names(served, object));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_their_rule() {
        for (rule, name, good) in [
            (NameRule::Subdomain, "a.b-c", true),
            (NameRule::Subdomain, "A", false),
            (NameRule::Subdomain, "a..b", false),
            (NameRule::Subdomain, "-a", false),
            (NameRule::Label, "a.b", false),
            (NameRule::Label, "1a", true),
            (NameRule::Rfc1035Label, "1a", false),
            (NameRule::PathSegment, "system:node", true),
            (NameRule::PathSegment, "a/b", false),
        ] {
            assert_eq!(name_problems(rule, name).is_empty(), good, "{rule:?} {name}");
        }
    }

    #[test]
    fn label_keys_and_values_follow_their_syntax() {
        for (key, good) in [
            ("a", true),
            ("a.b/c_D", true),
            ("/a", false),
            ("a/", false),
            ("a/b/c", false),
            ("-a", false),
            ("A/b", false),
        ] {
            assert_eq!(qualified_name_problems(key).is_empty(), good, "{key}");
        }
        for (value, good) in [("", true), ("a_B.c", true), ("a b", false), ("-", false)] {
            assert_eq!(label_value_problems(value).is_empty(), good, "{value}");
        }
    }
}
