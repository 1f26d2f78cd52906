//! A directory as a layer: an uncompressed tar with sorted entries, and its digest.
//!
//! Invariant: the same files give the same digest. So directories have a fixed time: theirs says when something was put
//!            into them, by this build or by an editor whose file is ignored. Files and links keep their own.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{self, BufWriter, Write},
    os::unix::{
        ffi::OsStrExt,
        fs::{FileTypeExt, MetadataExt},
    },
    path::{Path, PathBuf},
};

use nix::sys::stat::{major, minor};
use ring::digest::{Context, SHA256};
use tar::{Builder, EntryType, Header};

use crate::Layer;

const MEDIA_TYPE: &str = "application/vnd.oci.image.layer.v1.tar";

/// Writes `directory` to `file`.
pub fn write(directory: &Path, file: PathBuf) -> io::Result<Layer> {
    let mut tar = Builder::new(Hashing {
        inner: BufWriter::new(File::create(&file)?),
        context: Context::new(&SHA256),
        written: 0,
    });
    append(&mut tar, directory, Path::new(""))?;
    let mut hashing = tar.into_inner()?;
    hashing.flush()?;
    let digest = format!("sha256:{}", hex(hashing.context.finish().as_ref()));
    Ok(Layer {
        media_type: MEDIA_TYPE.into(),
        digest: digest.clone(),
        diff_id: digest,
        size_bytes: hashing.written,
        file: Some(file),
    })
}

fn append<W: Write>(tar: &mut Builder<W>, directory: &Path, inside: &Path) -> io::Result<()> {
    let mut names: Vec<OsString> = fs::read_dir(directory)?
        .map(|entry| entry.map(|entry| entry.file_name()))
        .collect::<io::Result<_>>()?;
    names.sort();
    for name in names {
        let (place, inside) = (directory.join(&name), inside.join(&name));
        let metadata = fs::symlink_metadata(&place)?;
        let mut header = Header::new_gnu();
        header.set_uid(metadata.uid().into());
        header.set_gid(metadata.gid().into());
        header.set_mode(metadata.mode() & 0o7777);
        let mtime = if metadata.is_dir() { 0 } else { metadata.mtime() };
        header.set_mtime(u64::try_from(mtime).unwrap_or(0));
        if metadata.is_symlink() {
            header.set_entry_type(EntryType::Symlink);
            header.set_size(0);
            tar.append_link(&mut header, &inside, fs::read_link(&place)?)?;
        } else if metadata.is_dir() {
            header.set_entry_type(EntryType::Directory);
            header.set_size(0);
            let mut path = inside.as_os_str().as_bytes().to_vec();
            path.push(b'/');
            tar.append_data(&mut header, Path::new(std::ffi::OsStr::from_bytes(&path)), io::empty())?;
            append(tar, &place, &inside)?;
        } else if let Some(kind) = special(&metadata) {
            header.set_entry_type(kind);
            header.set_size(0);
            if kind != EntryType::Fifo {
                let number = |part| u32::try_from(part).map_err(io::Error::other);
                header.set_device_major(number(major(metadata.rdev()))?)?;
                header.set_device_minor(number(minor(metadata.rdev()))?)?;
            }
            tar.append_data(&mut header, &inside, io::empty())?;
        } else {
            header.set_entry_type(EntryType::Regular);
            header.set_size(metadata.len());
            tar.append_data(&mut header, &inside, File::open(&place)?)?;
        }
    }
    Ok(())
}

/// What has no content.
fn special(metadata: &fs::Metadata) -> Option<EntryType> {
    let kind = metadata.file_type();
    [
        (kind.is_fifo(), EntryType::Fifo),
        (kind.is_char_device(), EntryType::Char),
        (kind.is_block_device(), EntryType::Block),
    ]
    .into_iter()
    .find_map(|(is, kind)| is.then_some(kind))
}

struct Hashing<W> {
    inner: W,
    context: Context,
    written: u64,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.context.update(&bytes[..count]);
        self.written += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
