//! DefaultTolerationSeconds: pods stay for five minutes on a node that became unreachable or not ready.
//!
//! Source: https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/#defaulttolerationseconds

use serde_json::{Value, json};

use super::{Operation, Request};
use crate::status::Status;

const SECONDS: i64 = 300;
const TAINTS: [&str; 2] = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"];

pub fn admit(request: &Request<'_>, pod: &mut Value) -> Result<(), Status> {
    if request.operation != Operation::Create || !request.is("", "pods") || !pod["spec"].is_object() {
        return Ok(());
    }
    for taint in TAINTS {
        let own = pod["spec"]["tolerations"].as_array();
        if own.into_iter().flatten().any(|toleration| tolerates(toleration, taint)) {
            continue;
        }
        let toleration =
            json!({"key": taint, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": SECONDS});
        match &mut pod["spec"]["tolerations"] {
            Value::Array(all) => all.push(toleration),
            slot => *slot = json!([toleration]),
        }
    }
    Ok(())
}

fn tolerates(toleration: &Value, taint: &str) -> bool {
    let text = |field: &str| toleration[field].as_str().unwrap_or_default();
    (text("key") == taint || text("key").is_empty()) && matches!(text("effect"), "NoExecute" | "")
}
