//! ComponentStatuses: the parts of the control plane, asked when somebody looks. Nothing of them is stored.
//!
//! Reads:  the components' own checks, the store's writer. Writes: nothing.
//! Source: https://github.com/kubernetes/kubernetes/tree/master/pkg/registry/core/componentstatus

use std::{sync::Arc, time::Duration};

use futures::{
    FutureExt,
    future::{BoxFuture, join_all},
};
use http::StatusCode;
use serde_json::{Value, json};

use crate::{
    http::{lists, resource},
    negotiate::Accepted,
    object,
    options::ListOptions,
    present::{Form, Presenter},
    registry::Served,
    selector::LabelSelector,
    status::Status,
    types::{Response, State},
    verbs::{Target, list::scope},
};

/// Whether a component does its work; the text says why it does not.
pub type ComponentCheck = Arc<dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

/// The stock name of the store.
const STORE: &str = "etcd-0";
/// A disk may hang.
const STORE_TIMEOUT: Duration = Duration::from_secs(10);

pub fn is(served: &Served) -> bool {
    served.api.gvk.group.is_empty() && &*served.api.plural == "componentstatuses"
}

pub async fn get(state: &State, name: &str) -> Result<Value, Status> {
    let component = components(state, |own| own == name).pop();
    match component {
        Some(component) => Ok(component.await),
        None => Err(Status::new(500, "", format!("Component not found: {name}"))),
    }
}

pub async fn list(
    state: &State,
    target: &Target,
    accepted: Accepted,
    options: &ListOptions,
) -> Result<Response, Status> {
    let (scope, _) = scope(target, options)?;
    let unlabelled = LabelSelector::parse(&options.label_selector)?.matches(&[]);
    let wanted = |own: &str| unlabelled && scope.name.as_deref().is_none_or(|name| name == own);
    let found = join_all(components(state, wanted)).await;
    let presenter = Presenter::new(&target.served, accepted);
    presenter.check(true)?;
    let (mut list, field) = lists::frame(&presenter, json!({}));
    let items = found.into_iter().map(|mut component| {
        if matches!(presenter.form, Form::Object) {
            // The list says it of all.
            object::remove(&mut component, "kind");
            object::remove(&mut component, "apiVersion");
        }
        presenter.item(component)
    });
    list[field] = items.collect();
    resource::encode(accepted.encoding, StatusCode::OK, &list)
}

/// In the order of their names; the stock server's order is random.
fn components<'a>(state: &'a State, wanted: impl Fn(&str) -> bool) -> Vec<BoxFuture<'a, Value>> {
    let mut all: Vec<(&str, BoxFuture<'_, Value>)> = Vec::new();
    for (name, check) in state.components.read().iter() {
        let (name, check) = (*name, check());
        all.push((name, async move { shown(name, check.await.map_err(|why| (why, String::new()))) }.boxed()));
    }
    all.push((STORE, async { shown(STORE, store(state).await.map_err(|why| (String::new(), why))) }.boxed()));
    all.sort_by_key(|(name, _)| *name);
    all.into_iter().filter(|(name, _)| wanted(name)).map(|(_, component)| component).collect()
}

async fn store(state: &State) -> Result<(), String> {
    let probed = tokio::time::timeout(STORE_TIMEOUT, state.writer.probe()).await;
    probed.map_err(|_| "the store does not answer".to_owned())?.map_err(|error| error.to_string())?;
    state.reader.read_only().map_or(Ok(()), Err)
}

/// A failure is a message and an error: the stock server has the one for what it asks over HTTP, the other for etcd.
fn shown(name: &str, outcome: Result<(), (String, String)>) -> Value {
    let (status, message, error) = match outcome {
        Ok(()) => ("True", "ok".to_owned(), String::new()),
        Err((message, error)) => ("False", message, error),
    };
    let mut condition = json!({"type": "Healthy", "status": status});
    for (field, text) in [("message", message), ("error", error)] {
        if !text.is_empty() {
            condition[field] = text.into();
        }
    }
    json!({
        "kind": "ComponentStatus",
        "apiVersion": "v1",
        "metadata": {"name": name},
        "conditions": [condition],
    })
}
