//! Writes a layer's tar as directories and files.
//!
//! Whiteouts of the image format become those of overlayfs: a deleted entry is a character device 0/0, an opaque
//! directory carries `trusted.overlay.opaque`. They speak of lower layers only, wherever in the tar they stand. An entry
//! replaces what an earlier one left in its place, but two directories, which are one.
//! Invariant: nothing is ever written outside the layer's own directory: links are followed as if it were `/`.
//! Source:    <https://github.com/opencontainers/image-spec/blob/main/layer.md>

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    fs::{self, File, Metadata, Permissions},
    io::{self, ErrorKind, Read},
    os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, lchown},
    path::{Component, Path, PathBuf},
    time::{Duration, SystemTime},
};

use nix::{
    errno::Errno,
    sys::stat::{Mode, SFlag, makedev, mknod},
};
use tar::EntryType;

use super::{compression::decompress, digest::Hashing};
use crate::causes::chain;

const WHITEOUT: &str = ".wh.";
const OPAQUE: &str = ".wh..wh..opq";

/// What aufs kept for itself.
const AUFS: &str = ".wh..wh.";

/// As many links as Linux follows in one path.
const MAX_LINKS: usize = 40;

/// A layer that has been unpacked.
pub struct Unpacked {
    /// Digest and size of its tar.
    pub diff_id: String,
    pub size_bytes: u64,
    /// Directories that its tar has no entry for; `` is the layer itself.
    pub implicit: BTreeSet<PathBuf>,
}

pub fn unpack_into(target: &Path, file: &Path) -> io::Result<Unpacked> {
    fs::set_permissions(target, Permissions::from_mode(0o755))?;
    let mut layer =
        Layer { root: target, implicit: BTreeSet::from([PathBuf::new()]), changed: BTreeMap::new() };
    let mut tar = Hashing::new(decompress(File::open(file)?)?);
    let mut archive = tar::Archive::new(&mut tar);
    archive.set_preserve_permissions(true);
    archive.set_preserve_ownerships(true);
    archive.set_preserve_mtime(true);
    archive.set_unpack_xattrs(true);
    for entry in archive.entries()? {
        let mut entry = entry?;
        layer.add(&mut entry).map_err(|error| {
            let link = entry.link_name().ok().flatten();
            let link = link.map(|link| format!(" -> `{}`", link.display())).unwrap_or_default();
            let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            io::Error::new(error.kind(), format!("entry `{path}`{link}: {}", chain(&error)))
        })?;
    }
    // A later entry may have put a link, or nothing, in a directory's place or above it.
    for (directory, at) in layer.changed.iter().filter(|(directory, _)| layer.holds(directory)) {
        File::open(target.join(directory))?.set_modified(*at)?;
    }
    // The digest covers the padding behind the last entry too.
    io::copy(&mut tar, &mut io::sink())?;
    Ok(Unpacked { diff_id: tar.digest(), size_bytes: tar.bytes, implicit: layer.implicit })
}

struct Layer<'a> {
    root: &'a Path,
    implicit: BTreeSet<PathBuf>,
    /// When directories were changed: what is written into them later does not count.
    changed: BTreeMap<PathBuf, SystemTime>,
}

