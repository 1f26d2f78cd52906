//! Layers on disk: each unpacked once, under the digest of its uncompressed tar, with a note beside it.
//!
//! Invariant: what lies under `layers` is whole.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, Write},
    os::fd::AsFd,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{
    ImageError,
    unpack::{Unpacked, unpack_into},
};

/// Where a layer lies, there or not.
pub fn directory(dir: &Path, diff_id: &str) -> PathBuf {
    dir.join("layers").join(diff_id.trim_start_matches("sha256:"))
}

/// What is known of a layer besides its files. Layers of older versions have none.
#[derive(Debug, Serialize, Deserialize)]
pub struct Note {
    /// Of the uncompressed tar.
    pub size_bytes: u64,
    /// Directories that its tar has no entry for.
    pub implicit: BTreeSet<PathBuf>,
}

/// The note of the layer that is unpacked there.
pub fn note(layer: &Path) -> Option<Note> {
    let dir = layer.parent()?.parent()?;
    let bytes = fs::read(dir.join("notes").join(layer.file_name()?)).ok()?;
    serde_json::from_slice(&bytes).ok()
}

pub fn write_note(dir: &Path, diff_id: &str, note: &Note) -> Result<(), ImageError> {
    let path = dir.join("notes").join(diff_id.trim_start_matches("sha256:"));
    let bytes = serde_json::to_vec(note).expect("what is no text is left out");
    let write = || -> io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(dir.join("tmp"))?;
        file.write_all(&bytes)?;
        file.persist(&path)?;
        Ok(())
    };
    write().map_err(ImageError::io("write", &path))
}

/// Unpacks a layer's file (tar, gzip or zstd, told apart by their first bytes) into its place.
/// With `expected`, another digest is an error and nothing stays behind.
pub fn unpack(dir: &Path, file: &Path, expected: Option<&str>) -> Result<Unpacked, ImageError> {
    let target = tempfile::Builder::new()
        .prefix("layer-")
        .tempdir_in(dir.join("tmp"))
        .map_err(ImageError::io("make a directory in", dir))?;
    let unpacked = unpack_into(target.path(), file).map_err(ImageError::io("unpack layer", file))?;
    if let Some(expected) = expected
        && expected != unpacked.diff_id
    {
        let message =
            format!("layer has digest {} when unpacked, its image says {expected}", unpacked.diff_id);
        return Err(ImageError::Pull { message });
    }
    let place = directory(dir, &unpacked.diff_id);
    let implicit = unpacked.implicit.iter().filter(|path| path.to_str().is_some()).cloned().collect();
    write_note(dir, &unpacked.diff_id, &Note { size_bytes: unpacked.size_bytes, implicit })?;
    if !place.exists() {
        settle(target.path(), &place).map_err(ImageError::io("place layer", &place))?;
    }
    sync_names_beside(&place).map_err(ImageError::io("sync the directory of", &place))?;
    Ok(unpacked)
}

/// A rename is on disk once the directory is.
pub fn sync_names_beside(path: &Path) -> io::Result<()> {
    File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
}

/// On disk for good, then renamed into place.
fn settle(from: &Path, place: &Path) -> io::Result<()> {
    nix::unistd::syncfs(File::open(from)?.as_fd())?;
    match fs::rename(from, place) {
        // Another pull was faster.
        Err(_) if place.exists() => Ok(()),
        other => other,
    }
}

/// Removes the layers whose name `keep` does not know. One that came less than `spared` ago may yet be asked for.
pub fn retain(dir: &Path, keep: impl Fn(&str) -> bool, spared: Duration) -> Result<(), ImageError> {
    // Notes last: they tell how old a layer is.
    for folder in ["layers", "notes"] {
        let folder = dir.join(folder);
        for entry in fs::read_dir(&folder).map_err(ImageError::io("list", &folder))?.flatten() {
            if keep(&entry.file_name().to_string_lossy()) {
                continue;
            }
            let came =
                fs::metadata(dir.join("notes").join(entry.file_name())).and_then(|note| note.modified());
            let age = came.ok().and_then(|came| came.elapsed().ok()).unwrap_or(Duration::MAX);
            if age >= spared {
                remove(dir, &entry.path()).map_err(ImageError::io("remove", &entry.path()))?;
            }
        }
    }
    Ok(())
}

/// Out of its place first: half a layer must not be taken for a whole one.
fn remove(dir: &Path, path: &Path) -> io::Result<()> {
    let gone = tempfile::tempdir_in(dir.join("tmp"))?;
    fs::rename(path, gone.path().join("gone"))?;
    gone.close()
}
