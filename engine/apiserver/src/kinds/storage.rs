//! PersistentVolumes, PersistentVolumeClaims, StorageClasses.
//!
//! Source: https://github.com/kubernetes/kubernetes/blob/master/pkg/apis/core/validation/validation.go (`ValidatePersistentVolumeClaimSpec`)

mod claim_status;

use serde_json::Value;

use super::{
    checked::Checked,
    checks::{
        Causes, IMMUTABLE, add, immutable, indexed, is_set, items, label, label_selector, nanos, one_of,
        require, same, subdomain, text,
    },
    csi::driver_name,
    pod_spec::{HOST_PATH_TYPES, Source, node_selector, validate_volume_source},
    warnings,
};
use crate::{
    metadata::{label_problems, qualified_name_problems, subdomain_problems},
    object::{name, remove, strings},
    status::Cause,
};

const ACCESS_MODES: [&str; 4] = ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];
const VOLUME_MODES: [&str; 2] = ["Block", "Filesystem"];
const NOT_POSITIVE: &str = "must be greater than zero";
/// What a volume may be made of, in the order in which upstream looks.
const SOURCES: [&str; 22] = [
    "hostPath",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "glusterfs",
    "flocker",
    "nfs",
    "rbd",
    "quobyte",
    "cephfs",
    "iscsi",
    "cinder",
    "fc",
    "flexVolume",
    "azureFile",
    "vsphereVolume",
    "photonPersistentDisk",
    "portworxVolume",
    "azureDisk",
    "scaleIO",
    "local",
    "storageos",
    "csi",
];
const CSI_SECRETS: [&str; 4] = [
    "controllerPublishSecretRef",
    "controllerExpandSecretRef",
    "nodePublishSecretRef",
    "nodeExpandSecretRef",
];

pub static VOLUME: Checked =
    Checked::new(volume).warning(warnings::volume).comparing(compare_volumes).preparing(pending);

fn compare_volumes(new: &Value, old: &Value) -> Causes {
    const EXPAND: &str = "controllerExpandSecretRef";
    let (spec, before, mut out) = (&new["spec"], &old["spec"], Vec::new());
    let mut csi = spec["csi"].clone();
    // May come later.
    if before["csi"].is_object() && before["csi"][EXPAND].is_null() {
        remove(&mut csi, EXPAND);
    }
    let kept = |source: &str| match source {
        "csi" => same(&csi, &before["csi"]),
        source => same(&spec[source], &before[source]),
    };
    if !SOURCES.iter().all(|source| kept(source)) {
        let why = "spec.persistentvolumesource is immutable after creation";
        out.push(Cause::forbidden("spec.persistentvolumesource", why));
    }
    immutable(&mut out, &spec["volumeMode"], &before["volumeMode"], "volumeMode");
    let affinity = &spec["nodeAffinity"];
    if !before["nodeAffinity"].is_null() && !same(affinity, &newer_labels(&before["nodeAffinity"], affinity))
    {
        let why = format!("{IMMUTABLE}, except for updating from beta label to GA");
        out.push(Cause::invalid("nodeAffinity", affinity.clone(), &why));
    }
    if !before["volumeAttributesClassName"].is_null() && spec["volumeAttributesClassName"].is_null() {
        let why = "update from non-nil value to nil is forbidden";
        out.push(Cause::forbidden("spec.volumeAttributesClassName", why));
    }
    out
}

/// (What a label was called, what it is called now)
const RENAMED: [(&str, &str); 5] = [
    ("failure-domain.beta.kubernetes.io/zone", "topology.kubernetes.io/zone"),
    ("failure-domain.beta.kubernetes.io/region", "topology.kubernetes.io/region"),
    ("beta.kubernetes.io/os", "kubernetes.io/os"),
    ("beta.kubernetes.io/arch", "kubernetes.io/arch"),
    ("beta.kubernetes.io/instance-type", "node.kubernetes.io/instance-type"),
];