impl Layer<'_> {
    fn add<R: Read>(&mut self, entry: &mut tar::Entry<'_, R>) -> io::Result<()> {
        let kind = entry.header().entry_type();
        if kind.is_pax_global_extensions() {
            return Ok(());
        }
        let path = inside(&entry.path()?)?;
        if is_pax_sparse(entry)? {
            let message = "a sparse file in PAX form, which is not unpacked";
            return Err(io::Error::new(ErrorKind::Unsupported, message));
        }
        let Some(name) = path.file_name() else {
            self.implicit.remove(Path::new(""));
            return own(self.root, entry.header());
        };
        let parent = self.directory(path.parent().unwrap_or(Path::new("")))?;
        let place = parent.join(name);
        let text = name.to_str().unwrap_or_default();
        if text == OPAQUE {
            return make_opaque(&self.root.join(parent));
        }
        if text.starts_with(AUFS) {
            return Ok(());
        }
        if let Some(hidden) = text.strip_prefix(WHITEOUT) {
            return match hidden {
                "" | "." | ".." => Err(io::Error::other(format!("whiteout `{}` of nothing", path.display()))),
                hidden => whiteout(&self.root.join(parent).join(hidden)),
            };
        }
        let hides = self.make_room(&place, kind)?;
        let target = self.root.join(&place);
        match kind {
            EntryType::Link => {
                let link = entry.link_name()?.unwrap_or_default();
                let link = inside(&link)?;
                let parent = self.directory(link.parent().unwrap_or(Path::new("")))?;
                fs::hard_link(self.root.join(parent).join(link.file_name().unwrap_or_default()), target)
            }
            EntryType::Fifo | EntryType::Char | EntryType::Block => special(&target, entry.header()),
            EntryType::Directory => {
                self.implicit.remove(&place);
                entry.unpack(&target)?;
                // One that no clock has is left out.
                let since = Duration::from_secs(entry.header().mtime()?);
                self.changed.extend(SystemTime::UNIX_EPOCH.checked_add(since).map(|at| (place, at)));
                if hides { make_opaque(&target) } else { Ok(()) }
            }
            _ => entry.unpack(&target).map(|_| ()),
        }
    }

    /// Whether a directory of the layer is there, without a link on the way.
    fn holds(&self, directory: &Path) -> bool {
        let is_directory = |path: &Path| self.root.join(path).symlink_metadata().is_ok_and(|it| it.is_dir());
        directory.ancestors().all(is_directory)
    }

    /// The directory that a path leads to, from the layer's root; made where it is absent.
    fn directory(&mut self, path: &Path) -> io::Result<PathBuf> {
        let mut here = PathBuf::new();
        let mut ahead = backwards(path);
        let mut links = 0;
        while let Some(part) = ahead.pop() {
            if part == ".." {
                here.pop();
                continue;
            }
            let next = here.join(&part);
            let place = self.root.join(&next);
            match place.symlink_metadata() {
                Ok(metadata) if metadata.is_symlink() => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(Errno::ELOOP.into());
                    }
                    let link = fs::read_link(&place)?;
                    if link.is_absolute() {
                        here = PathBuf::new();
                    }
                    ahead.extend(backwards(&link));
                    continue;
                }
                Ok(metadata) if metadata.is_dir() => {}
                Ok(metadata) if is_whiteout(&metadata) => {
                    fs::remove_file(&place)?;
                    self.make_implicit(&next)?;
                    make_opaque(&place)?;
                }
                Ok(_) => return Err(io::Error::other(format!("`{}` is no directory", next.display()))),
                Err(error) if error.kind() == ErrorKind::NotFound => self.make_implicit(&next)?,
                Err(error) => return Err(error),
            }
            here = next;
        }
        Ok(here)
    }

    fn make_implicit(&mut self, path: &Path) -> io::Result<()> {
        let place = self.root.join(path);
        fs::create_dir(&place)?;
        fs::set_permissions(&place, Permissions::from_mode(0o755))?;
        self.implicit.insert(path.to_owned());
        Ok(())
    }

    /// Removes what an earlier entry left there. Says whether that hid what lower layers have.
    fn make_room(&mut self, path: &Path, kind: EntryType) -> io::Result<bool> {
        let place = self.root.join(path);
        let metadata = match place.symlink_metadata() {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            other => other?,
        };
        if !metadata.is_dir() {
            fs::remove_file(&place)?;
        } else if kind != EntryType::Directory {
            fs::remove_dir_all(&place)?;
            self.implicit.retain(|directory| !directory.starts_with(path));
        }
        Ok(is_whiteout(&metadata))
    }
}

/// An entry's path without what means nothing; one that leads out is an error.
fn inside(path: &Path) -> io::Result<PathBuf> {
    let mut inside = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => inside.push(name),
            Component::ParentDir if !inside.pop() => return Err(io::Error::other("leads out of the layer")),
            _ => {}
        }
    }
    Ok(inside)
}

/// Its bytes are but the parts that are no holes: unpacked as they are, they would make another file.
/// Source: <https://www.gnu.org/software/tar/manual/html_node/Sparse-Formats.html>
fn is_pax_sparse<R: Read>(entry: &mut tar::Entry<'_, R>) -> io::Result<bool> {
    let mut records = entry.pax_extensions()?.into_iter().flatten().flatten();
    Ok(records.any(|record| record.key_bytes().starts_with(b"GNU.sparse.")))
}

/// The parts of a path, the first one last.
fn backwards(path: &Path) -> Vec<OsString> {
    let parts = path.components().filter(|part| matches!(part, Component::Normal(_) | Component::ParentDir));
    parts.rev().map(|part| part.as_os_str().to_owned()).collect()
}

fn is_whiteout(metadata: &Metadata) -> bool {
    metadata.file_type().is_char_device() && metadata.rdev() == 0
}

/// Hides what lower layers have under this name. What this layer has there stays.
fn whiteout(path: &Path) -> io::Result<()> {
    match path.symlink_metadata() {
        Ok(metadata) if metadata.is_dir() => make_opaque(path),
        Ok(_) => Ok(()),
        Err(_) => mknod(path, SFlag::S_IFCHR, Mode::empty(), makedev(0, 0)).map_err(io::Error::from),
    }
}

