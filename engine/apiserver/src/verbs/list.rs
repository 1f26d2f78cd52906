//! List: every matching object of a scope at one revision, as stored bytes.
//!
//! Reads: one snapshot; chunks of one list (`limit`, `continue`) read the same one. Invariant: the answer is never
//! assembled in memory, the body takes the stored bytes of each object when its turn comes.
//! Source: https://kubernetes.io/docs/reference/using-api/api-concepts/#retrieving-large-results-sets-in-chunks

use std::sync::Arc;

use coracle_store::{Key, Object, Revision, Scope, Snapshot};
use futures::stream;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use serde_json::{Map, Value};

use super::{Target, continue_token::ContinueToken};
use crate::{
    conversion,
    frames::Frames,
    object,
    options::{ListOptions, VersionMatch, parse_revision},
    present::Form,
    registry::{Served, api_version},
    selector::{FieldSelector, LabelSelector, Selector},
    status::{Cause, Status, StatusDetails},
    types::{Body, BoxError, State},
};

/// One chunk of a list.
pub struct Listed {
    pub revision: Revision,
    pub objects: Vec<Arc<Object>>,
    /// Empty at the end of the list.
    pub continue_token: String,
    pub remaining: Option<usize>,
}

pub async fn list(state: &State, target: &Target, options: &ListOptions) -> Result<Listed, Status> {
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
    // Of the same snapshot: what was left after the chunk before need not be counted again.
    let left = token.as_ref().and_then(|token| token.revision.and(token.remaining));
    let listed = match (conversion::waits(&target.served), selector.is_everything()) {
        (false, _) => chunk(&snapshot, &scope, &selector, after.as_ref(), options.limit, left),
        (true, true) => {
            let mut listed = chunk(&snapshot, &scope, &selector, after.as_ref(), options.limit, left);
            listed.objects = conversion::shown_all(&target.served, listed.objects).await?;
            listed
        }
        // What selectors name is only there in the version of the request.
        (true, false) => {
            let all = chunk(&snapshot, &scope, &Selector::default(), after.as_ref(), 0, None).objects;
            let all = conversion::shown_all(&target.served, all).await?;
            cut(snapshot.revision(), &mut all.iter(), &selector, options.limit, None)
        }
    };
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

/// The objects of a resource as they were at a revision, when it is still known.
fn at(state: &State, scope: &Scope, revision: Revision) -> Option<Snapshot> {
    let pinned = state.pinned.get(revision);
    pinned.or_else(|| state.reader.snapshot_at(&scope.resource, revision).ok())
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
    left: Option<usize>,
) -> Listed {
    let mut all = match after {
        Some(key) => snapshot.list_after(scope, key),
        None => snapshot.list(scope),
    };
    cut(snapshot.revision(), &mut all, selector, limit, left)
}

/// The first `limit` objects that the selector takes.
fn cut(
    revision: Revision,
    all: &mut dyn Iterator<Item = &Arc<Object>>,
    selector: &Selector,
    limit: usize,
    left: Option<usize>,
) -> Listed {
    let mut objects: Vec<Arc<Object>> = Vec::new();
    let mut more = false;
    for object in &mut *all {
        if !selector.is_everything() && !selector.matches(object) {
            continue;
        }
        if limit > 0 && objects.len() == limit {
            more = true;
            break;
        }
        objects.push(object.clone());
    }
    let remaining = (more && selector.is_everything()).then(|| match left {
        Some(left) => left.saturating_sub(objects.len()),
        None => 1 + all.count(),
    });
    let last = objects.last().filter(|_| more);
    let continue_token = last.map(|last| {
        ContinueToken {
            revision: Some(revision.0),
            namespace: last.key.namespace.to_string(),
            name: last.key.name.to_string(),
            remaining,
        }
        .encode()
    });
    Listed { revision, objects, continue_token: continue_token.unwrap_or_default(), remaining }
}

impl Listed {
    /// ListMeta. Stock lists of custom resources always have a `continue`, Tables and lists of metadata do not.
    pub fn metadata(&self, served: &Served, form: Form) -> Value {
        let mut metadata = Map::new();
        metadata.insert("resourceVersion".into(), self.revision.0.to_string().into());
        if !self.continue_token.is_empty() || served.custom.is_some() && form == Form::Object {
            metadata.insert("continue".into(), self.continue_token.as_str().into());
        }
        if let Some(remaining) = self.remaining {
            metadata.insert("remainingItemCount".into(), remaining.into());
        }
        Value::Object(metadata)
    }

    /// The list as JSON, streamed.
    pub fn into_body(self, served: &Arc<Served>) -> Body {
        let gvk = &served.api.gvk;
        let head = format!(
            "{{\"kind\":\"{}\",\"apiVersion\":\"{}\",\"metadata\":{},\"items\":[",
            served.list_kind(),
            api_version(&gvk.group, &gvk.version),
            self.metadata(served, Form::Object)
        );
        let item = Item::new(served.clone());
        let mut frames = Frames::default();
        frames.push(head.as_bytes());
        let mut objects = self.objects.into_iter();
        let mut between: &[u8] = b"";
        let mut ended = false;
        let frames = std::iter::from_fn(move || {
            while !ended && !frames.is_full() {
                match objects.next() {
                    Some(object) => {
                        frames.push(between);
                        if let Err(status) = item.push(&mut frames, &object) {
                            return Some(Err(BoxError::from(status.to_string())));
                        }
                        between = b",";
                    }
                    None => {
                        frames.push(b"]}\n");
                        ended = true;
                    }
                }
            }
            frames.take().map(|frame| Ok(Frame::data(frame)))
        });
        StreamBody::new(stream::iter(frames)).boxed_unsync()
    }
}

/// How an object of a list is written. Objects of built-in kinds do not say again what the list says of all.
struct Item {
    served: Arc<Served>,
    /// How such a stored object starts; empty when it is to say its kind.
    head: String,
}

impl Item {
    fn new(served: Arc<Served>) -> Item {
        let gvk = &served.storage;
        let head = match &served.custom {
            Some(_) => String::new(),
            None => format!(
                "{{\"kind\":\"{}\",\"apiVersion\":\"{}\",",
                gvk.kind,
                api_version(&gvk.group, &gvk.version)
            ),
        };
        Item { served, head }
    }

    fn push(&self, frames: &mut Frames, object: &Object) -> Result<(), Status> {
        if self.served.needs_conversion() {
            let mut value = super::decode_as(&self.served, object)?;
            if self.served.custom.is_none() {
                object::remove(&mut value, "kind");
                object::remove(&mut value, "apiVersion");
            }
            frames.push_shared(&serde_json::to_vec(&value).map_err(Status::internal)?.into(), 0);
        } else if !self.head.is_empty() && object.json.starts_with(self.head.as_bytes()) {
            frames.push(b"{");
            frames.push_shared(&object.json, self.head.len());
        } else {
            frames.push_shared(&object.json, 0);
        }
        Ok(())
    }
}
