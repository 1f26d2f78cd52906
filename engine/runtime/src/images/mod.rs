//! Images: references, pull from registries, archives, content-addressed layers.
//!
//! On disk: `index.json` names images and their layers, `configs/<digest>.json` holds each image's configuration as it
//! came, `layers/<diff id>/` each layer unpacked, once for all images that share it, with `notes/<diff id>`. Several
//! processes may work on one directory: changes happen under a lock, and every look reads an index that changed.
//!
//! Invariant: what the index names is complete on disk. An interrupted pull leaves files below `tmp`, and whole layers,
//! which the next try takes or a later pull removes.
//! Source:    <https://github.com/opencontainers/image-spec>, <https://github.com/opencontainers/distribution-spec>

mod access;
mod archive;
mod commit;
mod compression;
mod digest;
mod http;
mod implicit;
mod index;
mod layers;
mod manifest;
mod pull;
mod reference;
mod registry;
mod unpack;
mod users;

use std::{path::PathBuf, sync::Arc};

pub use access::{Access, SecretId};
pub use commit::{BaseImage, BaseLayer, NewLayer, Workspace};
pub(crate) use implicit::inherited;
use index::{EntryLayer, Index};
use pull::Pulls;
pub use reference::Reference;
use registry::Registry;

#[derive(Clone, Debug)]
pub struct ImageConfig {
    /// `sha256:…` of the config blob: the image's id.
    pub id: String,
    /// `name@sha256:…` when pulled from a registry.
    pub repo_digests: Vec<String>,
    pub repo_tags: Vec<String>,
    pub access: Access,
    pub size_bytes: u64,
    pub entrypoint: Vec<String>,
    pub cmd: Vec<String>,
    pub env: Vec<(String, String)>,
    pub working_dir: String,
    /// As written in the image: `name`, `uid`, `uid:gid` …
    pub user: String,
    pub stop_signal: Option<String>,
    /// Declared VOLUMEs.
    pub volumes: Vec<String>,
}

#[derive(Clone, Debug)]
pub struct Credentials {
    pub username: String,
    pub password: String,
    /// Where they are kept.
    pub secret: SecretId,
}

/// How registries are reached. From the configuration file.
#[derive(Clone, Debug, Default)]
pub struct RegistryConfig {
    /// Registry host (`docker.io`) to mirrors tried before it, in order.
    pub mirrors: Vec<(String, Vec<String>)>,
    /// Hosts spoken to over plain HTTP. Loopback addresses always are tried so.
    pub plain_http: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// kubelet: InvalidImageName
    #[error("couldn't parse image name \"{name}\": {reason}")]
    InvalidName { name: String, reason: String },
    /// kubelet: ErrImagePull. The message is what a stock node shows.
    #[error("{message}")]
    Pull { message: String },
    #[error("{action} `{subject}`")]
    Failed { action: &'static str, subject: String, source: std::io::Error },
    /// Its name is known to whoever imports it, as it may be a stream.
    #[error("{reason}")]
    Archive { reason: String },
    #[error("read the archive")]
    ReadArchive(#[source] std::io::Error),
    /// `image` is a name, or else the id.
    #[error(
        "image `{image}` is damaged, {part} cannot be read: import or pull it again, or `coracle image rm` it"
    )]
    DamagedImage { image: String, part: String, source: std::io::Error },
    #[error(
        "the list of images `{path}` is damaged: after `coracle down`, remove it and import or pull them again"
    )]
    DamagedIndex { path: String, source: serde_json::Error },
    #[error("no such image `{0}`")]
    NoSuchImage(String),
}

impl ImageError {
    fn io(action: &'static str, path: &std::path::Path) -> impl FnOnce(std::io::Error) -> ImageError {
        let subject = path.display().to_string();
        move |source| ImageError::Failed { action, subject, source }
    }
}

#[derive(Clone)]
pub struct ImageStore(Arc<Inner>);

struct Inner {
    dir: PathBuf,
    index: Index,
    registry: Registry,
    pulls: Pulls,
}

impl ImageStore {
    /// Opens or creates the store. What interrupted pulls left is removed.
    pub async fn open(dir: PathBuf, registries: RegistryConfig) -> Result<ImageStore, ImageError> {
        let index = blocking({
            let dir = dir.clone();
            move || Index::open(&dir)
        })
        .await?;
        let inner = Inner { dir, index, registry: Registry::new(registries), pulls: Pulls::default() };
        Ok(ImageStore(Arc::new(inner)))
    }

    /// Whether the list of images can be read.
    ///
    /// # Errors
    /// [`ImageError::DamagedIndex`]
    pub async fn check(&self) -> Result<(), ImageError> {
        let store = self.clone();
        blocking(move || store.0.index.read().map(drop)).await
    }

    /// The image that a reference (`nginx`, `host/name:tag`, `name@sha256:…`, or an image id) names here, if present.
    pub async fn resolve(&self, reference: &str) -> Result<Option<ImageConfig>, ImageError> {
        let (store, reference) = (self.clone(), reference.to_string());
        blocking(move || store.resolve_now(&reference)).await
    }

    fn resolve_now(&self, reference: &str) -> Result<Option<ImageConfig>, ImageError> {
        match self.0.index.read()?.find(reference)? {
            Some(entry) => self.0.index.config(&entry).map(Some),
            None => Ok(None),
        }
    }

    pub async fn list(&self) -> Result<Vec<ImageConfig>, ImageError> {
        let store = self.clone();
        blocking(move || {
            let entries = store.0.index.read()?;
            entries.images.iter().map(|entry| store.0.index.config(entry)).collect()
        })
        .await
    }

    /// Removes a tag, or with an id the image. Layers that nothing names any more are deleted.
    pub async fn remove(&self, reference: &str) -> Result<(), ImageError> {
        let (store, reference) = (self.clone(), reference.to_string());
        blocking(move || store.0.index.remove(&reference)).await
    }

    /// The id of the image that goes when this name is removed, because it is its last or the image's id.
    pub async fn ended_by(&self, reference: &str) -> Result<Option<String>, ImageError> {
        let (store, reference) = (self.clone(), reference.to_string());
        blocking(move || store.0.index.read()?.ended_by(&reference)).await
    }

    /// Unpacked layer directories, lowest first, for overlayfs.
    pub async fn layers(&self, image_id: &str) -> Result<Vec<PathBuf>, ImageError> {
        let (store, image_id) = (self.clone(), image_id.to_string());
        blocking(move || {
            let entry = store.0.index.read()?.find(&image_id)?.ok_or(ImageError::NoSuchImage(image_id))?;
            let place = |layer: &EntryLayer| {
                let place = layers::directory(&store.0.dir, &layer.diff_id);
                let there = std::fs::metadata(&place);
                there.map_err(|error| entry.damaged(format!("layer `{}`", layer.diff_id), error))?;
                Ok(place)
            };
            entry.layers.iter().map(place).collect()
        })
        .await
    }
}

/// File work runs on threads of its own.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ImageError> + Send + 'static,
) -> Result<T, ImageError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

#[cfg(test)]
mod tests;