fn make_opaque(directory: &Path) -> io::Result<()> {
    xattr::set(directory, "trusted.overlay.opaque", b"y")
}

/// A FIFO or device node. Where devices may not be made, as in most containers, they are left out.
fn special(place: &Path, header: &tar::Header) -> io::Result<()> {
    let number = |part: Option<u32>| u64::from(part.unwrap_or(0));
    let device =
        || Ok::<_, io::Error>(makedev(number(header.device_major()?), number(header.device_minor()?)));
    let (kind, device) = match header.entry_type() {
        // GNU tar leaves its numbers empty.
        EntryType::Fifo => (SFlag::S_IFIFO, 0),
        EntryType::Block => (SFlag::S_IFBLK, device()?),
        _ => (SFlag::S_IFCHR, device()?),
    };
    match mknod(place, kind, Mode::empty(), device) {
        Err(Errno::EPERM) if kind != SFlag::S_IFIFO => return Ok(()),
        made => made?,
    }
    own(place, header)
}

fn own(place: &Path, header: &tar::Header) -> io::Result<()> {
    let id = |number: u64| u32::try_from(number).map_err(io::Error::other);
    lchown(place, Some(id(header.uid()?)?), Some(id(header.gid()?)?))?;
    fs::set_permissions(place, Permissions::from_mode(header.mode()? & 0o7777))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Tar(tar::Builder<Vec<u8>>);

    impl Tar {
        /// `d/` is a directory, `l -> x` a link, `h = x` a hard link, `p|` a FIFO, `c#` a device, all others are files.
        fn of(entries: &[&str]) -> Tar {
            let mut tar = Tar(tar::Builder::new(Vec::new()));
            for text in entries {
                let (name, kind, link) = match (text.split_once(" -> "), text.split_once(" = ")) {
                    (Some((name, link)), _) => (name, EntryType::Symlink, link),
                    (_, Some((name, link))) => (name, EntryType::Link, link),
                    _ if text.ends_with('/') => (*text, EntryType::Directory, ""),
                    _ if text.ends_with('|') => (&text[..text.len() - 1], EntryType::Fifo, ""),
                    _ if text.ends_with('#') => (&text[..text.len() - 1], EntryType::Char, ""),
                    _ => (*text, EntryType::Regular, ""),
                };
                tar.add(name, kind, link);
            }
            tar
        }

        fn add(&mut self, name: &str, kind: EntryType, link: &str) {
            let mut header = tar::Header::new_gnu();
            header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
            if !link.is_empty() {
                header.set_link_name(link).unwrap();
            }
            header.set_entry_type(kind);
            header.set_mode(0o750);
            header.set_size(0);
            header.set_mtime(0);
            header.set_uid(0);
            header.set_gid(0);
            if kind == EntryType::Char {
                header.set_device_major(1).unwrap();
                header.set_device_minor(3).unwrap();
            }
            header.set_cksum();
            self.0.append(&header, io::empty()).unwrap();
        }
    }

    fn unpacked(tar: Tar) -> io::Result<(tempfile::TempDir, Unpacked)> {
        let dir = tempfile::tempdir()?;
        let (file, target) = (dir.path().join("tar"), dir.path().join("layer"));
        fs::write(&file, tar.0.into_inner()?)?;
        fs::create_dir(&target)?;
        let unpacked = unpack_into(&target, &file)?;
        Ok((dir, unpacked))
    }

    /// What lies there: `name` and its kind, opaque directories with a `!`, below each other.
    fn seen(dir: &Path) -> Vec<String> {
        let mut names: Vec<PathBuf> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
        names.sort();
        let tell = |path: &PathBuf| {
            let name = path.file_name().unwrap().to_str().unwrap();
            let metadata = path.symlink_metadata().unwrap();
            let kind = metadata.file_type();
            let opaque = || xattr::get(path, "trusted.overlay.opaque").unwrap().is_some();
            match () {
                () if kind.is_dir() => {
                    let below: Vec<String> =
                        seen(path).iter().map(|below| format!("{name}/{below}")).collect();
                    let own = format!("{name}/{}", if opaque() { "!" } else { "" });
                    [vec![own], below].concat()
                }
                () if is_whiteout(&metadata) => vec![format!("-{name}")],
                () if kind.is_symlink() => vec![format!("{name}@")],
                () if kind.is_fifo() => vec![format!("{name}|")],
                () if kind.is_char_device() => vec![format!("{name}#{:o}", metadata.mode() & 0o777)],
                () => vec![name.to_string()],
            }
        };
        names.iter().flat_map(tell).collect()
    }

    #[test]
    fn entries_replace_each_other_and_whiteouts_speak_of_lower_layers() {
        if !nix::unistd::geteuid().is_root() {
            return eprintln!("skipped: only root can unpack layers");
        }
        for (entries, expected) in [
            (&["d/", "d/f", "d/p|", "n#"][..], &["d/", "d/f", "d/p|", "n#750"][..]),
            (&[".wh.d", "d/", "d/f"], &["d/!", "d/f"]),
            (&[".wh.d", "d/f"], &["d/!", "d/f"]),
            (&["d/", "d/f", ".wh.d"], &["d/!", "d/f"]),
            (&["f", ".wh.f"], &["f"]),
            (&[".wh.f", "f"], &["f"]),
            (&[".wh.f", ".wh.f"], &["-f"]),
            (&["d/", "d/.wh..wh..opq", "d/.wh..wh..opq", ".wh..wh.plnk"], &["d/!"]),
            (&["d/", "d/f", "d"], &["d"]),
            (&["f", "f/", "f/g"], &["f/", "f/g"]),
            (&["l -> x", "l/", "l/f"], &["l/", "l/f"]),
            (&["l -> x", "l"], &["l"]),
            (
                &["usr/lib/", "lib -> /usr/lib", "lib/f", "lib/.wh.g"],
                &["lib@", "usr/", "usr/lib/", "usr/lib/f", "usr/lib/-g"],
            ),
            (&["lib -> ../../usr/lib", "lib/f"], &["lib@", "usr/", "usr/lib/", "usr/lib/f"]),
            (&["a/f", "b = a/f", "/c = /a/f"], &["a/", "a/f", "b", "c"]),
        ] {
            let (dir, _) = unpacked(Tar::of(entries)).unwrap_or_else(|error| panic!("{entries:?}: {error}"));
            assert_eq!(seen(&dir.path().join("layer")), expected, "{entries:?}");
        }
        let mut sparse = tar::Builder::new(Vec::new());
        sparse.append_pax_extensions([("GNU.sparse.major", &b"1"[..]), ("GNU.sparse.name", b"f")]).unwrap();
        let mut sparse = Tar(sparse);
        sparse.add("GNUSparseFile.1/f", EntryType::Regular, "");
        assert!(unpacked(sparse).err().unwrap().to_string().contains("sparse file in PAX form"));
        let (_dir, implicit) =
            unpacked(Tar::of(&["./", "a/b/f", "a/", "c/d/f", "c/d/g", "e/f", "e"])).unwrap();
        assert_eq!(implicit.implicit, ["a/b", "c", "c/d"].map(PathBuf::from).into());
        let (_dir, implicit) = unpacked(Tar::of(&["a/"])).unwrap();
        assert_eq!(implicit.implicit, [PathBuf::new()].into());
        for entries in [&["../f"][..], &["d/.wh..."], &["l -> l", "l/f"], &["f", "f/g"], &["a = ../tar"]] {
            assert!(unpacked(Tar::of(entries)).is_err(), "{entries:?}");
        }
    }

    #[test]
    fn what_keeps_an_entry_from_being_written_is_told() {
        let mut tar = Tar::of(&[]);
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(EntryType::Symlink);
        header.set_size(0);
        tar.0.append_link(&mut header, "l", "x".repeat(5000)).unwrap();
        let said = unpacked(tar).err().unwrap().to_string();
        assert!(said.starts_with("entry `l` -> `xxx") && said.contains("File name too long"), "{said}");
    }

    #[test]
    fn directories_keep_their_times_and_nothing_outside_gets_one() {
        if !nix::unistd::geteuid().is_root() {
            return eprintln!("skipped: only root can unpack layers");
        }
        let outside = tempfile::tempdir().unwrap();
        let (own, below) = (outside.path(), outside.path().join("b"));
        fs::create_dir(&below).unwrap();
        let times = || [own, below.as_path()].map(|path| path.metadata().unwrap().mtime());
        let before = times();
        let link = format!("a -> {}", own.display());
        let mut tar = Tar::of(&["kept/", "kept/f", "a/", "a/b/", link.as_str()]);
        for (name, at) in [("never/", u64::MAX), ("late/", 1 << 62)] {
            let mut header = tar::Header::new_gnu();
            header.set_path(name).unwrap();
            header.set_entry_type(EntryType::Directory);
            header.set_mode(0o750);
            for set in [tar::Header::set_size, tar::Header::set_uid, tar::Header::set_gid] {
                set(&mut header, 0);
            }
            header.set_mtime(at);
            header.set_cksum();
            tar.0.append(&header, io::empty()).unwrap();
        }
        let (dir, _) = unpacked(tar).unwrap();
        assert_eq!(dir.path().join("layer/kept").metadata().unwrap().mtime(), 0);
        assert_eq!(times(), before);
    }
}
