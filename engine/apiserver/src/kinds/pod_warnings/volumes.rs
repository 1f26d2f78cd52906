//! Volumes of kinds that are gone, and files of one volume that lie over each other.

use serde_json::Value;

use super::{
    super::checks::{indexed, items, text},
    Warnings, of_claim_spec,
};
use crate::status::quote;

const DEPRECATED: [(&str, &str); 9] = [
    ("photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+"),
    ("gitRepo", "deprecated in v1.11, and disabled by default in v1.33+"),
    ("scaleIO", "deprecated in v1.16, non-functional in v1.22+"),
    ("flocker", "deprecated in v1.22, non-functional in v1.25+"),
    ("storageos", "deprecated in v1.22, non-functional in v1.25+"),
    ("quobyte", "deprecated in v1.22, non-functional in v1.25+"),
    ("glusterfs", "deprecated in v1.25, non-functional in v1.26+"),
    ("cephfs", "deprecated in v1.28, non-functional in v1.31+"),
    ("rbd", "deprecated in v1.28, non-functional in v1.31+"),
];

pub fn warn(warnings: &mut Warnings<'_>) {
    for (at, volume) in indexed(&warnings.spec["volumes"], "spec.volumes") {
        for (kind, why) in DEPRECATED.iter().filter(|(kind, _)| !volume[*kind].is_null()) {
            // The stock server spells this one as its own form has it.
            let shown = if *kind == "storageos" { "storageOS" } else { *kind };
            warnings.say(&format!("{at}.{shown}"), why);
        }
        let claim = &volume["ephemeral"]["volumeClaimTemplate"]["spec"];
        let at = format!("{}{at}.ephemeral.volumeClaimTemplate.spec", warnings.root);
        warnings.out.extend(of_claim_spec(claim, &at));
    }
    for volume in items(&warnings.spec["volumes"]) {
        let name = quote(text(&volume["name"]));
        for (kind, shown) in [
            ("configMap", format!("ConfigMap {}", quote(text(&volume["configMap"]["name"])))),
            ("secret", format!("Secret {}", quote(text(&volume["secret"]["secretName"])))),
            ("downwardAPI", "DownwardAPI".to_owned()),
        ] {
            let files = paths(&volume[kind]).map(|path| (path, String::new())).collect();
            overlaps(warnings, &format!("volume {name} ({shown})"), files);
        }
        let mut files = Vec::new();
        for source in items(&volume["projected"]["sources"]) {
            if source.as_object().is_none_or(|own| own.is_empty()) {
                warnings.out.push(format!("volume {name} (Projected) has no sources provided"));
            }
            files.extend(projected(source));
        }
        overlaps(warnings, &format!("volume {name} (Projected)"), files);
    }
}

fn paths(source: &Value) -> impl Iterator<Item = &str> {
    items(&source["items"]).iter().map(|item| text(&item["path"]))
}

/// The files of a source, each with where it comes from.
fn projected(source: &Value) -> Vec<(&str, String)> {
    let of = |kind: &str, shown: String| {
        paths(&source[kind]).map(|path| (path, format!(" ({shown})"))).collect::<Vec<_>>()
    };
    let one = |kind: &str, shown: String| {
        source[kind]["path"]
            .as_str()
            .map(|path| (path, format!(" ({shown})")))
            .into_iter()
            .collect::<Vec<_>>()
    };
    let bundle = &source["clusterTrustBundle"];
    let bundle = bundle["name"].as_str().unwrap_or(text(&bundle["signerName"]));
    [
        of("configMap", format!("ConfigMap {}", quote(text(&source["configMap"]["name"])))),
        of("secret", format!("Secret {}", quote(text(&source["secret"]["name"])))),
        of("downwardAPI", "DownwardAPI".to_owned()),
        one("serviceAccountToken", "ServiceAccountToken".to_owned()),
        one("clusterTrustBundle", format!("ClusterTrustBundle {}", quote(bundle))),
    ]
    .concat()
}

/// A file at the place of another, or where another needs a directory.
fn overlaps(warnings: &mut Warnings<'_>, what: &str, files: Vec<(&str, String)>) {
    let is_below = |path: &str, other: &str| {
        path.strip_prefix(other).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    for (position, (path, source)) in files.iter().enumerate() {
        let path = path.trim_end_matches('/');
        for (other, other_source) in &files[..position] {
            let other = other.trim_end_matches('/');
            let both = !path.is_empty() && !other.is_empty();
            if both && (is_below(path, other) || is_below(other, path)) {
                warnings.out.push(format!(
                    "{what}: overlapping paths: {}{source} with {}{other_source}",
                    quote(path),
                    quote(other)
                ));
            }
        }
    }
}
