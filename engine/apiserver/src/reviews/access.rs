//! SubjectAccessReview and its kin (`kubectl auth can-i`): may somebody do something.

use k8s_openapi::api::rbac::v1::PolicyRule;
use serde_json::{Value, json};

use super::{answered, text, texts};
use crate::{
    authz::{Attributes, Authorizer},
    kinds::checks,
    metadata::{label_value_problems, qualified_name_problems},
    selector::fields::equalities,
    status::{Cause, GroupResource, Status},
    types::UserInfo,
};

const GROUP: &str = "authorization.k8s.io";

pub fn myself(authorizer: &Authorizer, user: &UserInfo, object: Value) -> Result<Value, Status> {
    let attributes = attributes(&object, "SelfSubjectAccessReview", Vec::new())?;
    Ok(decide(authorizer, user, &attributes, object))
}

pub fn subject(authorizer: &Authorizer, object: Value) -> Result<Value, Status> {
    let user = named(&object["spec"]);
    let attributes = attributes(&object, "SubjectAccessReview", nobody(&user))?;
    Ok(decide(authorizer, &user, &attributes, object))
}

pub fn local(authorizer: &Authorizer, namespace: &str, object: Value) -> Result<Value, Status> {
    let user = named(&object["spec"]);
    let mut causes = nobody(&user);
    if !object["spec"]["nonResourceAttributes"].is_null() {
        causes.push(Cause::forbidden("spec.nonResourceAttributes", "disallowed on this kind of request"));
    }
    let attributes = attributes(&object, "LocalSubjectAccessReview", causes)?;
    if attributes.namespace != namespace {
        let text = format!("spec.resourceAttributes.namespace must match namespace: {namespace}");
        return Err(Status::bad_request(text));
    }
    Ok(decide(authorizer, &user, &attributes, object))
}

pub fn rules(authorizer: &Authorizer, user: &UserInfo, object: Value) -> Result<Value, Status> {
    let namespace = text(&object["spec"], "namespace").to_owned();
    if namespace.is_empty() {
        return Err(Status::bad_request("no namespace on request"));
    }
    let (rules, errors) = authorizer.rules_for(user, &namespace);
    let (resource, other): (Vec<&PolicyRule>, Vec<&PolicyRule>) =
        rules.iter().partition(|rule| rule.non_resource_urls.as_ref().is_none_or(Vec::is_empty));
    let mut status =
        json!({"resourceRules": resource, "nonResourceRules": other, "incomplete": !errors.is_empty()});
    if !errors.is_empty() {
        status["evaluationError"] = errors.join(", ").into();
    }
    Ok(answered(object, status))
}

fn named(spec: &Value) -> UserInfo {
    let extra = spec["extra"].as_object().into_iter().flatten();
    UserInfo {
        name: text(spec, "user").to_owned(),
        uid: text(spec, "uid").to_owned(),
        groups: texts(spec, "groups"),
        extra: extra.map(|(key, _)| (key.clone(), texts(&spec["extra"], key))).collect(),
    }
}

fn nobody(user: &UserInfo) -> Vec<Cause> {
    if user.name.is_empty() && user.groups.is_empty() {
        return vec![Cause::invalid("spec.user", "", "at least one of user or group must be specified")];
    }
    Vec::new()
}

fn attributes(object: &Value, kind: &str, mut causes: Vec<Cause>) -> Result<Attributes, Status> {
    let (resource, path) = (&object["spec"]["resourceAttributes"], &object["spec"]["nonResourceAttributes"]);
    match (resource.is_null(), path.is_null()) {
        (false, false) => causes.push(Cause::new(
            "FieldValueInvalid",
            "spec.nonResourceAttributes",
            format!("Invalid value: {path}: cannot be specified in combination with resourceAttributes"),
        )),
        (true, true) => causes.push(Cause::new(
            "FieldValueInvalid",
            "spec.resourceAttributes",
            "Invalid value: null: exactly one of nonResourceAttributes or resourceAttributes must be specified",
        )),
        _ => {}
    }
    for field in ["fieldSelector", "labelSelector"] {
        selector(&mut causes, &resource[field], &format!("spec.resourceAttributes.{field}"));
    }
    if !causes.is_empty() {
        return Err(Status::invalid(GroupResource::new(GROUP, kind), "", causes));
    }
    if resource.is_null() {
        let (verb, path) = (text(path, "verb").to_owned(), Some(text(path, "path").to_owned()));
        return Ok(Attributes { verb, path, ..Attributes::default() });
    }
    Ok(Attributes {
        verb: text(resource, "verb").into(),
        group: text(resource, "group").into(),
        version: text(resource, "version").into(),
        resource: text(resource, "resource").into(),
        subresource: text(resource, "subresource").into(),
        namespace: text(resource, "namespace").into(),
        name: text(resource, "name").into(),
        selected: selected(&resource["fieldSelector"]),
        ..Attributes::default()
    })
}

