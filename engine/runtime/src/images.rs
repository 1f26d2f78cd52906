//! Images: references, pull from registries, archives, content-addressed layers.

use std::path::PathBuf;

#[derive(Clone, Debug)]
pub struct ImageConfig {
    /// `sha256:…` of the config blob: the image's id.
    pub id: String,
    /// `name@sha256:…` when pulled from a registry.
    pub repo_digests: Vec<String>,
    pub repo_tags: Vec<String>,
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
    #[error("couldn't parse image name `{name}`: {reason}")]
    InvalidName { name: String, reason: String },
    /// kubelet: ErrImagePull. The message is what a stock node shows.
    #[error("{message}")]
    Pull { message: String },
    #[error("{action} `{subject}`")]
    Failed { action: &'static str, subject: String, source: std::io::Error },
    #[error("no such image `{0}`")]
    NoSuchImage(String),
}

#[derive(Clone)]
pub struct ImageStore {}

impl ImageStore {
    pub async fn open(_dir: PathBuf, _registries: RegistryConfig) -> Result<ImageStore, ImageError> {
        unimplemented!()
    }
    /// The image that a reference (`nginx`, `host/name:tag`, `name@sha256:…`, or an image id) names here, if present.
    pub async fn resolve(&self, _reference: &str) -> Result<Option<ImageConfig>, ImageError> {
        unimplemented!()
    }
    /// Pulls unless present with the same digest; concurrent pulls of one image share the work. Returns the image.
    pub async fn pull(&self, _reference: &str, _credentials: &[Credentials]) -> Result<ImageConfig, ImageError> {
        unimplemented!()
    }
    /// A docker archive (`docker save`) or OCI archive, tar or tar.gz. Returns what was imported.
    pub async fn import(&self, _archive: PathBuf) -> Result<Vec<ImageConfig>, ImageError> {
        unimplemented!()
    }
    pub async fn list(&self) -> Result<Vec<ImageConfig>, ImageError> {
        unimplemented!()
    }
    /// Removes a tag, or with an id the image. Layers that nothing names any more are deleted.
    pub async fn remove(&self, _reference: &str) -> Result<(), ImageError> {
        unimplemented!()
    }
    /// Unpacked layer directories, lowest first, for overlayfs. Unpacks on first use.
    pub async fn layers(&self, _image_id: &str) -> Result<Vec<PathBuf>, ImageError> {
        unimplemented!()
    }
    /// Resolves `user[:group]` of an image or pod against the image's /etc/passwd and /etc/group.
    pub async fn resolve_user(&self, _image_id: &str, _user: &str) -> Result<crate::User, ImageError> {
        unimplemented!()
    }
}
