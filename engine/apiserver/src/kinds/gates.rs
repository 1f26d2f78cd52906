//! Fields of features that Kubernetes 1.36 leaves off: dropped from what is new, kept where they were already.
//!
//! Source: https://github.com/kubernetes/kubernetes/blob/master/pkg/features/kube_features.go (what is off),
//!         pkg/api/pod/util.go (`dropDisabledFields`), pkg/api/persistentvolumeclaim/util.go (`DropDisabledFields`),
//!         pkg/registry/coordination/lease/strategy.go

use serde_json::Value;

use super::checks::{is_set, items};
use crate::{admission::TEMPLATES, object::remove};

/// Of a pod's spec; `*` is every item of a list. One use of a feature keeps them all.
const OF_PODS: [&[&str]; 4] = [
    // ContainerStopSignals
    &[
        "containers/*/lifecycle/stopSignal",
        "initContainers/*/lifecycle/stopSignal",
        "ephemeralContainers/*/lifecycle/stopSignal",
    ],
    // ClusterTrustBundleProjection
    &["volumes/*/projected/sources/*/clusterTrustBundle"],
    // PodCertificateRequest
    &["volumes/*/projected/sources/*/podCertificate"],
    // GenericWorkload
    &["schedulingGroup"],
];

/// Group, plural, what goes, and what must be set for it to go.
const OF_OTHERS: [(&str, &str, &str, &str); 4] = [
    // CrossNamespaceVolumeDataSource
    ("", "persistentvolumeclaims", "spec/dataSourceRef", "spec/dataSourceRef/namespace"),
    // VolumeLimitScaling
    (
        "storage.k8s.io",
        "csidrivers",
        "spec/preventPodSchedulingIfMissing",
        "spec/preventPodSchedulingIfMissing",
    ),
    // CoordinatedLeaderElection
    ("coordination.k8s.io", "leases", "spec/strategy", "spec/strategy"),
    ("coordination.k8s.io", "leases", "spec/preferredHolder", "spec/preferredHolder"),
];

/// `old`: what an update replaces.
pub fn drop_fields(group: &str, plural: &str, object: &mut Value, old: Option<&Value>) {
    for (_, _, field, when) in OF_OTHERS.iter().filter(|row| (row.0, row.1) == (group, plural)) {
        let is_new = !old.is_some_and(|old| any(old, field, &|own| !own.is_null()));
        if is_new && any(object, when, &is_set) {
            drop_field(object, field);
        }
    }
    let template = TEMPLATES.iter().find(|row| (row.0, row.1) == (group, plural)).map(|row| row.2);
    let pods = (group, plural) == ("", "pods");
    let Some(place) = template.or(pods.then_some("")).map(|place| format!("{place}/spec")) else { return };
    let before = old.and_then(|old| old.pointer(&place));
    let Some(spec) = object.pointer_mut(&place) else { return };
    for fields in OF_PODS {
        let uses = |spec: &Value| fields.iter().any(|field| any(spec, field, &|own| !own.is_null()));
        if uses(spec) && !before.is_some_and(uses) {
            fields.iter().for_each(|field| drop_field(spec, field));
        }
    }
}

/// Whether one of the values at the path is such.
fn any(value: &Value, path: &str, is: &dyn Fn(&Value) -> bool) -> bool {
    match path.split_once('/') {
        Some(("*", rest)) => items(value).iter().any(|item| any(item, rest, is)),
        Some((field, rest)) => any(&value[field], rest, is),
        None => is(&value[path]),
    }
}

