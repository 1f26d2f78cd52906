//! CertificateSigningRequests: the server notes who asks; approval and issuing are separate subresources.
//!
//! Kept true: a request never changes; approval and denial stay and exclude each other; a certificate is set once.
//! Source: https://github.com/kubernetes/kubernetes/blob/master/pkg/apis/certificates/validation/validation.go and
//!         https://github.com/kubernetes/kubernetes/blob/master/pkg/registry/certificates/certificates/strategy.go

use std::collections::BTreeSet;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::checks::{Causes, indexed, is_set, items, require, text};
use crate::{
    metadata::subdomain_problems,
    object,
    pki::request,
    status::{Cause, Status},
    strategy::{Context, NameRule, Strategy},
};

const LEGACY: &str = "kubernetes.io/legacy-unknown";
const DECISIONS: [&str; 2] = ["Approved", "Denied"];
const MIN_SECONDS: i64 = 600;

pub struct SigningRequest;

impl Strategy for SigningRequest {
    fn prepare_create(&self, context: Context<'_>, object: &mut Value) -> Result<(), Status> {
        let user = context.user;
        let spec = &mut object["spec"];
        for field in ["username", "uid", "groups", "extra"] {
            object::remove(spec, field);
        }
        spec["username"] = user.name.as_str().into();
        if !user.uid.is_empty() {
            spec["uid"] = user.uid.as_str().into();
        }
        if !user.groups.is_empty() {
            spec["groups"] = json!(user.groups);
        }
        if !user.extra.is_empty() {
            spec["extra"] = json!(user.extra);
        }
        Ok(())
    }

    fn prepare_update(&self, context: Context<'_>, object: &mut Value, old: &Value) -> Result<(), Status> {
        object["spec"] = old["spec"].clone();
        match context.subresource {
            "approval" => {
                let certificate = old["status"]["certificate"].clone();
                match certificate {
                    Value::Null => drop(object::remove(&mut object["status"], "certificate")),
                    certificate => object["status"]["certificate"] = certificate,
                }
                stamp(object, old);
            }
            "status" => stamp(object, old),
            _ => {}
        }
        Ok(())
    }

    fn validate(&self, _context: Context<'_>, object: &Value) -> Causes {
        let mut out = spec(&object["spec"]);
        out.extend(conditions(&object["status"]["conditions"]));
        out
    }

    fn validate_update(&self, context: Context<'_>, object: &Value, old: &Value) -> Causes {
        let mut out = conditions(&object["status"]["conditions"]);
        if matches!(context.subresource, "approval" | "status") {
            out.extend(changed_conditions(object, old, context.subresource));
            out.extend(changed_certificate(object, old));
        }
        out
    }

    fn name_rule(&self) -> NameRule {
        NameRule::PathSegment
    }
}

fn spec(spec: &Value) -> Causes {
    let mut out = Vec::new();
    let encoded = text(&spec["request"]);
    let problem = match STANDARD.decode(encoded) {
        Ok(bytes) => request::inspect(&bytes).err().map(|error| error.to_string()),
        Err(error) => Some(error.to_string()),
    };
    if let Some(problem) = problem {
        out.push(Cause::invalid("spec.request", encoded, &problem));
    }
    require(&mut out, &spec["usages"], "spec.usages");
    let mut seen = BTreeSet::new();
    for (at, usage) in indexed(&spec["usages"], "spec.usages") {
        if !request::USAGES.contains(&text(usage)) {
            out.push(Cause::not_supported(at.as_str(), usage.clone(), &request::USAGES));
        }
        if !seen.insert(text(usage)) {
            out.push(Cause::duplicate(at, usage.clone()));
        }
    }
    signer_name(&mut out, text(&spec["signerName"]));
    if let Some(seconds) = spec["expirationSeconds"].as_i64().filter(|seconds| *seconds < MIN_SECONDS) {
        let why = "may not specify a duration less than 600 seconds (10 minutes)";
        out.push(Cause::invalid("spec.expirationSeconds", seconds, why));
    }
    out
}

