//! The verbs, each once for all kinds: create, get, list, watch, update, patch, delete, deletecollection.
//!
//! Reads and writes: the store, through [`State`]. Invariant: every write is one commit with an expectation about what
//! was read; nothing is locked in between, a conflict is retried or answered.

pub mod apply;
pub mod continue_token;
pub mod create;
pub mod delete;
mod durability;
pub mod get;
mod kept;
pub mod list;
pub mod patch;
pub mod pinned;
pub mod update;
pub mod watch;

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use coracle_store::{CommitError, Key, Object, Write};
use serde_json::Value;

use crate::{
    registry::Served,
    request_info::RequestInfo,
    status::Status,
    strategy::Context,
    types::{State, UserInfo},
};

pub use crate::options::{CreateOptions, DeleteOptions, WriteOptions};
pub use create::create;
pub use delete::{delete, delete_collection};
pub use get::get;
pub use update::update;

/// What a verb works on.
#[derive(Clone)]
pub struct Target {
    pub served: Arc<Served>,
    /// Empty for cluster-scoped resources.
    pub namespace: String,
    /// Empty for collections.
    pub name: String,
    /// Empty for the object itself.
    pub subresource: String,
}

impl Target {
    pub fn new(served: Arc<Served>, namespace: &str, name: &str) -> Target {
        Target { served, namespace: namespace.into(), name: name.into(), subresource: String::new() }
    }

    pub fn of(served: Arc<Served>, info: &RequestInfo) -> Target {
        Target {
            served,
            namespace: info.object_namespace().into(),
            name: info.name.clone(),
            subresource: info.subresource.clone(),
        }
    }

    pub fn key(&self) -> Key {
        self.served.key(&self.namespace, &self.name)
    }

    pub fn not_found(&self) -> Status {
        Status::not_found(self.served.group_resource(), &self.name)
    }

    fn context<'a>(&'a self, state: &'a State, user: &'a UserInfo, options: &WriteOptions) -> Context<'a> {
        let WriteOptions { dry_run, patches, .. } = *options;
        let subresource = &self.subresource;
        Context {
            state,
            user,
            served: &self.served,
            namespace: &self.namespace,
            subresource,
            dry_run,
            patches,
        }
    }
}

/// An object that a verb gives back.
#[derive(Clone, Debug)]
pub enum Answer {
    /// As the store has it.
    Stored(Arc<Object>),
    Value(Value),
}

impl Answer {
    pub fn into_value(self) -> Result<Value, Status> {
        match self {
            Answer::Stored(object) => decode(&object),
            Answer::Value(value) => Ok(value),
        }
    }

    pub fn into_bytes(self) -> Bytes {
        match self {
            Answer::Stored(object) => object.json.clone(),
            Answer::Value(value) => serde_json::to_vec(&value).unwrap_or_default().into(),
        }
    }
}

/// The one way to the store's writer: what it takes is measured.
async fn commit(state: &State, write: Write) -> Result<Arc<Object>, CommitError> {
    let observed = state.metrics.store.write(&write);
    let began = Instant::now();
    let outcome = state.writer.commit(write).await;
    observed.took(began.elapsed());
    outcome
}

/// What a write did.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub answer: Answer,
    /// Texts for `Warning` headers.
    pub warnings: Vec<String>,
    pub created: bool,
}

/// A stored object as a value to change.
pub fn decode(object: &Object) -> Result<Value, Status> {
    serde_json::from_slice(&object.json).map_err(Status::internal)
}

/// In the version of the request.
pub fn decode_as(served: &Served, object: &Object) -> Result<Value, Status> {
    let mut value = decode(object)?;
    crate::conversion::from_storage(served, &mut value);
    Ok(value)
}

/// The answer for a stored object, converted when the request is for another version than the stored one.
pub async fn answer(served: &Served, object: Arc<Object>) -> Result<Answer, Status> {
    let object = crate::conversion::shown(served, object).await?;
    if served.needs_conversion() {
        decode_as(served, &object).map(Answer::Value)
    } else {
        Ok(Answer::Stored(object))
    }
}

/// Store failures that are not about the object.
fn commit_failed(error: coracle_store::CommitError) -> Status {
    match error {
        coracle_store::CommitError::Conflict { .. } => Status::internal(error),
        coracle_store::CommitError::ReadOnly { .. } | coracle_store::CommitError::Closed => {
            Status::service_unavailable(error.to_string())
        }
    }
}
