//! Which runtime a pod wants. There is one, without user namespaces and devices: a class of another handler cannot be
//! served, nor a pod that asks for a user namespace, claims devices or wants all of its containers restarted together, and
//! such pods do not start.
//!
//! Source: https://kubernetes.io/docs/concepts/containers/runtime-class/

use coracle_store::{Key, Reader, Resource};
use k8s_openapi::api::{
    core::v1::{Container, Pod},
    node::v1::RuntimeClass,
};

use crate::resources::all_containers;

/// Names by which classes mean the runtime of this node; `runc` is what manifests for other clusters say.
const HANDLERS: [&str; 2] = ["coracle", "runc"];

/// Why the sandbox cannot be made, in containerd's words.
pub fn check(store: &Reader, pod: &Pod) -> Result<(), String> {
    if pod.spec.as_ref().is_some_and(|spec| spec.resource_claims.as_ref().is_some_and(|all| !all.is_empty()))
    {
        return Err(
            "dynamic resource allocation is not supported, `resourceClaims` cannot be kept".to_owned()
        );
    }
    if pod.spec.as_ref().is_some_and(|spec| spec.host_users == Some(false)) {
        return Err(
            "the runtime handler does not support user namespaces, `hostUsers: false` cannot be kept"
                .to_owned(),
        );
    }
    if pod.spec.iter().flat_map(all_containers).any(restarts_all) {
        return Err(
            "restarting all containers in place is not supported, the action `RestartAllContainers` of \
             `restartPolicyRules` cannot be kept"
                .to_owned(),
        );
    }
    let name = pod.spec.as_ref().and_then(|spec| spec.runtime_class_name.as_deref()).unwrap_or_default();
    if name.is_empty() {
        return Ok(());
    }
    let key = Key {
        resource: Resource("runtimeclasses.node.k8s.io".into()),
        namespace: "".into(),
        name: name.into(),
    };
    let class = store.get(&key).and_then(|object| object.decode::<RuntimeClass>().ok());
    judge(name, class.as_ref().map(|class| class.handler.as_str()))
}

fn restarts_all(container: &Container) -> bool {
    container.restart_policy_rules.iter().flatten().any(|rule| rule.action == "RestartAllContainers")
}

fn judge(name: &str, handler: Option<&str>) -> Result<(), String> {
    match handler {
        None => Err(format!("RuntimeClass \"{name}\" not found")),
        Some(handler) if HANDLERS.contains(&handler) => Ok(()),
        Some(handler) => {
            Err(format!("failed to get sandbox runtime: no runtime for \"{handler}\" is configured"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_that_restart_all_containers_are_told_from_others() {
        for (action, expected) in [("Restart", false), ("RestartAllContainers", true)] {
            let rules =
                serde_json::json!([{"action": action, "exitCodes": {"operator": "In", "values": [1]}}]);
            let container = serde_json::json!({"name": "a", "restartPolicyRules": rules});
            assert_eq!(restarts_all(&serde_json::from_value(container).unwrap()), expected);
        }
    }

    #[test]
    fn only_classes_of_this_runtime_are_served() {
        assert_eq!(judge("c", Some("runc")), Ok(()));
        for (handler, why) in [
            (None, "RuntimeClass \"c\" not found"),
            (Some("kata"), "failed to get sandbox runtime: no runtime for \"kata\" is configured"),
        ] {
            assert_eq!(judge("c", handler), Err(why.to_owned()));
        }
    }
}
