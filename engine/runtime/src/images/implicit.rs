//! Directories that a layer's tar has no entry for, though it has entries in them: they look as in the layers below.
//!
//! A layer is unpacked once for all images, and what is below it differs from image to image. So only their names are
//! noted with the layer, and whoever stacks layers asks here how they look.
//! Source: containerd makes them when it unpacks, each layer for its own parents (`pkg/archive`, `mkparent`).

use std::{
    collections::BTreeSet,
    fs::{self, Metadata},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use super::layers::note;

/// What a directory that is found in a layer hides of the layers below.
enum Look {
    Absent,
    /// Something else is there, or a whiteout.
    Hidden,
    Directory {
        metadata: Metadata,
        opaque: bool,
    },
}

/// The directories of a stack, lowest layer first, that must not look as their topmost layer has them, with those they
/// are in, parents first; `` is the root directory.
pub fn inherited(layers: &[PathBuf]) -> Vec<(PathBuf, Metadata)> {
    let implicit: Vec<BTreeSet<PathBuf>> =
        layers.iter().map(|layer| note(layer).map(|note| note.implicit).unwrap_or_default()).collect();
    let candidates: BTreeSet<&PathBuf> = implicit.iter().skip(1).flatten().collect();
    let mut only_once: Option<&Path> = None;
    let mut wanted = BTreeSet::new();
    for path in candidates {
        if only_once.is_some_and(|parent| path.starts_with(parent)) {
            continue;
        }
        let seen = stacked(layers, path);
        // What is in one layer alone holds nothing that others have.
        only_once = (seen.len() < 2).then_some(path);
        let (Some(top), Some(look)) = (seen.first(), looks(&seen, &implicit, path)) else { continue };
        if (top.1.mode(), top.1.uid(), top.1.gid()) != (look.mode(), look.uid(), look.gid()) {
            wanted.extend(path.ancestors().map(Path::to_owned));
        }
    }
    let look = |path: PathBuf| {
        let seen = stacked(layers, &path);
        let metadata = looks(&seen, &implicit, &path).or(seen.first().map(|(_, top)| top))?.clone();
        Some((path, metadata))
    };
    wanted.into_iter().filter_map(look).collect()
}

/// The layers in which a directory is seen, topmost first.
fn stacked(layers: &[PathBuf], path: &Path) -> Vec<(usize, Metadata)> {
    let mut seen = Vec::new();
    for (number, layer) in layers.iter().enumerate().rev() {
        match look(layer, path) {
            Look::Absent => {}
            Look::Hidden => break,
            Look::Directory { metadata, opaque } => {
                seen.push((number, metadata));
                if opaque {
                    break;
                }
            }
        }
    }
    seen
}

/// How a directory looks: as the topmost layer has it that says so.
fn looks<'a>(
    seen: &'a [(usize, Metadata)],
    implicit: &[BTreeSet<PathBuf>],
    path: &Path,
) -> Option<&'a Metadata> {
    seen.iter().find(|(number, _)| !implicit[*number].contains(path)).map(|(_, metadata)| metadata)
}

fn look(layer: &Path, path: &Path) -> Look {
    let mut opaque = false;
    let mut place = layer.to_owned();
    let mut metadata = fs::symlink_metadata(&place);
    for part in path.components() {
        place.push(part);
        metadata = fs::symlink_metadata(&place);
        match &metadata {
            Ok(metadata) if metadata.is_dir() => {
                opaque |= matches!(xattr::get(&place, "trusted.overlay.opaque"), Ok(Some(_)));
            }
            Ok(_) => return Look::Hidden,
            Err(_) if opaque => return Look::Hidden,
            Err(_) => return Look::Absent,
        }
    }
    metadata.map_or(Look::Absent, |metadata| Look::Directory { metadata, opaque })
}

#[cfg(test)]
mod tests {
    use std::{fs::Permissions, os::unix::fs::PermissionsExt};

    use super::{
        super::layers::{Note, directory, write_note},
        *,
    };

    /// A layer of `path mode` lines; a directory whose mode is `-` is implicit, `wh` stands for a file in its place.
    fn layer(dir: &Path, number: usize, lines: &str) -> PathBuf {
        let id = number.to_string();
        let layer = directory(dir, &id);
        fs::create_dir_all(&layer).unwrap();
        let mut implicit = BTreeSet::from([PathBuf::new()]);
        for line in lines.lines() {
            let (path, mode) = line.trim().split_once(' ').unwrap();
            let place = layer.join(path);
            if mode == "wh" {
                fs::write(place, "").unwrap();
                continue;
            }
            fs::create_dir_all(&place).unwrap();
            let bits = u32::from_str_radix(mode, 8).unwrap_or(0o755);
            fs::set_permissions(&place, Permissions::from_mode(bits)).unwrap();
            if mode == "-" {
                implicit.insert(path.into());
            }
        }
        write_note(dir, &id, &Note { size_bytes: 0, implicit }).unwrap();
        layer
    }

    #[test]
    fn implicit_directories_look_as_in_the_layers_below() {
        for (stack, expected) in [
            (&["tmp 1777\nroot 700", "tmp -\ntmp/bazel 755"][..], " 755, tmp 1777"),
            (&["tmp 1777", "tmp -\ntmp/a -", "tmp -\ntmp/b -"], " 755, tmp 1777"),
            (&["tmp 1777", "tmp 755\ntmp/a -"], ""),
            (&["a 711\na/b 700", "a 750", "a -\na/b -\na/b/c -"], " 755, a 750, a/b 700"),
            (&["tmp 1777", "tmp wh", "tmp -"], ""),
            (&["a 755", "a -\na/b -\na/b/c -"], ""),
            (&["tmp -", "tmp 1777"], ""),
        ] {
            let dir = tempfile::tempdir().unwrap();
            for folder in ["notes", "tmp"] {
                fs::create_dir(dir.path().join(folder)).unwrap();
            }
            let layers: Vec<PathBuf> =
                stack.iter().enumerate().map(|(number, lines)| layer(dir.path(), number, lines)).collect();
            let told: Vec<String> = inherited(&layers)
                .iter()
                .map(|(path, metadata)| format!("{} {:o}", path.display(), metadata.mode() & 0o7777))
                .collect();
            assert_eq!(told.join(", "), expected, "{stack:?}");
        }
    }
}
