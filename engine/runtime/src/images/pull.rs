//! Pulls an image: manifest, configuration, and the layers that are not here yet.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use http::Method;
use parking_lot::Mutex;

use super::{
    Access, Credentials, ImageConfig, ImageError, ImageStore, Reference, blocking, digest,
    http::download,
    index::{Entry, EntryLayer},
    layers,
    manifest::{Descriptor, Document, MAX_INDEXES, Manifest, diff_ids, for_this_machine, is_schema_1},
    registry::{RegistryError, Session},
};
use crate::causes::chain;

/// One lock for each reference that is being pulled: whoever comes second finds the image there.
#[derive(Default)]
pub struct Pulls(Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>);

impl Pulls {
    fn of(&self, reference: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut pulls = self.0.lock();
        pulls.retain(|_, pull| Arc::strong_count(pull) > 1);
        pulls.entry(reference.to_string()).or_default().clone()
    }
}

impl ImageStore {
    /// Pulls unless present with the same digest; concurrent pulls of one image share the work. Returns the image.
    ///
    /// # Errors
    /// [`ImageError::Pull`] with the words of a stock node.
    pub async fn pull(
        &self,
        reference: &str,
        credentials: &[Credentials],
    ) -> Result<ImageConfig, ImageError> {
        let reference = Reference::parse(reference)?;
        let pull = self.0.pulls.of(&reference.to_string());
        let _turn = pull.lock().await;
        let pulled = self.pull_now(&reference, credentials).await;
        let store = self.clone();
        blocking(move || {
            store.0.index.tidy();
            Ok(())
        })
        .await?;
        pulled
    }

    async fn pull_now(
        &self,
        reference: &Reference,
        credentials: &[Credentials],
    ) -> Result<ImageConfig, ImageError> {
        let store = self.clone();
        let _bringing = blocking(move || store.0.index.bringing()).await?;
        let mut failure = String::new();
        // In their order: a registry may know who asks, and yet refuse this repository.
        for shown in credentials.iter().map(Some).chain(credentials.is_empty().then_some(None)) {
            for mut session in self.0.registry.sessions(reference, shown) {
                match self.pull_from(&mut session, reference, shown).await {
                    Ok(image) => return Ok(image),
                    Err(PullError::Image(error)) => return Err(error),
                    Err(PullError::Resolve(error)) => failure = unresolved(reference, &error),
                    Err(PullError::Copy(error)) => {
                        failure = format!("failed to copy: httpReadSeeker: failed open: {}", chain(&error));
                    }
                }
            }
        }
        Err(broken(reference, &failure))
    }

    async fn pull_from(
        &self,
        session: &mut Session<'_>,
        reference: &Reference,
        shown: Option<&Credentials>,
    ) -> Result<ImageConfig, PullError> {
        let access = Access::pulled(reference, shown);
        if let Some(digest) = session.head(reference.version()).await? {
            let present = format!("{}@{digest}", reference.repository());
            // A damaged one is made whole.
            if let Ok(Some(image)) = self.resolve(&present).await
                && self.layers(&image.id).await.is_ok()
            {
                return Ok(self.name(image, reference, &present, access).await?);
            }
        }
        let (manifest, manifest_digest) = resolve_manifest(session, reference).await?;
        let config = fetch_small(session, &manifest.config).await?;
        let diff_ids = diff_ids(&config).map_err(|reason| broken(reference, &reason))?;
        if diff_ids.len() != manifest.layers.len() {
            let (layers, ids) = (manifest.layers.len(), diff_ids.len());
            let reason =
                format!("mismatched image rootfs and manifest layers: {layers} layers and {ids} diff ids");
            return Err(broken(reference, &reason).into());
        }
        let mut entry_layers = Vec::new();
        for (descriptor, diff_id) in manifest.layers.iter().zip(&diff_ids) {
            entry_layers.push(self.layer(session, descriptor, diff_id).await?);
        }
        let entry = Entry {
            id: digest::of(&config),
            names: reference
                .tag
                .as_ref()
                .map(|tag| format!("{}:{tag}", reference.repository()))
                .into_iter()
                .collect(),
            digests: vec![format!("{}@{manifest_digest}", reference.repository())],
            layers: entry_layers,
            access,
        };
        let id = entry.id.clone();
        let store = self.clone();
        blocking(move || store.0.index.add(entry, &config)).await?;
        self.resolve(&id).await?.ok_or(PullError::Image(ImageError::NoSuchImage(id)))
    }

    /// The image is here already, perhaps under another tag or for somebody else.
    async fn name(
        &self,
        image: ImageConfig,
        reference: &Reference,
        digest: &str,
        access: Access,
    ) -> Result<ImageConfig, ImageError> {
        let name = reference.tag.as_ref().map(|tag| format!("{}:{tag}", reference.repository()));
        let mut extended = image.access.clone();
        extended.extend(access.clone());
        if extended == image.access && name.iter().all(|name| image.repo_tags.contains(name)) {
            return Ok(image);
        }
        let (store, id, digest) = (self.clone(), image.id.clone(), digest.to_string());
        let names = name.into_iter().collect();
        blocking(move || store.0.index.tag(&id, names, vec![digest], access)).await?;
        self.resolve(&image.id).await?.ok_or(ImageError::NoSuchImage(image.id))
    }

