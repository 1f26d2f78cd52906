//! Namespace: its phase, its finalizer, the label with its name.
//!
//! Invariant: a Namespace stays until `spec.finalizers` is empty; only `/finalize` changes that list.
//! Source: https://github.com/kubernetes/kubernetes/blob/master/pkg/registry/core/namespace/strategy.go

use serde_json::{Value, json};

use super::checks::{Causes, add, indexed, text};
use crate::{
    metadata::qualified_name_problems,
    object,
    status::{Cause, Status},
    strategy::{Context, NameRule, Strategy},
};

const FINALIZER: &str = "kubernetes";
const FINALIZERS: &str = "spec.finalizers";
const STANDARD: [&str; 3] = [FINALIZER, "orphan", "foregroundDeletion"];
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

pub struct Namespace;

impl Strategy for Namespace {
    fn prepare_create(&self, _context: Context<'_>, namespace: &mut Value) -> Result<(), Status> {
        namespace["status"] = json!({"phase": "Active"});
        let finalizers = &mut namespace["spec"]["finalizers"];
        if !object::strings(finalizers).contains(&FINALIZER) {
            match finalizers {
                Value::Array(all) => all.push(FINALIZER.into()),
                slot => *slot = json!([FINALIZER]),
            }
        }
        label(namespace);
        Ok(())
    }

    fn prepare_update(&self, context: Context<'_>, namespace: &mut Value, old: &Value) -> Result<(), Status> {
        if context.subresource == "finalize" {
            let asked = namespace["spec"]["finalizers"].clone();
            let revision = namespace["metadata"]["resourceVersion"].clone();
            *namespace = old.clone();
            namespace["metadata"]["resourceVersion"] = revision;
            if asked.is_array() {
                namespace["spec"]["finalizers"] = asked;
            } else {
                object::remove(&mut namespace["spec"], "finalizers");
            }
        } else {
            namespace["spec"] = old["spec"].clone();
        }
        label(namespace);
        Ok(())
    }

    fn validate(&self, _context: Context<'_>, namespace: &Value) -> Causes {
        let mut out = Vec::new();
        for name in object::strings(&namespace["spec"]["finalizers"]) {
            finalizer(&mut out, name, FINALIZERS);
        }
        out
    }

    fn validate_update(&self, context: Context<'_>, namespace: &Value, _old: &Value) -> Causes {
        let mut out = Vec::new();
        match context.subresource {
            "finalize" => {
                for (at, name) in indexed(&namespace["spec"]["finalizers"], FINALIZERS) {
                    finalizer(&mut out, text(name), &at);
                }
            }
            "status" => {
                let (phase, is_or_not) = match namespace["metadata"]["deletionTimestamp"].is_null() {
                    true => ("Active", "is"),
                    false => ("Terminating", "is not"),
                };
                let given = &namespace["status"]["phase"];
                if *given != phase {
                    let why = format!("may only be '{phase}' if `deletionTimestamp` {is_or_not} empty");
                    // So upstream writes the field.
                    out.push(Cause::invalid("status.Phase", text(given), &why));
                }
            }
            _ => {}
        }
        out
    }

    fn name_rule(&self) -> NameRule {
        NameRule::Label
    }

    fn mark_deleting(&self, namespace: &mut Value) {
        namespace["status"]["phase"] = "Terminating".into();
        // Its grace is its content's, and has no number.
        object::remove(&mut namespace["metadata"], "deletionGracePeriodSeconds");
    }

    fn is_held(&self, namespace: &Value) -> bool {
        !object::strings(&namespace["spec"]["finalizers"]).is_empty()
    }
}

fn finalizer(out: &mut Causes, name: &str, path: &str) {
    add(out, path, name, qualified_name_problems(name));
    if !name.contains('/') && !STANDARD.contains(&name) {
        let why = "name is neither a standard finalizer name nor is it fully qualified";
        out.push(Cause::invalid(path, name, why));
    }
}

fn label(namespace: &mut Value) {
    let name = object::name(namespace).to_owned();
    namespace["metadata"]["labels"][NAME_LABEL] = name.into();
}
