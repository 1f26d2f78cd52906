//! AdmissionReview of `admission.k8s.io/v1` and `v1beta1`: the question, and what counts as an answer. The older version
//! is as forgiving as it always was: neither its kind nor its uid nor the type of a patch is looked at.
//!
//! Source: https://github.com/kubernetes/apiserver/blob/master/pkg/admission/plugin/webhook/request/admissionreview.go and
//! https://github.com/kubernetes/apiserver/blob/master/pkg/admission/plugin/webhook/errors/statuserror.go

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::{
    admission::{Request, attributes},
    registry::Served,
    status::{Cause, Status, StatusDetails, quote},
};

pub fn question(
    version: &str,
    request: &Request<'_>,
    matched: &Served,
    uid: &str,
    object: Option<&Value>,
    old: Option<&Value>,
) -> Value {
    let mut fields = serde_json::Map::new();
    fields.insert("uid".into(), uid.into());
    fields.extend(attributes::describe(request, matched, object));
    fields.insert("object".into(), object.cloned().unwrap_or_default());
    fields.insert("oldObject".into(), old.cloned().unwrap_or_default());
    json!({"kind": "AdmissionReview", "apiVersion": format!("admission.k8s.io/{version}"), "request": fields})
}

/// A sound answer.
#[derive(Debug)]
pub struct Answer {
    pub allowed: bool,
    /// `status` of the response; null when there is none.
    pub result: Value,
    /// A JSON patch: what it decodes to.
    pub patch: Option<Vec<u8>>,
    pub warnings: Vec<String>,
    pub audit_annotations: Vec<(String, String)>,
}

/// What is wrong with an answer is said as upstream says it.
pub fn answer(review: &Value, version: &str, uid: &str, mutating: bool) -> Result<Answer, String> {
    let response = &review["response"];
    if !response.is_object() {
        return Err("webhook response was absent".into());
    }
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut encoded = response["patch"].as_str().filter(|patch| !patch.is_empty());
    if version == "v1" {
        check(review, uid, encoded.is_some(), mutating)?;
    } else if !mutating {
        encoded = None;
    }
    let patch = encoded.map(|encoded| STANDARD.decode(encoded)).transpose();
    let annotations = response["auditAnnotations"].as_object().into_iter().flatten();
    Ok(Answer {
        allowed: response["allowed"] == true,
        result: response["status"].clone(),
        patch: patch.map_err(|error| format!("illegal base64 data in response.patch: {error}"))?,
        warnings: response["warnings"].as_array().into_iter().flatten().map(text).collect(),
        audit_annotations: annotations.map(|(key, value)| (key.clone(), text(value))).collect(),
    })
}

/// What `v1` insists on.
fn check(review: &Value, uid: &str, has_patch: bool, mutating: bool) -> Result<(), String> {
    let response = &review["response"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let own = text(&response["uid"]);
    if own != uid {
        return Err(format!("expected response.uid={}, got {}", quote(uid), quote(&own)));
    }
    let (version, kind) = (text(&review["apiVersion"]), text(&review["kind"]));
    if version != "admission.k8s.io/v1" || kind != "AdmissionReview" {
        let version = if version.is_empty() { "/" } else { &version };
        return Err(format!(
            "expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview, got {version}, Kind={kind}"
        ));
    }
    match (mutating, has_patch, response["patchType"].as_str()) {
        (true, true, None) => Err("webhook returned response.patch but not response.patchType".into()),
        (true, false, Some(_)) => Err("webhook returned response.patchType but not response.patch".into()),
        (true, true, Some("")) => Err("webhook returned invalid response.patchType of \"\"".into()),
        (true, true, Some(other)) if other != "JSONPatch" => {
            Err(format!("unsupported patch type {}", quote(other)))
        }
        (false, true, _) => Err("validating webhook may not return response.patch".into()),
        (false, false, Some(_)) => Err("validating webhook may not return response.patchType".into()),
        _ => Ok(()),
    }
}

/// How the client learns of a refusal.
pub fn denied(webhook: &str, result: &Value) -> Status {
    let text = |field: &str| result[field].as_str().unwrap_or_default().to_owned();
    let head = format!("admission webhook {} denied the request", quote(webhook));
    let (message, reason) = (text("message"), text("reason"));
    let message = match (message.as_str(), reason.as_str()) {
        ("", "") => format!("{head} without explanation"),
        ("", reason) => format!("{head}: {reason}"),
        (message, _) => format!("{head}: {message}"),
    };
    let code = result["code"].as_u64().and_then(|code| u16::try_from(code).ok()).filter(|code| *code >= 400);
    let mut status = Status::new(code.unwrap_or(400), "", message);
    status.reason = reason.into();
    let details = &result["details"];
    if details.is_object() {
        let text = |field: &str| details[field].as_str().unwrap_or_default().to_owned();
        status = status.with_details(StatusDetails {
            name: text("name"),
            group: text("group"),
            kind: text("kind"),
            uid: text("uid"),
            causes: details["causes"].as_array().into_iter().flatten().map(cause).collect(),
            retry_after_seconds: details["retryAfterSeconds"]
                .as_u64()
                .and_then(|seconds| seconds.try_into().ok())
                .unwrap_or_default(),
            ..StatusDetails::default()
        });
    }
    status
}

fn cause(cause: &Value) -> Cause {
    let text = |field: &str| cause[field].as_str().unwrap_or_default().to_owned();
    Cause { reason: text("reason").into(), message: text("message"), field: text("field") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_say_who_refused_and_why() {
        for (result, code, message) in [
            (Value::Null, 400, "admission webhook \"a.b.c\" denied the request without explanation"),
            (
                json!({"message": "no", "code": 403, "reason": "Forbidden"}),
                403,
                "admission webhook \"a.b.c\" denied the request: no",
            ),
            (
                json!({"reason": "odd", "code": 200}),
                400,
                "admission webhook \"a.b.c\" denied the request: odd",
            ),
        ] {
            let status = denied("a.b.c", &result);
            assert_eq!((status.code, status.message.as_str()), (code, message));
        }
    }

    #[test]
    fn an_answer_that_is_none_is_told_from_one() {
        let good = json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1",
            "response": {"uid": "u", "allowed": true, "warnings": ["w"], "patch": "W10=", "patchType": "JSONPatch"}});
        let with = |patch: Value| {
            let mut own = good.clone();
            coracle_schema::json_merge_patch(&mut own, &patch);
            own
        };
        let read = answer(&good, "v1", "u", true).expect("sound");
        assert_eq!((read.allowed, read.patch.as_deref(), read.warnings.len()), (true, Some(&b"[]"[..]), 1));
        for (patch, mutating, why) in [
            (json!({"response": null}), true, "webhook response was absent"),
            (json!({"response": {"uid": "x"}}), true, "expected response.uid=\"u\", got \"x\""),
            (
                json!({"apiVersion": "admission.k8s.io/v1beta1"}),
                true,
                "expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview, got admission.k8s.io/v1beta1, Kind=AdmissionReview",
            ),
            (
                json!({"response": {"patchType": null}}),
                true,
                "webhook returned response.patch but not response.patchType",
            ),
            (json!({"response": {"patchType": "Merge"}}), true, "unsupported patch type \"Merge\""),
            (json!({}), false, "validating webhook may not return response.patch"),
        ] {
            assert_eq!(answer(&with(patch.clone()), "v1", "u", mutating).expect_err("refused"), why);
            if patch["response"] != Value::Null || patch == json!({}) {
                assert!(answer(&with(patch), "v1beta1", "u", mutating).is_ok());
            }
        }
    }
}
