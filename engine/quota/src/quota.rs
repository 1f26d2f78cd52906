//! A ResourceQuota: what it limits, of which objects, and whether one more fits.
//!
//! Source: https://github.com/kubernetes/apiserver/blob/master/pkg/admission/plugin/resourcequota/controller.go
//! (`CheckRequest`; its messages)

use coracle_schema::Quantity;
use serde_json::Value;

use crate::{
    Amounts, Charge,
    charge::CLASS_SUFFIX,
    pod,
    scope::{Facts, Scope},
};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quota {
    pub name: String,
    pub hard: Amounts,
    scopes: Vec<Scope>,
}

/// The resource, by its name in the store, whose objects are charged under `limited`; nothing for names without meaning.
pub fn resource_of(limited: &str) -> Option<&str> {
    if let Some(resource) = limited.strip_prefix("count/") {
        return Some(resource);
    }
    match limited {
        "configmaps" | "secrets" | "replicationcontrollers" | "resourcequotas" => Some(limited),
        "services" | "services.loadbalancers" | "services.nodeports" => Some("services"),
        "persistentvolumeclaims" | "requests.storage" => Some("persistentvolumeclaims"),
        "pods" | "cpu" | "memory" | "ephemeral-storage" => Some("pods"),
        "limits.cpu" | "limits.memory" | "limits.ephemeral-storage" => Some("pods"),
        "requests.cpu" | "requests.memory" | "requests.ephemeral-storage" => Some("pods"),
        _ if limited.contains(CLASS_SUFFIX) => Some("persistentvolumeclaims"),
        _ if limited.starts_with("hugepages-") || limited.starts_with("requests.hugepages-") => Some("pods"),
        _ => {
            let extended = limited.strip_prefix("requests.").is_some_and(pod::is_extended);
            extended.then_some("pods")
        }
    }
}

impl Quota {
    pub fn of(object: &Value) -> Quota {
        Quota {
            name: object["metadata"]["name"].as_str().unwrap_or_default().to_owned(),
            hard: Amounts::of(&object["spec"]["hard"]),
            scopes: Scope::all_of(&object["spec"]),
        }
    }

    /// The resources whose objects it counts.
    pub fn resources(&self) -> Vec<&str> {
        let mut resources: Vec<&str> = self.hard.names().filter_map(resource_of).collect();
        resources.sort_unstable();
        resources.dedup();
        resources
    }

    /// Whether an object with these facts is its business.
    pub(crate) fn covers(&self, facts: &Facts) -> bool {
        self.scopes.iter().all(|scope| scope.covers(facts))
    }

    /// Zero of everything that it tracks.
    pub fn nothing_used(&self) -> Amounts {
        let tracked = self.hard.names().filter(|name| resource_of(name).is_some());
        tracked.map(|name| (name.to_owned(), Quantity::ZERO)).collect()
    }

    /// Why `object`, which adds `growth` to what is `used`, may not be written.
    pub fn refusal(
        &self,
        resource: &str,
        object: &Value,
        charge: &Charge,
        growth: &Amounts,
        used: &Amounts,
    ) -> Option<String> {
        let limited: Vec<&str> =
            self.hard.names().filter(|name| resource_of(name) == Some(resource)).collect();
        if limited.is_empty() || !self.covers(&charge.facts) {
            return None;
        }
        if charge.facts.is_pod
            && let Some(missing) = pod::unspecified(object, &limited)
        {
            return Some(format!("failed quota: {}: {missing}", self.name));
        }
        let of = |amounts: &Amounts, name: &str| amounts.get(name).unwrap_or_default();
        let exceeds = |name: &str| {
            self.hard.get(name).is_some_and(|hard| of(used, name) + of(growth, name) > hard)
                && growth.get(name).is_some()
        };
        let requested = growth.only(exceeds);
        if requested.is_empty() {
            return None;
        }
        let used: Amounts = requested.names().map(|name| (name.to_owned(), of(used, name))).collect();
        let hard = self.hard.only(exceeds);
        Some(format!("exceeded quota: {}, requested: {requested}, used: {used}, limited: {hard}", self.name))
    }
}
