//! PodTopologyLabels: a pod learns from its own labels in which zone and region its node is.
//!
//! The labels go to the Binding, whose labels `/binding` gives to the pod, or to a pod that comes with its node.
//! Source: https://github.com/kubernetes/enhancements/tree/master/keps/sig-node/4742-node-topology-downward-api

use coracle_store::Key;
use serde_json::Value;

use super::{Operation, Request};
use crate::{kinds::checks::text, object, registry::store_resource, status::Status};

const LABELS: [&str; 2] = ["topology.kubernetes.io/zone", "topology.kubernetes.io/region"];

pub fn admit(request: &Request<'_>, admitted: &mut Value) -> Result<(), Status> {
    let api = &request.target.served.api;
    if request.operation != Operation::Create || !api.gvk.group.is_empty() || &*api.plural != "pods" {
        return Ok(());
    }
    let node = match &*request.target.subresource {
        "" => text(&admitted["spec"]["nodeName"]),
        "binding" if admitted["target"]["kind"] == "Node" => text(&admitted["target"]["name"]),
        _ => return Ok(()),
    };
    let key = Key { resource: store_resource("", "nodes"), namespace: "".into(), name: node.into() };
    if let Some(node) = request.state.reader.get(&key) {
        copy(node.meta.labels.iter().map(|(key, value)| (&**key, &**value)), admitted);
    }
    Ok(())
}

/// What `admitted` says itself stays.
fn copy<'a>(of_node: impl Iterator<Item = (&'a str, &'a str)>, admitted: &mut Value) {
    for (key, value) in of_node.filter(|(key, _)| LABELS.contains(key)) {
        let labels = object::metadata_mut(admitted).entry("labels").or_insert(Value::Null);
        if (labels.is_null() || labels.is_object()) && labels[key].is_null() {
            labels[key] = value.into();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn zone_and_region_are_copied_and_nothing_is_overwritten() {
        let (zone, region) = (("topology.kubernetes.io/zone", "a"), ("topology.kubernetes.io/region", "eu"));
        for (of_node, own, expected) in [
            (vec![], json!({}), json!(null)),
            (vec![("disk", "ssd")], json!({}), json!(null)),
            (vec![zone, ("disk", "ssd"), region], json!(null), json!({zone.0: "a", region.0: "eu"})),
            (vec![zone], json!({"labels": {"app": "x"}}), json!({"app": "x", zone.0: "a"})),
            (vec![zone, region], json!({"labels": {zone.0: "b"}}), json!({zone.0: "b", region.0: "eu"})),
        ] {
            let mut binding = json!({"metadata": own});
            copy(of_node.into_iter(), &mut binding);
            assert_eq!(binding["metadata"]["labels"], expected);
        }
    }
}
