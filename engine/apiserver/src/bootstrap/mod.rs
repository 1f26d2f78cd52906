//! The objects that every cluster has from its first second: namespaces, default roles and bindings, priority classes,
//! the Service `default/kubernetes`, the range of Services' addresses, the ingress class.
//!
//! Kept true: at each start, what is missing is created and what [`reconcile`] finds wanting is restored ([`upkeep`]);
//!            what an owner added stays. An object annotated `rbac.authorization.kubernetes.io/autoupdate: "false"` is left alone.
//! Reads:     the text tables beside this file. Writes: nothing (the caller does, through the API's own verbs).
//! Source:    https://kubernetes.io/docs/reference/access-authn-authz/rbac/#auto-reconciliation

mod cluster;
pub mod flow_control;
mod reconcile;
mod roles;
#[cfg(test)]
mod tests;
pub mod upkeep;

use serde_json::Value;

use self::reconcile::reconcile;
use crate::Config;

/// In the order in which they must be created: namespaces first, roles before their bindings.
pub fn objects(config: &Config) -> Vec<Value> {
    let mut objects = cluster::namespaces();
    objects.extend(roles::objects());
    objects.extend(cluster::priority_classes());
    objects.extend(flow_control::objects());
    objects.push(cluster::ingress_class());
    objects.push(cluster::service_cidr(config));
    objects.extend(cluster::kubernetes_service(config));
    objects
}

/// The ClusterRoles alone, as the authorizer's tests want them.
#[cfg(test)]
pub fn role_objects() -> Vec<Value> {
    roles::objects()
}
