//! Builds images from Dockerfiles without running anything: FROM, COPY, ADD, ENV, ARG, WORKDIR, USER, EXPOSE, LABEL,
//! ENTRYPOINT, CMD and their kin, with several stages and `.dockerignore`.
//!
//! Invariant: an instruction that is not supported is an error with its line where the target needs its stage, before
//!            anything is stored.
//! Invariant: equal input gives an image of equal id: neither its layers nor its configuration bear the time of the build
//!            (`created` is absent, as OCI permits).
//! Source: <https://docs.docker.com/reference/dockerfile/>

mod add;
mod arguments;
mod config;
mod copy;
mod dockerfile;
mod ignore;
mod layer;
mod needed;
mod stage;
mod unpack;
mod view;

use std::path::PathBuf;

pub use arguments::build_args;
pub use stage::build;

#[derive(Clone, Debug)]
pub struct Request {
    /// The build context.
    pub context: PathBuf,
    /// Where layers are made, in a directory of its own.
    pub work: PathBuf,
    /// Default: `Dockerfile` in the context.
    pub dockerfile: Option<Dockerfile>,
    pub tags: Vec<String>,
    /// The last one of a name counts.
    pub build_args: Vec<(String, String)>,
    /// The stage to build; default: the last.
    pub target: Option<String>,
}

#[derive(Clone, Debug)]
pub enum Dockerfile {
    File(PathBuf),
    /// As it came by standard input.
    Text(String),
}

/// An image to start from.
#[derive(Clone, Debug)]
pub struct Base {
    /// The OCI image configuration (JSON).
    pub config: serde_json::Value,
    pub layers: Vec<Layer>,
    /// Unpacked layers, lowest first: `COPY --from=IMAGE` reads them.
    pub directories: Vec<PathBuf>,
}

#[derive(Clone, Debug)]
pub struct Layer {
    pub media_type: String,
    /// `sha256:…` of the blob as stored.
    pub digest: String,
    /// `sha256:…` of the uncompressed tar.
    pub diff_id: String,
    pub size_bytes: u64,
    /// Where a layer made by this build lies; `None` for one that the image store has already.
    pub file: Option<PathBuf>,
}

/// What a build asks of the node's images. Implemented over the image store by `bin`.
pub trait Images {
    /// Pulls when absent.
    fn base(&self, reference: &str) -> Result<Base, String>;
    /// Stores configuration and layers under the tags; returns the image's id.
    fn commit(&self, tags: &[String], config: &serde_json::Value, layers: &[Layer])
    -> Result<String, String>;
}

#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// Bad input, with the line of the Dockerfile.
    #[error("{file}:{line}: {message}")]
    Dockerfile { file: String, line: usize, message: String },
    #[error("{action} `{subject}`")]
    Failed { action: &'static str, subject: String, source: std::io::Error },
    #[error("{0}")]
    Images(String),
    #[error("no stage `{0}` in the Dockerfile")]
    NoSuchStage(String),
}

/// What a step reports; the caller adds file and line.
type StepResult<T> = Result<T, StepError>;

/// Why one instruction failed.
#[derive(Debug)]
enum StepError {
    Input(String),
    Build(BuildError),
}

impl StepError {
    fn io(action: &'static str, path: &std::path::Path) -> impl FnOnce(std::io::Error) -> StepError {
        let subject = path.display().to_string();
        move |source| StepError::Build(BuildError::Failed { action, subject, source })
    }
}

impl From<String> for StepError {
    fn from(message: String) -> StepError {
        StepError::Input(message)
    }
}

#[cfg(test)]
mod tests;
