//! Who may write which part of a claim's status: the scheduler binds, each driver speaks of its own devices.
//!
//! Source: https://kubernetes.io/docs/concepts/security/hardening-guide/dynamic-resource-allocation/

use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    super::checks::{Causes, items, same, text},
    allocation::device_id,
};
use crate::{authz::Attributes, status::Cause, strategy::Context};

/// What the user lacks for the change from the status of `old` to that of `new`.
pub fn missing(new: &Value, old: &Value, context: Context<'_>) -> Causes {
    let (status, before) = (&new["status"], &old["status"]);
    let verb = if context.patches { "patch" } else { "update" };
    let refusal = |verb: &str, subresource: &str, namespace: &str, name: &str| {
        let right = Attributes {
            verb: verb.into(),
            group: context.served.api.gvk.group.to_string(),
            version: context.served.api.gvk.version.to_string(),
            resource: context.served.api.plural.to_string(),
            subresource: subresource.into(),
            namespace: namespace.into(),
            name: name.into(),
            ..Attributes::default()
        };
        context.state.authorizer.require(context.user, &right).err()
    };
    let mut out = Vec::new();
    let binds = ["allocation", "reservedFor"].iter().any(|field| !same(&status[*field], &before[*field]));
    if binds && let Some(error) = refusal(verb, "binding", "", "") {
        let right = format!("resource=\"resourceclaims/binding\", verb=\"{verb}\" permission: {error}");
        let why = format!("changing status.allocation or status.reservedFor requires {right}");
        out.push(Cause::forbidden("status", &why));
    }
    let mut verbs = vec![format!("arbitrary-node:{verb}")];
    let runs_on = |node| {
        context.user.name.starts_with("system:serviceaccount:") && context.user.node_name() == Some(node)
    };
    if node(&status["allocation"]["nodeSelector"]).is_some_and(runs_on) {
        verbs.insert(0, format!("associated-node:{verb}"));
    }
    for driver in drivers(&status["devices"], &before["devices"]) {
        let refusals = verbs.iter().map(|verb| refusal(verb, "driver", context.namespace, driver));
        if let Some(Some(error)) = refusals.reduce(|first, next| next.and(first)) {
            let verbs = verbs.join(" ");
            let right = format!("resource=\"resourceclaims/driver\", verb=\"[{verbs}]\" permission: {error}");
            out.push(Cause::forbidden(
                "status.devices",
                &format!("changing status.devices requires {right}"),
            ));
        }
    }
    out
}

/// The drivers of devices of which something else is said now.
fn drivers<'a>(new: &'a Value, old: &'a Value) -> BTreeSet<&'a str> {
    let differ = |these: &'a Value, those: &'a Value| {
        items(these).iter().filter(move |one| {
            let id = device_id(one);
            !items(those).iter().any(|other| device_id(other) == id && same(one, other))
        })
    };
    differ(new, old).chain(differ(old, new)).map(|device| text(&device["driver"])).collect()
}

/// The one node that the selector of an allocation names.
fn node(selector: &Value) -> Option<&str> {
    let [term] = items(&selector["nodeSelectorTerms"]) else { return None };
    let [field] = items(&term["matchFields"]) else { return None };
    let [value] = items(&field["values"]) else { return None };
    let named = field["key"] == "metadata.name" && field["operator"] == "In";
    value.as_str().filter(|_| named && items(&term["matchExpressions"]).is_empty())
}
