//! Manifests of registries and archives: an index leads to the manifest for this machine.

use serde::Deserialize;

/// What a registry is told that we read.
pub const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";

/// Indexes may lead to indexes; so many are followed.
pub const MAX_INDEXES: usize = 4;

#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub enum Document {
    Index { manifests: Vec<Descriptor> },
    Manifest(Manifest),
}

#[derive(Debug, Deserialize)]
pub struct Manifest {
    pub config: Descriptor,
    pub layers: Vec<Descriptor>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    pub digest: String,
    pub platform: Option<Platform>,
    #[serde(default)]
    pub annotations: std::collections::BTreeMap<String, String>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Platform {
    pub architecture: String,
    pub os: String,
}

/// The entry for this machine; without platforms, the first.
pub fn for_this_machine(manifests: &[Descriptor]) -> Option<&Descriptor> {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let fits = |entry: &&Descriptor| {
        entry
            .platform
            .as_ref()
            .is_some_and(|platform| platform.os == "linux" && platform.architecture == architecture)
    };
    manifests.iter().find(fits).or_else(|| manifests.iter().find(|entry| entry.platform.is_none()))
}

/// The digests of the uncompressed layers, from an image's configuration.
pub fn diff_ids(config: &[u8]) -> Result<Vec<String>, String> {
    #[derive(Deserialize)]
    struct Config {
        rootfs: Option<RootFs>,
    }
    #[derive(Deserialize)]
    struct RootFs {
        #[serde(default)]
        diff_ids: Vec<String>,
    }
    let config: Config = serde_json::from_slice(config)
        .map_err(|error| format!("its configuration cannot be read: {error}"))?;
    // Charts, signatures and the like lie in registries as well.
    let rootfs = config.rootfs.ok_or("it is no container image: its configuration has no rootfs")?;
    Ok(rootfs.diff_ids)
}

/// Manifests of before 2016.
pub fn is_schema_1(manifest: &[u8]) -> bool {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Version {
        schema_version: u32,
    }
    serde_json::from_slice::<Version>(manifest).is_ok_and(|manifest| manifest.schema_version == 1)
}
