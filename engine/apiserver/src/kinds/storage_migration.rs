//! StorageVersionMigrations: what is migrated never changes, and a migration ends once.
//!
//! Source: https://github.com/kubernetes/kubernetes/blob/master/pkg/apis/storagemigration/validation/validation.go

use serde_json::Value;

use super::{
    checks::{Causes, IMMUTABLE, NON_NEGATIVE, items, text},
    conditions,
};
use crate::{
    status::Cause,
    strategy::{Context, Strategy},
};

const CONDITIONS: &str = "status.conditions";
const REVISION: &str = "status.resourceVersion";

pub struct Migration;

impl Strategy for Migration {
    fn validate(&self, _context: Context<'_>, object: &Value) -> Causes {
        spec(object)
    }

    fn validate_update(&self, context: Context<'_>, object: &Value, old: &Value) -> Causes {
        if context.subresource == "status" {
            return status(object, old);
        }
        let mut out = spec(object);
        out.extend(unchanged(object, old));
        out
    }
}

fn spec(object: &Value) -> Causes {
    match text(&object["spec"]["resource"]["resource"]) {
        "" => vec![Cause::required("spec.resource.resource", "resource is required")],
        _ => Vec::new(),
    }
}

/// The paths are those that the stock server names.
fn unchanged(object: &Value, old: &Value) -> Causes {
    let (new, old) = (&object["spec"]["resource"], &old["spec"]["resource"]);
    let changed = ["group", "resource"].into_iter().filter(|field| text(&new[*field]) != text(&old[*field]));
    changed.map(|field| Cause::invalid(field, text(&new[field]), IMMUTABLE)).collect()
}

fn status(object: &Value, old: &Value) -> Causes {
    let mut out =
        revision(text(&object["status"]["resourceVersion"]), text(&old["status"]["resourceVersion"]));
    conditions(&mut out, &object["status"]["conditions"], CONDITIONS);
    let holds = |of: &Value, kind: &str| {
        let all = items(&of["status"]["conditions"]);
        all.iter().any(|condition| condition["type"] == kind && condition["status"] == "True")
    };
    let [succeeded, failed, running] = ["Succeeded", "Failed", "Running"].map(|kind| holds(object, kind));
    let rules = [
        (succeeded && failed, "Both success and failed conditions cannot be true at the same time"),
        (succeeded && running, "Running condition cannot be true when success condition is true"),
        (failed && running, "Running condition cannot be true when failed condition is true"),
        (holds(old, "Succeeded") && !succeeded, "Success condition cannot be set to false once it is true"),
        (holds(old, "Failed") && !failed, "Failed condition cannot be set to false once it is true"),
    ];
    let broken = rules.into_iter().filter(|(broken, _)| *broken);
    out.extend(
        broken.map(|(_, why)| Cause::invalid(CONDITIONS, object["status"]["conditions"].clone(), why)),
    );
    out
}

fn revision(new: &str, old: &str) -> Causes {
    let mut out = Vec::new();
    match new.parse::<i64>() {
        _ if new.is_empty() => {}
        Err(_) => {
            let why = format!(
                "failed to parse resource version {new:?}: strconv.ParseInt: parsing {new:?}: invalid syntax"
            );
            out.push(Cause::invalid(REVISION, new, &why));
        }
        Ok(number) if number < 0 => out.push(Cause::invalid(REVISION, number, NON_NEGATIVE)),
        Ok(_) => {}
    }
    if !old.is_empty() && new != old {
        out.push(Cause::invalid(REVISION, new, "cannot be updated"));
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{super::checks::assert_cases, *};

    #[test]
    fn a_migration_names_its_resource_and_keeps_it() {
        let base = json!({"spec": {"resource": {"group": "example.com", "resource": "widgets"}}});
        assert_cases(
            base.clone(),
            |object| [spec(object), unchanged(object, &base)].concat(),
            &[
                (
                    json!({"spec": {"resource": {"resource": "others"}}}),
                    &["resource: Invalid value: \"others\": field is immutable"],
                ),
                (
                    json!({"spec": {"resource": {"group": null, "resource": null}}}),
                    &[
                        "spec.resource.resource: Required value: resource is required",
                        "group: Invalid value: \"\": field is immutable",
                        "resource: Invalid value: \"\": field is immutable",
                    ],
                ),
            ],
        );
    }

    #[test]
    fn a_migration_ends_once() {
        let condition = |kind: &str, status: &str| json!({"type": kind, "status": status, "reason": "R", "lastTransitionTime": "2026-01-01T00:00:00Z"});
        let done =
            json!({"status": {"resourceVersion": "5", "conditions": [condition("Succeeded", "True")]}});
        let texts = |new: Value| -> Vec<String> {
            status(&new, &done).iter().map(|cause| cause.to_string()).collect()
        };
        assert_eq!(texts(done.clone()), [""; 0]);
        let both = json!([
            condition("Succeeded", "True"),
            condition("Failed", "True"),
            condition("Running", "True")
        ]);
        let changed = texts(json!({"status": {"resourceVersion": "6", "conditions": both}}));
        assert_eq!(changed.len(), 4, "{changed:?}");
        assert_eq!(changed[0], "status.resourceVersion: Invalid value: \"6\": cannot be updated");
        let undone = texts(json!({"status": {"resourceVersion": "5", "conditions": []}}));
        assert!(
            undone[0].ends_with("Success condition cannot be set to false once it is true"),
            "{undone:?}"
        );
        let bare = texts(
            json!({"status": {"resourceVersion": "5", "conditions": [condition("Succeeded", "True"), {"type": "X", "status": "On"}]}}),
        );
        assert_eq!(
            bare,
            [
                "status.conditions[1].status: Unsupported value: \"On\": supported values: \"False\", \"True\", \"Unknown\"",
                "status.conditions[1].lastTransitionTime: Required value",
                "status.conditions[1].reason: Required value",
            ]
        );
    }
}
