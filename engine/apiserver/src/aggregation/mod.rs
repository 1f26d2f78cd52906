//! API groups that other servers serve (APIService): routing, proxying, discovery, availability.
//!
//! Kept true: a request is only passed on by an APIService that is `Available`; the server behind learns who asks from
//!            headers that a certificate of the front proxy's authority vouches for, and never sees the client's own.
//! Reads:     APIServices, the Services and EndpointSlices behind them. Writes: their status; those of local groups.
//! Source:    https://kubernetes.io/docs/tasks/extend-kubernetes/configure-aggregation-layer/

mod availability;
mod controller;
pub mod documents;
mod local;
mod metrics;
mod proxy;

use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use serde_json::{Value, json};

use crate::{
    crd::names,
    object::name,
    outbound::Trust,
    pki::{FRONT_PROXY_CLIENT, Pki},
};

pub use controller::Controller;
pub use proxy::{openapi, serve};

/// What is passed on now. Reading takes no lock.
#[derive(Default)]
pub struct Aggregator {
    remotes: ArcSwap<Vec<Arc<Remote>>>,
    pub availability: metrics::Availability,
}

/// A group version behind a Service.
#[derive(Clone, Debug)]
pub struct Remote {
    /// `VERSION.GROUP`
    pub name: String,
    pub group: String,
    pub version: String,
    namespace: String,
    service: String,
    port: u16,
    trust: Trust,
    pub group_priority: i64,
    pub version_priority: i64,
    pub available: bool,
    /// The last APIResourceList that the server gave.
    pub resources: Option<Arc<Value>>,
    /// The group version in the last aggregated discovery that the server gave.
    discovery: Option<Arc<Value>>,
    /// What of its `/openapi/v2` belongs to this group version, as it gave it last.
    pub openapi: Option<Bytes>,
}

impl Aggregator {
    pub fn remotes(&self) -> Arc<Vec<Arc<Remote>>> {
        self.remotes.load_full()
    }

    /// Whose path this is, below `/apis`.
    pub fn route(&self, path: &str) -> Option<Arc<Remote>> {
        let remotes = self.remotes.load();
        if remotes.is_empty() {
            return None;
        }
        let mut segments = path.strip_prefix("/apis/")?.split('/');
        let (group, version) = (segments.next()?, segments.next()?);
        remotes.iter().find(|remote| remote.group == group && remote.version == version).cloned()
    }

    pub fn find(&self, group: &str, version: &str) -> Option<Arc<Remote>> {
        let remotes = self.remotes.load();
        remotes.iter().find(|remote| remote.group == group && remote.version == version).cloned()
    }

    fn publish(&self, mut remotes: Vec<Arc<Remote>>) {
        remotes.sort_by(|a, b| {
            let by_group = b.group_priority.cmp(&a.group_priority).then_with(|| a.group.cmp(&b.group));
            let by_version = || b.version_priority.cmp(&a.version_priority);
            by_group.then_with(by_version).then_with(|| crate::crd::compare_versions(&a.version, &b.version))
        });
        self.remotes.store(Arc::new(remotes));
    }
}

impl Remote {
    /// None of an APIService without a service: what this server itself serves.
    fn of(object: &Value) -> Option<Remote> {
        let spec = &object["spec"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let service = spec["service"].as_object()?;
        let trust = if spec["insecureSkipTLSVerify"] == true {
            Trust::Anyone
        } else {
            Trust::of_bundle(&spec["caBundle"])
        };
        Some(Remote {
            name: name(object).to_owned(),
            group: text(&spec["group"]),
            version: text(&spec["version"]),
            namespace: text(service.get("namespace")?),
            service: text(service.get("name")?),
            port: service
                .get("port")
                .and_then(Value::as_u64)
                .and_then(|port| port.try_into().ok())
                .unwrap_or(443),
            trust,
            group_priority: spec["groupPriorityMinimum"].as_i64().unwrap_or_default(),
            version_priority: spec["versionPriority"].as_i64().unwrap_or_default(),
            available: names::condition(&object["status"], "Available")
                .is_some_and(|condition| condition["status"] == "True"),
            resources: None,
            discovery: None,
            openapi: None,
        })
    }

    fn base(&self) -> String {
        format!("https://{}.{}.svc:{}", self.service, self.namespace, self.port)
    }

    /// Where its documents begin.
    fn path(&self) -> String {
        format!("/apis/{}/{}", self.group, self.version)
    }
}

/// From what aggregated API servers learn whom to believe.
pub fn authentication(pki: &Pki) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "extension-apiserver-authentication", "namespace": "kube-system"},
        "data": {
            "client-ca-file": pki.ca_pem(),
            "requestheader-allowed-names": json!([FRONT_PROXY_CLIENT]).to_string(),
            "requestheader-client-ca-file": pki.front_proxy_ca_pem(),
            "requestheader-extra-headers-prefix": r#"["X-Remote-Extra-"]"#,
            "requestheader-group-headers": r#"["X-Remote-Group"]"#,
            "requestheader-uid-headers": r#"["X-Remote-Uid"]"#,
            "requestheader-username-headers": r#"["X-Remote-User"]"#,
        },
    })
}

/// The label that says who keeps an APIService.
const MANAGED: &str = "kube-aggregator.kubernetes.io/automanaged";

fn managed(object: &Value) -> &str {
    object["metadata"]["labels"][MANAGED].as_str().unwrap_or_default()
}
