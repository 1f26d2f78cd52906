//! One line of the log, put together on the writer's thread.
//!
//! Source: https://kubernetes.io/docs/reference/config-api/apiserver-audit.v1/#audit-k8s-io-v1-Event

use std::{borrow::Cow, sync::Arc};

use bytes::Bytes;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Level, Stage};
use crate::{request_info::RequestInfo, reviews::user_info, types::UserInfo};

/// What all stages of a request share.
pub struct Common {
    pub level: Level,
    pub id: String,
    pub uri: String,
    pub info: RequestInfo,
    pub user: UserInfo,
    pub source_ips: Vec<String>,
    pub user_agent: String,
    pub received: Timestamp,
}

#[derive(Clone)]
pub enum Object {
    None,
    Parsed(Value),
    /// Encoded; only its name is looked at.
    NameOnly(Bytes),
}

pub struct Entry {
    pub common: Arc<Common>,
    pub stage: Stage,
    pub impersonated: Option<Arc<UserInfo>>,
    pub code: u16,
    /// Of a request that failed.
    pub status: Option<Value>,
    pub request_object: Object,
    pub response_object: Object,
    pub annotations: Vec<(Cow<'static, str>, String)>,
    pub at: Timestamp,
}

impl Entry {
    pub fn line(self) -> String {
        let common = &*self.common;
        let mut event = Map::new();
        let mut put = |key: &str, value: Value| {
            event.insert(key.into(), value);
        };
        put("kind", "Event".into());
        put("apiVersion", "audit.k8s.io/v1".into());
        put("level", format!("{:?}", common.level).into());
        put("auditID", common.id.as_str().into());
        put("stage", format!("{:?}", self.stage).into());
        put("requestURI", common.uri.as_str().into());
        put("verb", common.info.verb.as_str().into());
        put("user", user_info(&common.user));
        if let Some(user) = &self.impersonated {
            put("impersonatedUser", user_info(user));
        }
        if !common.source_ips.is_empty() {
            put("sourceIPs", json!(common.source_ips));
        }
        if !common.user_agent.is_empty() {
            put("userAgent", common.user_agent.as_str().into());
        }
        if common.info.is_resource {
            put("objectRef", self.object_ref());
        }
        if self.stage != Stage::RequestReceived {
            put("responseStatus", self.response_status());
        }
        if let Object::Parsed(object) = self.request_object {
            put("requestObject", object);
        }
        if let Object::Parsed(object) = self.response_object {
            put("responseObject", object);
        }
        put("requestReceivedTimestamp", format!("{:.6}", common.received).into());
        put("stageTimestamp", format!("{:.6}", self.at).into());
        if !self.annotations.is_empty() {
            let annotations: Map<String, Value> =
                self.annotations.into_iter().map(|(key, value)| (key.into_owned(), value.into())).collect();
            put("annotations", annotations.into());
        }
        let mut line = Value::Object(event).to_string();
        line.push('\n');
        line
    }

    fn object_ref(&self) -> Value {
        let info = &self.common.info;
        let answered = match &self.response_object {
            Object::None => Named::default(),
            Object::Parsed(value) => Named::deserialize(value).unwrap_or_default(),
            Object::NameOnly(bytes) => serde_json::from_slice(bytes).unwrap_or_default(),
        };
        let asked = match &self.request_object {
            Object::Parsed(value) => Named::deserialize(value).unwrap_or_default(),
            _ => Named::default(),
        };
        let first = |texts: [&str; 3]| texts.into_iter().find(|text| !text.is_empty()).map(str::to_owned);
        let mut object = Map::new();
        for (key, text) in [
            ("resource", Some(info.resource.clone())),
            ("namespace", Some(info.namespace.clone())),
            ("name", first([&info.name, &asked.metadata.name, &answered.metadata.name])),
            ("uid", first([&asked.metadata.uid, "", ""])),
            ("apiGroup", Some(info.group.clone())),
            ("apiVersion", Some(info.version.clone())),
            ("resourceVersion", first([&asked.metadata.resource_version, "", ""])),
            ("subresource", Some(info.subresource.clone())),
        ] {
            if let Some(text) = text.filter(|text| !text.is_empty()) {
                object.insert(key.into(), text.into());
            }
        }
        Value::Object(object)
    }

    fn response_status(&self) -> Value {
        match &self.status {
            Some(status) => {
                let mut status = status.clone();
                if let Some(fields) = status.as_object_mut() {
                    fields.shift_remove("kind");
                    fields.shift_remove("apiVersion");
                }
                status
            }
            None => json!({"metadata": {}, "code": self.code}),
        }
    }
}

/// The part of an object that says which it is.
#[derive(Default, Deserialize)]
struct Named {
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
