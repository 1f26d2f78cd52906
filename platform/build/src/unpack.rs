//! The entries of an archive, written onto an image: what ADD does with a tar.
//!
//! A directory of the image on the way to an entry keeps its owner and mode, one that nobody names is root's. An entry
//! replaces what is in its place, but two directories, which are one, also through a link: `bin/` of an archive is the
//! `usr/bin` that `/bin` of an image leads to.
//! Invariant: nothing is written outside the layer's directory: links, the image's and the archive's own, are followed as
//!            if the image were `/`.
//! Source:    <https://github.com/moby/buildkit/blob/master/solver/llbsolver/file/unpack_root.go>

use std::{
    fs::{self, Permissions},
    io::{self, ErrorKind, Read},
    os::unix::fs::{PermissionsExt, lchown},
    path::{Component, Path, PathBuf},
    time::{Duration, SystemTime},
};

use nix::{
    errno::Errno,
    fcntl::AT_FDCWD,
    sys::{
        stat::{Mode, SFlag, UtimensatFlags, makedev, mknod, utimensat},
        time::TimeSpec,
    },
};
use tar::{Entry, EntryType, Header};

use crate::{
    StepError, StepResult,
    copy::{self, Attributes, Source},
    view::View,
};

/// Where an archive goes.
pub struct Onto<'a> {
    /// Absolute in the image.
    pub target: &'a Path,
    /// The image with the layer on top, as it is now.
    pub image: &'a View,
    pub layer: &'a Path,
}

/// Unpacks the tar that `reader` gives; `file` is its name in errors.
///
/// # Errors
/// Name the entry: it leads out of the target, or cannot be made.
pub fn unpack(reader: impl Read, file: &Path, onto: &Onto<'_>) -> StepResult<()> {
    let mut archive = tar::Archive::new(reader);
    archive.set_preserve_permissions(true);
    archive.set_preserve_ownerships(true);
    for entry in archive.entries().map_err(StepError::io("read", file))? {
        let mut entry = entry.map_err(StepError::io("read", file))?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        onto.add(&mut entry).map_err(|refused| match refused {
            Refused::Io(source) => StepError::io("unpack", &file.join(name.trim_start_matches('/')))(source),
            Refused::Step(StepError::Input(message)) => {
                StepError::Input(format!("entry `{name}` of `{}`: {message}", file.display()))
            }
            Refused::Step(error) => error,
        })?;
    }
    Ok(())
}

/// Why one entry failed; the caller adds its name.
enum Refused {
    Io(io::Error),
    Step(StepError),
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Refused {
        Refused::Io(error)
    }
}

impl From<StepError> for Refused {
    fn from(error: StepError) -> Refused {
        Refused::Step(error)
    }
}

impl From<String> for Refused {
    fn from(message: String) -> Refused {
        Refused::Step(StepError::Input(message))
    }
}

