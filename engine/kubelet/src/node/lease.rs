//! The node's heartbeat: a Lease in `kube-node-lease`, renewed every ten seconds.
//!
//! Invariant: Leases are volatile in the store, so renewing costs no disk write.
//! Source:    https://kubernetes.io/docs/concepts/architecture/leases/#node-heart-beats

use std::sync::Arc;
use std::time::Duration;

use coracle_client::Api;
use coracle_kinds::Kind;
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::register;
use crate::api_message;
use crate::shared::Shared;

const RENEW: Duration = Duration::from_secs(10);
const LIFE_SECONDS: u32 = 40;

/// RFC 3339 with microseconds, as MicroTime is written.
fn micro_time(now: jiff::Timestamp) -> String {
    format!("{}.{:06}Z", now.strftime("%Y-%m-%dT%H:%M:%S"), now.subsec_microsecond())
}

async fn renew(shared: &Shared) -> Result<(), kube::Error> {
    let leases: Api<Lease> = Api::namespaced(shared.client.clone(), "kube-node-lease");
    let name = &shared.config.node_name;
    let time = micro_time(jiff::Timestamp::now());
    let patch = Patch::Merge(json!({"spec": {"renewTime": time}}));
    match leases.patch(name, &PatchParams::default(), &patch).await {
        Err(kube::Error::Api(status)) if status.code == 404 => {}
        other => return other.map(|_| ()),
    }
    let owner = register::current(shared).and_then(|n| n.metadata.uid.clone());
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {
            "name": name, "namespace": "kube-node-lease",
            "ownerReferences": owner.map(|uid| json!([{"apiVersion": "v1", "kind": "Node", "name": name, "uid": uid}])),
        },
        "spec": {"holderIdentity": name, "leaseDurationSeconds": LIFE_SECONDS, "renewTime": time},
    });
    let lease = Lease::from_value(&lease).map_err(kube::Error::SerdeError)?;
    leases.create(&PostParams::default(), &lease).await.map(|_| ())
}

pub async fn keep(shared: Arc<Shared>, stop: CancellationToken) {
    let mut unschedulable = false;
    loop {
        register::tell_schedulable(&shared, &mut unschedulable);
        if let Err(error) = renew(&shared).await {
            tracing::warn!(error = api_message(&error), "node lease was not renewed");
        }
        if let Err(error) = register::reassure(&shared).await {
            tracing::warn!(error = api_message(&error), "node status was not written");
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(RENEW) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_with_microseconds() {
        let time: jiff::Timestamp = "2026-11-23T07:00:00.001002003Z".parse().unwrap();
        assert_eq!(micro_time(time), "2026-11-23T07:00:00.001002Z");
    }
}
