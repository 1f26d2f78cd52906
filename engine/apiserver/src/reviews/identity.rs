//! SelfSubjectReview (`kubectl auth whoami`) and TokenReview.

use serde_json::{Map, Value, json};

use super::{answered, text, texts};
use crate::{
    authn, object,
    status::Status,
    types::{State, UserInfo},
};

/// Nothing of what was posted: there is nothing to ask.
pub fn myself(user: &UserInfo) -> Value {
    json!({
        "kind": "SelfSubjectReview",
        "apiVersion": "authentication.k8s.io/v1",
        "metadata": {"creationTimestamp": object::now()},
        "status": {"userInfo": user_info(user)},
    })
}

pub async fn token(state: &State, object: Value) -> Result<Value, Status> {
    let spec = &object["spec"];
    let token = text(spec, "token");
    if token.is_empty() {
        return Err(Status::bad_request("token is required for TokenReview in authentication"));
    }
    let status = match authn::review(state, token, &texts(spec, "audiences")).await {
        Ok(reviewed) => {
            json!({"authenticated": true, "user": user_info(&reviewed.user), "audiences": reviewed.audiences})
        }
        Err(error) => json!({"user": {}, "error": error.to_string()}),
    };
    Ok(answered(object, status))
}

/// `authentication.k8s.io` UserInfo.
pub fn user_info(user: &UserInfo) -> Value {
    let mut info = Map::new();
    info.insert("username".into(), user.name.as_str().into());
    if !user.uid.is_empty() {
        info.insert("uid".into(), user.uid.as_str().into());
    }
    if !user.groups.is_empty() {
        info.insert("groups".into(), user.groups.clone().into());
    }
    if !user.extra.is_empty() {
        info.insert("extra".into(), json!(user.extra));
    }
    Value::Object(info)
}
