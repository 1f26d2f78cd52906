//! Field selectors: `metadata.name=x,spec.nodeName!=y`, over the fields that a stock server supports for each kind.
//!
//! Source: the `AddFieldLabelConversionFunc` calls of https://github.com/kubernetes/kubernetes/tree/master/pkg/apis

use coracle_store::Key;

use super::extract::extract;
use crate::{registry::Served, status::Status};

#[derive(Clone, Debug, Default, PartialEq)]
pub struct FieldSelector(Vec<Term>);

#[derive(Clone, Debug, PartialEq)]
struct Term {
    field: Field,
    negated: bool,
    value: String,
}

#[derive(Clone, Debug, PartialEq)]
enum Field {
    Name,
    Namespace,
    Json(&'static SelectableField),
    /// Of a custom resource: field names.
    Custom(Vec<String>),
}

/// A field beyond name and namespace.
#[derive(Debug, PartialEq)]
struct SelectableField {
    resource: &'static str,
    label: &'static str,
    /// The paths in the JSON; the first that is there counts.
    paths: &'static [&'static [&'static str]],
    /// What an absent field compares as.
    absent: &'static str,
}

const fn row(
    resource: &'static str,
    label: &'static str,
    paths: &'static [&'static [&'static str]],
    absent: &'static str,
) -> SelectableField {
    SelectableField { resource, label, paths, absent }
}

static SELECTABLE: [SelectableField; 35] = [
    row("pods", "spec.nodeName", &[&["spec", "nodeName"]], ""),
    row("pods", "spec.restartPolicy", &[&["spec", "restartPolicy"]], ""),
    row("pods", "spec.schedulerName", &[&["spec", "schedulerName"]], ""),
    row("pods", "spec.serviceAccountName", &[&["spec", "serviceAccountName"]], ""),
    row("pods", "spec.hostNetwork", &[&["spec", "hostNetwork"]], "false"),
    row("pods", "status.phase", &[&["status", "phase"]], ""),
    row("pods", "status.podIP", &[&["status", "podIP"]], ""),
    row("pods", "status.podIPs", &[&["status", "podIPs", "ip"]], ""),
    row("pods", "status.nominatedNodeName", &[&["status", "nominatedNodeName"]], ""),
    row("events", "involvedObject.kind", &[&["involvedObject", "kind"]], ""),
    row("events", "involvedObject.namespace", &[&["involvedObject", "namespace"]], ""),
    row("events", "involvedObject.name", &[&["involvedObject", "name"]], ""),
    row("events", "involvedObject.uid", &[&["involvedObject", "uid"]], ""),
    row("events", "involvedObject.apiVersion", &[&["involvedObject", "apiVersion"]], ""),
    row("events", "involvedObject.resourceVersion", &[&["involvedObject", "resourceVersion"]], ""),
    row("events", "involvedObject.fieldPath", &[&["involvedObject", "fieldPath"]], ""),
    row("events", "reason", &[&["reason"]], ""),
    row("events", "reportingComponent", &[&["reportingComponent"]], ""),
    row("events", "source", &[&["source", "component"], &["reportingComponent"]], ""),
    row("events", "type", &[&["type"]], ""),
    // The names that events.k8s.io/v1 gives to the same fields.
    row("events", "regarding.kind", &[&["involvedObject", "kind"]], ""),
    row("events", "regarding.namespace", &[&["involvedObject", "namespace"]], ""),
    row("events", "regarding.name", &[&["involvedObject", "name"]], ""),
    row("events", "regarding.uid", &[&["involvedObject", "uid"]], ""),
    row("nodes", "spec.unschedulable", &[&["spec", "unschedulable"]], "false"),
    row("secrets", "type", &[&["type"]], ""),
    row("namespaces", "status.phase", &[&["status", "phase"]], ""),
    row("services", "spec.clusterIP", &[&["spec", "clusterIP"]], ""),
    row("services", "spec.type", &[&["spec", "type"]], ""),
    row("jobs.batch", "status.successful", &[&["status", "succeeded"]], "0"),
    row("replicasets.apps", "status.replicas", &[&["status", "replicas"]], "0"),
    row("replicationcontrollers", "status.replicas", &[&["status", "replicas"]], "0"),
    row("resourceslices.resource.k8s.io", "spec.driver", &[&["spec", "driver"]], ""),
    row("resourceslices.resource.k8s.io", "spec.nodeName", &[&["spec", "nodeName"]], ""),
    row("certificatesigningrequests.certificates.k8s.io", "spec.signerName", &[&["spec", "signerName"]], ""),
];

impl FieldSelector {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// `resource` is the store's name of the resource.
    pub fn parse(resource: &str, text: &str) -> Result<FieldSelector, Status> {
        split_unescaped(text)
            .into_iter()
            .filter(|term| !term.is_empty())
            .map(|term| parse_term(resource, None, text, term))
            .collect::<Result<_, _>>()
            .map(FieldSelector)
    }

    /// Of a served resource, with the selectable fields of its definition.
    pub fn parse_for(served: &Served, text: &str) -> Result<FieldSelector, Status> {
        let custom = served.custom.as_ref().map(|custom| custom.selectable.as_slice());
        split_unescaped(text)
            .into_iter()
            .filter(|term| !term.is_empty())
            .map(|term| parse_term(&served.resource.0, custom, text, term))
            .collect::<Result<_, _>>()
            .map(FieldSelector)
    }

    /// The one name that can match, if the selector fixes it.
    pub fn exact_name(&self) -> Option<&str> {
        self.0.iter().find(|term| term.field == Field::Name && !term.negated).map(|term| term.value.as_str())
    }

    /// Without the terms that a scope by name already covers.
    pub fn without_exact_name(mut self) -> FieldSelector {
        if let Some(at) = self.0.iter().position(|term| term.field == Field::Name && !term.negated) {
            self.0.remove(at);
        }
        self
    }

    pub fn matches(&self, key: &Key, json: &[u8]) -> bool {
        self.0.iter().all(|term| {
            let equal = match &term.field {
                Field::Name => *key.name == *term.value,
                Field::Namespace => *key.namespace == *term.value,
                Field::Json(field) => field.value(json) == term.value,
                Field::Custom(path) => {
                    let path: Vec<&str> = path.iter().map(String::as_str).collect();
                    extract(json, &path).unwrap_or_default() == term.value
                }
            };
            equal != term.negated
        })
    }
}

impl SelectableField {
    fn value(&self, json: &[u8]) -> String {
        self.paths
            .iter()
            .find_map(|path| extract(json, path).filter(|value| !value.is_empty()))
            .unwrap_or_else(|| self.absent.into())
    }
}

/// `custom` are the selectable fields of a custom resource.
fn parse_term(
    resource: &str,
    custom: Option<&[Vec<String>]>,
    selector: &str,
    term: &str,
) -> Result<Term, Status> {
    let (label, negated, value) = split_operator(term).ok_or_else(|| {
        Status::bad_request(format!("invalid selector: '{selector}'; can't understand '{term}'"))
    })?;
    let value = unescape(value).ok_or_else(|| {
        Status::bad_request(format!(
            "invalid field selector: invalid escape sequence: in field selector value \"{value}\""
        ))
    })?;
    let field = match label {
        "metadata.name" => Field::Name,
        "name" if resource == "namespaces" => Field::Name,
        "metadata.namespace" => Field::Namespace,
        _ => SELECTABLE
            .iter()
            .find(|row| row.resource == resource && row.label == label)
            .map(Field::Json)
            .or_else(|| custom?.iter().find(|path| path.join(".") == label).cloned().map(Field::Custom))
            .ok_or_else(|| unknown_label(resource, custom.is_some(), label))?,
    };
    Ok(Term { field, negated, value })
}

fn unknown_label(resource: &str, is_custom: bool, label: &str) -> Status {
    let known = is_custom || SELECTABLE.iter().any(|row| row.resource == resource);
    Status::bad_request(match resource {
        "jobs.batch" => format!("field label \"{label}\" not supported for Job"),
        "resourceslices.resource.k8s.io" => {
            format!("field label not supported for resource.k8s.io/v1, Kind=ResourceSlice: {label}")
        }
        _ if known => format!("field label not supported: {label}"),
        _ => format!(
            "\"{label}\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
        ),
    })
}

fn split_operator(term: &str) -> Option<(&str, bool, &str)> {
    let at = term.find(['=', '!'])?;
    let (label, rest) = term.split_at(at);
    if let Some(value) = rest.strip_prefix("!=") {
        Some((label, true, value))
    } else if let Some(value) = rest.strip_prefix("==") {
        Some((label, false, value))
    } else {
        rest.strip_prefix('=').map(|value| (label, false, value))
    }
}

/// What the selector wants to be equal, whatever it is for. What cannot be read wants nothing.
pub fn equalities(text: &str) -> Vec<(String, String)> {
    let terms = split_unescaped(text).into_iter().filter_map(split_operator);
    terms
        .filter(|(_, negated, _)| !negated)
        .filter_map(|(label, _, value)| Some((label.to_owned(), unescape(value)?)))
        .collect()
}

fn split_unescaped(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut start, mut escaped) = (0, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ',' => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

fn unescape(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next()? {
                c @ ('\\' | ',' | '=') => out.push(c),
                _ => return None,
            },
            ',' | '=' => return None,
            c => out.push(c),
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use coracle_store::Resource;

    #[test]
    fn fields_compare_as_the_kinds_define_them() {
        let key = Key { resource: Resource("pods".into()), namespace: "ns".into(), name: "x".into() };
        let json = br#"{"spec":{"nodeName":"n1"},"status":{"phase":"Running"}}"#;
        for (text, expected) in [
            ("metadata.name=x", true),
            ("metadata.name!=x", false),
            ("metadata.namespace==ns,spec.nodeName=n1", true),
            ("status.phase!=Failed", true),
            ("spec.nodeName=", false),
            ("spec.hostNetwork=false", true),
        ] {
            let selector = FieldSelector::parse("pods", text).expect(text);
            assert_eq!(selector.matches(&key, json), expected, "{text}");
        }
        let json = br#"{"spec":{"driver":"gpu.example.com","nodeName":"n1"}}"#;
        for (text, expected) in [
            ("spec.driver=gpu.example.com,spec.nodeName=n1", true),
            ("spec.driver=nic.example.com", false),
            ("spec.nodeName=", false),
        ] {
            let selector = FieldSelector::parse("resourceslices.resource.k8s.io", text).expect(text);
            assert_eq!(selector.matches(&key, json), expected, "{text}");
        }
    }

    #[test]
    fn unknown_labels_are_refused_with_the_stock_text() {
        let text = |resource, selector| FieldSelector::parse(resource, selector).expect_err(selector).message;
        assert_eq!(text("pods", "spec.foo=1"), "field label not supported: spec.foo");
        assert_eq!(
            text("resourceslices.resource.k8s.io", "spec.pool=1"),
            "field label not supported for resource.k8s.io/v1, Kind=ResourceSlice: spec.pool"
        );
        assert_eq!(
            text("configmaps", "data=1"),
            "\"data\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
        );
        let of_custom = parse_term("things.example.com", Some(&[]), "spec.foo=1", "spec.foo=1");
        let why = of_custom.err().map(|status| status.message);
        assert_eq!(why.as_deref(), Some("field label not supported: spec.foo"));
        assert_eq!(text("pods", "a"), "invalid selector: 'a'; can't understand 'a'");
    }
}
