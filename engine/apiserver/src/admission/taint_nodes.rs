//! TaintNodesByCondition: a new node gets no pods until its conditions have been looked at.
//!
//! The node lifecycle controller takes the taint away.
//! Source: https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/#taintnodesbycondition

use serde_json::{Value, json};

use super::{Operation, Request};
use crate::status::Status;

pub fn admit(request: &Request<'_>, node: &mut Value) -> Result<(), Status> {
    if request.operation == Operation::Create && request.is("", "nodes") && node.is_object() {
        taint(node);
    }
    Ok(())
}

fn taint(node: &mut Value) {
    let taint = json!({"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"});
    let same = |own: &Value| own["key"] == taint["key"] && own["effect"] == taint["effect"];
    if !node["spec"].is_object() {
        node["spec"] = json!({});
    }
    match &mut node["spec"]["taints"] {
        Value::Array(all) if all.iter().any(same) => {}
        Value::Array(all) => all.push(taint),
        slot => *slot = json!([taint]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_node_is_not_ready_and_keeps_its_own_taints() {
        let not_ready = json!({"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"});
        let own = json!({"key": "gpu", "effect": "NoSchedule"});
        for (before, after) in [
            (json!({}), json!([not_ready])),
            (json!({"spec": {"taints": [own]}}), json!([own, not_ready])),
            (json!({"spec": {"taints": [not_ready]}}), json!([not_ready])),
        ] {
            let mut node = before;
            taint(&mut node);
            assert_eq!(node["spec"]["taints"], after);
        }
    }
}
