//! How many pods the controllers of pods want: by the `scale` subresource, whatever their kind.

use std::{collections::BTreeSet, sync::Arc};

use coracle_client::api_message;
use coracle_store::{Key, Reader};
use k8s_openapi::{api::core::v1::Pod, apimachinery::pkg::apis::meta::v1::OwnerReference};
use kube::Client;

use crate::{key::controller_of, kinds::Kinds};

/// Pods without a controller are nobody's wish. The text of an error is for a condition.
pub async fn expected(
    reader: &Reader,
    client: &Client,
    kinds: &Kinds,
    pods: &[Arc<Pod>],
) -> Result<i32, String> {
    let mut controllers = BTreeSet::new();
    let mut total = 0;
    for pod in pods {
        let owners = pod.metadata.owner_references.iter().flatten();
        let Some(owner) = owners.clone().find(|owner| owner.controller == Some(true)) else { continue };
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let controller = top(reader, kinds, namespace, owner);
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        let Some(controller) = controller else {
            return Err(format!("found no controllers for pod \"{name}\""));
        };
        if controllers.insert(controller.uid.clone()) {
            total += wanted(client, kinds, namespace, &controller, name).await?;
        }
    }
    Ok(total)
}

struct Controller {
    api_version: String,
    kind: String,
    name: String,
    uid: String,
}

/// The pod's controller, or the Deployment that controls its ReplicaSet. `None`: it is gone, or another by now.
fn top(reader: &Reader, kinds: &Kinds, namespace: &str, owner: &OwnerReference) -> Option<Controller> {
    let kind = kinds.of_owner(&owner.api_version, &owner.kind)?;
    let key =
        Key { resource: kind.resource(), namespace: namespace.into(), name: owner.name.as_str().into() };
    let object = reader.get(&key).filter(|object| *object.meta.uid == *owner.uid)?;
    let above = controller_of(&object.meta)
        .filter(|above| owner.kind == "ReplicaSet" && &*above.kind == "Deployment");
    Some(match above {
        Some(above) => Controller {
            api_version: above.api_version.to_string(),
            kind: above.kind.to_string(),
            name: above.name.to_string(),
            uid: above.uid.to_string(),
        },
        None => Controller {
            api_version: owner.api_version.clone(),
            kind: owner.kind.clone(),
            name: owner.name.clone(),
            uid: owner.uid.clone(),
        },
    })
}

async fn wanted(
    client: &Client,
    kinds: &Kinds,
    namespace: &str,
    controller: &Controller,
    pod: &str,
) -> Result<i32, String> {
    let kind = kinds.of_owner(&controller.api_version, &controller.kind);
    let Some(kind) = kind else { return Err(format!("found no controllers for pod \"{pod}\"")) };
    match kind.api(client, namespace).get_scale(&controller.name).await {
        Ok(scale) => Ok(scale.spec.and_then(|spec| spec.replicas).unwrap_or_default()),
        Err(error) if coracle_client::is_reason(&error, "NotFound") => {
            Err(format!("{}.{} does not implement the scale subresource", kind.api.plural, kind.api.group))
        }
        Err(error) => Err(api_message(&error)),
    }
}
