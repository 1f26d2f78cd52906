//! The one error type of the API: `Status` as metav1 defines it, with the stock server's reasons, codes and texts.
//!
//! Source: https://github.com/kubernetes/apimachinery/blob/master/pkg/api/errors/errors.go and
//! https://github.com/kubernetes/apimachinery/blob/master/pkg/util/validation/field/errors.go

use std::{borrow::Cow, fmt::Display};

use http::{HeaderValue, StatusCode, header};
use serde_json::{Map, Value, json};

use crate::{
    http::resource,
    negotiate::Encoding,
    types::{Response, json_response},
};

#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct Status {
    pub code: u16,
    pub reason: Cow<'static, str>,
    pub message: String,
    pub details: Option<Box<StatusDetails>>,
    /// Texts for `Warning` headers: what was said before the request was refused.
    pub warnings: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct StatusDetails {
    pub name: String,
    pub group: String,
    /// A kind for `Invalid`, a resource (plural) for most others, as the stock server has it.
    pub kind: String,
    pub uid: String,
    pub causes: Vec<Cause>,
    pub retry_after_seconds: u32,
    /// Of an expired list: how to go on without exactness. Shown in `metadata.continue`.
    pub continue_token: String,
}

/// One thing that is wrong with one field.
#[derive(Clone, Debug, PartialEq)]
pub struct Cause {
    pub reason: Cow<'static, str>,
    pub message: String,
    pub field: String,
}

/// A group and a plural (or a kind); displayed as `deployments.apps`, or `pods` for the core group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupResource<'a> {
    pub group: &'a str,
    pub resource: &'a str,
}

impl<'a> GroupResource<'a> {
    pub fn new(group: &'a str, resource: &'a str) -> GroupResource<'a> {
        GroupResource { group, resource }
    }
}

impl<'a> From<&'a coracle_schema::ApiResource> for GroupResource<'a> {
    fn from(resource: &'a coracle_schema::ApiResource) -> GroupResource<'a> {
        GroupResource { group: &resource.gvk.group, resource: &resource.plural }
    }
}

impl Display for GroupResource<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.group.is_empty() {
            f.write_str(self.resource)
        } else {
            write!(f, "{}.{}", self.resource, self.group)
        }
    }
}

fn details(of: GroupResource<'_>, name: &str) -> Option<Box<StatusDetails>> {
    Some(Box::new(StatusDetails {
        name: name.into(),
        group: of.group.into(),
        kind: of.resource.into(),
        ..StatusDetails::default()
    }))
}

impl Status {
    pub fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Status {
        Status { code, reason: reason.into(), message: message.into(), details: None, warnings: Vec::new() }
    }

    pub fn with_details(mut self, details: StatusDetails) -> Status {
        self.details = Some(Box::new(details));
        self
    }

    pub fn with_warnings(self, warnings: Vec<String>) -> Status {
        Status { warnings, ..self }
    }

    pub fn with_cause(mut self, cause: Cause) -> Status {
        self.details.get_or_insert_default().causes.push(cause);
        self
    }

