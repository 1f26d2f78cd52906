//! One way to reach the Kubernetes API: a `kube::Client`, either over TLS from a kubeconfig or straight into the
//! API server of this process, and what every client of it needs: Events, references, selectors, status patches.

mod api;
mod events;
mod in_process;
mod kubeconfig;
pub mod node_affinity;
mod reference;
pub mod selector;
mod status;

pub use api::Api;
pub use events::{EventRecorder, EventType};
pub use in_process::in_process;
pub use kubeconfig::{KubeconfigError, MalformedKubeconfig, from_kubeconfig, parse_kubeconfig};
pub use reference::{api_message, chain, is_namespace_terminating, is_reason, object_reference};
pub use status::{merge_difference, patch_status};

/// Who a request inside this process comes from. The in-process entry puts it into the request's extensions;
/// the API server takes it instead of authenticating (authorization, admission and audit stay).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// e.g. `system:kube-scheduler`, `system:node:NAME`, `system:serviceaccount:kube-system:deployment-controller`
    pub user: String,
    /// e.g. `system:nodes`, `system:masters`, `system:serviceaccounts`
    pub groups: Vec<String>,
}