/// What a field selector in either form wants to be equal.
fn selected(selector: &Value) -> Vec<(String, String)> {
    let listed = selector["requirements"].as_array().into_iter().flatten();
    let mut out = equalities(text(selector, "rawSelector"));
    out.extend(listed.filter(|one| one["operator"] == "In").filter_map(|one| {
        let [value] = one["values"].as_array()?.as_slice() else { return None };
        Some((text(one, "key").to_owned(), value.as_str()?.to_owned()))
    }));
    out
}

/// RBAC looks at no selectors, and only those of fields decide about nodes; still they are written in one way.
fn selector(causes: &mut Vec<Cause>, selector: &Value, path: &str) {
    let raw = text(selector, "rawSelector");
    let listed = selector["requirements"].as_array().map_or(&[][..], Vec::as_slice);
    if !raw.is_empty() && !listed.is_empty() {
        let why = "may not specified at the same time as requirements";
        causes.push(Cause::invalid(format!("{path}.rawSelector"), raw, why));
    }
    if selector.is_object() && raw.is_empty() && listed.is_empty() {
        let why = format!("when {path} is specified, requirements or rawSelector is required");
        causes.push(Cause::required(format!("{path}.requirements"), &why));
    }
    for (at, one) in listed.iter().enumerate() {
        requirement(causes, one, &format!("{path}.requirements[{at}]"), path.ends_with("labelSelector"));
    }
}

/// An operator that is not known is a newer client's.
fn requirement(causes: &mut Vec<Cause>, one: &Value, path: &str, of_labels: bool) {
    let (key, values) = (text(one, "key"), texts(one, "values"));
    let (key_path, values_path) = (format!("{path}.key"), format!("{path}.values"));
    if !of_labels && key.is_empty() {
        causes.push(Cause::required(key_path.as_str(), "must be specified"));
    }
    match text(one, "operator") {
        "In" | "NotIn" if values.is_empty() => {
            let why = "must be specified when `operator` is 'In' or 'NotIn'";
            causes.push(Cause::required(values_path.as_str(), why));
        }
        "Exists" | "DoesNotExist" if !values.is_empty() => {
            let why = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
            causes.push(Cause::forbidden(values_path.as_str(), why));
        }
        _ => {}
    }
    if of_labels {
        checks::add(causes, &key_path, key, qualified_name_problems(key));
        for (at, value) in values.iter().enumerate() {
            checks::add(causes, &format!("{values_path}[{at}]"), value, label_value_problems(value));
        }
    }
}

fn decide(authorizer: &Authorizer, user: &UserInfo, attributes: &Attributes, object: Value) -> Value {
    let decision = authorizer.authorize(user, attributes);
    let mut status = json!({"allowed": decision.allowed});
    if !decision.reason.is_empty() {
        status["reason"] = decision.reason.into();
    }
    answered(object, status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requirements_of_selectors_are_checked() {
        let causes = |field: &str, one: Value| {
            let mut out = Vec::new();
            selector(&mut out, &json!({"requirements": [one]}), field);
            out.iter().map(Cause::to_string).collect::<Vec<_>>()
        };
        const NEEDED: &str = "Required value: must be specified when `operator` is 'In' or 'NotIn'";
        const ALONE: &str = "Forbidden: may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
        for (one, of_fields, of_labels) in [
            (json!({"key": "a", "operator": "In", "values": ["b"]}), vec![], vec![]),
            (json!({"key": "a", "operator": "Newer", "values": ["b"]}), vec![], vec![]),
            (
                json!({"key": "a", "operator": "NotIn"}),
                vec![format!("values: {NEEDED}")],
                vec![format!("values: {NEEDED}")],
            ),
            (
                json!({"key": "a", "operator": "Exists", "values": ["b"]}),
                vec![format!("values: {ALONE}")],
                vec![format!("values: {ALONE}")],
            ),
        ] {
            let at = |field: &str, said: Vec<String>| -> Vec<String> {
                said.iter().map(|said| format!("{field}.requirements[0].{said}")).collect()
            };
            assert_eq!(causes("fieldSelector", one.clone()), at("fieldSelector", of_fields));
            assert_eq!(causes("labelSelector", one), at("labelSelector", of_labels));
        }
        let nameless = json!({"operator": "Exists"});
        let said = ["fieldSelector.requirements[0].key: Required value: must be specified"];
        assert_eq!(causes("fieldSelector", nameless.clone()), said);
        let said = &causes("labelSelector", nameless)[0];
        assert!(said.starts_with(
            "labelSelector.requirements[0].key: Invalid value: \"\": name part must be non-empty"
        ));
    }
}
