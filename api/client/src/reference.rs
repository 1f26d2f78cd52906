//! References to objects and the words of API errors, as Events and conditions show them.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Resource;

/// What an Event about `object` names as its `involvedObject`.
pub fn object_reference<K>(object: &K) -> ObjectReference
where
    K: Resource<DynamicType = ()>,
{
    let mut reference = object.object_ref(&());
    reference.resource_version = object.meta().resource_version.clone();
    reference
}

/// The message a user should read: the API server's own words when it answered, else the error's chain.
pub fn api_message(error: &kube::Error) -> String {
    if let kube::Error::Api(status) = error {
        return status.message.clone();
    }
    chain(error)
}

/// An error and its causes on one line, as whoever has no log reads it: a pod's owner, the other side of a connection.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// Did the API server refuse with this `reason`, e.g. `NotFound`, `AlreadyExists`, `Conflict`?
pub fn is_reason(error: &kube::Error, reason: &str) -> bool {
    matches!(error, kube::Error::Api(status) if status.reason == reason)
}

/// Did the API server refuse a creation because its namespace is being deleted? It would refuse it ever after.
pub fn is_namespace_terminating(error: &kube::Error) -> bool {
    let kube::Error::Api(status) = error else { return false };
    status.details.iter().flat_map(|details| &details.causes).any(|it| it.reason == "NamespaceTerminating")
}
