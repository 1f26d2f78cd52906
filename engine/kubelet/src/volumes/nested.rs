//! Mounts below a volume: their directories must be in it before it is mounted, as generated files are read-only.
//!
//! Source: https://kubernetes.io/docs/concepts/storage/volumes/#configmap and
//!         https://github.com/kubernetes/kubernetes/blob/master/pkg/volume/util/nested_volumes.go

use std::{
    io,
    path::{Component, Path, PathBuf},
};

use k8s_openapi::api::core::v1::{Container, Pod};

use crate::resources::all_containers;

/// Where other mounts of the pod's containers lie in the volume: relative paths, of nested ones the outermost.
pub fn directories(pod: &Pod, volume: &str) -> Vec<PathBuf> {
    pod.spec.iter().flat_map(all_containers).flat_map(|container| of_container(container, volume)).collect()
}

/// Where a file of the volume is there already, that is what is mounted on.
pub fn make(directory: &Path) -> io::Result<()> {
    match std::fs::create_dir_all(directory) {
        Err(error) if matches!(error.kind(), io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory) => {
            Ok(())
        }
        made => made,
    }
}

fn of_container(container: &Container, volume: &str) -> Vec<PathBuf> {
    let mounts = || container.volume_mounts.iter().flatten();
    let mut all: Vec<PathBuf> = mounts().map(|mount| clean(&mount.mount_path)).collect();
    all.sort();
    let mut found = Vec::new();
    for own in mounts().filter(|mount| mount.name == volume).map(|mount| clean(&mount.mount_path)) {
        let mut outer: Option<&PathBuf> = None;
        for other in all.iter().filter(|other| other.starts_with(&own) && **other != own) {
            if outer.is_none_or(|outer| !other.starts_with(outer)) {
                outer = Some(other);
                found.extend(other.strip_prefix(&own).map(Path::to_owned));
            }
        }
    }
    found
}

/// From the container's root, without `.` and `..`.
fn clean(path: &str) -> PathBuf {
    let mut out = PathBuf::new();
    for component in Path::new(path).components() {
        match component {
            Component::Normal(name) => out.push(name),
            Component::ParentDir => _ = out.pop(),
            _ => {}
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_file_in_the_place_of_a_directory_is_no_failure() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("file"), "").unwrap();
        for inner in ["a/b", "a", "file", "file/below"] {
            make(&dir.path().join(inner)).unwrap();
        }
        assert!(dir.path().join("a/b").is_dir());
    }

    #[test]
    fn the_outermost_mounts_below_a_volume_are_found() {
        for (mounts, expected) in [
            (&[("v", "/x")][..], &[][..]),
            (&[("v", "/x"), ("a", "/x/inner"), ("b", "/x/inner/deep"), ("c", "/xy")], &["inner"]),
            (&[("v", "x/"), ("a", "/x/../x/a/./b"), ("b", "/x/c")], &["a/b", "c"]),
            (&[("a", "/x/a"), ("v", "/x/a/v")], &[]),
            (&[("v", "/x"), ("v", "/y"), ("a", "/x/1"), ("a", "/y/2")], &["1", "2"]),
        ] {
            let mounts: Vec<_> =
                mounts.iter().map(|(name, path)| json!({"name": name, "mountPath": path})).collect();
            let spec = json!({"containers": [{"name": "c", "volumeMounts": mounts}]});
            let pod: Pod = serde_json::from_value(json!({"metadata": {}, "spec": spec})).unwrap();
            let expected: Vec<PathBuf> = expected.iter().map(PathBuf::from).collect();
            assert_eq!(directories(&pod, "v"), expected);
        }
    }
}
