//! Which runtime a pod wants. There is one: a class of another handler cannot be served, and such pods do not start.
//!
//! Source: https://kubernetes.io/docs/concepts/containers/runtime-class/

use coracle_store::{Key, Reader, Resource};
use k8s_openapi::api::{core::v1::Pod, node::v1::RuntimeClass};

/// Names by which classes mean the runtime of this node; `runc` is what manifests for other clusters say.
const HANDLERS: [&str; 2] = ["coracle", "runc"];

/// Why the sandbox cannot be made, in containerd's words.
pub fn check(store: &Reader, pod: &Pod) -> Result<(), String> {
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
