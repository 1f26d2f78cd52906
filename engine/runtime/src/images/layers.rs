//! Layers on disk: each unpacked once, under the digest of its uncompressed tar.
//!
//! Whiteouts of the image format become those of overlayfs: a deleted entry is a character device 0/0, an opaque
//! directory carries `trusted.overlay.opaque`.
//! Invariant: nothing is ever written outside the layer's own directory.

use std::{
    fs::{self, File},
    io::{self, BufReader, Read},
    os::fd::AsFd,
    path::{Path, PathBuf},
};

use flate2::read::MultiGzDecoder;
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use ruzstd::decoding::StreamingDecoder;

use super::{ImageError, digest::Hashing};

const WHITEOUT: &str = ".wh.";
const OPAQUE: &str = ".wh..wh..opq";

/// Where a layer lies, there or not.
pub fn directory(dir: &Path, diff_id: &str) -> PathBuf {
    dir.join("layers").join(diff_id.trim_start_matches("sha256:"))
}

/// A layer that has been unpacked: the digest of its tar and that tar's size.
pub struct Unpacked {
    pub diff_id: String,
    pub size_bytes: u64,
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

fn unpack_into(target: &Path, file: &Path) -> io::Result<Unpacked> {
    fs::set_permissions(target, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    let mut tar = Hashing::new(decompress(File::open(file)?)?);
    let mut archive = tar::Archive::new(&mut tar);
    archive.set_preserve_permissions(true);
    archive.set_preserve_ownerships(true);
    archive.set_preserve_mtime(true);
    archive.set_unpack_xattrs(true);
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path = entry.path()?.into_owned();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name == OPAQUE {
            make_opaque(&inside(target, path.parent())?)?;
        } else if let Some(hidden) = name.strip_prefix(WHITEOUT) {
            whiteout(&inside(target, path.parent())?.join(hidden))?;
        } else {
            entry.unpack_in(target)?;
        }
    }
    // The digest covers the padding behind the last entry too.
    io::copy(&mut tar, &mut io::sink())?;
    Ok(Unpacked { diff_id: tar.digest(), size_bytes: tar.bytes })
}

/// The directory that a whiteout stands in, made where absent; a path that leads out is an error.
fn inside(target: &Path, parent: Option<&Path>) -> io::Result<PathBuf> {
    let directory = target.join(parent.unwrap_or(Path::new("")));
    let escapes = parent.is_some_and(|parent| {
        parent
            .components()
            .any(|part| !matches!(part, std::path::Component::Normal(_) | std::path::Component::CurDir))
    });
    if escapes {
        return Err(io::Error::other(format!("entry `{}` leads out of the layer", directory.display())));
    }
    fs::create_dir_all(&directory)?;
    let real = directory.canonicalize()?;
    if !real.starts_with(target.canonicalize()?) {
        return Err(io::Error::other(format!("entry `{}` leads out of the layer", directory.display())));
    }
    Ok(real)
}

fn whiteout(path: &Path) -> io::Result<()> {
    mknod(path, SFlag::S_IFCHR, Mode::empty(), makedev(0, 0)).map_err(io::Error::from)
}

fn make_opaque(directory: &Path) -> io::Result<()> {
    xattr::set(directory, "trusted.overlay.opaque", b"y")
}

/// The tar inside a layer's file.
pub fn decompress(file: File) -> io::Result<Box<dyn Read>> {
    let mut reader = BufReader::with_capacity(1 << 16, file);
    let head = io::BufRead::fill_buf(&mut reader)?;
    if head.starts_with(&[0x1f, 0x8b]) {
        return Ok(Box::new(MultiGzDecoder::new(reader)));
    }
    if head.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        return Ok(Box::new(StreamingDecoder::new(reader).map_err(io::Error::other)?));
    }
    Ok(Box::new(reader))
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
