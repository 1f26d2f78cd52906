//! The file system of a stage: directories on top of each other, as overlayfs shows them.
//!
//! Invariant: symbolic links are followed inside the view only; they never lead out of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    fs::Metadata,
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::{Component, Path, PathBuf},
};

/// As the kernel's limit on links in one path.
const MAX_LINKS: usize = 40;
const OPAQUE: &str = "trusted.overlay.opaque";

/// Directories, lowest first. Deleted entries are character devices 0/0.
#[derive(Clone, Default)]
pub struct View(pub Vec<PathBuf>);

impl View {
    /// Where the entry lies on disk. `path` is absolute inside the view; its last component is not followed.
    pub fn find(&self, path: &Path) -> Option<PathBuf> {
        for directory in self.0.iter().rev() {
            match find_in(directory, path) {
                Found::Entry(place) => return Some(place),
                Found::Hidden => return None,
                Found::Nothing => {}
            }
        }
        None
    }

    /// The view with one more directory on top.
    pub fn with(&self, directory: &Path) -> View {
        View(self.0.iter().cloned().chain([directory.to_path_buf()]).collect())
    }

    /// Follows symbolic links; components that do not exist stay as they are.
    pub fn resolve(&self, path: &Path) -> Result<PathBuf, String> {
        let mut resolved = PathBuf::from("/");
        let mut pending: Vec<OsString> = components(path).map(OsString::from).collect();
        pending.reverse();
        let mut links = 0;
        while let Some(name) = pending.pop() {
            let candidate = resolved.join(&name);
            let target = self.find(&candidate).and_then(|place| std::fs::read_link(place).ok());
            let Some(target) = target else {
                resolved = candidate;
                continue;
            };
            links += 1;
            if links > MAX_LINKS {
                return Err(format!("too many symbolic links in `{}`", path.display()));
            }
            let absolute = if target.is_absolute() { target } else { resolved.join(target) };
            let mut parts: Vec<OsString> = components(&absolute).map(OsString::from).collect();
            parts.reverse();
            pending.extend(parts);
            resolved = PathBuf::from("/");
        }
        Ok(resolved)
    }

    pub fn is_dir(&self, path: &Path) -> bool {
        self.find(path).is_some_and(|place| place.symlink_metadata().is_ok_and(|metadata| metadata.is_dir()))
    }

    /// Names in a directory and where each lies.
    pub fn entries(&self, path: &Path) -> BTreeMap<OsString, PathBuf> {
        let mut names = BTreeSet::new();
        for directory in &self.0 {
            let mut place = directory.clone();
            place.extend(components(path));
            for entry in std::fs::read_dir(place).into_iter().flatten().flatten() {
                names.insert(entry.file_name());
            }
        }
        let found = names.into_iter().map(|name| (self.find(&path.join(&name)), name));
        found.filter_map(|(place, name)| Some((name, place?))).collect()
    }
}

/// What one directory says of a path.
enum Found {
    Entry(PathBuf),
    /// A whiteout, or a file, a link or an opaque directory on the way: lower directories do not count. The link must not be followed, as it was
    /// another's directory before: the machine's own files are behind it.
    Hidden,
    Nothing,
}

fn find_in(directory: &Path, path: &Path) -> Found {
    let mut place = directory.to_path_buf();
    let mut names = components(path).peekable();
    while let Some(name) = names.next() {
        place.push(name);
        match place.symlink_metadata() {
            Ok(metadata) if is_whiteout(&metadata) => return Found::Hidden,
            Ok(metadata) if names.peek().is_some() && !metadata.is_dir() => return Found::Hidden,
            Ok(_) => {}
            Err(_) if is_below_opaque(directory, &place) => return Found::Hidden,
            Err(_) => return Found::Nothing,
        }
    }
    Found::Entry(place)
}

/// Of an opaque directory on the way, lower ones have nothing to say.
fn is_below_opaque(directory: &Path, place: &Path) -> bool {
    let mut above = place.ancestors().skip(1).take_while(|above| *above != directory);
    above.any(|above| xattr::get(above, OPAQUE).ok().flatten().as_deref() == Some(b"y"))
}

fn is_whiteout(metadata: &Metadata) -> bool {
    metadata.file_type().is_char_device() && metadata.rdev() == 0
}

/// The path from the root on, without `.` and `..`; links are not looked at.
pub fn normal(path: &Path) -> PathBuf {
    Path::new("/").join(components(path).collect::<PathBuf>())
}

/// Normal components; `..` goes up, never above the root.
fn components(path: &Path) -> impl Iterator<Item = &std::ffi::OsStr> {
    let mut parts = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => parts.push(name),
            Component::ParentDir => {
                parts.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    parts.into_iter()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn upper_directories_win_and_links_stay_inside() {
        let (low, high) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::create_dir_all(low.path().join("usr/lib")).unwrap();
        std::fs::write(low.path().join("usr/lib/a"), "low").unwrap();
        symlink("usr/lib", low.path().join("lib")).unwrap();
        symlink("../../../../etc", low.path().join("out")).unwrap();
        std::fs::create_dir_all(high.path().join("usr/lib")).unwrap();
        std::fs::write(high.path().join("usr/lib/a"), "high").unwrap();
        std::fs::write(high.path().join("usr/lib/b"), "").unwrap();
        let view = View(vec![low.path().into(), high.path().into()]);
        let resolved = view.resolve(Path::new("/lib/a")).unwrap();
        assert_eq!(resolved, Path::new("/usr/lib/a"));
        assert_eq!(std::fs::read_to_string(view.find(&resolved).unwrap()).unwrap(), "high");
        assert_eq!(view.resolve(Path::new("/out/passwd")).unwrap(), Path::new("/etc/passwd"));
        let names: Vec<_> = view.entries(Path::new("/usr/lib")).into_keys().collect();
        assert_eq!(names, ["a", "b"]);
        symlink(high.path().join("usr"), low.path().join("was-link")).unwrap();
        std::fs::create_dir(high.path().join("was-link")).unwrap();
        assert_eq!(view.find(Path::new("/was-link/lib")), None, "a link that is gone is not followed");
        assert!(view.entries(Path::new("/was-link")).is_empty());
    }

    #[test]
    fn an_opaque_directory_hides_what_is_below_it() {
        let (low, high) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for file in [low.path().join("d/old"), high.path().join("d/new")] {
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, "").unwrap();
        }
        if let Err(error) = xattr::set(high.path().join("d"), OPAQUE, b"y") {
            return eprintln!("skipped: only root can mark a directory opaque ({error})");
        }
        let view = View(vec![low.path().into(), high.path().into()]);
        assert_eq!(view.entries(Path::new("/d")).into_keys().collect::<Vec<_>>(), ["new"]);
        assert_eq!(view.find(Path::new("/d/old")), None);
    }
}
