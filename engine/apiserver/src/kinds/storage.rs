//! PersistentVolumes, PersistentVolumeClaims, StorageClasses.
//!
//! Source: https://github.com/kubernetes/kubernetes/blob/master/pkg/apis/core/validation/validation.go (`ValidatePersistentVolumeClaimSpec`)

use serde_json::Value;

use super::{
    checked::Checked,
    checks::{Causes, immutable, label_selector, nanos, one_of, require, same, subdomain, text},
};
use crate::{
    object::{remove, strings},
    status::Cause,
};

const ACCESS_MODES: [&str; 4] = ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];
const VOLUME_MODES: [&str; 2] = ["Block", "Filesystem"];
const NOT_POSITIVE: &str = "must be greater than zero";
const NOT_A_SOURCE: [&str; 9] = [
    "capacity",
    "accessModes",
    "claimRef",
    "persistentVolumeReclaimPolicy",
    "storageClassName",
    "mountOptions",
    "volumeMode",
    "nodeAffinity",
    "volumeAttributesClassName",
];

pub static VOLUME: Checked = Checked::new(volume)
    .comparing(|new, old| {
        let source = |object: &Value| {
            let mut source = object["spec"].clone();
            for field in NOT_A_SOURCE {
                remove(&mut source, field);
            }
            source
        };
        let mut out = Vec::new();
        if !same(&source(new), &source(old)) {
            let why = "spec.persistentvolumesource is immutable after creation";
            out.push(Cause::forbidden("spec.persistentvolumesource", why));
        }
        immutable(&mut out, &new["spec"]["volumeMode"], &old["spec"]["volumeMode"], "spec.volumeMode");
        out
    })
    .preparing(pending);

/// Volumes and claims begin as `Pending`.
fn pending(object: &mut Value, old: Option<&Value>, _context: crate::strategy::Context<'_>) {
    if old.is_none() {
        object["status"] = serde_json::json!({"phase": "Pending"});
    }
}

pub static CLAIM: Checked = Checked::new(|claim| {
    let mut out = Vec::new();
    claim_spec(&mut out, &claim["spec"], "spec");
    out
})
.comparing(compare_claims)
.preparing(pending);

pub static CLASS: Checked = Checked::new(class).comparing(|new, old| {
    let mut out = Vec::new();
    if !same(&new["parameters"], &old["parameters"]) {
        out.push(Cause::forbidden("parameters", "updates to parameters are forbidden."));
    }
    if new["provisioner"] != old["provisioner"] {
        out.push(Cause::forbidden("provisioner", "updates to provisioner are forbidden."));
    }
    for field in ["reclaimPolicy", "volumeBindingMode"] {
        immutable(&mut out, &new[field], &old[field], field);
    }
    out
});

fn access_modes(out: &mut Causes, spec: &Value, path: &str, missing: &str) {
    let at = format!("{path}.accessModes");
    let modes = strings(&spec["accessModes"]);
    if modes.is_empty() {
        out.push(Cause::required(at.as_str(), missing));
    }
    for mode in &modes {
        one_of(out, &Value::from(*mode), &at, &ACCESS_MODES);
    }
    if modes.contains(&"ReadWriteOncePod") && modes.len() > 1 {
        out.push(Cause::forbidden(at, "may not use ReadWriteOncePod with other access modes"));
    }
}

fn storage(out: &mut Causes, quantity: &Value, path: &str) {
    if nanos(quantity).is_some_and(|size| size <= 0) {
        out.push(Cause::invalid(path, quantity.clone(), NOT_POSITIVE));
    }
}

fn volume(volume: &Value) -> Causes {
    let (spec, mut out) = (&volume["spec"], Vec::new());
    access_modes(&mut out, spec, "spec", "");
    require(&mut out, &spec["capacity"], "spec.capacity");
    storage(&mut out, &spec["capacity"]["storage"], "spec.capacity[storage]");
    one_of(
        &mut out,
        &spec["persistentVolumeReclaimPolicy"],
        "spec.persistentVolumeReclaimPolicy",
        &["Delete", "Recycle", "Retain"],
    );
    let fields = spec.as_object().into_iter().flatten();
    let mut sources =
        fields.filter(|(field, value)| value.is_object() && !NOT_A_SOURCE.contains(&field.as_str()));
    if sources.next().is_none() {
        out.push(Cause::required("spec", "must specify a volume type"));
    }
    for (extra, _) in sources {
        out.push(Cause::forbidden(format!("spec.{extra}"), "may not specify more than 1 volume type"));
    }
    if !spec["hostPath"].is_null() {
        require(&mut out, &spec["hostPath"]["path"], "spec.hostPath.path");
    }
    if !spec["local"].is_null() {
        require(&mut out, &spec["local"]["path"], "spec.local.path");
        if spec["nodeAffinity"].is_null() {
            out.push(Cause::required("spec.nodeAffinity", "Local volume requires node affinity"));
        }
    }
    subdomain(&mut out, &spec["storageClassName"], "spec.storageClassName");
    one_of(&mut out, &spec["volumeMode"], "spec.volumeMode", &VOLUME_MODES);
    out
}

