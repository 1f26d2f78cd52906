//! COPY: files of the context, of another stage or of an image, into a directory that becomes the layer.

use std::{
    ffi::OsString,
    fs::{self, Permissions},
    os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown, lchown, symlink},
    path::{Path, PathBuf},
};

use globset::GlobMatcher;
use nix::{
    fcntl::AT_FDCWD,
    sys::{
        stat::{Mode, SFlag, UtimensatFlags, mknod, utimensat},
        time::TimeSpec,
    },
};

use crate::{
    StepError, StepResult,
    ignore::{self, Ignore},
    view::{self, View},
};

/// Where files come from.
pub enum Source<'a> {
    Context { root: &'a Path, ignore: &'a Ignore },
    Stage(&'a View),
}

/// What the copied files get.
#[derive(Default)]
pub struct Attributes {
    /// Default: root, or what the files of a stage have.
    pub owner: Option<(u32, u32)>,
    pub mode: Option<u32>,
    pub exclude: Vec<GlobMatcher>,
}

/// What makes a source argument a pattern.
const WILDCARDS: [char; 3] = ['*', '?', '['];

/// One thing to copy.
struct Found {
    /// What it is called in the image.
    name: OsString,
    /// Its path inside the source, no component of it a link.
    inside: PathBuf,
    place: PathBuf,
}

impl Source<'_> {
    /// What a source argument names. Wildcards may give several or none; the path before them must exist.
    fn find(&self, argument: &str) -> StepResult<Vec<Found>> {
        let inside = view::normal(Path::new(argument));
        if argument.contains(WILDCARDS) {
            // Links are followed up to the first wildcard: `/lib` of many images is one.
            let fixed: PathBuf =
                inside.iter().take_while(|part| !part.to_string_lossy().contains(WILDCARDS)).collect();
            let start = self.named(&fixed)?.inside;
            let pattern = glob(&inside.strip_prefix(&fixed).unwrap_or(&inside).to_string_lossy())?;
            let mut found = Vec::new();
            self.walk(&start, &mut |inside| {
                let matches = pattern.is_match(inside.strip_prefix(&start).unwrap_or(inside));
                if matches {
                    found.push(inside.to_path_buf());
                }
                !matches
            });
            return found.iter().map(|inside| self.named(inside)).collect();
        }
        Ok(vec![self.named(&inside)?])
    }

    fn named(&self, inside: &Path) -> StepResult<Found> {
        self.place(inside)?.ok_or_else(|| StepError::Input(format!("\"{}\": not found", inside.display())))
    }

    /// Visits every entry below; `visit` says whether to go on inside a directory.
    fn walk(&self, inside: &Path, visit: &mut dyn FnMut(&Path) -> bool) {
        for (path, place) in self.entries(inside) {
            if visit(&path) && place.symlink_metadata().is_ok_and(|metadata| metadata.is_dir()) {
                self.walk(&path, visit);
            }
        }
    }

    /// What `path` leads to, by links too. Nothing outside of the source is looked at.
    fn place(&self, path: &Path) -> StepResult<Option<Found>> {
        let name = path.file_name().unwrap_or_default().to_owned();
        match self {
            Source::Context { root, ignore } => {
                let view = View(vec![root.to_path_buf()]);
                let inside = view.resolve(path)?;
                // A link is no way around `.dockerignore`.
                let kept =
                    |place: &PathBuf| [path, &inside].iter().all(|path| ignore.keeps(relative(path), place));
                let place = view.find(&inside).filter(kept);
                Ok(place.map(|place| Found { name, inside, place }))
            }
            Source::Stage(view) => {
                let inside = view.resolve(path)?;
                Ok(view.find(&inside).map(|place| Found { name, inside, place }))
            }
        }
    }

    fn entries(&self, inside: &Path) -> Vec<(PathBuf, PathBuf)> {
        match self {
            Source::Context { root, ignore } => {
                let relative = relative(inside);
                let mut entries: Vec<_> =
                    fs::read_dir(root.join(relative)).into_iter().flatten().flatten().collect();
                entries.sort_by_key(|entry| entry.file_name());
                let kept = entries
                    .into_iter()
                    .filter(|entry| ignore.keeps(&relative.join(entry.file_name()), &entry.path()));
                kept.map(|entry| (inside.join(entry.file_name()), entry.path())).collect()
            }
            Source::Stage(view) => {
                view.entries(inside).into_iter().map(|(name, place)| (inside.join(name), place)).collect()
            }
        }
    }

    /// Files of the context belong to root, those of a stage keep their owner.
    fn owner(&self, place: &Path) -> std::io::Result<(u32, u32)> {
        match self {
            Source::Context { .. } => Ok((0, 0)),
            Source::Stage(_) => place.symlink_metadata().map(|metadata| (metadata.uid(), metadata.gid())),
        }
    }
}

pub fn glob(pattern: &str) -> StepResult<GlobMatcher> {
    ignore::glob(pattern).map_err(|error| StepError::Input(format!("bad pattern: {error}")))
}

