//! Volumes: unique names and exactly one source each.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    super::{
        checks::{Causes, annotations, indexed, items, label, nanos, one_of, require, subdomain, text},
        csi::driver_name,
        storage::claim_spec,
    },
    container::below,
    environment,
    volume_sources::{self, Source},
};
use crate::{metadata::validate_labels, status::Cause};

pub type Volumes = BTreeSet<String>;

pub const HOST_PATH_TYPES: [&str; 8] =
    ["", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"];
const FIELDS: [&str; 5] =
    ["metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"];
const MODE_RANGE: &str = "must be a number between 0 and 0777 (octal), both inclusive";

/// The names of the volumes with which all is well: upstream finds no others.
pub fn validate(out: &mut Causes, volumes: &Value, path: &str) -> Volumes {
    let mut names = BTreeSet::new();
    for (at, volume) in indexed(volumes, path) {
        let (name, before) = (text(&volume["name"]), out.len());
        sources(out, volume, &at);
        label(out, &volume["name"], &format!("{at}.name"));
        if names.contains(name) {
            out.push(Cause::duplicate(format!("{at}.name"), name));
        }
        if out.len() == before {
            names.insert(name.to_owned());
        }
    }
    names
}

fn sources(out: &mut Causes, volume: &Value, path: &str) {
    let fields = volume.as_object().into_iter().flatten();
    let given = fields.filter(|(field, source)| *field != "name" && source.is_object());
    // The stock server looks for this one first, and for the others in their order.
    let (first, others): (Vec<_>, Vec<_>) = given.partition(|(field, _)| *field == "emptyDir");
    let mut given = first.into_iter().chain(others);
    let Some((kind, source)) = given.next() else {
        return out.push(Cause::required(path, "must specify a volume type"));
    };
    validate_source(out, kind, source, &format!("{path}.{kind}"), text(&volume["name"]));
    for (extra, _) in given {
        out.push(Cause::forbidden(format!("{path}.{extra}"), "may not specify more than 1 volume type"));
    }
}

fn validate_source(out: &mut Causes, kind: &str, source: &Value, path: &str, name: &str) {
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
        "csi" => {
            driver_name(out, &source["driver"], &format!("{path}.driver"));
            let secret = &source["nodePublishSecretRef"];
            if !secret.is_null()
                && require(out, &secret["name"], &format!("{path}.nodePublishSecretRef.name"))
            {
                subdomain(out, &secret["name"], &format!("{path}.name"));
            }
        }
        "ephemeral" if source["volumeClaimTemplate"].is_object() => {
            let (claim, at) = (&source["volumeClaimTemplate"], format!("{path}.volumeClaimTemplate"));
            annotations(out, &claim["metadata"]["annotations"], &format!("{at}.metadata.annotations"));
            out.extend(validate_labels(&claim["metadata"]["labels"], &format!("{at}.metadata.labels")));
            claim_spec(out, &claim["spec"], &format!("{at}.spec"));
        }
        "projected" => projected(out, source, path),
        "image" => one_of(
            out,
            &source["pullPolicy"],
            &format!("{path}.pullPolicy"),
            &["Always", "IfNotPresent", "Never"],
        ),
        _ => {
            let source = Source { kind, fields: source, path, name, is_persistent: false };
            volume_sources::validate(out, source);
        }
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

fn downward_items(out: &mut Causes, source: &Value, at: &str) {
    // Upstream leaves out which of them it is.
    for item in items(&source["items"]) {
        relative(out, &item["path"], &format!("{at}.path"));
        match (item["fieldRef"].is_object(), item["resourceFieldRef"].is_object()) {
            (true, true) => {
                let why = "fieldRef and resourceFieldRef can not be specified simultaneously";
                out.push(Cause::invalid(at, "resource", why));
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
                out.push(Cause::required(at, "one of fieldRef and resourceFieldRef is required"));
            }
        }
        environment::divisor(out, &item["resourceFieldRef"], &format!("{at}.resourceFieldRef"));
        mode(out, &item["mode"], &format!("{at}.mode"));
    }
}

fn projected(out: &mut Causes, source: &Value, path: &str) {
    mode(out, &source["defaultMode"], &format!("{path}.defaultMode"));
    let mut places = BTreeSet::new();
    for (at, part) in indexed(&source["sources"], &format!("{path}.sources")) {
        let given: Vec<(&String, &Value)> =
            part.as_object().into_iter().flatten().filter(|(_, own)| own.is_object()).collect();
        for (kind, own) in &given {
            let at = format!("{at}.{kind}");
            for place in items(&own["items"]).iter().map(|item| text(&item["path"])) {
                if !place.is_empty() && !places.insert(place) {
                    let shown = if *kind == "downwardAPI" { place } else { text(&own["name"]) };
                    out.push(Cause::invalid(path, shown, "conflicting duplicate paths"));
                }
            }
            match kind.as_str() {
                "secret" | "configMap" => {
                    require(out, &own["name"], &format!("{at}.name"));
                    keys(out, own, &at);
                }
                "downwardAPI" => downward_items(out, own, &at),
                "serviceAccountToken" => {
                    let seconds = own["expirationSeconds"].as_i64();
                    let why = match seconds {
                        Some(..600) => "may not specify a duration less than 10 minutes",
                        Some(seconds) if seconds > 1 << 32 => {
                            "may not specify a duration larger than 2^32 seconds"
                        }
                        _ => "",
                    };
                    if !why.is_empty() {
                        out.push(Cause::invalid(format!("{at}.expirationSeconds"), seconds, why));
                    }
                    // Upstream leaves out which source it is.
                    relative(out, &own["path"], &format!("{path}.path"));
                }
                _ => {}
            }
        }
        if given.len() > 1 {
            out.push(Cause::forbidden(at, "may not specify more than 1 volume type per source"));
        }
    }
}
