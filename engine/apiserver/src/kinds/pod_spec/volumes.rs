//! Volumes: unique names and exactly one source each.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    super::checks::{Causes, indexed, label, nanos, needed, one_of, require, text},
    container::below,
    environment,
};
use crate::status::Cause;

pub type Volumes = BTreeSet<String>;

const HOST_PATH_TYPES: [&str; 8] =
    ["", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"];
const FIELDS: [&str; 5] =
    ["metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"];
const MODE_RANGE: &str = "must be a number between 0 and 0777 (octal), both inclusive";

/// The names of the volumes.
pub fn validate(out: &mut Causes, volumes: &Value, path: &str) -> Volumes {
    let mut names = BTreeSet::new();
    for (at, volume) in indexed(volumes, path) {
        sources(out, volume, &at);
        label(out, &volume["name"], &format!("{at}.name"));
        let name = text(&volume["name"]);
        if !name.is_empty() && !names.insert(name.to_owned()) {
            out.push(Cause::duplicate(format!("{at}.name"), name));
        }
    }
    names
}

fn sources(out: &mut Causes, volume: &Value, path: &str) {
    let fields = volume.as_object().into_iter().flatten();
    let mut given = fields.filter(|(field, source)| *field != "name" && source.is_object());
    let Some((kind, source)) = given.next() else {
        return out.push(Cause::required(path, "must specify a volume type"));
    };
    validate_source(out, kind, source, &format!("{path}.{kind}"));
    for (extra, _) in given {
        out.push(Cause::forbidden(format!("{path}.{extra}"), "may not specify more than 1 volume type"));
    }
}

fn validate_source(out: &mut Causes, kind: &str, source: &Value, path: &str) {
    match kind {
        "hostPath" => {
            require(out, &source["path"], &format!("{path}.path"));
            if text(&source["path"]).split('/').any(|part| part == "..") {
                out.push(Cause::invalid(
                    format!("{path}.path"),
                    source["path"].clone(),
                    "must not contain '..'",
                ));
            }
            one_of(out, &source["type"], &format!("{path}.type"), &HOST_PATH_TYPES);
        }
        "emptyDir" if nanos(&source["sizeLimit"]).is_some_and(|size| size < 0) => {
            let why = "SizeLimit field must be a valid resource quantity";
            out.push(Cause::forbidden(format!("{path}.sizeLimit"), why));
        }
        "secret" => {
            require(out, &source["secretName"], &format!("{path}.secretName"));
            keys(out, source, path);
        }
        "configMap" => {
            require(out, &source["name"], &format!("{path}.name"));
            keys(out, source, path);
        }
        "downwardAPI" => {
            mode(out, &source["defaultMode"], &format!("{path}.defaultMode"));
            downward_items(out, source, path);
        }
        "projected" => projected(out, source, path),
        "image" => one_of(
            out,
            &source["pullPolicy"],
            &format!("{path}.pullPolicy"),
            &["Always", "IfNotPresent", "Never"],
        ),
        _ => needed_of_source(out, kind, source, path),
    }
}

/// What a source cannot be without, in volumes of pods and in PersistentVolumes.
const NEEDED: [(&str, &[&str]); 19] = [
    ("persistentVolumeClaim", &["claimName"]),
    ("ephemeral", &["volumeClaimTemplate"]),
    ("csi", &["driver"]),
    ("nfs", &["server", "path"]),
    ("local", &["path"]),
    ("gcePersistentDisk", &["pdName"]),
    ("awsElasticBlockStore", &["volumeID"]),
    ("glusterfs", &["endpoints", "path"]),
    ("rbd", &["monitors", "image"]),
    ("cephfs", &["monitors"]),
    ("iscsi", &["targetPortal", "iqn"]),
    ("cinder", &["volumeID"]),
    ("flexVolume", &["driver"]),
    ("azureFile", &["secretName", "shareName"]),
    ("azureDisk", &["diskName", "diskURI"]),
    ("vsphereVolume", &["volumePath"]),
    ("photonPersistentDisk", &["pdID"]),
    ("portworxVolume", &["volumeID"]),
    ("scaleIO", &["gateway", "system", "volumeName"]),
];

pub fn needed_of_source(out: &mut Causes, kind: &str, source: &Value, path: &str) {
    let fields = NEEDED.iter().find(|(own, _)| *own == kind).map_or(&[][..], |(_, fields)| *fields);
    for field in fields {
        needed(out, source, path, field);
    }
    let place = text(&source["path"]);
    if kind == "nfs" && !place.is_empty() && !place.starts_with('/') {
        out.push(Cause::invalid(format!("{path}.path"), place, "must be an absolute path"));
    }
    if kind == "local" && place.split('/').any(|part| part == "..") {
        out.push(Cause::invalid(format!("{path}.path"), place, "must not contain '..'"));
    }
}

fn mode(out: &mut Causes, value: &Value, path: &str) {
    if let Some(mode) = value.as_i64().filter(|mode| !(0..=0o777).contains(mode)) {
        out.push(Cause::invalid(path, mode, MODE_RANGE));
    }
}

fn relative(out: &mut Causes, value: &Value, path: &str) {
    if require(out, value, path) {
        below(out, value, path);
        if text(value).starts_with("..") && !text(value).starts_with("../") && text(value) != ".." {
            out.push(Cause::invalid(path, value.clone(), "must not start with '..'"));
        }
    }
}

/// `items` of ConfigMaps and Secrets.
fn keys(out: &mut Causes, source: &Value, path: &str) {
    mode(out, &source["defaultMode"], &format!("{path}.defaultMode"));
    for (at, item) in indexed(&source["items"], &format!("{path}.items")) {
        require(out, &item["key"], &format!("{at}.key"));
        relative(out, &item["path"], &format!("{at}.path"));
        mode(out, &item["mode"], &format!("{at}.mode"));
    }
}

fn downward_items(out: &mut Causes, source: &Value, path: &str) {
    for (at, item) in indexed(&source["items"], &format!("{path}.items")) {
        relative(out, &item["path"], &format!("{at}.path"));
        match (item["fieldRef"].is_object(), item["resourceFieldRef"].is_object()) {
            (true, true) => {
                let why = "fieldRef and resourceFieldRef can not be specified simultaneously";
                out.push(Cause::invalid(at.as_str(), "resource", why));
            }
            (true, false) => {
                environment::field(out, &item["fieldRef"], &format!("{at}.fieldRef"), &FIELDS);
            }
            (false, true) => {
                let own = &item["resourceFieldRef"];
                require(out, &own["containerName"], &format!("{at}.resourceFieldRef.containerName"));
                environment::resource(out, &own["resource"], &format!("{at}.resourceFieldRef.resource"));
            }
            (false, false) => {
                out.push(Cause::required(at.as_str(), "one of fieldRef and resourceFieldRef is required"));
            }
        }
        environment::divisor(out, &item["resourceFieldRef"], &format!("{at}.resourceFieldRef"));
        mode(out, &item["mode"], &format!("{at}.mode"));
    }
}

fn projected(out: &mut Causes, source: &Value, path: &str) {
    mode(out, &source["defaultMode"], &format!("{path}.defaultMode"));
    for (at, part) in indexed(&source["sources"], &format!("{path}.sources")) {
        let given: Vec<(&String, &Value)> =
            part.as_object().into_iter().flatten().filter(|(_, own)| own.is_object()).collect();
        for (kind, own) in given.iter().take(1) {
            let at = format!("{at}.{kind}");
            match kind.as_str() {
                "secret" | "configMap" => {
                    require(out, &own["name"], &format!("{at}.name"));
                    keys(out, own, &at);
                }
                "downwardAPI" => downward_items(out, own, &at),
                "serviceAccountToken" => {
                    let seconds = own["expirationSeconds"].as_i64();
                    if let Some(seconds) = seconds.filter(|seconds| *seconds < 600) {
                        let why = "may not specify a duration less than 10 minutes";
                        out.push(Cause::invalid(format!("{at}.expirationSeconds"), seconds, why));
                    }
                    relative(out, &own["path"], &format!("{at}.path"));
                }
                _ => {}
            }
        }
        match given.len() {
            0 => {
                let why = "must specify one of `configMap`, `downwardAPI`, `secret`, `serviceAccountToken`, `clusterTrustBundle` or `podCertificate`";
                out.push(Cause::required(at, why));
            }
            1 => {}
            _ => out.push(Cause::forbidden(
                format!("{at}.{}", given[1].0),
                "may not specify more than 1 volume type",
            )),
        }
    }
}
