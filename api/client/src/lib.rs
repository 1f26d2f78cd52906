//! One way to reach the Kubernetes API: a `kube::Client`, either over TLS from a kubeconfig or straight into the
//! API server of this process.
//! CONTRACT: public names and signatures below are what the other crates compile against.

use k8s_openapi::api::core::v1::ObjectReference;

/// Who a request inside this process comes from. The in-process entry puts it into the request's extensions;
/// the API server takes it instead of authenticating (authorization, admission and audit stay).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// e.g. `system:kube-scheduler`, `system:node:NAME`, `system:serviceaccount:kube-system:deployment-controller`
    pub user: String,
    /// e.g. `system:nodes`, `system:masters`, `system:serviceaccounts`
    pub groups: Vec<String>,
}

/// Posts core/v1 Events as stock components do: equal ones are counted (`count`, `lastTimestamp`), bursts are limited.
/// Never blocks or fails its caller.
#[derive(Clone)]
pub struct EventRecorder {}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventType {
    Normal,
    Warning,
}

impl EventRecorder {
    /// `component` is the Event's `source.component`, e.g. `kubelet`; `host` its `source.host`.
    pub fn new(_client: kube::Client, _component: &str, _host: Option<&str>) -> EventRecorder {
        unimplemented!()
    }
    pub fn event(&self, _about: &ObjectReference, _kind: EventType, _reason: &str, _message: String) {
        unimplemented!()
    }
}
