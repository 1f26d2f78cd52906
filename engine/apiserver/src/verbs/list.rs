//! List: every matching object of a scope at one revision, as stored bytes.
//!
//! Reads: one snapshot; chunks of one list (`limit`, `continue`) read the same one. Invariant: the answer is never
//! assembled in memory, the body hands out the stored bytes of each object.
//! Source: https://kubernetes.io/docs/reference/using-api/api-concepts/#retrieving-large-results-sets-in-chunks

use std::sync::Arc;

use bytes::Bytes;
use coracle_store::{Key, Object, Revision, Scope, Snapshot};
use futures::stream;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use serde_json::{Map, Value};

use super::{Target, continue_token::ContinueToken};
use crate::{
    options::{ListOptions, VersionMatch, parse_revision},
    registry::{Served, api_version},
    selector::{FieldSelector, LabelSelector, Selector},
    status::{Cause, Status, StatusDetails},
    types::{Body, State},
};

/// One chunk of a list.
pub struct Listed {
    pub revision: Revision,
    pub objects: Vec<Arc<Object>>,
    /// Empty at the end of the list.
    pub continue_token: String,
    pub remaining: Option<usize>,
}

pub fn list(state: &State, target: &Target, options: &ListOptions) -> Result<Listed, Status> {
    let (scope, selector) = scope(target, options)?;
    let token = Some(&options.continue_token)
        .filter(|token| !token.is_empty())
        .map(|token| ContinueToken::decode(token));
    let token = token.transpose()?;
    let snapshot = snapshot(state, &scope, options, token.as_ref())?;
    let after = token.as_ref().map(|token| Key {
        resource: scope.resource.clone(),
        namespace: token.namespace.as_str().into(),
        name: token.name.as_str().into(),
    });
    let listed = chunk(&snapshot, &scope, &selector, after.as_ref(), options.limit);
    if !listed.continue_token.is_empty() {
        state.pinned.pin(&snapshot);
    }
    Ok(listed)
}

/// What the selectors cover: a fixed name becomes part of the scope.
pub fn scope(target: &Target, options: &ListOptions) -> Result<(Scope, Selector), Status> {
    let fields = FieldSelector::parse_for(&target.served, &options.field_selector)?;
    let labels = LabelSelector::parse(&options.label_selector)?;
    let name = fields.exact_name().map(String::from);
    let scope = target.served.scope(&target.namespace, name.as_deref());
    let fields = if name.is_some() { fields.without_exact_name() } else { fields };
    Ok((scope, Selector { labels, fields }))
}

fn snapshot(
    state: &State,
    scope: &Scope,
    options: &ListOptions,
    token: Option<&ContinueToken>,
) -> Result<Snapshot, Status> {
    let asked = parse_revision(&options.resource_version)?;
    if let Some(token) = token {
        if !matches!(options.resource_version.as_str(), "" | "0") {
            return Err(Status::bad_request(
                "specifying resource version is not allowed when using continue",
            ));
        }
        let Some(revision) = token.revision else { return Ok(state.reader.snapshot()) };
        return at(state, scope, Revision(revision)).ok_or_else(|| continue_expired(token));
    }
    not_in_the_future(state, asked)?;
    if asked > 0 && options.resource_version_match == Some(VersionMatch::Exact) {
        let too_old = || Status::expired("The resourceVersion for the provided list is too old.");
        return at(state, scope, Revision(asked)).ok_or_else(too_old);
    }
    Ok(state.reader.snapshot())
}

/// The store as it was at a revision, when it is still known.
fn at(state: &State, scope: &Scope, revision: Revision) -> Option<Snapshot> {
    let _ = scope;
    let now = state.reader.snapshot();
    if now.revision() == revision { Some(now) } else { state.pinned.get(revision) }
}

fn continue_expired(token: &ContinueToken) -> Status {
    let inconsistent = ContinueToken { revision: None, ..token.clone() }.encode();
    Status::expired(
        "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.",
    )
    .with_details(StatusDetails { continue_token: inconsistent, ..StatusDetails::default() })
}

/// A revision that this server has not reached yet.
pub fn not_in_the_future(state: &State, asked: u64) -> Result<(), Status> {
    let current = state.reader.revision().0;
    if asked <= current {
        return Ok(());
    }
    let cause = Cause::new("ResourceVersionTooLarge", "", "Too large resource version");
    Err(Status::timeout(format!("Too large resource version: {asked}, current: {current}"), 1)
        .with_cause(cause))
}

fn chunk(
    snapshot: &Snapshot,
    scope: &Scope,
    selector: &Selector,
    after: Option<&Key>,
    limit: usize,
) -> Listed {
    let mut all = match after {
        Some(key) => snapshot.list_after(scope, key),
        None => snapshot.list(scope),
    };
    let mut objects: Vec<Arc<Object>> = Vec::new();
    let mut more = false;
    let mut left = 0;
    for object in all.by_ref() {
        if !selector.is_everything() && !selector.matches(object) {
            continue;
        }
        if limit > 0 && objects.len() == limit {
            more = true;
            left = 1;
            break;
        }
        objects.push(object.clone());
    }
    let last = objects.last().filter(|_| more);
    let continue_token = last.map(|last| {
        ContinueToken {
            revision: Some(snapshot.revision().0),
            namespace: last.key.namespace.to_string(),
            name: last.key.name.to_string(),
        }
        .encode()
    });
    let remaining = (more && selector.is_everything()).then(|| left + all.count());
    Listed {
        revision: snapshot.revision(),
        objects,
        continue_token: continue_token.unwrap_or_default(),
        remaining,
    }
}

impl Listed {
    /// ListMeta.
    pub fn metadata(&self) -> Value {
        let mut metadata = Map::new();
        metadata.insert("resourceVersion".into(), self.revision.0.to_string().into());
        if !self.continue_token.is_empty() {
            metadata.insert("continue".into(), self.continue_token.as_str().into());
        }
        if let Some(remaining) = self.remaining {
            metadata.insert("remainingItemCount".into(), remaining.into());
        }
        Value::Object(metadata)
    }

    /// The list as JSON, streamed.
    pub fn into_body(self, served: &Served) -> Result<Body, Status> {
        let gvk = &served.api.gvk;
        let head = format!(
            "{{\"kind\":\"{}\",\"apiVersion\":\"{}\",\"metadata\":{},\"items\":[",
            served.list_kind(),
            api_version(&gvk.group, &gvk.version),
            self.metadata()
        );
        let items: Vec<Bytes> = if served.needs_conversion() {
            let encode = |object: &Arc<Object>| {
                super::decode_as(served, object)
                    .and_then(|value| serde_json::to_vec(&value).map_err(Status::internal))
                    .map(Bytes::from)
            };
            self.objects.iter().map(encode).collect::<Result<_, _>>()?
        } else {
            self.objects.iter().map(|object| object.json.clone()).collect()
        };
        Ok(joined(Bytes::from(head), items))
    }
}

/// `head`, the items with commas between them, and the end of the list.
fn joined(head: Bytes, items: Vec<Bytes>) -> Body {
    let items = items.into_iter().enumerate().flat_map(|(at, item)| {
        let comma = (at > 0).then_some(Bytes::from_static(b","));
        comma.into_iter().chain([item])
    });
    let frames = std::iter::once(head).chain(items).chain([Bytes::from_static(b"]}\n")]);
    StreamBody::new(stream::iter(frames.map(|bytes| Ok(Frame::data(bytes))))).boxed_unsync()
}
