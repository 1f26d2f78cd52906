//! Fills ClusterRoles that have an `aggregationRule` with the rules of those that it selects.
//!
//! Reads:     ClusterRoles.
//! Writes:    ClusterRole `rules`.
//! Source:    https://kubernetes.io/docs/reference/access-authn-authz/rbac/#aggregated-clusterroles

use std::sync::Arc;

use coracle_client::Api;
use coracle_client::selector::Selector;
use coracle_store::{Event, Object, Reader};
use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule};
use kube::{
    Client,
    api::{Patch, PatchParams},
};
use serde_json::json;

use crate::{
    error::{ControllerError, absent_is_fine},
    key::ObjectKey,
    read,
    runner::{Controller, Requeue, Source},
};

const RESOURCE: &str = "clusterroles.rbac.authorization.k8s.io";
const RULE: &[u8] = b"\"aggregationRule\"";

pub struct ClusterRoleAggregationController {
    reader: Reader,
    client: Client,
}

impl ClusterRoleAggregationController {
    pub fn new(reader: Reader, client: Client) -> ClusterRoleAggregationController {
        ClusterRoleAggregationController { reader, client }
    }
}

fn selectors(role: &ClusterRole) -> Vec<Selector> {
    let rule = role.aggregation_rule.as_ref().and_then(|rule| rule.cluster_role_selectors.as_ref());
    rule.into_iter().flatten().filter_map(|selector| Selector::compile(selector).ok()).collect()
}

/// The rules of all selected roles, in the order of the roles' names, each once. `None`: nothing is aggregated.
fn plan(role: &ClusterRole, all: &[ClusterRole]) -> Option<Vec<PolicyRule>> {
    role.aggregation_rule.as_ref()?;
    let mut rules: Vec<PolicyRule> = Vec::new();
    for selector in selectors(role) {
        let selected = all.iter().filter(|other| {
            other.metadata.name != role.metadata.name && selector.matches(&other.metadata.labels)
        });
        for rule in selected.flat_map(|other| other.rules.iter().flatten()) {
            if !rules.contains(rule) {
                rules.push(rule.clone());
            }
        }
    }
    Some(rules)
}

impl Controller for ClusterRoleAggregationController {
    type Key = ObjectKey;
    const NAME: &'static str = "clusterrole-aggregation-controller";
    const WORKERS: usize = 1;

    fn sources(&self) -> Vec<Source> {
        let reader = self.reader.clone();
        vec![Source::new(RESOURCE, move |event| aggregating_roles(&reader, event))]
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue, ControllerError> {
        let Some(object) = self.reader.get(&key.in_resource(RESOURCE)) else { return Ok(Requeue::OnChange) };
        let Some(role) = role_of(&object) else { return Ok(Requeue::OnChange) };
        let selectors = selectors(&role);
        let snapshot = self.reader.snapshot();
        let scope = read::scope(RESOURCE, None);
        let selected = snapshot.list(&scope).filter(|other| is_selected(&selectors, other));
        let all: Vec<ClusterRole> = selected.filter_map(|other| role_of(other)).collect();
        let Some(rules) = plan(&role, &all) else { return Ok(Requeue::OnChange) };
        if role.rules.clone().unwrap_or_default() == rules {
            return Ok(Requeue::OnChange);
        }
        let roles: Api<ClusterRole> = Api::all(self.client.clone());
        let patch = Patch::Merge(json!({ "rules": rules }));
        absent_is_fine(roles.patch(&key.name, &PatchParams::default(), &patch).await)
            .map_err(ControllerError::api("aggregate", "ClusterRole", key.to_string()))?;
        Ok(Requeue::OnChange)
    }
}

/// Decoded anew: roles are many, rarely change, and are not worth being kept in their typed form.
fn role_of(object: &Object) -> Option<ClusterRole> {
    serde_json::from_slice(&object.json).ok()
}

fn is_selected(selectors: &[Selector], object: &Object) -> bool {
    selectors.iter().any(|selector| selector.matches(&*object.meta.labels))
}

/// The role itself when it aggregates, and every role that selects it, now or before the change.
fn aggregating_roles(reader: &Reader, event: &Event) -> Vec<ObjectKey> {
    let snapshot = reader.snapshot();
    let scope = read::scope(RESOURCE, None);
    let concerned = |object: &&Arc<Object>| {
        let mentions = object.json.windows(RULE.len()).any(|window| window == RULE);
        mentions
            && (object.key == event.object.key
                || role_of(object).is_some_and(|role| {
                    let selectors = selectors(&role);
                    let versions = [Some(&event.object), event.previous.as_ref()];
                    versions.into_iter().flatten().any(|version| is_selected(&selectors, version))
                }))
    };
    snapshot.list(&scope).filter(concerned).map(|object| ObjectKey::of(&object.key)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_of_selected_roles_are_united_without_repeats() {
        let role = |name: &str, label: &str, resource: &str| {
            let rule = json!({ "apiGroups": [""], "resources": [resource], "verbs": ["get"] });
            let role = json!({ "metadata": { "name": name, "labels": { "to": label } }, "rules": [rule] });
            serde_json::from_value::<ClusterRole>(role).unwrap()
        };
        let view: ClusterRole = serde_json::from_value(json!({
            "metadata": { "name": "view", "labels": { "to": "view" } },
            "aggregationRule": { "clusterRoleSelectors": [{ "matchLabels": { "to": "view" } }] },
            "rules": [],
        }))
        .unwrap();
        let all = [
            role("a", "view", "pods"),
            role("b", "view", "pods"),
            role("c", "edit", "secrets"),
            role("d", "view", "services"),
        ];
        let resources: Vec<String> =
            plan(&view, &all).unwrap().into_iter().flat_map(|rule| rule.resources.unwrap()).collect();
        assert_eq!(resources, ["pods", "services"]);
        assert_eq!(plan(&all[0], &all), None);
    }
}
