//! Server-side apply: a PATCH whose body is all that one manager wants of an object.
//!
//! Writes: one object, made when it is absent. Invariant: another manager's field is only changed by force.
//! Source: https://github.com/kubernetes/apiserver/blob/master/pkg/endpoints/handlers/patch.go (`applyPatcher`)

use std::sync::Arc;

use coracle_schema::{
    ApplyError, Author, GroupVersionKind, Managers, Operation, Schema, Syntax, Write, conflict_message,
    parse_json, parse_yaml, whole_numbers,
};
use serde_json::{Map, Value};

use super::{
    Outcome, Target, WriteOptions, create, kept,
    update::{Changed, modify},
};
use crate::{
    authz::Attributes,
    decode::yaml_error,
    managed_fields::{self, OtherVersions},
    metadata::validate_annotations,
    object,
    options::FieldValidation,
    registry::api_version,
    status::{Cause, Status, StatusDetails},
    types::{State, UserInfo},
};

/// The body: YAML, and so JSON too, which nearly all clients send and which is tried first.
pub fn parse(bytes: &[u8]) -> Result<(Value, Syntax), Status> {
    let parsed = parse_json(bytes).or_else(|_| parse_yaml(bytes));
    let (mut config, syntax) =
        parsed.map_err(|error| Status::bad_request(format!("error decoding YAML: {error}")))?;
    whole_numbers(&mut config);
    if config.is_object() {
        Ok((config, syntax.as_yaml(bytes)))
    } else {
        Err(Status::bad_request("error decoding YAML: not an object"))
    }
}

pub async fn apply(
    state: &State,
    user: &UserInfo,
    target: &Target,
    config: Value,
    doubled: &[String],
    options: &WriteOptions,
) -> Result<Outcome, Status> {
    let config = prepare(target, config)?;
    if let (FieldValidation::Strict, Some(error)) = (options.field_validation, yaml_error(doubled)) {
        return Err(Status::bad_request(format!(
            "error strict decoding YAML: error converting YAML to JSON: {error}"
        )));
    }
    let mut outcome = apply_config(state, user, target, config, options).await?;
    if options.field_validation == FieldValidation::Warn {
        outcome.warnings.splice(..0, doubled.iter().cloned());
    }
    Ok(outcome)
}

async fn apply_config(
    state: &State,
    user: &UserInfo,
    target: &Target,
    config: Value,
    options: &WriteOptions,
) -> Result<Outcome, Status> {
    if state.reader.get(&target.key()).is_none() {
        if !target.subresource.is_empty() {
            return Err(target.not_found());
        }
        may_create(state, user, target)?;
        let uid = object::meta_str(&config, "uid");
        if !uid.is_empty() {
            let why = format!(
                "uid mismatch: the provided object specified uid {uid}, and no existing object was found"
            );
            return Err(Status::conflict(target.served.group_resource(), &target.name, &why));
        }
        let empty = Value::Object(Map::new());
        let (mut value, managers) = merge(state, target, user, &empty, &config, options).await?;
        object::metadata_mut(&mut value).insert("name".into(), target.name.clone().into());
        match create::create_managed(state, user, target, value, options, Some(managers)).await {
            Err(status) if status.reason == "AlreadyExists" && !options.dry_run => {}
            result => return result,
        }
    }
    let config = Arc::new(config);
    modify(state, user, target, options, |_| Ok(Changed::Applied(config.clone()))).await
}

/// Creating by applying takes the right to create.
fn may_create(state: &State, user: &UserInfo, target: &Target) -> Result<(), Status> {
    let gvk = &target.served.api.gvk;
    state.authorizer.require(
        user,
        &Attributes {
            verb: "create".into(),
            group: gvk.group.to_string(),
            version: gvk.version.to_string(),
            resource: target.served.api.plural.to_string(),
            subresource: String::new(),
            namespace: target.namespace.clone(),
            name: target.name.clone(),
            ..Attributes::default()
        },
    )
}

/// Refuses what cannot be applied; leaves out what this request may not set.
fn prepare(target: &Target, mut config: Value) -> Result<Value, Status> {
    let served = &target.served;
    let schema = served.schema.as_ref().ok_or_else(Status::unknown_path)?;
    fit(schema, &served.api.gvk, target, &mut config)?;
    if target.subresource == "status" {
        if let Some(fields) = config.as_object_mut() {
            fields.retain(|field, _| matches!(field.as_str(), "kind" | "apiVersion" | "metadata" | "status"));
        }
        kept::drop_unowned(served, object::metadata_mut(&mut config));
    } else if served.status_is_apart() {
        object::remove(&mut config, "status");
    }
    Ok(config)
}

