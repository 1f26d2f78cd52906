//! TokenRequest (`kubectl create token`, and the kubelet for projected volumes): a new token for a service account.
//!
//! Source: https://kubernetes.io/docs/reference/kubernetes-api/authentication-resources/token-request-v1/

use std::sync::Arc;

use coracle_store::{Object, Reader};
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::{answered, text, texts};
use crate::{
    admission::service_account,
    audit,
    authn::{Bound, ObjectRef, find, unix_now},
    object,
    status::{Cause, GroupResource, Status},
    types::State,
};

const KIND: GroupResource<'static> =
    GroupResource { group: "authentication.k8s.io", resource: "TokenRequest" };
const DEFAULT_SECONDS: i64 = 3600;
const MIN_SECONDS: i64 = 600;
const MAX_SECONDS: i64 = 1 << 32;
/// What pods get at `/var/run/secrets` is asked for with this duration. Programs that read it only once are met: such a
/// token is good for a year, and as long as its pod is there.
/// https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/ (`service-account-extend-token-expiration`)
const WARN_SECONDS: i64 = service_account::TOKEN_SECONDS;
const EXTENDED_SECONDS: i64 = 365 * 24 * 60 * 60;

pub fn create(state: &State, namespace: &str, name: &str, mut object: Value) -> Result<Value, Status> {
    let named = object::name(&object);
    if !named.is_empty() && named != name {
        let why = "must match the service account name if specified";
        return Err(Status::invalid(KIND, name, vec![Cause::invalid("metadata.name", named, why)]));
    }
    let of = GroupResource::new("", "serviceaccounts");
    let account =
        find(&state.reader, of.resource, namespace, name).ok_or_else(|| Status::not_found(of, name))?;
    let (uid, wanted) = (&*account.meta.uid, object::meta_str(&object, "uid"));
    if !wanted.is_empty() && wanted != uid {
        let why = format!(
            "the UID in the token request ({wanted}) does not match the UID of the service account ({uid})"
        );
        return Err(Status::conflict(KIND, name, why));
    }
    let seconds = seconds(&object)?;
    let mut audiences = texts(&object["spec"], "audiences");
    if audiences.is_empty() {
        audiences.push(state.tokens.issuer().to_owned());
    }
    let serviceaccount = reference(&account);
    let bound = Bound { namespace: namespace.to_owned(), serviceaccount, ..Bound::default() };
    let bound = bind(&state.reader, bound, &object["spec"]["boundObjectRef"])?;
    let now = unix_now();
    let for_api = audiences.iter().all(|audience| audience == state.tokens.issuer());
    let extended = for_api && bound.pod.is_some() && seconds == WARN_SECONDS;
    let bound = Bound { warnafter: extended.then_some(now + seconds), ..bound };
    let lifetime = if extended { EXTENDED_SECONDS } else { seconds };
    let issued = state.tokens.issue(bound, &audiences, lifetime, now).map_err(Status::internal)?;
    audit::note("authentication.kubernetes.io/issued-credential-id", issued.id);

    object["metadata"]["name"] = name.into();
    object["metadata"]["namespace"] = namespace.into();
    object["metadata"]["uid"] = uid.into();
    object["metadata"]["creationTimestamp"] = rfc3339(now).into();
    object["spec"]["audiences"] = json!(audiences);
    object["spec"]["expirationSeconds"] = seconds.into();
    Ok(answered(object, json!({"token": issued.token, "expirationTimestamp": rfc3339(now + seconds)})))
}

pub(super) fn seconds(object: &Value) -> Result<i64, Status> {
    let seconds = object["spec"]["expirationSeconds"].as_i64().unwrap_or(DEFAULT_SECONDS);
    let why = match seconds {
        ..MIN_SECONDS => "may not specify a duration less than 10 minutes",
        MIN_SECONDS..=MAX_SECONDS => return Ok(seconds),
        _ => "may not specify a duration larger than 2^32 seconds",
    };
    Err(Status::invalid(KIND, "", vec![Cause::invalid("spec.expirationSeconds", seconds, why)]))
}

fn rfc3339(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::MAX).to_string()
}

fn reference(object: &Object) -> ObjectRef {
    ObjectRef { name: object.key.name.to_string(), uid: object.meta.uid.to_string() }
}

/// Adds what the token shall be bound to; it must exist, and a Pod must run as this account.
fn bind(reader: &Reader, mut bound: Bound, wanted: &Value) -> Result<Bound, Status> {
    if wanted.is_null() {
        return Ok(bound);
    }
    let (kind, name, uid) = (text(wanted, "kind"), text(wanted, "name"), text(wanted, "uid"));
    let get = |resource: &'static str, namespace: &str| -> Result<Arc<Object>, Status> {
        let of = GroupResource::new("", resource);
        let object = find(reader, resource, namespace, name).ok_or_else(|| Status::not_found(of, name))?;
        if !uid.is_empty() && uid != &*object.meta.uid {
            return Err(Status::conflict(
                of,
                name,
                format!(
                    "the UID in the bound object reference ({uid}) does not match the UID in record. The object might have been deleted and then recreated"
                ),
            ));
        }
        Ok(object)
    };
    let namespace = bound.namespace.clone();
    match (text(wanted, "apiVersion"), kind) {
        ("v1" | "", "Pod") => {
            let object = get("pods", &namespace)?;
            let pod = object.decode::<Pod>().map_err(Status::internal)?;
            let spec = pod.spec.as_ref();
            let runs_as = spec.and_then(|spec| spec.service_account_name.as_deref()).unwrap_or_default();
            let account = &bound.serviceaccount.name;
            if runs_as != account {
                return Err(Status::bad_request(format!(
                    "cannot bind token for serviceaccount {account:?} to pod running with different serviceaccount name."
                )));
            }
            let node = spec.and_then(|spec| spec.node_name.as_deref()).unwrap_or_default();
            // A node that is not there is named all the same.
            let unknown = || ObjectRef { name: node.to_owned(), uid: String::new() };
            let found = find(reader, "nodes", "", node).map_or_else(unknown, |node| reference(&node));
            bound.node = Some(found).filter(|_| !node.is_empty());
            bound.pod = Some(reference(&object));
        }
        ("v1" | "", "Secret") => bound.secret = Some(reference(&*get("secrets", &namespace)?)),
        ("v1" | "", "Node") => bound.node = Some(reference(&*get("nodes", "")?)),
        (version, kind) => {
            let slash = if version.contains('/') { "" } else { "/" };
            return Err(Status::bad_request(format!(
                "cannot bind token to object of type {slash}{version}, Kind={kind}"
            )));
        }
    }
    Ok(bound)
}
