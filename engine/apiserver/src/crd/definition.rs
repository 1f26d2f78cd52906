//! The strategy of CustomResourceDefinitions themselves.
//!
//! Kept true: what is accepted can be carried out in full; a definition that is deleted stays until its objects are gone.
//! Source: https://github.com/kubernetes/apiextensions-apiserver/blob/master/pkg/registry/customresourcedefinition/strategy.go
//! and pkg/apis/apiextensions/validation/validation.go

use coracle_schema::unrecognized_formats;
use serde_json::{Value, json};

use super::{names, spec};
use crate::{
    kinds::checks::{immutable, indexed, items, text},
    object::{self, finalizers, metadata_mut},
    status::{Cause, Status, quote},
    strategy::{Context, Strategy},
};

pub const CLEANUP: &str = "customresourcecleanup.apiextensions.k8s.io";
const APPROVED: &str = "api-approved.kubernetes.io";

pub struct Definition;

/// The storage version is among those that objects may be stored in.
fn record_storage(value: &mut Value) {
    let versions = value["spec"]["versions"].as_array();
    let storage = versions.into_iter().flatten().find(|version| version["storage"] == true);
    let Some(name) = storage.map(|version| text(&version["name"]).to_owned()) else { return };
    if !value["status"].is_object() {
        value["status"] = json!({});
    }
    match value["status"]["storedVersions"].as_array_mut() {
        Some(stored) if stored.iter().any(|one| *one == *name) => {}
        Some(stored) => stored.push(name.into()),
        None => value["status"]["storedVersions"] = json!([name]),
    }
}

impl Strategy for Definition {
    fn prepare_create(&self, _context: Context<'_>, value: &mut Value) -> Result<(), Status> {
        value["status"] = json!({
            "acceptedNames": {"plural": "", "kind": ""}, "conditions": null, "storedVersions": null
        });
        record_storage(value);
        Ok(())
    }

    fn prepare_update(&self, context: Context<'_>, value: &mut Value, _old: &Value) -> Result<(), Status> {
        if context.subresource.is_empty() {
            record_storage(value);
        }
        Ok(())
    }

    fn validate(&self, _context: Context<'_>, object: &Value) -> Vec<Cause> {
        let (name, names) = (object::name(object), &object["spec"]["names"]);
        let mut out = Vec::new();
        if !name.is_empty()
            && name != format!("{}.{}", text(&names["plural"]), text(&object["spec"]["group"]))
        {
            let why = "must be spec.names.plural+\".\"+spec.group";
            out.push(Cause::invalid("metadata.name", name, why));
        }
        spec::check(&mut out, &object["spec"], None);
        stored_versions(&mut out, object);
        approval(&mut out, object, None);
        preserves_unknown_fields(&mut out, object);
        out
    }

    fn validate_update(&self, context: Context<'_>, object: &Value, old: &Value) -> Vec<Cause> {
        let mut out = Vec::new();
        if context.subresource == "status" {
            spec::names(&mut out, &object["status"]["acceptedNames"], "status.acceptedNames");
            return out;
        }
        let established = names::is_established(&old["status"]);
        let (now, before) = (&object["spec"], &old["spec"]);
        spec::check(&mut out, now, Some(&spec::Before { spec: before, established }));
        if established {
            immutable(&mut out, &now["scope"], &before["scope"], "spec.scope");
            immutable(&mut out, &now["names"]["kind"], &before["names"]["kind"], "spec.names.kind");
        }
        immutable(&mut out, &now["group"], &before["group"], "spec.group");
        immutable(&mut out, &now["names"]["plural"], &before["names"]["plural"], "spec.names.plural");
        spec::names(&mut out, &object["status"]["acceptedNames"], "status.acceptedNames");
        stored_versions(&mut out, object);
        approval(&mut out, object, Some(old));
        preserves_unknown_fields(&mut out, object);
        out
    }