/// `old` with the labels' new names where `new` has them.
fn newer_labels(old: &Value, new: &Value) -> Value {
    let mut old = old.clone();
    let terms = old.pointer_mut("/required/nodeSelectorTerms").and_then(Value::as_array_mut);
    for (position, term) in terms.into_iter().flatten().enumerate() {
        let new = &new["required"]["nodeSelectorTerms"][position];
        for field in ["matchExpressions", "matchFields"] {
            let expressions = term.get_mut(field).and_then(Value::as_array_mut);
            for (position, own) in expressions.into_iter().flatten().enumerate() {
                let key = new[field][position]["key"].clone();
                if RENAMED.iter().any(|(before, now)| own["key"] == *before && key == *now) {
                    own["key"] = key;
                }
            }
        }
    }
    old
}

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
.warning(|claim, _| {
    const CLASS: &str = "volume.beta.kubernetes.io/storage-class";
    let mut out = Vec::new();
    if !claim["metadata"]["annotations"][CLASS].is_null() {
        out.push(format!(
            "metadata.annotations[{CLASS}]: deprecated since v1.8; use \"storageClassName\" attribute instead"
        ));
    }
    out.extend(super::pod_warnings::of_claim_spec(&claim["spec"], "spec"));
    out
})
.comparing(compare_claims)
.checking_status(|claim, _| claim_status::validate(&claim["status"]))
.preparing(pending);

