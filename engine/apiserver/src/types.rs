//! The types that every part of the API server passes around: bodies, requests, who asks, the shared state.
//!
//! Invariant: [`State`] holds all that lives longer than a request; everything else is built per request.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use coracle_client::Identity;
use http::{HeaderValue, StatusCode, header};
use http_body_util::BodyExt;
use parking_lot::RwLock;
use serde_json::Value;

use crate::{Config, PodAccess, authn, authz, pki};

pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
pub type Body = http_body_util::combinators::UnsyncBoxBody<Bytes, BoxError>;
pub type Request = http::Request<Body>;
pub type Response = http::Response<Body>;

/// A body of bytes that are there already.
pub fn body_from(bytes: impl Into<Bytes>) -> Body {
    http_body_util::Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// An answer of content type `application/json`.
pub fn json_response(code: StatusCode, value: &Value) -> Response {
    let bytes = serde_json::to_vec(value).unwrap_or_default();
    json_bytes_response(code, bytes)
}

/// An answer of JSON that is encoded already.
pub fn json_bytes_response(code: StatusCode, bytes: impl Into<Bytes>) -> Response {
    let mut response = http::Response::new(body_from(bytes));
    *response.status_mut() = code;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Who asks, after authentication.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserInfo {
    pub name: String,
    pub uid: String,
    pub groups: Vec<String>,
    pub extra: BTreeMap<String, Vec<String>>,
}

impl UserInfo {
    pub fn anonymous() -> UserInfo {
        UserInfo {
            name: "system:anonymous".into(),
            groups: vec!["system:unauthenticated".into()],
            ..UserInfo::default()
        }
    }

    /// Of the pod whose token was used.
    pub fn node_name(&self) -> Option<&str> {
        match self.extra.get("authentication.kubernetes.io/node-name").map(Vec::as_slice) {
            Some([node]) => Some(node),
            _ => None,
        }
    }

    pub fn in_group(&self, group: &str) -> bool {
        self.groups.iter().any(|own| own == group)
    }

    /// The server itself, for what it writes at start (bootstrap objects).
    pub fn apiserver() -> UserInfo {
        UserInfo {
            name: "system:apiserver".into(),
            groups: vec!["system:masters".into(), "system:authenticated".into()],
            ..UserInfo::default()
        }
    }
}

impl From<&Identity> for UserInfo {
    fn from(identity: &Identity) -> UserInfo {
        let mut groups = identity.groups.clone();
        if !groups.iter().any(|group| group == "system:authenticated") {
            groups.push("system:authenticated".into());
        }
        UserInfo { name: identity.user.clone(), groups, ..UserInfo::default() }
    }
}

/// What every handler shares. Cheap to reach (behind an `Arc`), never locked across an await.
pub struct State {
    pub config: Config,
    pub reader: coracle_store::Reader,
    pub writer: coracle_store::Writer,
    pub schema: &'static coracle_schema::Registry,
    pub pki: pki::Pki,
    pub tokens: authn::Tokens,
    /// Of tokens from outside.
    pub issuers: authn::Issuers,
    pub authorizer: authz::Authorizer,
    pub metrics: crate::metrics::Metrics,
    /// How far the start came, and what runs.
    pub hooks: crate::health::Hooks,
    pub audit: crate::audit::Audit,
    pub flow: crate::flow::FlowControl,
    pub pod_access: RwLock<Option<Arc<dyn PodAccess>>>,
    /// What ComponentStatuses tell of, by their names.
    pub components: RwLock<Vec<(&'static str, crate::ComponentCheck)>>,
    /// What others add to `/metrics`.
    pub more_metrics: RwLock<Vec<crate::metrics::More>>,
    /// Which paths are served, and by which kind.
    pub resources: crate::registry::Resources,
    /// Snapshots that `continue` tokens refer to.
    pub pinned: crate::verbs::pinned::Pinned,
    /// Cluster addresses and node ports that Services hold.
    pub services: crate::kinds::service::Allocations,
    /// What requests under way will use of the quotas.
    pub quotas: crate::admission::Ledger,
    pub event_limits: crate::admission::EventLimits,
    /// What this server asks of others.
    pub outbound: Arc<crate::outbound::Outbound>,
    /// The API groups that other servers serve.
    pub aggregator: crate::aggregation::Aggregator,
    /// Cancelled when the server stops: watches end at once.
    pub stop: tokio_util::sync::CancellationToken,
}