/// A configuration of the kind under the name of the URL, without managers of its own.
pub fn fit(
    schema: &Schema,
    kind: &GroupVersionKind,
    target: &Target,
    config: &mut Value,
) -> Result<(), Status> {
    if config["metadata"][ENTRIES].is_array() {
        return Err(Status::bad_request("metadata.managedFields must be nil"));
    }
    let (version, expected) =
        (config["apiVersion"].as_str().unwrap_or_default(), api_version(&kind.group, &kind.version));
    if version != expected {
        return Err(Status::bad_request(format!(
            "Incorrect version specified in apply patch. Specified patch version: {version}, expected: {expected}"
        )));
    }
    if config["kind"] != *kind.kind {
        return Err(Status::bad_request(format!(
            "the kind of the applied object ({}) is not the expected one ({})",
            config["kind"].as_str().unwrap_or_default(),
            kind.kind
        )));
    }
    let name = object::name(config);
    if !name.is_empty() && name != target.name {
        return Err(Status::bad_request(format!(
            "the name of the object ({name}) does not match the name on the URL ({})",
            target.name
        )));
    }
    let untyped = |why: String| untyped(kind, target, &why);
    if let Some(why) = schema.type_problem(config) {
        return Err(untyped(why));
    }
    let issues = schema.prune_config(config).map_err(|error| untyped(error.to_string()))?;
    if let Some(coracle_schema::FieldIssue::Unknown { path }) = issues.first() {
        return Err(untyped(format!(".{path}: field not declared in schema")));
    }
    object::metadata_mut(config).shift_remove(ENTRIES);
    Ok(())
}

const ENTRIES: &str = "managedFields";

/// What was sent is no configuration of the type.
fn untyped(kind: &GroupVersionKind, target: &Target, why: &str) -> Status {
    let (namespace, name, kind) = (&target.namespace, &target.name, kind.printed());
    let text = format!("failed to create typed patch object ({namespace}/{name}; {kind}): {why}");
    Status::new(500, "", text)
}

/// `live` with the configuration merged in, and its managers then.
pub(super) async fn merge(
    state: &State,
    target: &Target,
    user: &UserInfo,
    live: &Value,
    config: &Value,
    options: &WriteOptions,
) -> Result<(Value, Managers), Status> {
    let schema = target.served.schema.as_ref().ok_or_else(Status::unknown_path)?;
    let managers = Managers::read(&live["metadata"][ENTRIES]).unwrap_or_default();
    let api_version = target.served.api_version();
    let author = Author {
        manager: managed_fields::manager_name(options, user),
        operation: Operation::Apply,
        api_version: &api_version,
        subresource: &target.subresource,
    };
    let versions = OtherVersions { state, served: &target.served };
    let write = Write { author, now: &object::now(), versions: &versions };
    let merged = schema.apply(live, config, managers, write, options.force).await;
    let (mut value, managers) = merged.map_err(|error| match error {
        ApplyError::Invalid(text) => untyped(&target.served.api.gvk, target, &text),
        ApplyError::Conversion(text) => Status::new(500, "", text),
        ApplyError::Conflicts(conflicts) => {
            let causes = conflicts
                .iter()
                .map(|conflict| Cause {
                    reason: "FieldManagerConflict".into(),
                    message: format!("conflict with {}", conflict.manager),
                    field: conflict.path.clone(),
                })
                .collect();
            Status::new(409, "Conflict", conflict_message(&conflicts))
                .with_details(StatusDetails { causes, ..StatusDetails::default() })
        }
    })?;
    if author.manager == "kubectl" {
        renew_last_applied(&mut value, config);
    }
    Ok((value, managers))
}

const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Who applies with kubectl from the server's side may go back: what kubectl noted on the client's side stays true. Only
/// where it noted something.
/// Source: https://github.com/kubernetes/apimachinery/blob/master/pkg/util/managedfields/internal/lastappliedupdater.go
fn renew_last_applied(value: &mut Value, config: &Value) {
    fn annotations(object: &mut Value) -> Option<&mut Map<String, Value>> {
        object.pointer_mut("/metadata/annotations")?.as_object_mut()
    }
    let noted = annotations(value).and_then(|all| all.get_mut(LAST_APPLIED));
    let Some(noted) = noted.filter(|noted| **noted != "") else { return };
    let mut config = config.clone();
    if let Some(own) = annotations(&mut config) {
        own.shift_remove(LAST_APPLIED);
    }
    config.sort_all_objects();
    // As Go writes JSON.
    let text = format!("{config}\n").replace('&', "\\u0026").replace('<', "\\u003c").replace('>', "\\u003e");
    *noted = text.into();
    let too_long = !validate_annotations(&value["metadata"]["annotations"], "").is_empty();
    if too_long && let Some(all) = annotations(value) {
        all.shift_remove(LAST_APPLIED);
    }
}