pub static CLASS: Checked = Checked::new(class).warning(warnings::storage_class).comparing(|new, old| {
    let mut out = Vec::new();
    if !same(&new["parameters"], &old["parameters"]) {
        out.push(Cause::forbidden("parameters", "updates to parameters are forbidden."));
    }
    if new["provisioner"] != old["provisioner"] {
        out.push(Cause::forbidden("provisioner", "updates to provisioner are forbidden."));
    }
    if new["reclaimPolicy"] != old["reclaimPolicy"] {
        out.push(Cause::forbidden("reclaimPolicy", "updates to reclaimPolicy are forbidden."));
    }
    immutable(&mut out, &new["volumeBindingMode"], &old["volumeBindingMode"], "volumeBindingMode");
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
    let others = modes.iter().any(|mode| *mode != "ReadWriteOncePod" && ACCESS_MODES.contains(mode));
    if modes.contains(&"ReadWriteOncePod") && others {
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
    let capacity = &spec["capacity"];
    require(&mut out, capacity, "spec.capacity");
    if capacity["storage"].is_null() || capacity.as_object().is_some_and(|own| own.len() > 1) {
        out.push(Cause::not_supported("spec.capacity", capacity.clone(), &["storage"]));
    }
    for (name, quantity) in capacity.as_object().into_iter().flatten() {
        storage(&mut out, quantity, &format!("spec.capacity[{name}]"));
    }
    one_of(
        &mut out,
        &spec["persistentVolumeReclaimPolicy"],
        "spec.persistentVolumeReclaimPolicy",
        &["Delete", "Recycle", "Retain"],
    );
    let affinity = &spec["nodeAffinity"];
    if !affinity.is_null() {
        let (required, at) = (&affinity["required"], "spec.nodeAffinity.required");
        if required.is_null() {
            out.push(Cause::required(at, "must specify required node constraints"));
        } else {
            node_selector(&mut out, required, at);
        }
    }
    volume_sources(&mut out, spec, "spec", name(volume));
    subdomain(&mut out, &spec["storageClassName"], "spec.storageClassName");
    one_of(&mut out, &spec["volumeMode"], "spec.volumeMode", &VOLUME_MODES);
    attributes_class(&mut out, spec, "spec");
    out
}

/// The spec of a volume that is an object of its own nowhere.
pub fn inline_volume(out: &mut Causes, spec: &Value, path: &str) {
    const WHY: &str = "may not be specified in the context of inline volumes";
    let forbid = |out: &mut Causes, field: &str, why: &str| {
        out.push(Cause::forbidden(format!("{path}.{field}"), why));
    };
    for field in ["claimRef", "capacity"].into_iter().filter(|field| is_set(&spec[*field])) {
        forbid(out, field, WHY);
    }
    if spec["csi"].is_null() {
        out.push(Cause::required(
            format!("{path}.csi"),
            "has to be specified in the context of inline volumes",
        ));
    }
    access_modes(out, spec, path, "");
    if !matches!(text(&spec["persistentVolumeReclaimPolicy"]), "" | "Retain") {
        let why = "may only be Retain in the context of inline volumes";
        forbid(out, "persistentVolumeReclaimPolicy", why);
    }
    if !spec["nodeAffinity"].is_null() {
        forbid(out, "nodeAffinity", WHY);
    }
    volume_sources(out, spec, path, "");
    if is_set(&spec["storageClassName"]) {
        forbid(out, "storageClassName", WHY);
    }
    if spec["volumeMode"].as_str().is_some_and(|mode| mode != "Filesystem") {
        let why = "may not specify volumeMode other than Filesystem in the context of inline volumes";
        forbid(out, "volumeMode", why);
    }
    attributes_class(out, spec, path);
}

fn attributes_class(out: &mut Causes, spec: &Value, path: &str) {
    let Some(class) = spec["volumeAttributesClassName"].as_str() else { return };
    let at = format!("{path}.volumeAttributesClassName");
    if class.is_empty() {
        out.push(Cause::required(at, "an empty string is disallowed"));
    } else {
        add(out, &at, class, subdomain_problems(class));
    }
    if spec["csi"].is_null() {
        let why = "has to be specified when using volumeAttributesClassName";
        out.push(Cause::required(format!("{path}.csi"), why));
    }
}

/// Exactly one, and what it needs.
fn volume_sources(out: &mut Causes, spec: &Value, path: &str, name: &str) {
    let mut given = SOURCES.iter().filter(|source| spec[**source].is_object());
    match given.next() {
        None => out.push(Cause::required(path, "must specify a volume type")),
        Some(source) => volume_source(out, source, spec, path, name),
    }
    for extra in given {
        out.push(Cause::forbidden(format!("{path}.{extra}"), "may not specify more than 1 volume type"));
    }
    if spec["hostPath"]["path"] == "/" && spec["persistentVolumeReclaimPolicy"] == "Recycle" {
        let why = "may not be 'recycle' for a hostPath mount of '/'";
        out.push(Cause::forbidden(format!("{path}.persistentVolumeReclaimPolicy"), why));
    }
}

fn volume_source(out: &mut Causes, kind: &str, spec: &Value, parent: &str, name: &str) {
    let (source, path) = (&spec[kind], format!("{parent}.{kind}"));
    match kind {
        "hostPath" => {
            let at = format!("{path}.path");
            if !require(out, &source["path"], &at) {
                return;
            }
            if text(&source["path"]).split('/').any(|part| part == "..") {
                out.push(Cause::invalid(at, source["path"].clone(), "must not contain '..'"));
            }
            one_of(out, &source["type"], &format!("{path}.type"), &HOST_PATH_TYPES);
        }
        "csi" => {
            driver_name(out, &source["driver"], &format!("{path}.driver"));
            require(out, &source["volumeHandle"], &format!("{path}.volumeHandle"));
            for field in CSI_SECRETS.iter().filter(|field| !source[**field].is_null()) {
                let secret = &source[*field];
                let name = format!("{path}.{field}.name");
                if require(out, &secret["name"], &name) {
                    subdomain(out, &secret["name"], &name);
                }
                label(out, &secret["namespace"], &format!("{path}.{field}.namespace"));
            }
        }
        kind => {
            let source = Source { kind, fields: source, path: &path, name, is_persistent: true };
            validate_volume_source(out, source);
        }
    }
    if kind == "local" && spec["nodeAffinity"].is_null() {
        out.push(Cause::required(format!("{parent}.nodeAffinity"), "Local volume requires node affinity"));
    }
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
    let (source, reference) = (&spec["dataSource"], &spec["dataSourceRef"]);
    for (field, own) in [("dataSource", source), ("dataSourceRef", reference)] {
        if !own.is_null() {
            data_source(out, own, &format!("{path}.{field}"));
        }
    }
    if !source.is_null() && !reference.is_null() {
        let key = |own: &Value| ["apiGroup", "kind", "name"].map(|field| own[field].clone());
        let problem = if is_set(&reference["namespace"]) {
            Some("may not be specified when dataSourceRef.namespace is specified")
        } else {
            (key(source) != key(reference)).then_some("must match dataSourceRef")
        };
        // Upstream shows the path as the value.
        let shown = format!("{path}.dataSource");
        out.extend(
            problem
                .map(|why| Cause::new("FieldValueInvalid", path, format!("Invalid value: {shown}: {why}"))),
        );
    }
    let at = format!("{path}.volumeAttributesClassName");
    subdomain(out, &spec["volumeAttributesClassName"], &at);
}

fn data_source(out: &mut Causes, source: &Value, path: &str) {
    for field in ["name", "kind"] {
        require(out, &source[field], &format!("{path}.{field}"));
    }
    let (group, kind) = (text(&source["apiGroup"]), text(&source["kind"]));
    if group.is_empty() && kind != "PersistentVolumeClaim" {
        let why = "must be 'PersistentVolumeClaim' when referencing the default apiGroup";
        out.push(Cause::invalid(path, kind, why));
    }
    subdomain(out, &source["apiGroup"], &format!("{path}.apiGroup"));
    if is_set(&source["namespace"]) {
        let name = text(&source["namespace"]);
        add(out, &format!("{path}.namespace"), name, label_problems(name));
    }
}

const CLAIM_FIXED: &str = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims";

fn compare_claims(new: &Value, old: &Value) -> Causes {
    let bound = new["status"]["phase"] == "Bound";
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
            remove(&mut spec["resources"]["requests"], "storage");
            remove(&mut spec, "volumeAttributesClassName");
        }
        spec
    };
    let mut out = Vec::new();
    if !same(&fixed(new), &fixed(old)) {
        out.push(Cause::forbidden("spec", CLAIM_FIXED));
    }
    let size = |object: &Value| nanos(&object["spec"]["resources"]["requests"]["storage"]);
    let there = nanos(&old["status"]["capacity"]["storage"]).unwrap_or_default();
    // Asking for less takes back a growth that failed, and no more than that.
    if size(new) < size(old) && size(new).unwrap_or_default() <= there {
        let why = "field can not be less than status.capacity";
        out.push(Cause::forbidden("spec.resources.requests.storage", why));
    }
    immutable(&mut out, &new["spec"]["volumeMode"], &old["spec"]["volumeMode"], "volumeMode");
    let class = &new["spec"]["volumeAttributesClassName"];
    if !old["status"]["currentVolumeAttributesClassName"].is_null()
        && !is_set(class)
        && *class != old["spec"]["volumeAttributesClassName"]
    {
        let what = if class.is_null() { "nil" } else { "empty string" };
        let why =
            format!("update to {what} is forbidden when status.currentVolumeAttributesClassName is not nil");
        out.push(Cause::forbidden("spec.volumeAttributesClassName", &why));
    }
    out
}