/// An object that is left empty goes too, but for items of lists.
fn drop_field(value: &mut Value, path: &str) {
    let Some((field, rest)) = path.split_once('/') else {
        remove(value, path);
        return;
    };
    if field == "*" {
        value.as_array_mut().into_iter().flatten().for_each(|item| drop_field(item, rest));
    } else if let Some(inner) = value.get_mut(field).filter(|inner| is_set(inner)) {
        drop_field(inner, rest);
        if !is_set(inner) {
            remove(value, field);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn spec(container: Value, source: Value, more: Value) -> Value {
        let mut spec = json!({"containers": [container],
            "volumes": [{"name": "v", "projected": {"sources": [source, {"secret": {"name": "s"}}]}}]});
        coracle_schema::json_merge_patch(&mut spec, &more);
        spec
    }

    #[test]
    fn fields_of_features_that_are_off_stay_only_where_they_were() {
        let stop = |signal: &str| json!({"name": "c", "lifecycle": {"stopSignal": signal}});
        let both =
            json!({"name": "c", "lifecycle": {"stopSignal": "SIGINT", "preStop": {"sleep": {"seconds": 1}}}});
        let plain = || spec(json!({"name": "c"}), json!({}), json!({}));
        let bundle = |path: &str| json!({"clusterTrustBundle": {"path": path}});
        let group = json!({"schedulingGroup": {"podGroupName": "g"}});
        for (given, old, expected) in [
            (spec(stop("SIGINT"), json!({}), json!({})), None, plain()),
            (
                spec(both, json!({}), json!({})),
                None,
                spec(
                    json!({"name": "c", "lifecycle": {"preStop": {"sleep": {"seconds": 1}}}}),
                    json!({}),
                    json!({}),
                ),
            ),
            (spec(json!({"name": "c"}), bundle("a"), json!({})), None, plain()),
            (
                spec(json!({"name": "c"}), json!({"podCertificate": {"keyType": "ED25519"}}), json!({})),
                None,
                plain(),
            ),
            (spec(json!({"name": "c"}), json!({}), group.clone()), None, plain()),
            // What another feature uses does not count.
            (
                spec(stop("SIGINT"), bundle("a"), group),
                Some(spec(json!({"name": "c"}), bundle("b"), json!({}))),
                spec(json!({"name": "c"}), bundle("a"), json!({})),
            ),
            (
                spec(stop("SIGINT"), json!({}), json!({})),
                Some(spec(stop("SIGHUP"), json!({}), json!({}))),
                spec(stop("SIGINT"), json!({}), json!({})),
            ),
        ] {
            for (group, plural, pointer) in [("", "pods", "")].iter().chain(&TEMPLATES) {
                let within = |spec: &Value| {
                    let fields = pointer.split('/').filter(|field| !field.is_empty()).chain(["spec"]).rev();
                    fields.fold(spec.clone(), |inner, field| json!({field: inner}))
                };
                let mut object = within(&given);
                drop_fields(group, plural, &mut object, old.as_ref().map(within).as_ref());
                assert_eq!(object, within(&expected), "{plural} {given}");
            }
        }
    }

    #[test]
    fn claims_drivers_and_leases_lose_what_is_off() {
        let claim = |reference: Value| json!({"spec": {"volumeMode": "Block", "dataSourceRef": reference}});
        let far = claim(json!({"kind": "K", "name": "n", "namespace": "other"}));
        let near = claim(json!({"kind": "K", "name": "n"}));
        let none = json!({"spec": {"volumeMode": "Block"}});
        let driver =
            |field: Value| json!({"spec": {"attachRequired": true, "preventPodSchedulingIfMissing": field}});
        let bare = json!({"spec": {"attachRequired": true}});
        let lease = json!({"spec": {"strategy": "OldestEmulationVersion", "preferredHolder": "a", "leaseTransitions": 1}});
        let old_lease = json!({"spec": {"strategy": "x", "leaseTransitions": 1}});
        let kept_lease = json!({"spec": {"strategy": "OldestEmulationVersion", "leaseTransitions": 1}});
        let no_lease = json!({"spec": {"leaseTransitions": 1}});
        for (group, plural, given, old, expected) in [
            ("", "persistentvolumeclaims", &far, None, &none),
            ("", "persistentvolumeclaims", &near, None, &near),
            ("", "persistentvolumeclaims", &far, Some(&near), &far),
            ("", "persistentvolumeclaims", &far, Some(&none), &none),
            ("storage.k8s.io", "csidrivers", &driver(false.into()), None, &bare),
            (
                "storage.k8s.io",
                "csidrivers",
                &driver(true.into()),
                Some(&driver(true.into())),
                &driver(true.into()),
            ),
            ("storage.k8s.io", "storageclasses", &far, None, &far),
            ("coordination.k8s.io", "leases", &lease, None, &no_lease),
            ("coordination.k8s.io", "leases", &lease, Some(&old_lease), &kept_lease),
        ] {
            let mut object = given.clone();
            drop_fields(group, plural, &mut object, old);
            assert_eq!(object, *expected, "{plural} {given}");
        }
    }
}
