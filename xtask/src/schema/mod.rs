//! Generates `api/schema/data/types.txt` and `descriptions.zlib` from the sources of two published crates.
//!
//! Reads:  `k8s-openapi` (JSON names, types, required fields, descriptions) and `k8s-pb` (protobuf field numbers, the
//!         order of fields, list and patch markers), wherever cargo keeps them; `api/schema/data/resources.txt` for
//!         the group versions that are served, and `go_fields.txt` for what the crates do not tell.
//! Writes: the two files. Equal sources give equal bytes.

mod go_fields;
mod merge;
mod model;
mod openapi_crate;
mod protobuf_crate;
mod render;

use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The Kubernetes version whose shapes are taken.
const OPENAPI_MODULE: &str = "v1_36";

pub struct Generated {
    pub types: String,
    pub descriptions: Vec<u8>,
}

pub fn write() -> Result<()> {
    let data = data_dir();
    let generated = generate()?;
    std::fs::write(data.join("types.txt"), generated.types).context("write `types.txt`")?;
    std::fs::write(data.join("descriptions.zlib"), generated.descriptions)
        .context("write `descriptions.zlib`")?;
    Ok(())
}

pub fn generate() -> Result<Generated> {
    let sources = crate_sources()?;
    let packages = served_packages()?;
    let open = openapi_crate::read(&sources.openapi.join("src").join(OPENAPI_MODULE), &packages)?;
    let mut packages = packages;
    packages.push("api/admissionregistration/v1beta1".to_string());
    let messages = protobuf_crate::read(&sources.protobuf.join("src"), &packages)?;
    let mut types = merge::merge(&open, &messages)?;
    let go_fields =
        std::fs::read_to_string(data_dir().join("go_fields.txt")).context("read `go_fields.txt`")?;
    go_fields::mark(&mut types, &go_fields)?;
    Ok(Generated { types: render::types(&types), descriptions: render::descriptions(&types)? })
}

fn data_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../api/schema/data")
}

/// The folders (`api/apps/v1` …) whose types are read: the served group versions and what all of them share.
fn served_packages() -> Result<Vec<String>> {
    let resources =
        std::fs::read_to_string(data_dir().join("resources.txt")).context("read `resources.txt`")?;
    let mut packages: Vec<String> = [
        "apimachinery/pkg/apis/meta/v1",
        "apimachinery/pkg/runtime",
        "apimachinery/pkg/api/resource",
        "apimachinery/pkg/util/intstr",
        "apimachinery/pkg/version",
    ]
    .map(String::from)
    .into();
    for line in resources.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        if let ["group", group, version] = words[..] {
            packages.push(match group {
                "apiextensions.k8s.io" => format!("apiextensions_apiserver/pkg/apis/apiextensions/{version}"),
                "apiregistration.k8s.io" => format!("kube_aggregator/pkg/apis/apiregistration/{version}"),
                _ => format!("api/{}/{version}", group.split('.').next().unwrap_or(group)),
            });
        }
    }
    Ok(packages)
}

struct Sources {
    openapi: PathBuf,
    protobuf: PathBuf,
}

/// Asks cargo where the sources of the two crates are: the versions in `Cargo.lock`.
fn crate_sources() -> Result<Sources> {
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["metadata", "--format-version=1", "--locked", "--manifest-path"])
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"))
        .output()
        .context("run `cargo metadata`")?;
    anyhow::ensure!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value =
        serde_json::from_slice(&output.stdout).context("read cargo's metadata")?;
    let find = |name: &str| {
        metadata["packages"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|package| package["name"] == name)
            .and_then(|package| Path::new(package["manifest_path"].as_str()?).parent().map(Path::to_path_buf))
            .with_context(|| format!("find crate `{name}` in cargo's metadata"))
    };
    Ok(Sources { openapi: find("k8s-openapi")?, protobuf: find("k8s-pb")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checked_in_files_are_what_the_sources_give() {
        let generated = generate().unwrap();
        let read = |name: &str| std::fs::read(data_dir().join(name)).unwrap();
        assert!(
            generated.types.as_bytes() == read("types.txt"),
            "types.txt is stale: run `cargo xtask schema`"
        );
        assert!(generated.descriptions == read("descriptions.zlib"), "descriptions.zlib is stale");
    }
}