impl Onto<'_> {
    fn add<R: Read>(&self, entry: &mut Entry<'_, R>) -> Result<(), Refused> {
        let kind = entry.header().entry_type();
        if is_pax_sparse(entry)? {
            return Err(
                "a sparse file in PAX form, which is not unpacked: make the archive without `--sparse`"
                    .to_string()
                    .into(),
            );
        }
        // The target itself stays as it is.
        let Some(mut inside) = self.inside(&entry.path()?)?.filter(|_| !kind.is_pax_global_extensions())
        else {
            return Ok(());
        };
        if kind.is_dir() {
            inside = self.image.resolve(&inside)?;
            if inside == Path::new("/") {
                return Ok(());
            }
        }
        copy::make_directories(self.layer, inside.parent().unwrap_or(Path::new("/")), self.image, None)?;
        let place = copy::layer_path(self.layer, &inside);
        match kind {
            EntryType::Link => self.hard_link(entry, &inside, &place)?,
            EntryType::Fifo | EntryType::Char | EntryType::Block => {
                make_room(&place, kind)?;
                special(&place, entry.header())?;
            }
            _ => {
                make_room(&place, kind)?;
                entry.unpack(&place)?;
            }
        }
        Ok(())
    }

    /// Where a path of the archive leads to in the image, its last component not followed. `None`: to the target.
    fn inside(&self, path: &Path) -> Result<Option<PathBuf>, String> {
        let mut below = PathBuf::new();
        for part in path.components() {
            match part {
                Component::Normal(name) => below.push(name),
                Component::ParentDir if !below.pop() => {
                    return Err(format!("`{}` leads out of `{}`", path.display(), self.target.display()));
                }
                _ => {}
            }
        }
        let (Some(parent), Some(name)) = (below.parent(), below.file_name()) else { return Ok(None) };
        Ok(Some(self.image.resolve(&self.target.join(parent))?.join(name)))
    }

    /// A file of the image below is brought into this layer first, as its owner and mode become what the entry says.
    fn hard_link<R: Read>(&self, entry: &Entry<'_, R>, inside: &Path, place: &Path) -> Result<(), Refused> {
        let link = entry.link_name()?.unwrap_or_default();
        let other = self.inside(&link)?.unwrap_or_else(|| self.target.to_path_buf());
        if other == inside {
            return Ok(());
        }
        let found = self.image.find(&other).ok_or_else(|| {
            format!("hard link to `{}`, which neither the archive so far nor the image has", link.display())
        })?;
        if found.symlink_metadata()?.is_dir() {
            return Err(format!("hard link to `{}`, which is a directory", link.display()).into());
        }
        make_room(place, EntryType::Link)?;
        let shared = copy::layer_path(self.layer, &other);
        if found != shared {
            copy::make_directories(self.layer, other.parent().unwrap_or(Path::new("/")), self.image, None)?;
            copy::copy_entry(&Source::Stage(self.image), &found, &shared, &Attributes::default())?;
        }
        fs::hard_link(&shared, place)?;
        Ok(own(place, entry.header())?)
    }
}

/// Its bytes are but the parts that are no holes.
/// Source: <https://www.gnu.org/software/tar/manual/html_node/Sparse-Formats.html>
fn is_pax_sparse<R: Read>(entry: &mut Entry<'_, R>) -> io::Result<bool> {
    let mut records = entry.pax_extensions()?.into_iter().flatten().flatten();
    Ok(records.any(|record| record.key_bytes().starts_with(b"GNU.sparse.")))
}

/// Removes what this layer has there already.
fn make_room(place: &Path, kind: EntryType) -> io::Result<()> {
    match place.symlink_metadata() {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(metadata) if !metadata.is_dir() => fs::remove_file(place),
        Ok(_) if kind.is_dir() => Ok(()),
        Ok(_) => fs::remove_dir_all(place),
    }
}

/// A FIFO or a device.
fn special(place: &Path, header: &Header) -> Result<(), Refused> {
    let number = |part: Option<u32>| u64::from(part.unwrap_or(0));
    let numbers = || io::Result::Ok((number(header.device_major()?), number(header.device_minor()?)));
    let (kind, (major, minor)) = match header.entry_type() {
        // What its numbers say means nothing; some leave them empty.
        EntryType::Fifo => (SFlag::S_IFIFO, (0, 0)),
        EntryType::Block => (SFlag::S_IFBLK, numbers()?),
        _ => (SFlag::S_IFCHR, numbers()?),
    };
    if kind == SFlag::S_IFCHR && (major, minor) == (0, 0) {
        return Err("character device 0/0, which stands for a deleted file in images".to_string().into());
    }
    match mknod(place, kind, Mode::empty(), makedev(major, minor)) {
        Err(Errno::EPERM) => {
            return Err(format!(
                "device {major}/{minor}, and devices may not be made here: leave it out of the archive"
            )
            .into());
        }
        made => made.map_err(io::Error::from)?,
    }
    Ok(own(place, header)?)
}

/// Owner, mode and time as the entry has them. A link has an owner alone.
fn own(place: &Path, header: &Header) -> io::Result<()> {
    let id = |number: u64| u32::try_from(number).map_err(io::Error::other);
    lchown(place, Some(id(header.uid()?)?), Some(id(header.gid()?)?))?;
    if place.symlink_metadata()?.is_symlink() {
        return Ok(());
    }
    fs::set_permissions(place, Permissions::from_mode(header.mode()? & 0o7777))?;
    let since = Duration::from_secs(header.mtime()?);
    if SystemTime::UNIX_EPOCH.checked_add(since).is_some() {
        let at = TimeSpec::from(since);
        utimensat(AT_FDCWD, place, &at, &at, UtimensatFlags::NoFollowSymlink)?;
    }
    Ok(())
}