pub fn claim_spec(out: &mut Causes, spec: &Value, path: &str) {
    access_modes(out, spec, path, "at least 1 access mode is required");
    if !spec["selector"].is_null() {
        label_selector(out, &spec["selector"], &format!("{path}.selector"));
    }
    let at = format!("{path}.resources[storage]");
    match &spec["resources"]["requests"]["storage"] {
        Value::Null => out.push(Cause::required(at, "")),
        size => storage(out, size, &at),
    }
    subdomain(out, &spec["storageClassName"], &format!("{path}.storageClassName"));
    one_of(out, &spec["volumeMode"], &format!("{path}.volumeMode"), &VOLUME_MODES);
}

const CLAIM_FIXED: &str = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims";

fn compare_claims(new: &Value, old: &Value) -> Causes {
    let bound = old["status"]["phase"] == "Bound";
    let fixed = |object: &Value| {
        let mut spec = object["spec"].clone();
        // Set once by the binder.
        if text(&old["spec"]["volumeName"]).is_empty() {
            remove(&mut spec, "volumeName");
        }
        if old["spec"]["storageClassName"].is_null() {
            remove(&mut spec, "storageClassName");
        }
        if bound {
            remove(&mut spec["resources"], "requests");
            remove(&mut spec, "volumeAttributesClassName");
        }
        spec
    };
    let mut out = Vec::new();
    if !same(&fixed(new), &fixed(old)) {
        out.push(Cause::forbidden("spec", CLAIM_FIXED));
    }
    let size = |object: &Value| nanos(&object["spec"]["resources"]["requests"]["storage"]);
    if size(new) < size(old) {
        let why = "field can not be less than previous value";
        out.push(Cause::forbidden("spec.resources.requests.storage", why));
    }
    out
}

fn class(class: &Value) -> Causes {
    let mut out = Vec::new();
    require(&mut out, &class["provisioner"], "provisioner");
    one_of(&mut out, &class["reclaimPolicy"], "reclaimPolicy", &["Delete", "Retain"]);
    one_of(
        &mut out,
        &class["volumeBindingMode"],
        "volumeBindingMode",
        &["Immediate", "WaitForFirstConsumer"],
    );
    out
}

#[cfg(test)]
mod tests {
    use super::{super::checks::assert_cases, *};
    use serde_json::json;

    fn claim() -> Value {
        json!({"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "2Gi"}}}})
    }

    #[test]
    fn a_claim_gets_the_stock_causes() {
        assert_cases(
            claim(),
            |object| (CLAIM.validate)(object),
            &[
                (
                    json!({"spec": {"accessModes": null}}),
                    &["spec.accessModes: Required value: at least 1 access mode is required"],
                ),
                (
                    json!({"spec": {"accessModes": ["RWO"]}}),
                    &[
                        "spec.accessModes: Unsupported value: \"RWO\": supported values: \"ReadOnlyMany\", \"ReadWriteMany\", \"ReadWriteOnce\", \"ReadWriteOncePod\"",
                    ],
                ),
                (json!({"spec": {"resources": null}}), &["spec.resources[storage]: Required value"]),
                (
                    json!({"spec": {"resources": {"requests": {"storage": "0"}}}}),
                    &["spec.resources[storage]: Invalid value: \"0\": must be greater than zero"],
                ),
            ],
        );
    }

    #[test]
    fn only_a_bound_claim_grows() {
        let mut bound = claim();
        bound["status"] = json!({"phase": "Bound"});
        let larger = json!({"spec": {"resources": {"requests": {"storage": "3Gi"}}}});
        assert_cases(
            bound.clone(),
            |new| compare_claims(new, &bound),
            &[
                (larger.clone(), &[]),
                (
                    json!({"spec": {"resources": {"requests": {"storage": "1Gi"}}}}),
                    &[
                        "spec.resources.requests.storage: Forbidden: field can not be less than previous value",
                    ],
                ),
            ],
        );
        let refused = format!("spec: Forbidden: {CLAIM_FIXED}");
        assert_cases(claim(), |new| compare_claims(new, &claim()), &[(larger, &[&refused])]);
    }
}
