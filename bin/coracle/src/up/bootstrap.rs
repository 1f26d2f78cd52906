//! Objects that exist because of how this process is wired, whose data these are, and the wait for the node.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use coracle_client::Api;
use coracle_kinds::Kind;
use coracle_store::{Key, Reader, Resource, Scope};
use k8s_openapi::api::core::v1::{Node, Service};
use kube::api::PostParams;
use serde_json::json;

use crate::settings::UpOptions;

/// A node that is not Ready by then has said why in its log.
const NODE_READY_DEADLINE: Duration = Duration::from_secs(60);

/// The data of another node are not taken over: its pods would belong to nobody, and a node that nobody runs would be
/// given new ones. Happens when a machine's host name changes.
pub fn same_node(store: &Reader, node_name: &str) -> Result<()> {
    let scope = Scope { resource: Resource("nodes".into()), namespace: None, name: None };
    let snapshot = store.snapshot();
    let known: Vec<_> = snapshot.list(&scope).map(|node| node.key.name.to_string()).collect();
    if known.is_empty() || known.iter().any(|name| name == node_name) {
        return Ok(());
    }
    bail!(
        "the data are those of node `{known}`, not of `{node_name}`\nhint: start it with --node-name {known}",
        known = known[0]
    )
}

/// The Service that tells users where the cluster's DNS answers. It has no selector and no endpoints:
/// the network answers on its address itself.
pub async fn cluster_dns(client: &kube::Client, options: &UpOptions) -> Result<()> {
    let services: Api<Service> = Api::namespaced(client.clone(), "kube-system");
    let address = options.cluster_dns.to_string();
    let existing = services.get_opt("kube-dns").await.context("read Service `kube-system/kube-dns`")?;
    if let Some(service) = existing {
        if service.spec.and_then(|spec| spec.cluster_ip).as_deref() == Some(address.as_str()) {
            return Ok(());
        }
        services
            .delete("kube-dns", &Default::default())
            .await
            .context("replace Service `kube-system/kube-dns`")?;
    }
    let service = Service::from_value(&json!({
        "metadata": {
            "name": "kube-dns",
            "labels": {
                "k8s-app": "kube-dns",
                "kubernetes.io/cluster-service": "true",
                "kubernetes.io/name": "CoreDNS",
            },
        },
        "spec": {
            "clusterIP": address,
            "ports": [
                {"name": "dns", "port": 53, "protocol": "UDP", "targetPort": 53},
                {"name": "dns-tcp", "port": 53, "protocol": "TCP", "targetPort": 53},
            ],
        },
    }))?;
    services
        .create(&PostParams::default(), &service)
        .await
        .context("create Service `kube-system/kube-dns`")?;
    Ok(())
}

/// Waits until the node's Ready condition is true.
pub async fn node_ready(store: &Reader, name: &str) -> Result<()> {
    let wait = async {
        let key = Key::new(Resource::new("nodes"), "", name);
        let (snapshot, mut watch) = store.list_watch(Scope::object(&key));
        if snapshot.get(&key).is_some_and(|object| is_ready(object)) {
            return Ok(());
        }
        loop {
            let event = watch.next().await.context("watch the node")?;
            if is_ready(&event.object) {
                return Ok(());
            }
        }
    };
    tokio::time::timeout(NODE_READY_DEADLINE, wait).await.with_context(|| {
        format!(
            "node `{name}` was not Ready within {} s\nhint: see the log, and `coracle doctor`",
            NODE_READY_DEADLINE.as_secs()
        )
    })?
}

fn is_ready(object: &coracle_store::Object) -> bool {
    let Ok(node) = object.decode::<Node>() else { return false };
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.into_iter().flatten().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}
