//! What a stock node would do for a pod and this one does not: such a pod does not start, and says why.

use k8s_openapi::api::core::v1::{Container, PodSpec};

use crate::resources::all_containers;

/// The first thing in `spec` that cannot be kept, as the sandbox's error.
pub fn check(spec: &PodSpec) -> Result<(), &'static str> {
    if spec.resource_claims.iter().flatten().next().is_some() {
        return Err("dynamic resource allocation is not supported, `resourceClaims` cannot be kept");
    }
    if spec.host_users == Some(false) {
        return Err(
            "the runtime handler does not support user namespaces, `hostUsers: false` cannot be kept",
        );
    }
    if all_containers(spec).any(restarts_all) {
        return Err(
            "restarting all containers in place is not supported, the action `RestartAllContainers` of \
                    `restartPolicyRules` cannot be kept",
        );
    }
    Ok(())
}

fn restarts_all(container: &Container) -> bool {
    container.restart_policy_rules.iter().flatten().any(|rule| rule.action == "RestartAllContainers")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_cannot_be_kept_is_told_from_what_can() {
        let rule = |action: &str| {
            let codes = json!({"operator": "In", "values": [1]});
            json!({"containers": [{"name": "a", "restartPolicyRules": [{"action": action, "exitCodes": codes}]}]})
        };
        for (spec, kept) in [
            (json!({"containers": [{"name": "a"}], "hostUsers": true, "resourceClaims": []}), true),
            (rule("Restart"), true),
            (rule("RestartAllContainers"), false),
            (json!({"containers": [], "hostUsers": false}), false),
            (json!({"containers": [], "resourceClaims": [{"name": "gpu"}]}), false),
        ] {
            let read: PodSpec = serde_json::from_value(spec.clone()).unwrap();
            assert_eq!(check(&read).is_ok(), kept, "{spec}");
        }
    }
}
