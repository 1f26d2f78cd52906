//! One line of the log: an Event of `audit.k8s.io/v1`, written from what is borrowed of a request.
//!
//! Source: https://kubernetes.io/docs/reference/config-api/apiserver-audit.v1/#audit-k8s-io-v1-Event

use std::{borrow::Cow, collections::BTreeMap};

use jiff::Timestamp;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Value, json};

use super::{Level, Stage};
use crate::{request_info::RequestInfo, types::UserInfo};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Event<'a> {
    pub kind: &'static str,
    pub api_version: &'static str,
    pub level: Level,
    #[serde(rename = "auditID")]
    pub audit_id: &'a str,
    pub stage: Stage,
    #[serde(rename = "requestURI")]
    pub request_uri: &'a str,
    pub verb: &'a str,
    pub user: User<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub impersonated_user: Option<User<'a>>,
    #[serde(skip_serializing_if = "AuthenticationMetadata::is_empty")]
    pub authentication_metadata: AuthenticationMetadata<'a>,
    #[serde(rename = "sourceIPs", skip_serializing_if = "<[_]>::is_empty")]
    pub source_ips: &'a [String],
    #[serde(skip_serializing_if = "str::is_empty")]
    pub user_agent: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object_ref: Option<ObjectRef<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_status: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_object: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_object: Option<&'a Value>,
    #[serde(serialize_with = "microseconds")]
    pub request_received_timestamp: Timestamp,
    #[serde(serialize_with = "microseconds")]
    pub stage_timestamp: Timestamp,
    #[serde(skip_serializing_if = "<[_]>::is_empty", serialize_with = "as_map")]
    pub annotations: &'a [(Cow<'static, str>, String)],
}

#[derive(Serialize)]
pub struct User<'a> {
    username: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    uid: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    groups: &'a [String],
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    extra: &'a BTreeMap<String, Vec<String>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AuthenticationMetadata<'a> {
    /// `impersonate:MODE`
    pub impersonation_constraint: &'a str,
}

impl AuthenticationMetadata<'_> {
    fn is_empty(&self) -> bool {
        self.impersonation_constraint.is_empty()
    }
}

impl<'a> User<'a> {
    pub fn of(user: &'a UserInfo) -> User<'a> {
        User { username: &user.name, uid: &user.uid, groups: &user.groups, extra: &user.extra }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectRef<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    resource: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    namespace: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    uid: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    api_group: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    api_version: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    resource_version: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    subresource: &'a str,
}

impl<'a> ObjectRef<'a> {
    /// The name as the path has it, else as the request's object, else as the answer's.
    pub fn new(info: &'a RequestInfo, asked: &'a Named, answered: &'a Named) -> ObjectRef<'a> {
        let names = [info.name.as_str(), &asked.metadata.name, &answered.metadata.name];
        ObjectRef {
            resource: &info.resource,
            namespace: &info.namespace,
            name: names.into_iter().find(|name| !name.is_empty()).unwrap_or_default(),
            uid: &asked.metadata.uid,
            api_group: &info.group,
            api_version: &info.version,
            resource_version: &asked.metadata.resource_version,
            subresource: &info.subresource,
        }
    }
}

/// What an answer says of itself: a failure's `Status`, else its code alone.
pub fn response_status(failure: Option<Value>, code: u16) -> Value {
    let Some(mut status) = failure else { return json!({"metadata": {}, "code": code}) };
    if let Some(fields) = status.as_object_mut() {
        fields.shift_remove("kind");
        fields.shift_remove("apiVersion");
    }
    status
}

/// The part of an object that says which it is.
#[derive(Default, Deserialize)]
pub struct Named {
    #[serde(default)]
    metadata: NamedMeta,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct NamedMeta {
    name: String,
    uid: String,
    resource_version: String,
}

fn microseconds<S: Serializer>(time: &Timestamp, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&format_args!("{time:.6}"))
}

fn as_map<S: Serializer>(pairs: &[(Cow<'static, str>, String)], to: S) -> Result<S::Ok, S::Error> {
    to.collect_map(pairs.iter().map(|(key, value)| (key, value)))
}