/// `example.com/signer`.
fn signer_name(out: &mut Causes, name: &str) {
    const FIELD: &str = "spec.signerName";
    if name == LEGACY {
        let why = "the legacy signerName is not allowed via this API version";
        return out.push(Cause::invalid(FIELD, name, why));
    }
    if name.is_empty() {
        return out.push(Cause::required(FIELD, ""));
    }
    let parts: Vec<&str> = name.split('/').collect();
    let [domain, path] = parts[..] else {
        let why = "must be a fully qualified domain and path of the form 'example.com/signer-name'";
        return out.push(Cause::invalid(FIELD, name, why));
    };
    for problem in subdomain_problems(domain) {
        out.push(Cause::invalid(FIELD, domain, problem.as_ref()));
    }
    if !domain.contains('.') {
        out.push(Cause::invalid(
            FIELD,
            domain,
            "should be a domain with at least two segments separated by dots",
        ));
    }
    for problem in subdomain_problems(path) {
        out.push(Cause::invalid(FIELD, path, problem.as_ref()));
    }
}

fn conditions(list: &Value) -> Causes {
    let mut out = Vec::new();
    let mut seen = BTreeSet::new();
    for (at, condition) in indexed(list, "status.conditions") {
        let kind = text(&condition["type"]);
        require(&mut out, &condition["type"], &format!("{at}.type"));
        let must_hold = matches!(kind, "Approved" | "Denied" | "Failed");
        let allowed: &[&str] = if must_hold { &["True"] } else { &["False", "True", "Unknown"] };
        let status = &condition["status"];
        if require(&mut out, status, &format!("{at}.status")) && !allowed.contains(&text(status)) {
            out.push(Cause::not_supported(format!("{at}.status"), status.clone(), allowed));
        }
        let other = DECISIONS.iter().find(|other| **other != kind && DECISIONS.contains(&kind));
        if other.is_some_and(|other| seen.contains(other)) {
            let why = "Approved and Denied conditions are mutually exclusive";
            out.push(Cause::invalid(format!("{at}.type"), kind, why));
        }
        if !seen.insert(kind) {
            out.push(Cause::duplicate(format!("{at}.type"), kind));
        }
    }
    out
}

fn count(object: &Value, kind: &str) -> usize {
    items(&object["status"]["conditions"]).iter().filter(|condition| condition["type"] == kind).count()
}

/// What is decided stays, and only `approval` decides.
fn changed_conditions(object: &Value, old: &Value, subresource: &str) -> Causes {
    let mut out = Vec::new();
    let mut refuse = |what: &str, kind: &str| {
        let why = format!("updates may not {what} a condition of type {kind:?}");
        out.push(Cause::forbidden("status.conditions", &why));
    };
    for kind in ["Approved", "Denied", "Failed"] {
        if count(object, kind) < count(old, kind) {
            refuse("remove", kind);
        }
    }
    for kind in DECISIONS.into_iter().filter(|_| subresource != "approval") {
        if count(object, kind) > count(old, kind) {
            refuse("add", kind);
        }
    }
    out
}

fn changed_certificate(object: &Value, old: &Value) -> Causes {
    const FIELD: &str = "status.certificate";
    let (new, old) = (&object["status"]["certificate"], &old["status"]["certificate"]);
    if new == old || (!is_set(new) && !is_set(old)) {
        return Vec::new();
    }
    if is_set(old) {
        return vec![Cause::forbidden(FIELD, "updates may not modify existing certificate content")];
    }
    let decoded = STANDARD.decode(text(new)).map_err(|error| error.to_string());
    let problem = decoded.map_or_else(Some, |bytes| request::certificate_problem(&bytes));
    problem.map(|why| Cause::invalid(FIELD, "<certificate data>", &why)).into_iter().collect()
}

