//! Virtual resources: questions that are posted like objects, answered and never stored. Who am I, may I, whose token is this.
//!
//! Reads:  roles and bindings (through authz/), ServiceAccounts and what tokens are bound to. Writes: nothing.
//! Source: https://kubernetes.io/docs/reference/kubernetes-api/authorization-resources/ and
//!         https://kubernetes.io/docs/reference/kubernetes-api/authentication-resources/

mod access;
mod identity;
#[cfg(test)]
mod tests;
mod token_request;

pub use identity::user_info;

use http::{HeaderValue, header};
use serde_json::Value;

use crate::{
    status::Status,
    types::{Response, State, UserInfo, json_response},
    verbs::Target,
};

const AUTHENTICATION: &str = "authentication.k8s.io";
const AUTHORIZATION: &str = "authorization.k8s.io";

/// Whether all resources of the group are virtual.
pub fn is(group: &str) -> bool {
    matches!(group, AUTHENTICATION | AUTHORIZATION)
}

/// The answer to an object that has the shape of its kind. TokenRequest is the resource `serviceaccounts/token`.
pub async fn create(
    state: &State,
    user: &UserInfo,
    target: &Target,
    resource: &str,
    object: Value,
) -> Result<Value, Status> {
    let authorizer = &state.authorizer;
    match resource {
        "selfsubjectreviews" => Ok(identity::myself(user)),
        "tokenreviews" => identity::token(state, object).await,
        "subjectaccessreviews" => access::subject(authorizer, object),
        "localsubjectaccessreviews" => access::local(authorizer, &target.namespace, object),
        "selfsubjectaccessreviews" => access::myself(authorizer, user, object),
        "selfsubjectrulesreviews" => access::rules(authorizer, user, object),
        "serviceaccounts/token" => token_request::create(state, &target.namespace, &target.name, object),
        _ => Err(Status::unknown_path()),
    }
}

/// `/.well-known/openid-configuration` and `/openid/v1/jwks`.
pub fn openid(state: &State, path: &str) -> Option<Response> {
    let (document, content_type) = match path {
        "/.well-known/openid-configuration" => {
            let address = std::net::SocketAddr::new(state.config.node_ip, state.config.bind.port());
            (state.tokens.openid_configuration(&format!("https://{address}")), "application/json")
        }
        "/openid/v1/jwks" => (state.tokens.jwks(), "application/jwk-set+json"),
        _ => return None,
    };
    let mut response = json_response(http::StatusCode::OK, &document);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=3600"));
    Some(response)
}

/// The object with its `status`. Whatever status the request had is not looked at.
fn answered(mut object: Value, status: Value) -> Value {
    if object["metadata"].is_null() {
        object["metadata"] = serde_json::json!({});
    }
    object["status"] = status;
    object
}

fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object[field].as_str().unwrap_or_default()
}

fn texts(object: &Value, field: &str) -> Vec<String> {
    object[field].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}
