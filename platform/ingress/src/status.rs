//! Tells each served Ingress where it is reached.
//!
//! Writes:    Ingress `status.loadBalancer`.
//! Invariant: a status that says so already is not written; one that could not be written is tried again.

use std::{net::IpAddr, sync::Arc, time::Duration};

use k8s_openapi::api::networking::v1::Ingress;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::json;
use tokio::sync::watch;
use tracing::warn;

const RETRY_PAUSE: Duration = Duration::from_secs(5);

/// Keeps the status of what `served` shows current, until its sender is gone.
pub async fn keep(client: &kube::Client, mut served: watch::Receiver<Vec<Arc<Ingress>>>, address: IpAddr) {
    let address = address.to_string();
    while served.changed().await.is_ok() {
        loop {
            let ingresses = served.borrow_and_update().clone();
            if write(client, &ingresses, &address).await {
                break;
            }
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }
}

/// Whether all is written.
async fn write(client: &kube::Client, ingresses: &[Arc<Ingress>], address: &str) -> bool {
    let mut complete = true;
    for ingress in ingresses.iter().filter(|ingress| !says(ingress, address)) {
        if ingress.metadata.deletion_timestamp.is_some() {
            continue;
        }
        let name = ingress.metadata.name.as_deref().unwrap_or_default();
        let namespace = ingress.metadata.namespace.as_deref().unwrap_or_default();
        let status = json!({"status": {"loadBalancer": {"ingress": [{"ip": address}]}}});
        let api: Api<Ingress> = Api::namespaced(client.clone(), namespace);
        match api.patch_status(name, &PatchParams::default(), &Patch::Merge(&status)).await {
            Ok(_) => {}
            // Deleted meanwhile.
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                warn!(namespace, ingress = name, error, "status could not be written");
                complete = false;
            }
        }
    }
    complete
}

fn says(ingress: &Ingress, address: &str) -> bool {
    let balancer = ingress.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let written = balancer.and_then(|balancer| balancer.ingress.as_deref()).unwrap_or_default();
    matches!(written, [only] if only.ip.as_deref() == Some(address))
}
