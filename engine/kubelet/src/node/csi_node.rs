//! The CSINode of this node: which storage drivers it runs. None yet; CSI drivers and charts look for the object.
//!
//! Reads:     the CSINode in the store. Writes: the same, when there is none.
//! Source:    https://kubernetes-csi.github.io/docs/csi-node-object.html

use coracle_client::Api;
use coracle_kinds::Kind;
use coracle_store::{Key, Resource};
use k8s_openapi::api::storage::v1::CSINode;
use kube::api::PostParams;
use serde_json::json;

use super::register;
use crate::shared::Shared;

/// Makes the CSINode, which goes with its Node. Drivers that register themselves are another program's to write.
pub async fn register(shared: &Shared) -> Result<(), kube::Error> {
    let name = shared.config.node_name.as_str();
    let key =
        Key { resource: Resource("csinodes.storage.k8s.io".into()), namespace: "".into(), name: name.into() };
    let Some(uid) = register::current(shared).and_then(|node| node.metadata.uid.clone()) else {
        return Ok(());
    };
    if shared.store.get(&key).is_some() {
        return Ok(());
    }
    let csi_node = json!({
        "apiVersion": "storage.k8s.io/v1", "kind": "CSINode",
        "metadata": {
            "name": name,
            "ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": name, "uid": uid}],
        },
        "spec": {"drivers": []},
    });
    let csi_node = CSINode::from_value(&csi_node).map_err(kube::Error::SerdeError)?;
    match Api::all(shared.client.clone()).create(&PostParams::default(), &csi_node).await {
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
        other => other.map(|_: CSINode| ()),
    }
}
