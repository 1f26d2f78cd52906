//! `metadata.managedFields` of writes that are not server-side apply: who changed what.
//!
//! Kept true: objects are tracked from their creation; a write that changes nothing changes no entry. Clients may
//! replace the entries of an object (not through a subresource) and reset them; entries that make no sense are ignored.
//! Source: https://github.com/kubernetes/apimachinery/tree/master/pkg/util/managedfields/internal

use std::sync::Arc;

use coracle_schema::{Author, Converted, Managers, Operation, Schema, Versions, Write};
use serde_json::Value;

use crate::{
    conversion, object,
    options::WriteOptions,
    registry::Served,
    types::{State, UserInfo},
    verbs::Target,
};

const FIELD: &str = "managedFields";

/// The name in `fieldManager`, or the start of the User-Agent; clients of this process have neither.
pub fn manager_name<'a>(options: &'a WriteOptions, user: &'a UserInfo) -> &'a str {
    if !options.field_manager.is_empty() {
        return &options.field_manager;
    }
    match options.user_agent.split('/').next().unwrap_or_default() {
        "" => component(&user.name),
        agent => agent,
    }
}

/// What a stock cluster calls the program behind a user.
fn component(user: &str) -> &str {
    match user {
        "system:apiserver" => "kube-apiserver",
        "system:admin" => "coracle",
        _ if user.starts_with("system:node:") => "kubelet",
        _ if user.starts_with("system:serviceaccount:kube-system:") => "kube-controller-manager",
        _ => user.strip_prefix("system:").unwrap_or("unknown"),
    }
}

/// The versions of a resource, as managers wrote it.
pub struct OtherVersions<'a> {
    pub state: &'a State,
    pub served: &'a Served,
}

impl OtherVersions<'_> {
    fn find(&self, api_version: &str) -> Option<Arc<Served>> {
        self.state.resources.version(self.served, api_version)
    }
}

impl Versions for OtherVersions<'_> {
    fn schema(&self, api_version: &str) -> Option<Schema> {
        self.find(api_version)?.schema.clone()
    }

    fn convert<'a>(&'a self, object: &'a Value, api_version: &'a str) -> Converted<'a> {
        Box::pin(async move {
            let own = object["apiVersion"].as_str().unwrap_or_default();
            let missing = || format!("no version {own} or {api_version}");
            let (from, to) = self.find(own).zip(self.find(api_version)).ok_or_else(missing)?;
            let mut object = object.clone();
            object::metadata_mut(&mut object).shift_remove(FIELD);
            conversion::bare(&from, &to, object).await.map_err(|status| status.message)
        })
    }
}

/// The entries of a new object.
pub async fn created(
    state: &State,
    target: &Target,
    user: &UserInfo,
    options: &WriteOptions,
    value: &mut Value,
) {
    // A status that came along was reset: it is nobody's.
    let status = if target.served.status_is_apart() { object::remove(value, "status") } else { None };
    track(state, target, user, options, value, None, Managers::default()).await;
    if let Some(status) = status {
        value["status"] = status;
    }
}

/// The entries after `old` became `value`, whose own entries are what the client sent.
pub async fn updated(
    state: &State,
    target: &Target,
    user: &UserInfo,
    options: &WriteOptions,
    value: &mut Value,
    old: &Value,
) {
    let sent = object::metadata_mut(value).shift_remove(FIELD).unwrap_or_default();
    let kept = &old["metadata"][FIELD];
    if target.subresource == "binding" {
        // The server's own change: nobody's.
        if !kept.is_null() {
            object::metadata_mut(value).insert(FIELD.into(), kept.clone());
        }
        return;
    }
    let of_object = target.subresource.is_empty();
    if of_object && Managers::is_reset(&sent) {
        return;
    }
    let sent = if of_object { Managers::read(&sent) } else { None };
    let managers = sent.filter(|managers| !managers.is_empty()).or_else(|| Managers::read(kept));
    if let Some(managers) = managers.filter(|managers| !managers.is_empty()) {
        track(state, target, user, options, value, Some(old), managers).await;
    }
}

async fn track(
    state: &State,
    target: &Target,
    user: &UserInfo,
    options: &WriteOptions,
    value: &mut Value,
    old: Option<&Value>,
    managers: Managers,
) {
    let Some(schema) = &target.served.schema else { return };
    let api_version = target.served.api_version();
    let author = Author {
        manager: manager_name(options, user),
        operation: Operation::Update,
        api_version: &api_version,
        subresource: &target.subresource,
    };
    let versions = OtherVersions { state, served: &target.served };
    let write = Write { author, now: &object::now(), versions: &versions };
    match schema.managed_update(old, value, managers, write).await {
        Ok(managers) => put(value, &managers),
        // Nobody can tell what of it is whose now: as it was is the best guess, and the write goes on.
        Err(error) => {
            tracing::warn!(%error, "managed fields cannot be compared in the version of their manager");
            if let Some(kept) = old.and_then(|old| old["metadata"].get(FIELD)) {
                object::metadata_mut(value).insert(FIELD.into(), kept.clone());
            }
        }
    }
}

pub fn put(value: &mut Value, managers: &Managers) {
    let metadata = object::metadata_mut(value);
    match managers.to_value() {
        Some(entries) => metadata.insert(FIELD.into(), entries),
        None => metadata.shift_remove(FIELD),
    };
}
