//! Imports archives: those of `docker save` (`manifest.json`) and OCI layouts (`index.json`), tar, tar.gz or tar.zst.

use std::{
    fs::{self, File},
    path::{Component, Path, PathBuf},
};

use serde::Deserialize;

use super::{
    ImageConfig, ImageError, ImageStore, NewLayer, Reference, blocking,
    compression::decompress,
    digest,
    index::add_new,
    manifest::{Descriptor, Document, MAX_INDEXES, Manifest, diff_ids, for_this_machine},
};

/// Where an OCI layout, or containerd, writes an image's name.
const NAMES: [&str; 2] = ["io.containerd.image.name", "org.opencontainers.image.ref.name"];

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerImage {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

/// One image of an archive, its files named by path.
struct Found {
    config: PathBuf,
    names: Vec<String>,
    layers: Vec<PathBuf>,
}

impl ImageStore {
    /// Imports every image of an archive. Returns what was imported, with the names that the archive has for it.
    pub async fn import(&self, archive: PathBuf) -> Result<Vec<ImageConfig>, ImageError> {
        let store = self.clone();
        blocking(move || {
            let unpacked = store.workspace_now()?;
            let bad = |reason: String| ImageError::Archive { reason };
            unpack(&archive, unpacked.path(), &bad)?;
            let found = read(unpacked.path()).map_err(bad)?;
            let images = found.into_iter().map(|image| {
                let (id, repo_tags) = store.take(image, &bad)?;
                let taken = store.resolve_now(&id)?.ok_or(ImageError::NoSuchImage(id))?;
                Ok(ImageConfig { repo_tags, ..taken })
            });
            images.collect()
        })
        .await
    }

    /// Returns its id and its names.
    fn take(
        &self,
        image: Found,
        bad: &dyn Fn(String) -> ImageError,
    ) -> Result<(String, Vec<String>), ImageError> {
        let config = fs::read(&image.config).map_err(ImageError::io("read", &image.config))?;
        let diff_ids =
            diff_ids(&config).map_err(|reason| bad(format!("one of its images cannot be used: {reason}")))?;
        if diff_ids.len() != image.layers.len() {
            return Err(bad(format!(
                "an image has {} layers and {} diff ids",
                image.layers.len(),
                diff_ids.len()
            )));
        }
        let names =
            image.names.iter().map(|name| Reference::parse(name).map(|reference| reference.to_string()));
        let (given, mut names) = (names.collect::<Result<Vec<_>, _>>()?, Vec::new());
        add_new(&mut names, given);
        let layers =
            diff_ids.into_iter().zip(image.layers).map(|(diff_id, file)| NewLayer::Tar { diff_id, file });
        Ok((self.commit_now(names.clone(), &config, layers.collect())?, names))
    }
}

/// Plain files only, below `target`.
fn unpack(archive: &Path, target: &Path, bad: &dyn Fn(String) -> ImageError) -> Result<(), ImageError> {
    let open = || decompress(File::open(archive)?).map(tar::Archive::new);
    let mut tar = open().map_err(ImageError::ReadArchive)?;
    let mut begun = 0;
    let outcome = tar.entries().and_then(|mut entries| {
        entries.try_for_each(|entry| {
            let mut entry = entry?;
            begun += 1;
            // `docker save` of old links layers that are equal to each other.
            entry.unpack_in(target)?;
            Ok(())
        })
    });
    match outcome {
        Ok(()) => Ok(()),
        Err(error) if begun > 0 && is_cut_off(&error) => {
            Err(bad("it is truncated: its end is missing".into()))
        }
        // The tar crate shows the bytes that it took for a header.
        Err(_) if begun == 0 => Err(bad("it is no tar, tar.gz or tar.zst".into())),
        Err(error) => Err(ImageError::ReadArchive(error)),
    }
}

/// The tar crate says so in its own words alone.
fn is_cut_off(error: &(dyn std::error::Error + 'static)) -> bool {
    let error_here = error.downcast_ref::<std::io::Error>();
    let here = error_here.is_some_and(|error| error.kind() == std::io::ErrorKind::UnexpectedEof);
    let text = error.to_string();
    let said = ["failed to read entire block", "failed to write entire file"];
    here || said.contains(&text.as_str()) || error.source().is_some_and(is_cut_off)
}

fn read(dir: &Path) -> Result<Vec<Found>, String> {
    if dir.join("manifest.json").exists() {
        return read_docker(dir);
    }
    if dir.join("index.json").exists() {
        return read_oci(dir);
    }
    Err("it holds neither manifest.json (docker) nor index.json (OCI)".into())
}

fn read_docker(dir: &Path) -> Result<Vec<Found>, String> {
    let images: Vec<DockerImage> = read_json(&dir.join("manifest.json"))?;
    if images.is_empty() {
        return Err("its manifest.json names no image".into());
    }
    let found = images.into_iter().map(|image| {
        Ok(Found {
            config: file(dir, &image.config)?,
            names: image.repo_tags.unwrap_or_default(),
            layers: image.layers.iter().map(|layer| file(dir, layer)).collect::<Result<_, String>>()?,
        })
    });
    found.collect()
}

fn read_oci(dir: &Path) -> Result<Vec<Found>, String> {
    let Document::Index { manifests } = read_json(&dir.join("index.json"))? else {
        return Err("index.json has no manifests".into());
    };
    let fitting = fitting(&manifests);
    if fitting.is_empty() {
        return Err("no image for this machine".into());
    }
    let mut found = Vec::new();
    for descriptor in fitting {
        let name = name_of(descriptor).cloned();
        let manifest = manifest_of(dir, descriptor)?;
        found.push(Found {
            config: blob(dir, &manifest.config.digest)?,
            names: name.into_iter().collect(),
            layers: manifest
                .layers
                .iter()
                .map(|layer| blob(dir, &layer.digest))
                .collect::<Result<_, String>>()?,
        });
    }
    Ok(found)
}

/// Through indexes, if need be.
fn manifest_of(dir: &Path, descriptor: &Descriptor) -> Result<Manifest, String> {
    let mut document = read_blob(dir, &descriptor.digest)?;
    for _ in 0..MAX_INDEXES {
        let manifests = match document {
            Document::Manifest(manifest) => return Ok(manifest),
            Document::Index { manifests } => manifests,
        };
        let fitting = for_this_machine(&manifests).ok_or("no image for this machine")?;
        document = read_blob(dir, &fitting.digest)?;
    }
    match document {
        Document::Manifest(manifest) => Ok(manifest),
        Document::Index { .. } => {
            Err(format!("more than {MAX_INDEXES} indexes lead to the manifest of {}", descriptor.digest))
        }
    }
}

fn name_of(descriptor: &Descriptor) -> Option<&String> {
    NAMES.iter().find_map(|key| descriptor.annotations.get(*key))
}

/// A name that comes with several platforms is this machine's. What has no name may be several images.
fn fitting(manifests: &[Descriptor]) -> Vec<&Descriptor> {
    let mut fitting = Vec::new();
    for descriptor in manifests {
        let alike: Vec<Descriptor> = match name_of(descriptor) {
            Some(name) => manifests.iter().filter(|other| name_of(other) == Some(name)).cloned().collect(),
            None => vec![descriptor.clone()],
        };
        if for_this_machine(&alike).is_some_and(|fits| fits.digest == descriptor.digest) {
            fitting.push(descriptor);
        }
    }
    fitting
}

fn read_blob(dir: &Path, digest: &str) -> Result<Document, String> {
    read_json(&blob(dir, digest)?)
}

/// Blobs are checked: an archive is as little trusted as a registry.
fn blob(dir: &Path, wanted: &str) -> Result<PathBuf, String> {
    let path = file(dir, &format!("blobs/{}", wanted.replace(':', "/")))?;
    let mut hashing = digest::Hashing::new(File::open(&path).map_err(|error| format!("{wanted}: {error}"))?);
    std::io::copy(&mut hashing, &mut std::io::sink()).map_err(|error| format!("{wanted}: {error}"))?;
    if hashing.digest() != wanted {
        return Err(format!("blob {wanted} has digest {}", hashing.digest()));
    }
    Ok(path)
}

/// A file that the archive names; a name that leads out is an error.
fn file(dir: &Path, name: &str) -> Result<PathBuf, String> {
    let inside = Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
    let path = dir.join(name);
    match path.symlink_metadata() {
        Ok(metadata)
            if inside
                && (metadata.is_file() || path.canonicalize().is_ok_and(|real| real.starts_with(dir))) =>
        {
            Ok(path)
        }
        Ok(_) => Err(format!("`{name}` is no file of it")),
        Err(_) => Err(format!("it names `{name}`, which it does not hold")),
    }
}

fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, String> {
    let bytes = fs::read(path).map_err(|error| format!("read {}: {error}", path.display()))?;
    serde_json::from_slice(&bytes).map_err(|error| format!("read {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn of_a_name_with_several_platforms_this_machines_is_taken() {
        let here = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
        let entry = |digest: &str, architecture: &str, name: &str| {
            let annotations = if name.is_empty() { json!({}) } else { json!({NAMES[1]: name}) };
            let platform =
                (!architecture.is_empty()).then(|| json!({"os": "linux", "architecture": architecture}));
            json!({"digest": digest, "platform": platform, "annotations": annotations})
        };
        let manifests: Vec<Descriptor> = serde_json::from_value(json!([
            entry("1", here, "a"),
            entry("2", "s390x", "a"),
            entry("3", "s390x", "other"),
            entry("4", "", "b"),
            entry("5", "s390x", ""),
            entry("6", here, ""),
            entry("7", "", ""),
        ]))
        .unwrap();
        let taken: Vec<&str> = fitting(&manifests).iter().map(|entry| entry.digest.as_str()).collect();
        assert_eq!(taken, ["1", "4", "6", "7"]);
    }
}
