//! Images made on this node: what a build starts from, and what it leaves.

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use nix::fcntl::Flock;
use serde_json::Value;
use tempfile::TempDir;

use super::{
    Access, ImageError, ImageStore, Reference, blocking, digest,
    index::{Entry, EntryLayer},
    layers,
};

/// An image to build on.
#[derive(Clone, Debug)]
pub struct BaseImage {
    /// The OCI image configuration.
    pub config: Value,
    /// Lowest first.
    pub layers: Vec<BaseLayer>,
}

#[derive(Clone, Debug)]
pub struct BaseLayer {
    pub diff_id: String,
    pub size_bytes: u64,
    pub directory: PathBuf,
}

/// A layer of an image to be stored.
#[derive(Clone, Debug)]
pub enum NewLayer {
    /// Here already.
    Known { diff_id: String },
    /// A tar with this digest.
    Tar { diff_id: String, file: PathBuf },
}

/// A place for the parts of images to be. What it holds goes with it or, when its process is killed, at a later start.
pub struct Workspace {
    dir: TempDir,
    _bringing: Flock<File>,
}

impl Workspace {
    pub fn path(&self) -> &Path {
        self.dir.path()
    }
}

impl ImageStore {
    pub async fn workspace(&self) -> Result<Workspace, ImageError> {
        let store = self.clone();
        blocking(move || store.workspace_now()).await
    }

    pub(super) fn workspace_now(&self) -> Result<Workspace, ImageError> {
        let bringing = self.0.index.bringing()?;
        let tmp = self.0.dir.join("tmp");
        let dir = tempfile::tempdir_in(&tmp).map_err(ImageError::io("make a directory in", &tmp))?;
        Ok(Workspace { dir, _bringing: bringing })
    }

    pub async fn base(&self, reference: &str) -> Result<Option<BaseImage>, ImageError> {
        let (store, reference) = (self.clone(), reference.to_string());
        blocking(move || {
            let Some(entry) = store.0.index.read()?.find(&reference)? else { return Ok(None) };
            let config = store.0.index.config_json(&entry)?;
            let layers = entry.layers.into_iter().map(|layer| BaseLayer {
                directory: layers::directory(&store.0.dir, &layer.diff_id),
                diff_id: layer.diff_id,
                size_bytes: layer.size_bytes,
            });
            Ok(Some(BaseImage { config, layers: layers.collect() }))
        })
        .await
    }

    /// Stores an image under the names; returns its id. Nothing is stored when a layer is absent or has another digest.
    pub async fn commit(
        &self,
        names: &[String],
        config: &Value,
        layers: Vec<NewLayer>,
    ) -> Result<String, ImageError> {
        let names = names.iter().map(|name| Reference::parse(name).map(|reference| reference.to_string()));
        let names: Vec<String> = names.collect::<Result<_, _>>()?;
        let config = serde_json::to_vec(config).expect("JSON can be written");
        let store = self.clone();
        blocking(move || store.commit_now(names, &config, layers)).await
    }

    pub(super) fn commit_now(
        &self,
        names: Vec<String>,
        config: &[u8],
        layers: Vec<NewLayer>,
    ) -> Result<String, ImageError> {
        let _bringing = self.0.index.bringing()?;
        let known: Vec<EntryLayer> =
            self.0.index.read()?.images.iter().flat_map(|entry| entry.layers.clone()).collect();
        let placed = layers.into_iter().map(|layer| match layer {
            NewLayer::Known { diff_id } => {
                let found = known.iter().find(|layer| layer.diff_id == diff_id).cloned();
                found.ok_or(ImageError::NoSuchImage(diff_id))
            }
            NewLayer::Tar { diff_id, file } => {
                let unpacked = layers::unpack(&self.0.dir, &file, Some(&diff_id))?;
                Ok(EntryLayer { diff_id, size_bytes: unpacked.size_bytes })
            }
        });
        let layers = placed.collect::<Result<Vec<_>, _>>()?;
        let id = digest::of(config);
        let access = Access::everyone(&names);
        let entry = Entry { id: id.clone(), names, digests: Vec::new(), layers, access };
        self.0.index.add(entry, config)?;
        Ok(id)
    }
}