    pub fn not_found<'a>(of: impl Into<GroupResource<'a>>, name: &str) -> Status {
        let of = of.into();
        Status {
            details: details(of, name),
            ..Status::new(404, "NotFound", format!("{of} {} not found", quote(name)))
        }
    }

    /// A path or resource that this server does not serve.
    pub fn unknown_path() -> Status {
        Status::new(404, "NotFound", "the server could not find the requested resource")
            .with_details(StatusDetails::default())
    }

    /// Whether it says that nothing is served there, rather than that an object is absent.
    pub fn is_unknown_path(&self) -> bool {
        self.code == 404 && self.details.as_deref() == Some(&StatusDetails::default())
    }

    pub fn already_exists<'a>(of: impl Into<GroupResource<'a>>, name: &str) -> Status {
        let of = of.into();
        let message = format!("{of} {} already exists", quote(name));
        Status { details: details(of, name), ..Status::new(409, "AlreadyExists", message) }
    }

    /// `generateName` met only names that are taken.
    pub fn generate_name_conflict<'a>(of: impl Into<GroupResource<'a>>, name: &str) -> Status {
        let of = of.into();
        let message = format!(
            "{of} {} already exists, the server was not able to generate a unique name for the object",
            quote(name)
        );
        Status { details: details(of, name), ..Status::new(409, "AlreadyExists", message) }
    }

    pub fn conflict<'a>(of: impl Into<GroupResource<'a>>, name: &str, why: impl Display) -> Status {
        let of = of.into();
        let message = format!("Operation cannot be fulfilled on {of} {}: {why}", quote(name));
        Status { details: details(of, name), ..Status::new(409, "Conflict", message) }
    }

    /// The resourceVersion of an update is not the current one.
    pub fn stale<'a>(of: impl Into<GroupResource<'a>>, name: &str) -> Status {
        Status::conflict(
            of,
            name,
            "the object has been modified; please apply your changes to the latest version and try again",
        )
    }

    pub fn forbidden<'a>(of: impl Into<GroupResource<'a>>, name: &str, why: impl Display) -> Status {
        let of = of.into();
        let message = match (of.resource, name) {
            ("", _) => format!("forbidden: {why}"),
            (_, "") => format!("{of} is forbidden: {why}"),
            _ => format!("{of} {} is forbidden: {why}", quote(name)),
        };
        Status { details: details(of, name), ..Status::new(403, "Forbidden", message) }
    }

    /// `group_kind` carries the kind in `resource`.
    pub fn invalid(group_kind: GroupResource<'_>, name: &str, causes: Vec<Cause>) -> Status {
        let mut texts: Vec<String> = Vec::new();
        for cause in &causes {
            let text = cause.to_string();
            if !texts.contains(&text) {
                texts.push(text);
            }
        }
        let list = if texts.len() == 1 { texts.remove(0) } else { format!("[{}]", texts.join(", ")) };
        let message = format!("{group_kind} {} is invalid: {list}", quote(name));
        let mut details = details(group_kind, name);
        if let Some(details) = &mut details {
            details.causes = causes;
        }
        Status { details, ..Status::new(422, "Invalid", message) }
    }

    pub fn bad_request(message: impl Into<String>) -> Status {
        Status::new(400, "BadRequest", message)
    }

    pub fn unauthorized() -> Status {
        Status::new(401, "Unauthorized", "Unauthorized")
    }

    pub fn method_not_supported<'a>(of: impl Into<GroupResource<'a>>, action: &str) -> Status {
        let of = of.into();
        let message = format!("{action} is not supported on resources of kind \"{of}\"");
        Status { details: details(of, ""), ..Status::new(405, "MethodNotAllowed", message) }
    }

    /// A method that no route takes.
    pub fn method_not_allowed() -> Status {
        Status::new(
            405,
            "MethodNotAllowed",
            "the server does not allow this method on the requested resource",
        )
        .with_details(StatusDetails::default())
    }

    /// 410, reason `Expired`: a resourceVersion or continue token that is too old.
    pub fn expired(message: impl Into<String>) -> Status {
        Status::new(410, "Expired", message)
    }

    pub fn gone(message: impl Into<String>) -> Status {
        Status::new(410, "Gone", message)
    }

    pub fn internal(cause: impl Display) -> Status {
        let message = cause.to_string();
        Status::new(500, "InternalError", format!("Internal error occurred: {message}")).with_cause(Cause {
            reason: "".into(),
            message,
            field: String::new(),
        })
    }

    /// `supported` are the media types that the request could have used.
    pub fn unsupported_media_type(supported: &[&str]) -> Status {
        let message = format!(
            "the body of the request was in an unknown format - accepted media types include: {}",
            supported.join(", ")
        );
        Status::new(415, "UnsupportedMediaType", message)
    }

    pub fn not_acceptable(supported: &[&str]) -> Status {
        let message = format!("only the following media types are accepted: {}", supported.join(", "));
        Status::new(406, "NotAcceptable", message)
    }

    pub fn too_large(limit_bytes: usize) -> Status {
        let message = format!("Request entity too large: limit is {limit_bytes}");
        Status::new(413, "RequestEntityTooLarge", message)
    }

    pub fn too_many_requests(message: impl Into<String>, retry_after_seconds: u32) -> Status {
        Status::new(429, "TooManyRequests", message)
            .with_details(StatusDetails { retry_after_seconds, ..StatusDetails::default() })
    }

    pub fn timeout(message: impl Into<String>, retry_after_seconds: u32) -> Status {
        Status::new(504, "Timeout", format!("Timeout: {}", message.into()))
            .with_details(StatusDetails { retry_after_seconds, ..StatusDetails::default() })
    }

    pub fn service_unavailable(message: impl Into<String>) -> Status {
        Status::new(503, "ServiceUnavailable", message)
    }

    pub fn to_json(&self) -> Value {
        let mut status = json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
        });
        if self.reason.is_empty() {
            status.as_object_mut().map(|fields| fields.shift_remove("reason"));
        }
        if let Some(details) = &self.details {
            if details.continue_token.is_empty() {
                status["details"] = details.to_json();
            } else {
                status["metadata"]["continue"] = details.continue_token.as_str().into();
            }
        }
        status["code"] = self.code.into();
        status
    }

    pub fn into_response(self) -> Response {
        self.into_response_in(Encoding::Json)
    }

    pub fn into_response_in(self, encoding: Encoding) -> Response {
        let code = StatusCode::from_u16(self.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let status = self.to_json();
        let mut response =
            resource::encode(encoding, code, &status).unwrap_or_else(|_| json_response(code, &status));
        if code == StatusCode::UNAUTHORIZED {
            // Stock servers name no scheme here unless basic auth exists; clients do not need one.
            response.headers_mut().remove(header::WWW_AUTHENTICATE);
        }
        resource::warn(&mut response, &self.warnings);
        if let Some(seconds) =
            self.details.map(|details| details.retry_after_seconds).filter(|seconds| *seconds > 0)
        {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl StatusDetails {
    fn to_json(&self) -> Value {
        let mut fields = Map::new();
        for (key, text) in
            [("name", &self.name), ("group", &self.group), ("kind", &self.kind), ("uid", &self.uid)]
        {
            if !text.is_empty() {
                fields.insert(key.into(), text.as_str().into());
            }
        }
        if !self.causes.is_empty() {
            fields.insert("causes".into(), self.causes.iter().map(Cause::to_json).collect());
        }
        if self.retry_after_seconds > 0 {
            fields.insert("retryAfterSeconds".into(), self.retry_after_seconds.into());
        }
        Value::Object(fields)
    }
}

impl Cause {
    pub fn new(reason: &'static str, field: impl Into<String>, message: impl Into<String>) -> Cause {
        Cause { reason: reason.into(), field: field.into(), message: message.into() }
    }

    /// `Required value` or `Required value: detail`.
    pub fn required(field: impl Into<String>, detail: &str) -> Cause {
        Cause::new("FieldValueRequired", field, with_detail("Required value", detail))
    }

    /// `Invalid value: "x": detail`.
    pub fn invalid(field: impl Into<String>, value: impl Into<Value>, detail: &str) -> Cause {
        let head = format!("Invalid value: {}", show(&value.into()));
        Cause::new("FieldValueInvalid", field, with_detail(&head, detail))
    }

    /// `Invalid value: detail`, where a stock server leaves the value out.
    pub fn invalid_unshown(field: impl Into<String>, detail: &str) -> Cause {
        Cause::new("FieldValueInvalid", field, with_detail("Invalid value", detail))
    }

    /// `Unsupported value: "x": supported values: "a", "b"`.
    pub fn not_supported(field: impl Into<String>, value: impl Into<Value>, supported: &[&str]) -> Cause {
        let list: Vec<String> = supported.iter().map(|value| quote(value)).collect();
        let head = format!("Unsupported value: {}", show(&value.into()));
        let detail =
            if list.is_empty() { String::new() } else { format!("supported values: {}", list.join(", ")) };
        Cause::new("FieldValueNotSupported", field, with_detail(&head, &detail))
    }

    pub fn forbidden(field: impl Into<String>, detail: &str) -> Cause {
        Cause::new("FieldValueForbidden", field, with_detail("Forbidden", detail))
    }

    pub fn duplicate(field: impl Into<String>, value: impl Into<Value>) -> Cause {
        Cause::new("FieldValueDuplicate", field, format!("Duplicate value: {}", show(&value.into())))
    }

    pub fn not_found(field: impl Into<String>, value: impl Into<Value>) -> Cause {
        Cause::new("FieldValueNotFound", field, format!("Not found: {}", show(&value.into())))
    }

    pub fn too_long(field: impl Into<String>, max_bytes: usize) -> Cause {
        let s = if max_bytes == 1 { "" } else { "s" };
        Cause::new("FieldValueTooLong", field, format!("Too long: may not be more than {max_bytes} byte{s}"))
    }

    pub fn too_many(field: impl Into<String>, count: usize, max: usize) -> Cause {
        let s = if max == 1 { "" } else { "s" };
        Cause::new("FieldValueTooMany", field, format!("Too many: {count}: must have at most {max} item{s}"))
    }

    fn to_json(&self) -> Value {
        let mut fields = Map::new();
        for (key, text) in [("reason", &*self.reason), ("message", &self.message), ("field", &self.field)] {
            if !text.is_empty() {
                fields.insert(key.into(), text.into());
            }
        }
        Value::Object(fields)
    }
}

impl Display for Cause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}

fn with_detail(head: &str, detail: &str) -> String {
    if detail.is_empty() { head.into() } else { format!("{head}: {detail}") }
}

/// Values in messages: strings as Go's `%q`, everything else as JSON.
fn show(value: &Value) -> String {
    match value {
        Value::String(text) => quote(text),
        other => other.to_string(),
    }
}

/// Go's `%q` for the strings that names and values are: quotes, backslashes and control characters escaped.
pub fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if (c as u32) < 0x20 || c as u32 == 0x7f => out.push_str(&format!("\\x{:02x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_those_of_the_stock_server() {
        let apps = GroupResource::new("apps", "deployments");
        let pods = GroupResource::new("", "pods");
        for (status, code, text) in [
            (Status::not_found(pods, "x"), 404, "pods \"x\" not found"),
            (Status::not_found(apps, "x"), 404, "deployments.apps \"x\" not found"),
            (Status::already_exists(apps, "x"), 409, "deployments.apps \"x\" already exists"),
            (
                Status::stale(apps, "x"),
                409,
                "Operation cannot be fulfilled on deployments.apps \"x\": the object has been modified; please apply your changes to the latest version and try again",
            ),
            (Status::forbidden(pods, "", "no"), 403, "pods is forbidden: no"),
            (Status::forbidden(pods, "x", "no"), 403, "pods \"x\" is forbidden: no"),
            (
                Status::invalid(
                    GroupResource::new("", "Pod"),
                    "x",
                    vec![Cause::required("spec.containers", "")],
                ),
                422,
                "Pod \"x\" is invalid: spec.containers: Required value",
            ),
            (
                Status::invalid(
                    GroupResource::new("apps", "Deployment"),
                    "x",
                    vec![
                        Cause::invalid("spec.replicas", -1, "must be greater than or equal to 0"),
                        Cause::duplicate("a", "b"),
                    ],
                ),
                422,
                "Deployment.apps \"x\" is invalid: [spec.replicas: Invalid value: -1: must be greater than or equal to 0, a: Duplicate value: \"b\"]",
            ),
        ] {
            assert_eq!((status.code, status.message.as_str()), (code, text));
        }
    }

    #[test]
    fn a_status_is_encoded_as_metav1_status() {
        assert_eq!(
            Status::not_found(GroupResource::new("apps", "deployments"), "x").to_json(),
            json!({
                "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                "message": "deployments.apps \"x\" not found", "reason": "NotFound",
                "details": {"name": "x", "group": "apps", "kind": "deployments"}, "code": 404
            })
        );
    }
}