    /// A format that no stock server knows checks nothing.
    fn warnings(&self, _context: Context<'_>, object: &Value, old: Option<&Value>) -> Vec<String> {
        let formats = |object: &Value| -> Vec<String> {
            let versions = items(&object["spec"]["versions"]).iter();
            versions.flat_map(|version| unrecognized_formats(&version["schema"]["openAPIV3Schema"])).collect()
        };
        let before = old.map(formats).unwrap_or_default();
        let mut new = formats(object);
        new.retain(|format| !before.contains(format));
        // Versions of one schema say it once.
        new.dedup();
        new.iter().map(|format| format!("unrecognized format {}", quote(format))).collect()
    }

    fn mark_deleting(&self, value: &mut Value) {
        let mut all: Vec<String> = finalizers(value).into_iter().map(String::from).collect();
        if all.iter().any(|one| one == CLEANUP) {
            return;
        }
        all.push(CLEANUP.into());
        metadata_mut(value).insert("finalizers".into(), all.into());
        let message = "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon";
        names::set(
            &mut value["status"],
            "Terminating",
            "True",
            "InstanceDeletionPending",
            message,
            &object::now(),
        );
    }

    fn is_held(&self, object: &Value) -> bool {
        finalizers(object).contains(&CLEANUP)
    }
}

/// What objects are stored in is there, and can still be read.
fn stored_versions(out: &mut Vec<Cause>, object: &Value) {
    const AT: &str = "status.storedVersions";
    let stored = &object["status"]["storedVersions"];
    if items(stored).is_empty() {
        return out.push(Cause::invalid(AT, stored.clone(), "must have at least one stored version"));
    }
    let versions = items(&object["spec"]["versions"]);
    for version in versions.iter().filter(|version| version["storage"] == true) {
        if !items(stored).contains(&version["name"]) {
            let why = format!("must have the storage version {}", text(&version["name"]));
            out.push(Cause::invalid(AT, stored.clone(), &why));
        }
    }
    for (at, own) in indexed(stored, AT) {
        if !versions.iter().any(|version| version["name"] == *own) {
            let own = text(own);
            let why = format!(
                "missing from spec.versions; {own} was previously a storage version, and must remain in spec.versions until a storage migration ensures no data remains persisted in {own} and removes {own} from status.storedVersions"
            );
            out.push(Cause::invalid(at, own, &why));
        }
    }
}

/// What the annotation of a group of the community's says.
#[derive(PartialEq)]
enum Approval {
    Missing,
    /// `unapproved…`
    Bypassed,
    /// A URL.
    Approved,
    Invalid,
}

fn approval_of(object: &Value) -> (Approval, &str) {
    let given = text(&object["metadata"]["annotations"][APPROVED]);
    let host =
        |(scheme, rest): (&str, &str)| !scheme.is_empty() && !rest.starts_with('/') && !rest.is_empty();
    let approval = match given {
        "" => Approval::Missing,
        _ if given.starts_with("unapproved") => Approval::Bypassed,
        _ if given.split_once("://").is_some_and(host) => Approval::Approved,
        _ => Approval::Invalid,
    };
    (approval, given)
}

fn approval(out: &mut Vec<Cause>, object: &Value, old: Option<&Value>) {
    const AT: &str = "metadata.annotations[api-approved.kubernetes.io]";
    const SEE: &str = "see https://github.com/kubernetes/enhancements/pull/1111";
    let group = text(&object["spec"]["group"]);
    let protected = ["k8s.io", "kubernetes.io"]
        .iter()
        .any(|own| group == *own || group.strip_suffix(own).is_some_and(|rest| rest.ends_with('.')));
    let (approval, given) = approval_of(object);
    if !protected || old.is_some_and(|old| approval_of(old).0 == approval) {
        return;
    }
    let must = format!("protected groups must have approval annotation \"{APPROVED}\"");
    match approval {
        Approval::Missing => out.push(Cause::required(AT, &format!("{must}, {SEE}"))),
        Approval::Invalid => {
            let why = format!("{must} with either a URL or a reason starting with \"unapproved\", {SEE}");
            out.push(Cause::invalid(AT, given, &why));
        }
        Approval::Bypassed | Approval::Approved => {}
    }
}

fn preserves_unknown_fields(out: &mut Vec<Cause>, object: &Value) {
    if object["spec"]["preserveUnknownFields"] == true {
        let why = "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead";
        out.push(Cause::invalid("spec.preserveUnknownFields", true, why));
    }
}
