//! Tells each served Ingress where it is reached.

use std::{net::IpAddr, sync::Arc};

use k8s_openapi::api::networking::v1::Ingress;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::json;
use tracing::warn;

/// Writes `status.loadBalancer.ingress` of those Ingresses in `served` that say something else.
pub async fn write(
    client: &kube::Client,
    ingresses: &[Arc<Ingress>],
    served: &[(String, String)],
    address: IpAddr,
) {
    let address = address.to_string();
    for ingress in ingresses.iter().filter(|ingress| !says(ingress, &address)) {
        let name = ingress.metadata.name.clone().unwrap_or_default();
        let namespace = ingress.metadata.namespace.clone().unwrap_or_default();
        if ingress.metadata.deletion_timestamp.is_some()
            || !served.contains(&(namespace.clone(), name.clone()))
        {
            continue;
        }
        let status = json!({"status": {"loadBalancer": {"ingress": [{"ip": address}]}}});
        let api: Api<Ingress> = Api::namespaced(client.clone(), &namespace);
        match api.patch_status(&name, &PatchParams::default(), &Patch::Merge(&status)).await {
            // Deleted meanwhile.
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => {
                warn!(
                    namespace,
                    ingress = name,
                    error = &error as &dyn std::error::Error,
                    "status could not be written"
                )
            }
            Ok(_) => {}
        }
    }
}

fn says(ingress: &Ingress, address: &str) -> bool {
    let balancer = ingress.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let written = balancer.and_then(|balancer| balancer.ingress.as_deref()).unwrap_or_default();
    matches!(written, [only] if only.ip.as_deref() == Some(address))
}
