//! One request on its way through the server, as the audit log will tell of it.

use std::{borrow::Cow, net::SocketAddr, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, header};
use jiff::Timestamp;
use serde_json::Value;

use super::{
    Audit, Level, Stage,
    event::{Common, Entry, Object},
    policy::Decision,
};
use crate::{
    decode::{self, Format},
    request_info::RequestInfo,
    status::Status,
    types::UserInfo,
};

/// What the policy judges.
#[derive(Clone, Copy)]
pub struct Subject<'a> {
    /// None when authentication failed.
    pub user: Option<&'a UserInfo>,
    pub info: &'a RequestInfo,
    pub uri: &'a http::Uri,
    pub headers: &'a HeaderMap,
    pub peer: Option<SocketAddr>,
    pub id: &'a str,
    pub received: Timestamp,
}

pub struct Record {
    pub level: Level,
    omit_stages: Vec<Stage>,
    omit_managed_fields: bool,
    common: Arc<Common>,
    impersonated: Option<Arc<UserInfo>>,
    annotations: Vec<(Cow<'static, str>, String)>,
    request_object: Object,
}

impl Record {
    pub(super) fn new(subject: &Subject<'_>, decision: Decision) -> Record {
        let agent = subject.headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok());
        let common = Common {
            level: decision.level,
            id: subject.id.to_owned(),
            uri: subject.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned(),
            info: subject.info.clone(),
            user: subject.user.cloned().unwrap_or_default(),
            source_ips: source_ips(subject),
            user_agent: agent.unwrap_or_default().chars().take(1024).collect(),
            received: subject.received,
        };
        Record {
            level: decision.level,
            omit_stages: decision.omit_stages,
            omit_managed_fields: decision.omit_managed_fields,
            common: Arc::new(common),
            impersonated: None,
            annotations: Vec::new(),
            request_object: Object::None,
        }
    }

    pub fn impersonates(&mut self, user: &UserInfo) {
        self.impersonated = Some(Arc::new(user.clone()));
    }

    pub fn annotate(&mut self, key: impl Into<Cow<'static, str>>, value: impl Into<String>) {
        self.annotations.push((key.into(), value.into()));
    }

    /// Whether the bodies are wanted.
    pub fn wants_request(&self) -> bool {
        self.level >= Level::Request
    }

    pub fn wants_response(&self) -> bool {
        self.level >= Level::RequestResponse
    }

    /// Whether the name of what was created is still to be learnt from the answer.
    pub fn wants_name(&self) -> bool {
        self.common.info.verb == "create" && self.common.info.name.is_empty()
    }

    pub fn request_body(&mut self, content_type: Option<&str>, bytes: &Bytes) {
        if let Some(value) = parsed(content_type, bytes) {
            self.request_object = Object::Parsed(self.cleaned(value));
        }
    }

    fn cleaned(&self, mut value: Value) -> Value {
        if self.omit_managed_fields {
            let items = value.get_mut("items").and_then(Value::as_array_mut);
            items.into_iter().flatten().for_each(forget_managed_fields);
            forget_managed_fields(&mut value);
        }
        value
    }

    /// Logs that the stage was reached, unless the policy omits it. `body` is the answer, where it is wanted.
    pub fn log(
        &mut self,
        audit: &Audit,
        stage: Stage,
        code: u16,
        status: Option<&Status>,
        body: Option<(Option<String>, Bytes)>,
    ) {
        if self.omit_stages.contains(&stage) {
            return;
        }
        let response_object = match body {
            Some((content_type, bytes)) if self.wants_response() => {
                match parsed(content_type.as_deref(), &bytes) {
                    Some(value) => Object::Parsed(self.cleaned(value)),
                    None => Object::None,
                }
            }
            Some((_, bytes)) => Object::NameOnly(bytes),
            None => Object::None,
        };
        audit.write(Entry {
            common: self.common.clone(),
            stage,
            impersonated: self.impersonated.clone(),
            code,
            status: status.map(Status::to_json),
            request_object: self.request_object.clone(),
            response_object,
            annotations: self.annotations.clone(),
            at: Timestamp::now(),
        });
    }
}

fn forget_managed_fields(value: &mut Value) {
    if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.shift_remove("managedFields");
    }
}

/// Patches are JSON whatever they are called; what cannot be read is left out.
fn parsed(content_type: Option<&str>, bytes: &[u8]) -> Option<Value> {
    if bytes.is_empty() {
        return None;
    }
    match decode::format_of(content_type).unwrap_or(Format::Json) {
        Format::Json => serde_json::from_slice(bytes).ok(),
        Format::Yaml => coracle_schema::parse_yaml(bytes).ok().map(|(value, _)| value),
        Format::Protobuf => crate::protobuf::decode(bytes, None).ok(),
    }
}

/// Whoever forwarded the request, and the peer at last.
fn source_ips(subject: &Subject<'_>) -> Vec<String> {
    let texts = |name: &str| -> Vec<String> {
        let values = subject.headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        let parts = values.flat_map(|value| value.split(','));
        parts.filter_map(|part| Some(part.trim().parse::<std::net::IpAddr>().ok()?.to_string())).collect()
    };
    let mut ips = texts("x-forwarded-for");
    if ips.is_empty() {
        ips = texts("x-real-ip");
    }
    if let Some(peer) = subject.peer.map(|peer| peer.ip().to_string())
        && ips.last() != Some(&peer)
    {
        ips.push(peer);
    }
    ips
}
