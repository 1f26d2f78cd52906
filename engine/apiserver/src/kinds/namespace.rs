//! Namespace: its phase, its finalizer, the label with its name.
//!
//! Invariant: a Namespace stays until `spec.finalizers` is empty; only `/finalize` changes that list.
//! Source: https://github.com/kubernetes/kubernetes/blob/master/pkg/registry/core/namespace/strategy.go

use serde_json::{Value, json};

use crate::{
    object,
    status::Status,
    strategy::{Context, NameRule, Strategy},
};

const FINALIZER: &str = "kubernetes";
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

fn label(namespace: &mut Value) {
    let name = object::name(namespace).to_owned();
    namespace["metadata"]["labels"][NAME_LABEL] = name.into();
}
