//! Role, ClusterRole, RoleBinding, ClusterRoleBinding: names may be any path segment; nobody grants what he does not hold.
//!
//! Source: https://kubernetes.io/docs/reference/access-authn-authz/rbac/#privilege-escalation-prevention-and-bootstrapping

use crate::strategy::{NameRule, Strategy};

pub struct Rbac;

impl Strategy for Rbac {
    fn name_rule(&self) -> NameRule {
        NameRule::PathSegment
    }
}