    /// A layer that is here already, of another image or of a pull that failed later on.
    fn known_layer(&self, diff_id: &str) -> Result<Option<EntryLayer>, ImageError> {
        let place = layers::directory(&self.0.dir, diff_id);
        if !place.exists() {
            return Ok(None);
        }
        if let Some(note) = layers::note(&place) {
            return Ok(Some(EntryLayer { diff_id: diff_id.into(), size_bytes: note.size_bytes }));
        }
        let entries = self.0.index.read()?;
        Ok(entries
            .images
            .iter()
            .flat_map(|entry| &entry.layers)
            .find(|layer| layer.diff_id == diff_id)
            .cloned())
    }

    async fn layer(
        &self,
        session: &mut Session<'_>,
        descriptor: &Descriptor,
        diff_id: &str,
    ) -> Result<EntryLayer, PullError> {
        if let Some(known) = self.known_layer(diff_id)? {
            return Ok(known);
        }
        let file = tempfile::NamedTempFile::new_in(self.0.dir.join("tmp"))
            .map_err(ImageError::io("make a file in", &self.0.dir))?;
        let response = session.blob(&descriptor.digest).await.map_err(PullError::Copy)?;
        let downloaded = download(response, file.path()).await;
        let (digest, size) = downloaded.map_err(|error| {
            PullError::Copy(session.failed(Method::GET, &format!("blobs/{}", descriptor.digest), &error))
        })?;
        if digest != descriptor.digest {
            let message =
                format!("layer `{}` arrived with {size} bytes and digest {digest}", descriptor.digest);
            return Err(ImageError::Pull { message }.into());
        }
        let (dir, diff_id) = (self.0.dir.clone(), diff_id.to_string());
        let unpacked = blocking(move || layers::unpack(&dir, file.path(), Some(&diff_id))).await?;
        Ok(EntryLayer { diff_id: unpacked.diff_id, size_bytes: unpacked.size_bytes })
    }
}

/// Follows an index to this machine's manifest. The digest is that of what the reference named.
async fn resolve_manifest(
    session: &mut Session<'_>,
    reference: &Reference,
) -> Result<(Manifest, String), PullError> {
    let bytes = session.manifest(reference.version()).await?;
    let named_digest = digest::of(&bytes);
    if reference.digest.as_ref().is_some_and(|wanted| *wanted != named_digest) {
        return Err(broken(reference, &format!("the registry sent digest {named_digest}")).into());
    }
    let mut document = parse(reference, &bytes)?;
    let mut followed = 0;
    loop {
        let manifests = match document {
            Document::Manifest(manifest) => return Ok((manifest, named_digest)),
            Document::Index { manifests } => manifests,
        };
        if followed == MAX_INDEXES {
            let reason = format!("more than {MAX_INDEXES} indexes lead to its manifest");
            return Err(broken(reference, &reason).into());
        }
        followed += 1;
        let descriptor = for_this_machine(&manifests)
            .ok_or_else(|| broken(reference, "no match for platform in manifest: not found"))?;
        let bytes = session.manifest(&descriptor.digest).await.map_err(PullError::Copy)?;
        if digest::of(&bytes) != descriptor.digest {
            let reason = format!("manifest {} is not what its index says", descriptor.digest);
            return Err(broken(reference, &reason).into());
        }
        document = parse(reference, &bytes)?;
    }
}

fn parse(reference: &Reference, bytes: &Bytes) -> Result<Document, PullError> {
    if is_schema_1(bytes) {
        let reason = "media type \"application/vnd.docker.distribution.manifest.v1+prettyjws\" is no longer supported, \
            please rebuild the image as \"application/vnd.docker.distribution.manifest.v2+json\" or \
            \"application/vnd.oci.image.manifest.v1+json\"";
        return Err(broken(reference, reason).into());
    }
    serde_json::from_slice(bytes)
        .map_err(|error| broken(reference, &format!("its manifest cannot be read: {error}")).into())
}

/// A blob that is a document: the configuration.
async fn fetch_small(session: &mut Session<'_>, descriptor: &Descriptor) -> Result<Bytes, PullError> {
    let response = session.blob(&descriptor.digest).await.map_err(PullError::Copy)?;
    let path = format!("blobs/{}", descriptor.digest);
    let bytes = super::http::document(response)
        .await
        .map_err(|error| PullError::Copy(session.failed(Method::GET, &path, &error)))?;
    if digest::of(&bytes) != descriptor.digest {
        let message =
            format!("configuration `{}` arrived with digest {}", descriptor.digest, digest::of(&bytes));
        return Err(ImageError::Pull { message }.into());
    }
    Ok(bytes)
}

fn broken(reference: &Reference, reason: &str) -> ImageError {
    ImageError::Pull { message: format!("failed to pull and unpack image \"{reference}\": {reason}") }
}

fn unresolved(reference: &Reference, failure: &RegistryError) -> String {
    let resolving = format!("failed to resolve reference \"{reference}\"");
    match failure {
        RegistryError::NotFound { .. } => format!("{resolving}: {reference}: not found"),
        other => format!("{resolving}: {}", chain(other)),
    }
}

/// Why one place did not give the image: the next one may.
enum PullError {
    /// What the reference names could not be found out.
    Resolve(RegistryError),
    /// It is known, and a part of it did not come.
    Copy(RegistryError),
    /// The image itself, or this machine, is at fault.
    Image(ImageError),
}

impl From<RegistryError> for PullError {
    fn from(error: RegistryError) -> PullError {
        PullError::Resolve(error)
    }
}

impl From<ImageError> for PullError {
    fn from(error: ImageError) -> PullError {
        PullError::Image(error)
    }
}
