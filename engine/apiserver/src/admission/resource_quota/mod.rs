//! ResourceQuota: what a request adds to a namespace must fit into each of its quotas.
//!
//! Reads:     the quotas of the namespace and, where there are some, the objects that they count.
//! Writes:    nothing; `status.used` is the resourcequota controller's.
//! Invariant: concurrent requests never exceed a quota together: what is admitted is reserved until the store shows it
//!            (see `ledger`). A namespace without quotas costs one look.
//! Source:    https://kubernetes.io/docs/concepts/policy/resource-quotas/ and
//! https://github.com/kubernetes/apiserver/blob/master/pkg/admission/plugin/resourcequota/controller.go

mod ledger;

use std::sync::Arc;

use coracle_quota::{Charge, Pending, Quota, is_uniform};
use coracle_store::{Scope, Snapshot};
use serde_json::Value;

pub use ledger::{Ledger, Reservation};

use super::{Operation, Request};
use crate::{object, registry::store_resource, status::Status, verbs};

pub fn validate(request: &Request<'_>, object: Option<&Value>) -> Result<(), Status> {
    let Some(object) = object.filter(|_| is_charged(request)) else { return Ok(()) };
    let state = request.state;
    let namespace = request.target.namespace.as_str();
    if quotas(&state.reader.snapshot(), namespace).is_empty() {
        return Ok(());
    }
    let resource = &*request.target.served.resource.0;
    let charge = Charge::of(resource, object);
    let before = request.old.map(|old| Charge::of(resource, old)).unwrap_or_default();
    let growth = charge.growth_since(&before);
    if growth.is_empty() {
        return Ok(());
    }
    let pending = Pending {
        resource: resource.into(),
        name: object::name(object).into(),
        uid: object::meta_str(object, "uid").into(),
        charge: Arc::new(charge),
    };
    let reservation = state
        .quotas
        .reserve(&state.reader, namespace, object, pending, &growth)
        .map_err(|why| request.forbid(object, why))?;
    if request.dry_run {
        reservation.settle();
    } else {
        request.reservations.lock().push(reservation);
    }
    Ok(())
}

/// Objects count when they are made; pods also when they are resized, Services and claims whenever they change.
fn is_charged(request: &Request<'_>) -> bool {
    let target = request.target;
    if !target.served.api.namespaced {
        return false;
    }
    match (request.operation, target.subresource.as_str()) {
        (Operation::Create, "") => true,
        (Operation::Update, "") => !is_uniform(&target.served.resource.0) && !request.is("", "pods"),
        (Operation::Update, "resize") => true,
        _ => false,
    }
}

fn quotas(snapshot: &Snapshot, namespace: &str) -> Vec<Quota> {
    let resource = store_resource("", "resourcequotas");
    let scope = Scope { resource, namespace: Some(namespace.into()), name: None };
    snapshot.list(&scope).filter_map(|object| Some(Quota::of(&verbs::decode(object).ok()?))).collect()
}