/// Copies `sources` to `destination` (absolute in the image) below `layer`. `image` is the stage with `layer` on top: what
/// an earlier source put there is looked at too.
/// `plain_file` sees each file first and may take it over (ADD unpacks archives).
pub fn copy(
    source: &Source<'_>,
    sources: &[String],
    destination: &Path,
    attributes: &Attributes,
    image: &View,
    layer: &Path,
    plain_file: &mut dyn FnMut(&Path, &Path) -> StepResult<bool>,
) -> StepResult<()> {
    let mut found = Vec::new();
    for argument in sources {
        found.extend(source.find(argument)?);
    }
    let named_directory = destination.to_string_lossy().ends_with('/');
    if found.len() > 1 && !named_directory && !image.is_dir(&image.resolve(destination)?) {
        return Err(StepError::Input(
            "When using COPY with more than one source file, the destination must be a directory and end with a /".into(),
        ));
    }
    for Found { name, inside, place } in found {
        // An archive before may have put a link in its place.
        let target = image.resolve(destination)?;
        let metadata = fs::symlink_metadata(&place).map_err(StepError::io("read", &place))?;
        if metadata.is_dir() {
            make_directories(layer, &target, image, attributes.owner)?;
            copy_directory(source, &inside, &target, attributes, image, layer)?;
            continue;
        }
        if metadata.is_file() && plain_file(&place, &target)? {
            continue;
        }
        let into_directory = named_directory || image.is_dir(&target);
        let target = if into_directory { target.join(name) } else { target };
        make_directories(layer, target.parent().unwrap_or(Path::new("/")), image, attributes.owner)?;
        copy_entry(source, &place, &layer_path(layer, &target), attributes)?;
    }
    Ok(())
}

fn copy_directory(
    source: &Source<'_>,
    inside: &Path,
    target: &Path,
    attributes: &Attributes,
    image: &View,
    layer: &Path,
) -> StepResult<()> {
    for (path, place) in source.entries(inside) {
        if attributes.exclude.iter().any(|pattern| pattern.is_match(relative(&path))) {
            continue;
        }
        let to = target.join(path.file_name().unwrap_or_default());
        let is_directory = place.symlink_metadata().is_ok_and(|metadata| metadata.is_dir());
        if is_directory {
            check_directory(&to, image)?;
        } else if image.is_dir(&to) {
            return Err(StepError::Input(format!("cannot replace to directory {} with file", to.display())));
        }
        copy_entry(source, &place, &layer_path(layer, &to), attributes)?;
        if is_directory {
            copy_directory(source, &path, &to, attributes, image, layer)?;
        }
    }
    Ok(())
}

/// A directory does not take the place of a file or a link: `/bin` of many images is one.
fn check_directory(inside: &Path, image: &View) -> StepResult<()> {
    match image.find(inside).is_some() && !image.is_dir(inside) {
        true => Err(StepError::Input(format!("cannot copy to non-directory: {}", inside.display()))),
        false => Ok(()),
    }
}

/// One file, link or (empty) directory.
pub fn copy_entry(source: &Source<'_>, from: &Path, to: &Path, attributes: &Attributes) -> StepResult<()> {
    let metadata = fs::symlink_metadata(from).map_err(StepError::io("read", from))?;
    let owner = match attributes.owner {
        Some(owner) => owner,
        None => source.owner(from).map_err(StepError::io("read", from))?,
    };
    let kind = metadata.file_type();
    let set_modified = || {
        let mtime = TimeSpec::new(metadata.mtime(), metadata.mtime_nsec());
        utimensat(AT_FDCWD, to, &TimeSpec::UTIME_OMIT, &mtime, UtimensatFlags::NoFollowSymlink)
    };
    let copied = || -> std::io::Result<()> {
        // Not written through: an earlier source may have left a link there.
        if !kind.is_dir() && to.symlink_metadata().is_ok_and(|there| !there.is_dir()) {
            fs::remove_file(to)?;
        }
        if kind.is_symlink() {
            symlink(fs::read_link(from)?, to)?;
            set_modified()?;
            return lchown(to, Some(owner.0), Some(owner.1));
        }
        if kind.is_dir() {
            fs::create_dir_all(to)?;
        } else if kind.is_file() {
            fs::copy(from, to)?;
            fs::File::options().write(true).open(to)?.set_modified(metadata.modified()?)?;
        } else if kind.is_socket() || matches!(source, Source::Context { .. }) {
            // Sockets are their server's, and a context is files.
            return Ok(());
        } else {
            let kind = SFlag::from_bits_truncate(metadata.mode()) & SFlag::S_IFMT;
            mknod(to, kind, Mode::empty(), metadata.rdev())?;
            set_modified()?;
        }
        chown(to, Some(owner.0), Some(owner.1))?;
        fs::set_permissions(
            to,
            Permissions::from_mode(attributes.mode.unwrap_or(metadata.permissions().mode() & 0o7777)),
        )
    };
    copied().map_err(StepError::io("copy", from))
}

/// Directories that the image lacks belong to root (or `owner`), mode 0755; those it has keep what they are. `directory` is
/// resolved: no component of it is a link.
pub fn make_directories(
    layer: &Path,
    directory: &Path,
    image: &View,
    owner: Option<(u32, u32)>,
) -> StepResult<()> {
    let mut inside = PathBuf::from("/");
    for component in directory.components().skip(1) {
        inside.push(component);
        let place = layer_path(layer, &inside);
        if place.symlink_metadata().is_ok_and(|metadata| metadata.is_dir()) {
            continue;
        }
        check_directory(&inside, image)?;
        // Looked at before it is hidden.
        let known = image.find(&inside).and_then(|below| below.symlink_metadata().ok());
        let make = || -> std::io::Result<()> {
            fs::create_dir(&place)?;
            let (uid, gid) =
                known.as_ref().map(|known| (known.uid(), known.gid())).or(owner).unwrap_or((0, 0));
            let mode = known.as_ref().map_or(0o755, |known| known.mode() & 0o7777);
            chown(&place, Some(uid), Some(gid))?;
            fs::set_permissions(&place, Permissions::from_mode(mode))
        };
        make().map_err(StepError::io("make directory", &inside))?;
    }
    Ok(())
}

/// Where an absolute path of the image lies in the layer's directory.
pub fn layer_path(layer: &Path, inside: &Path) -> PathBuf {
    layer.join(relative(inside))
}

fn relative(inside: &Path) -> &Path {
    inside.strip_prefix("/").unwrap_or(inside)
}
