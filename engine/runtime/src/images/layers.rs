//! Layers on disk: each unpacked once, under the digest of its uncompressed tar.
//!
//! Invariant: what lies under `layers` is whole.

use std::{
    fs::{self, File},
    io,
    os::fd::AsFd,
    path::{Path, PathBuf},
};

use super::{
    ImageError,
    unpack::{Unpacked, unpack_into},
};

/// Where a layer lies, there or not.
pub fn directory(dir: &Path, diff_id: &str) -> PathBuf {
    dir.join("layers").join(diff_id.trim_start_matches("sha256:"))
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
    if !place.exists() {
        settle(target.path(), &place).map_err(ImageError::io("place layer", &place))?;
    }
    Ok(unpacked)
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

/// Removes the layers whose name `keep` does not know.
pub fn retain(dir: &Path, keep: impl Fn(&str) -> bool) -> Result<(), ImageError> {
    let layers = dir.join("layers");
    for entry in fs::read_dir(&layers).map_err(ImageError::io("list", &layers))?.flatten() {
        if !keep(&entry.file_name().to_string_lossy()) {
            fs::remove_dir_all(entry.path()).map_err(ImageError::io("remove", &entry.path()))?;
        }
    }
    Ok(())
}
