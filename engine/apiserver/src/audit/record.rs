//! One request on its way through the server, as the audit log will tell of it.

use std::{borrow::Cow, net::SocketAddr};

use bytes::Bytes;
use http::{HeaderMap, header};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use super::{
    Audit, Level, Stage,
    event::{self, AuthenticationMetadata, Event, Named, ObjectRef, User},
    policy::Decision,
};
use crate::{
    authn::Impersonated,
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

const OWN_AGENT: &str = concat!("coracle/", env!("CARGO_PKG_VERSION"));

pub struct Record {
    pub level: Level,
    omit_stages: Vec<Stage>,
    omit_managed_fields: bool,
    id: String,
    uri: String,
    info: RequestInfo,
    user: UserInfo,
    impersonated: Option<UserInfo>,
    /// The verb that allowed it, when it was a constrained one.
    constraint: String,
    source_ips: Vec<String>,
    user_agent: String,
    received: Timestamp,
    annotations: Vec<(Cow<'static, str>, String)>,
    request_object: Option<Value>,
}

impl Record {
    pub(super) fn new(subject: &Subject<'_>, decision: Decision) -> Record {
        let agent = subject.headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok());
        // What has no peer comes from this process.
        let agent = agent.or_else(|| subject.peer.is_none().then_some(OWN_AGENT));
        Record {
            level: decision.level,
            omit_stages: decision.omit_stages,
            omit_managed_fields: decision.omit_managed_fields,
            id: subject.id.to_owned(),
            uri: subject.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned(),
            info: subject.info.clone(),
            user: subject.user.cloned().unwrap_or_default(),
            impersonated: None,
            constraint: String::new(),
            source_ips: source_ips(subject),
            user_agent: agent.unwrap_or_default().chars().take(1024).collect(),
            received: subject.received,
            annotations: Vec::new(),
            request_object: None,
        }
    }

    pub fn impersonates(&mut self, other: &Impersonated) {
        self.impersonated = Some(other.user.clone());
        self.constraint = other.constraint.clone();
    }

    /// The first value of a key stays.
    pub fn annotate(&mut self, key: impl Into<Cow<'static, str>>, value: impl Into<String>) {
        let key = key.into();
        // It repeats parts of the body.
        let is_patch = key.starts_with("patch.webhook.admission.k8s.io/");
        if is_patch && self.level < Level::Request {
            return;
        }
        if self.annotations.iter().all(|(known, _)| *known != key) {
            self.annotations.push((key, value.into()));
        }
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
        self.info.verb == "create" && self.info.name.is_empty()
    }

    pub fn request_body(&mut self, content_type: Option<&str>, bytes: &Bytes) {
        if let Some(value) = parsed(content_type, bytes) {
            self.request_object = Some(self.cleaned(value));
        }
    }

    fn cleaned(&self, mut value: Value) -> Value {
        if self.omit_managed_fields {
            let items = value.get_mut("items").and_then(Value::as_array_mut);
            items.into_iter().flatten().for_each(forget_managed_fields);
            // Of a Table.
            let rows = value.get_mut("rows").and_then(Value::as_array_mut).into_iter().flatten();
            rows.filter_map(|row| row.get_mut("object")).for_each(forget_managed_fields);
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
        let mut answered = Named::default();
        let mut response_object = None;
        match body {
            Some((content_type, bytes)) if self.wants_response() => {
                response_object = parsed(content_type.as_deref(), &bytes).map(|value| self.cleaned(value));
            }
            Some((_, bytes)) => answered = serde_json::from_slice(&bytes).unwrap_or_default(),
            None => {}
        }
        let named = |object: &Value| Named::deserialize(object).unwrap_or_default();
        let asked = self.request_object.as_ref().map(named).unwrap_or_default();
        if let Some(object) = &response_object {
            answered = named(object);
        }
        audit.write(&Event {
            kind: "Event",
            api_version: "audit.k8s.io/v1",
            level: self.level,
            audit_id: &self.id,
            stage,
            request_uri: &self.uri,
            verb: &self.info.verb,
            user: User::of(&self.user),
            impersonated_user: self.impersonated.as_ref().map(User::of),
            authentication_metadata: AuthenticationMetadata { impersonation_constraint: &self.constraint },
            source_ips: &self.source_ips,
            user_agent: &self.user_agent,
            object_ref: self.info.is_resource.then(|| ObjectRef::new(&self.info, &asked, &answered)),
            response_status: (stage != Stage::RequestReceived)
                .then(|| event::response_status(status.map(Status::to_json), code)),
            request_object: self.request_object.as_ref(),
            response_object: response_object.as_ref(),
            request_received_timestamp: self.received,
            stage_timestamp: Timestamp::now(),
            annotations: &self.annotations,
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
    let own = std::net::IpAddr::from(std::net::Ipv4Addr::LOCALHOST);
    let peer = subject.peer.map_or(own, |peer| peer.ip()).to_string();
    if ips.last() != Some(&peer) {
        ips.push(peer);
    }
    ips
}