const PARAMETERS_MAX: usize = 512;
const PARAMETERS_MAX_BYTES: usize = 256 * 1024;

/// What a class tells its driver.
pub fn parameters(out: &mut Causes, map: &Value) {
    const AT: &str = "parameters";
    let pairs = || map.as_object().into_iter().flatten();
    if pairs().count() > PARAMETERS_MAX {
        return out.push(Cause::too_long(AT, PARAMETERS_MAX));
    }
    for (key, _) in pairs().filter(|(key, _)| key.is_empty()) {
        out.push(Cause::invalid(AT, key.as_str(), "field can not be empty."));
    }
    if pairs().map(|(key, value)| key.len() + text(value).len()).sum::<usize>() > PARAMETERS_MAX_BYTES {
        out.push(Cause::too_long(AT, PARAMETERS_MAX_BYTES));
    }
}

pub fn provisioner(out: &mut Causes, value: &Value, path: &str) {
    if require(out, value, path) {
        let name = text(value).to_lowercase();
        add(out, path, &name, qualified_name_problems(&name));
    }
}

fn class(class: &Value) -> Causes {
    let mut out = Vec::new();
    provisioner(&mut out, &class["provisioner"], "provisioner");
    parameters(&mut out, &class["parameters"]);
    one_of(&mut out, &class["reclaimPolicy"], "reclaimPolicy", &["Delete", "Retain"]);
    let modes = ["Immediate", "WaitForFirstConsumer"];
    one_of(&mut out, &class["volumeBindingMode"], "volumeBindingMode", &modes);
    topologies(&mut out, &class["allowedTopologies"]);
    out
}

fn topologies(out: &mut Causes, terms: &Value) {
    const AT: &str = "allowedTopologies";
    const LABELS: &str = "matchLabelExpressions";
    let all = items(terms);
    for (position, (at, term)) in indexed(terms, AT).enumerate() {
        let expressions = items(&term[LABELS]);
        // Upstream leaves out which term it is.
        for (position, (at, own)) in indexed(&term[LABELS], &format!("{AT}.{LABELS}")).enumerate() {
            let (key, values) = (text(&own["key"]), strings(&own["values"]));
            if values.is_empty() {
                out.push(Cause::required(format!("{at}.values"), ""));
            }
            for (index, value) in
                values.iter().enumerate().filter(|(index, own)| values[..*index].contains(own))
            {
                out.push(Cause::duplicate(format!("{at}.values[{index}]"), *value));
            }
            add(out, &format!("{at}.key"), key, qualified_name_problems(key));
            if expressions[..position].iter().any(|other| other["key"] == key) {
                out.push(Cause::duplicate(format!("{at}.key"), key));
            }
        }
        if all[..position].contains(term) {
            out.push(Cause::duplicate(format!("{at}.{LABELS}"), ""));
        }
    }
}

#[cfg(test)]
mod tests;