/// Times of conditions that are new or changed.
fn stamp(object: &mut Value, old: &Value) {
    let now = object::now();
    let Some(list) = object["status"]["conditions"].as_array_mut() else { return };
    for condition in list {
        let before =
            items(&old["status"]["conditions"]).iter().find(|other| other["type"] == condition["type"]);
        if condition["lastUpdateTime"].is_null() {
            condition["lastUpdateTime"] = now.as_str().into();
        }
        if condition["lastTransitionTime"].is_null() {
            let kept = before.filter(|before| before["status"] == condition["status"]);
            let kept = kept.map(|before| before["lastTransitionTime"].clone()).filter(|time| !time.is_null());
            condition["lastTransitionTime"] = kept.unwrap_or_else(|| now.as_str().into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::checks::assert_cases, *};

    #[test]
    fn requests_get_the_stock_causes() {
        let (pem, _) = request::new_request("jane", &["devs"]).expect("request");
        let base = json!({"request": STANDARD.encode(pem), "usages": ["client auth"], "signerName": "a.b/c"});
        assert_cases(
            base,
            spec,
            &[
                (
                    json!({"request": "YQ=="}),
                    &["spec.request: Invalid value: \"YQ==\": PEM block type must be CERTIFICATE REQUEST"],
                ),
                (json!({"usages": []}), &["spec.usages: Required value"]),
                (
                    json!({"usages": ["signing", "signing"]}),
                    &["spec.usages[1]: Duplicate value: \"signing\""],
                ),
                (
                    json!({"signerName": "x"}),
                    &[
                        "spec.signerName: Invalid value: \"x\": must be a fully qualified domain and path of the form 'example.com/signer-name'",
                    ],
                ),
                (
                    json!({"signerName": LEGACY}),
                    &[
                        "spec.signerName: Invalid value: \"kubernetes.io/legacy-unknown\": the legacy signerName is not allowed via this API version",
                    ],
                ),
                (
                    json!({"expirationSeconds": 599}),
                    &[
                        "spec.expirationSeconds: Invalid value: 599: may not specify a duration less than 600 seconds (10 minutes)",
                    ],
                ),
            ],
        );
    }

    #[test]
    fn a_decision_stays_and_a_certificate_is_set_once() {
        let with = |kinds: &[&str]| {
            let list: Vec<Value> = kinds.iter().map(|kind| json!({"type": kind, "status": "True"})).collect();
            json!({"status": {"conditions": list}})
        };
        let texts = |causes: Causes| causes.iter().map(ToString::to_string).collect::<Vec<_>>();
        for (new, old, subresource, expected) in [
            (with(&["Approved"]), with(&[]), "approval", None),
            (
                with(&["Approved"]),
                with(&[]),
                "status",
                Some("status.conditions: Forbidden: updates may not add a condition of type \"Approved\""),
            ),
            (with(&["Failed"]), with(&[]), "status", None),
            (
                with(&[]),
                with(&["Failed"]),
                "status",
                Some("status.conditions: Forbidden: updates may not remove a condition of type \"Failed\""),
            ),
            (
                with(&[]),
                with(&["Denied"]),
                "approval",
                Some("status.conditions: Forbidden: updates may not remove a condition of type \"Denied\""),
            ),
        ] {
            let expected: Vec<String> = expected.into_iter().map(str::to_owned).collect();
            assert_eq!(texts(changed_conditions(&new, &old, subresource)), expected);
        }
        let both = conditions(&with(&["Approved", "Denied"])["status"]["conditions"]);
        assert_eq!(
            texts(both),
            [
                "status.conditions[1].type: Invalid value: \"Denied\": Approved and Denied conditions are mutually exclusive"
            ]
        );
        let (set, other) =
            (json!({"status": {"certificate": "YQ=="}}), json!({"status": {"certificate": "Yg=="}}));
        assert_eq!(
            texts(changed_certificate(&other, &set)),
            ["status.certificate: Forbidden: updates may not modify existing certificate content"]
        );
    }
}
