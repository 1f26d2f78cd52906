//! ServiceAccount, after all changes: which Secrets a pod may name. That of a node's own pod names none, and no account.
//!
//! Source: https://github.com/kubernetes/kubernetes/blob/master/plugin/pkg/admission/serviceaccount/admission.go
//! (`limitSecretReferences`)

use serde_json::Value;

use super::{Operation, Request, node_restriction::mirror_pod, service_account};
use crate::{
    authz::node::REFERENCES,
    kinds::checks::{is_set, items, text},
    options::parse_bool,
    status::Status,
};

/// On an account: its pods name no Secrets but those that it lists.
const ENFORCE: &str = "kubernetes.io/enforce-mountable-secrets";

pub fn validate(request: &Request<'_>, object: Option<&Value>) -> Result<(), Status> {
    let created = request.operation == Operation::Create && request.is("", "pods");
    let Some(pod) = object.filter(|pod| created && pod["spec"].is_object()) else { return Ok(()) };
    let problem = if service_account::is_mirror(pod) {
        mirror_problem(&pod["spec"])
    } else {
        let account = service_account::find(request, text(&pod["spec"]["serviceAccountName"]), pod)?;
        enforced(&account).then(|| foreign_secret(&pod["spec"], &account)).flatten()
    };
    problem.map_or(Ok(()), |why| Err(request.forbid(pod, why)))
}

fn enforced(account: &Value) -> bool {
    parse_bool(text(&account["metadata"]["annotations"][ENFORCE]))
}

fn mirror_problem(spec: &Value) -> Option<String> {
    let volumes = items(&spec["volumes"]).iter();
    let mut sources = volumes.flat_map(|volume| items(&volume["projected"]["sources"]));
    let secrets =
        REFERENCES.iter().any(|(what, fields)| *what == "secrets" && mirror_pod::mentions(spec, fields));
    let what = match () {
        () if !text(&spec["serviceAccountName"]).is_empty() => "reference service accounts",
        () if secrets => "reference secrets",
        () if sources.any(|source| is_set(&source["serviceAccountToken"])) => {
            "use ServiceAccountToken volume projections"
        }
        () => return None,
    };
    Some(format!("a mirror pod may not {what}"))
}

/// The first Secret that the pod names and its account does not.
fn foreign_secret(spec: &Value, account: &Value) -> Option<String> {
    let own = text(&account["metadata"]["name"]);
    let lists = |list: &str, name: &str| items(&account[list]).iter().any(|item| item["name"] == name);
    let denied = |what: String| {
        Some(format!("{what} is not allowed because service account {own} does not reference that secret"))
    };
    let foreign = |reference: &Value, field: &str| {
        let name = text(&reference[field]);
        (reference.is_object() && !lists("secrets", name)).then(|| name.to_owned())
    };
    for volume in items(&spec["volumes"]) {
        if let Some(name) = foreign(&volume["secret"], "secretName") {
            return denied(format!("volume with secret.secretName=\"{name}\""));
        }
    }
    for (list, what) in [("initContainers", "init container"), ("containers", "container")] {
        for container in items(&spec[list]) {
            let who = format!("{what} {}", text(&container["name"]));
            for env in items(&container["env"]) {
                if let Some(name) = foreign(&env["valueFrom"]["secretKeyRef"], "name") {
                    let variable = text(&env["name"]);
                    return denied(format!(
                        "{who} with envVar {variable} referencing secret.secretName=\"{name}\""
                    ));
                }
            }
            for source in items(&container["envFrom"]) {
                if let Some(name) = foreign(&source["secretRef"], "name") {
                    return denied(format!("{who} with envFrom referencing secret.secretName=\"{name}\""));
                }
            }
        }
    }
    items(&spec["imagePullSecrets"]).iter().enumerate().find_map(|(index, secret)| {
        let name = text(&secret["name"]);
        (!lists("imagePullSecrets", name)).then(|| {
            format!(
                "imagePullSecrets[{index}].name=\"{name}\" is not allowed because service account {own} does not reference that imagePullSecret"
            )
        })
    })
}
