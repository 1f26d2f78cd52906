//! Fills ClusterRoles that have an `aggregationRule` with the rules of those that it selects.
//!
//! Reads:     ClusterRoles.
//! Writes:    ClusterRole `rules`.
//! Source:    https://kubernetes.io/docs/reference/access-authn-authz/rbac/#aggregated-clusterroles

use std::sync::Arc;

use coracle_client::selector::Selector;
use coracle_store::Reader;
use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule};
use kube::{
    Api, Client,
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

pub struct ClusterRoleAggregationController {
    reader: Reader,
    client: Client,
}

impl ClusterRoleAggregationController {
    pub fn new(reader: Reader, client: Client) -> ClusterRoleAggregationController {
        ClusterRoleAggregationController { reader, client }
    }
}

/// The rules of all selected roles, in the order of the roles' names, each once. `None`: nothing is aggregated.
fn plan(role: &ClusterRole, all: &[Arc<ClusterRole>]) -> Option<Vec<PolicyRule>> {
    let selectors = role.aggregation_rule.as_ref()?.cluster_role_selectors.as_ref()?;
    let selectors: Vec<Selector> = selectors.iter().filter_map(|it| Selector::compile(it).ok()).collect();
    let mut rules: Vec<PolicyRule> = Vec::new();
    for selector in &selectors {
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
        let aggregating = move |_: &coracle_store::Event| {
            let snapshot = reader.snapshot();
            let aggregates = |object: &&Arc<coracle_store::Object>| {
                object.decode::<ClusterRole>().is_ok_and(|role| role.aggregation_rule.is_some())
            };
            snapshot
                .list(&read::scope(RESOURCE, None))
                .filter(aggregates)
                .map(|it| ObjectKey::of(&it.key))
                .collect()
        };
        vec![Source::new(RESOURCE, aggregating)]
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Requeue, ControllerError> {
        let Some(role) = read::get::<ClusterRole>(&self.reader, RESOURCE, "ClusterRole", key)? else {
            return Ok(Requeue::OnChange);
        };
        let all =
            read::list::<ClusterRole>(&self.reader.snapshot(), RESOURCE, "ClusterRole", None, |_| true)?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_of_selected_roles_are_united_without_repeats() {
        let role = |name: &str, label: &str, resource: &str| {
            let rule = json!({ "apiGroups": [""], "resources": [resource], "verbs": ["get"] });
            let role = json!({ "metadata": { "name": name, "labels": { "to": label } }, "rules": [rule] });
            Arc::new(serde_json::from_value::<ClusterRole>(role).unwrap())
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
