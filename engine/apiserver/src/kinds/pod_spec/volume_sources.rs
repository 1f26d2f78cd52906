//! What the sources of volumes must hold, in pods and in PersistentVolumes.
//!
//! Source: https://github.com/kubernetes/kubernetes/blob/master/pkg/apis/core/validation/validation.go
//! (`validateISCSIVolumeSource` and its neighbours)

use serde_json::Value;

use super::{
    super::checks::{Causes, add, is_set, label, needed, one_of, text},
    container::below,
};
use crate::{metadata::label_problems, status::Cause};

/// One source of one volume.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    pub kind: &'a str,
    pub fields: &'a Value,
    /// Of the fields, for messages.
    pub path: &'a str,
    /// Of the volume.
    pub name: &'a str,
    /// It is a PersistentVolume's, not a pod's.
    pub is_persistent: bool,
}

impl Source<'_> {
    fn at(self, field: &str) -> String {
        format!("{}.{field}", self.path)
    }

    fn invalid(self, out: &mut Causes, field: &str, why: &str) {
        out.push(Cause::invalid(self.at(field), self.fields[field].clone(), why));
    }
}

/// Checks one field of a source, or what belongs together with it.
type Rule = fn(&mut Causes, Source<'_>, &str);

const THERE: Rule = |out, source, field| needed(out, source.fields, source.path, field);

/// (kind, field, rule), in the order in which upstream looks.
const RULES: [(&str, &str, Rule); 51] = [
    ("persistentVolumeClaim", "claimName", THERE),
    ("ephemeral", "volumeClaimTemplate", THERE),
    ("gitRepo", "repository", THERE),
    ("gitRepo", "directory", |out, source, field| below(out, &source.fields[field], &source.at(field))),
    ("nfs", "server", THERE),
    ("nfs", "path", THERE),
    ("nfs", "path", absolute),
    ("local", "path", THERE),
    ("local", "path", no_backsteps),
    ("gcePersistentDisk", "pdName", THERE),
    ("gcePersistentDisk", "partition", small_number),
    ("awsElasticBlockStore", "volumeID", THERE),
    ("awsElasticBlockStore", "partition", small_number),
    ("glusterfs", "endpoints", THERE),
    ("glusterfs", "path", THERE),
    ("glusterfs", "endpointsNamespace", endpoints_namespace),
    ("rbd", "monitors", THERE),
    ("rbd", "image", THERE),
    ("cephfs", "monitors", THERE),
    ("iscsi", "targetPortal", THERE),
    ("iscsi", "targetPortal", portal),
    ("iscsi", "iqn", THERE),
    ("iscsi", "iqn", initiator),
    ("iscsi", "lun", small_number),
    ("iscsi", "secretRef", password),
    ("iscsi", "initiatorName", initiator),
    ("cinder", "volumeID", THERE),
    ("cinder", "secretRef", secret),
    ("fc", "targetWWNs", targets),
    ("flexVolume", "driver", THERE),
    ("flexVolume", "options", options),
    ("azureFile", "secretName", THERE),
    ("azureFile", "shareName", THERE),
    ("azureFile", "secretNamespace", |out, source, field| {
        if source.fields[field] == "" {
            THERE(out, source, field);
        }
    }),
    ("azureDisk", "diskName", THERE),
    ("azureDisk", "diskURI", THERE),
    ("azureDisk", "cachingMode", |out, source, field| {
        one_of(out, &source.fields[field], &source.at(field), &["None", "ReadOnly", "ReadWrite"]);
    }),
    ("azureDisk", "kind", |out, source, field| {
        one_of(out, &source.fields[field], &source.at(field), &["Dedicated", "Managed", "Shared"]);
    }),
    ("azureDisk", "diskURI", disk_uri),
    ("vsphereVolume", "volumePath", THERE),
    ("photonPersistentDisk", "pdID", THERE),
    ("portworxVolume", "volumeID", THERE),
    ("scaleIO", "gateway", THERE),
    ("scaleIO", "system", THERE),
    ("scaleIO", "volumeName", THERE),
    ("quobyte", "registry", registry),
    ("quobyte", "volume", THERE),
    ("flocker", "datasetName", dataset),
    ("storageos", "volumeName", |out, source, field| label(out, &source.fields[field], &source.at(field))),
    ("storageos", "volumeNamespace", |out, source, field| {
        if is_set(&source.fields[field]) {
            label(out, &source.fields[field], &source.at(field));
        }
    }),
    ("storageos", "secretRef", secret),
];

pub fn validate(out: &mut Causes, source: Source<'_>) {
    // Upstream has another name for this one.
    let renamed =
        source.path.strip_suffix("gcePersistentDisk").map(|parent| format!("{parent}persistentDisk"));
    let source = Source { path: renamed.as_deref().unwrap_or(source.path), ..source };
    for (_, field, rule) in RULES.iter().filter(|(kind, ..)| *kind == source.kind) {
        rule(out, source, field);
    }
}

fn absolute(out: &mut Causes, source: Source<'_>, field: &str) {
    let place = text(&source.fields[field]);
    if !place.starts_with('/') {
        out.push(Cause::invalid(source.at(field), place, "must be an absolute path"));
    }
}

fn no_backsteps(out: &mut Causes, source: Source<'_>, field: &str) {
    if text(&source.fields[field]).split('/').any(|part| part == "..") {
        source.invalid(out, field, "must not contain '..'");
    }
}

/// Partitions may be 0 too, whatever upstream says.
fn small_number(out: &mut Causes, source: Source<'_>, field: &str) {
    let first = u8::from(field == "partition");
    if source.fields[field].as_i64().is_some_and(|number| !(0..=255).contains(&number)) {
        source.invalid(out, field, &format!("must be between {first} and 255, inclusive"));
    }
}

/// A reference to a Secret has a name and, from outside of a namespace, that.
fn secret(out: &mut Causes, source: Source<'_>, field: &str) {
    let parts: &[&str] = if source.is_persistent { &["name", "namespace"] } else { &["name"] };
    let reference = &source.fields[field];
    for part in parts.iter().filter(|_| !reference.is_null()) {
        needed(out, reference, &source.at(field), part);
    }
}

fn endpoints_namespace(out: &mut Causes, source: Source<'_>, field: &str) {
    match source.fields[field].as_str().filter(|_| source.is_persistent) {
        Some("") => {
            let why = "if the endpointnamespace is set, it must be a valid namespace name";
            source.invalid(out, field, why);
        }
        Some(namespace) => add(out, &source.at(field), namespace, label_problems(namespace)),
        None => {}
    }
}

const PORTAL_MAX_BYTES: usize = 64;

/// Both names become one where an initiator has a name of its own.
fn portal(out: &mut Causes, source: Source<'_>, field: &str) {
    const WHY: &str = "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if iscsi.initiatorName is specified.";
    let portal = text(&source.fields[field]);
    let bytes = source.name.len() + ":".len() + portal.len();
    if source.fields["initiatorName"].is_null() || bytes <= PORTAL_MAX_BYTES {
        return;
    }
    out.push(match source.path.strip_suffix(".iscsi").filter(|_| !source.is_persistent) {
        Some(volume) => Cause::invalid(format!("{volume}.name"), source.name, WHY),
        None => Cause::invalid(source.at("targetportal"), portal, WHY),
    });
}

/// `iqn.2001-04.com.example:disk`, `eui.` and 16 letters or digits, `naa.` and 32. What is empty is for others to see.
fn initiator(out: &mut Causes, source: Source<'_>, field: &str) {
    let Some(name) = source.fields[field].as_str().filter(|name| !name.is_empty() || field != "iqn") else {
        return;
    };
    let digits = |count: usize| {
        let bytes = name.as_bytes();
        bytes.len() == count + 4 && bytes[4..].iter().all(u8::is_ascii_alphanumeric)
    };
    let (known, fits) = match name.get(..3) {
        Some("iqn") => {
            (true, name.match_indices("iqn.").any(|(at, start)| is_iqn(&name[at + start.len()..])))
        }
        Some("eui") => (true, digits(16)),
        Some("naa") => (true, digits(32)),
        _ => (false, false),
    };
    if !fits {
        let why = match known || source.is_persistent {
            true => "must be valid format",
            false => "must be valid format starting with iqn, eui, or naa",
        };
        out.push(Cause::invalid(source.at(&field.to_lowercase()), name, why));
    }
}

/// `2001-04.com.example:disk`
fn is_iqn(rest: &str) -> bool {
    let Some((authority, disk)) = rest.split_once(':') else { return false };
    let shaped = |(at, byte): (usize, u8)| match at {
        4 => byte == b'-',
        7 => byte == b'.',
        0..8 => byte.is_ascii_digit(),
        _ => byte.is_ascii_alphanumeric() || b"-.".contains(&byte),
    };
    authority.len() > 8
        && authority.bytes().enumerate().all(shaped)
        && !disk.is_empty()
        && !disk.contains([',', ';', '*', '&', '$', '|', '\t', '\n', '\x0c', '\r', ' '])
}

/// Who authenticates has a password.
fn password(out: &mut Causes, source: Source<'_>, field: &str) {
    let secret = &source.fields[field];
    if secret.is_null()
        && ["chapAuthDiscovery", "chapAuthSession"].iter().any(|own| source.fields[*own] == true)
    {
        out.push(Cause::required(source.at(field), ""));
    }
    if source.is_persistent && !secret.is_null() {
        needed(out, secret, &source.at(field), "name");
    }
}

fn targets(out: &mut Causes, source: Source<'_>, field: &str) {
    match (is_set(&source.fields[field]), is_set(&source.fields["wwids"])) {
        (false, false) => {
            let why = "must specify either targetWWNs or wwids, but not both";
            out.push(Cause::required(source.at(field), why));
        }
        (true, true) => {
            source.invalid(out, field, "targetWWNs and wwids can not be specified simultaneously")
        }
        _ => {}
    }
    if is_set(&source.fields[field]) && source.fields["lun"].is_null() {
        out.push(Cause::required(source.at("lun"), "lun is required if targetWWNs is specified"));
    } else if is_set(&source.fields[field]) {
        small_number(out, source, "lun");
    }
}

fn options(out: &mut Causes, source: Source<'_>, field: &str) {
    for (key, _) in source.fields[field].as_object().into_iter().flatten() {
        let owner = format!(".{}", key.split('/').next().unwrap_or_default().to_lowercase());
        if owner.ends_with(".kubernetes.io") || owner.ends_with(".k8s.io") {
            let why = "kubernetes.io and k8s.io namespaces are reserved";
            out.push(Cause::invalid(format!("{}[{key}]", source.at(field)), key.as_str(), why));
        }
    }
}

fn disk_uri(out: &mut Causes, source: Source<'_>, field: &str) {
    let (start, form) = match source.fields["kind"].as_str() {
        None => return,
        Some("Managed") => (
            "/subscriptions/",
            "/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}",
        ),
        Some(_) => {
            ("https://", "https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd")
        }
    };
    let uri = text(&source.fields[field]);
    if !uri.starts_with(start) {
        out.push(Cause::not_supported(source.at(field), uri, &[form]));
    }
}

const TENANT_MAX_BYTES: usize = 64;

fn registry(out: &mut Causes, source: Source<'_>, field: &str) {
    const FORM: &str = "must be a host:port pair or multiple pairs separated by commas";
    let registry = text(&source.fields[field]);
    if registry.is_empty() {
        return out.push(Cause::required(source.at(field), FORM));
    }
    if text(&source.fields["tenant"]).len() > TENANT_MAX_BYTES {
        let why = "must be a UUID and may not exceed a length of 64 characters";
        return out.push(Cause::required(source.at("tenant"), why));
    }
    for _ in registry.split(',').filter(|pair| !is_host_port(pair)) {
        source.invalid(out, field, FORM);
    }
}

fn is_host_port(pair: &str) -> bool {
    let Some((host, port)) = pair.rsplit_once(':') else { return false };
    let bare = match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']'),
        None => Some(host).filter(|host| !host.contains(':')),
    };
    bare.is_some_and(|host| ![host, port].iter().any(|part| part.contains(['[', ']'])))
}

fn dataset(out: &mut Causes, source: Source<'_>, field: &str) {
    match (is_set(&source.fields[field]), is_set(&source.fields["datasetUUID"])) {
        (false, false) => {
            out.push(Cause::required(source.path, "one of datasetName and datasetUUID is required"))
        }
        (true, true) => {
            let why = "datasetName and datasetUUID can not be specified simultaneously";
            out.push(Cause::invalid(source.path, "resource", why));
        }
        _ => {}
    }
    if text(&source.fields[field]).contains('/') {
        source.invalid(out, field, "must not contain '/'");
    }
}
