//! Which writes may be lost in a crash: what changes all the time and says only that something still is. They never cost
//! a sync.

use coracle_store::{Durability, Key};
use serde_json::Value;

use crate::object;

/// Of a create or a delete.
pub fn of(key: &Key) -> Durability {
    match &*key.resource.0 {
        "leases.coordination.k8s.io" => Durability::Volatile,
        _ => Durability::Durable,
    }
}

/// Of an update. Volatile besides Leases: how often an Event was seen again, and that a Node was heard again.
pub fn of_update(key: &Key, old: &Value, new: &Value) -> Durability {
    match &*key.resource.0 {
        "events" => Durability::Volatile,
        "nodes" if but_heartbeats(old) == but_heartbeats(new) => Durability::Volatile,
        _ => of(key),
    }
}

/// A Node without the times at which it was heard, and without what every write changes.
fn but_heartbeats(node: &Value) -> Value {
    let mut node = node.clone();
    object::remove(&mut node["metadata"], "resourceVersion");
    remove_each(&mut node["metadata"]["managedFields"], "time");
    remove_each(&mut node["status"]["conditions"], "lastHeartbeatTime");
    node
}

fn remove_each(items: &mut Value, field: &str) {
    for item in items.as_array_mut().into_iter().flatten() {
        object::remove(item, field);
    }
}

#[cfg(test)]
mod tests {
    use coracle_store::Resource;
    use serde_json::json;

    use super::*;

    #[test]
    fn only_a_heartbeat_alone_is_volatile() {
        let node = |heard: &str, ready: &str, label: &str| {
            json!({
                "metadata": {
                    "name": "n", "resourceVersion": heard, "labels": { "a": label },
                    "managedFields": [{ "manager": "kubelet", "time": heard }]
                },
                "status": { "conditions": [{ "type": "Ready", "status": ready, "lastHeartbeatTime": heard }] }
            })
        };
        let key = Key { resource: Resource::new("nodes"), namespace: "".into(), name: "n".into() };
        let old = node("1", "True", "x");
        assert_eq!(of_update(&key, &old, &node("2", "True", "x")), Durability::Volatile);
        assert_eq!(of_update(&key, &old, &node("2", "False", "x")), Durability::Durable);
        assert_eq!(of_update(&key, &old, &node("2", "True", "y")), Durability::Durable);
    }
}
