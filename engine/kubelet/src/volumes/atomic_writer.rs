//! Replaces all files of a volume at once: readers see the old set or the new one, never a mixture.
//!
//! Invariant: `..data` is a link to one complete directory; each visible name is a link through it. Directories beside
//!            it are left alone: other volumes are mounted there.
//! Source:    https://kubernetes.io/docs/concepts/storage/volumes/#configmap

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Component, Path, PathBuf};

use super::payload::Payload;

const DATA: &str = "..data";
const DATA_NEW: &str = "..data_tmp";

fn check(path: &str) -> io::Result<()> {
    let plain = Path::new(path).components().all(|c| matches!(c, Component::Normal(_)));
    if path.is_empty() || !plain || path.starts_with("..") {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("invalid path `{path}`")));
    }
    Ok(())
}

fn first_component(path: &str) -> &str {
    path.split('/').next().unwrap_or_default()
}

fn mode_of(mode: u32, group: Option<u32>) -> u32 {
    if group.is_some() { mode | 0o440 } else { mode }
}

fn files_below(dir: &Path, prefix: &str, out: &mut BTreeSet<String>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() {
            files_below(&entry.path(), &format!("{name}/"), out)?;
        } else {
            out.insert(name);
        }
    }
    Ok(())
}

fn unchanged(current: &Path, payload: &Payload, group: Option<u32>) -> bool {
    let mut present = BTreeSet::new();
    if files_below(current, "", &mut present).is_err() || !present.iter().eq(payload.keys()) {
        return false;
    }
    payload.iter().all(|(path, file)| {
        let path = current.join(path);
        fs::metadata(&path).is_ok_and(|m| m.mode() & 0o7777 == mode_of(file.mode, group))
            && fs::read(&path).is_ok_and(|data| data == file.data)
    })
}

fn write_files(dir: &Path, payload: &Payload, group: Option<u32>) -> io::Result<()> {
    fs::create_dir(dir)?;
    let own = |path: &Path, owner: Option<u32>, mode: u32| -> io::Result<()> {
        if owner.is_some() || group.is_some() {
            chown(path, owner, group)?;
        }
        fs::set_permissions(path, fs::Permissions::from_mode(mode))
    };
    let directory_mode = if group.is_some() { 0o2755 } else { 0o755 };
    own(dir, None, directory_mode)?;
    for (name, file) in payload {
        let path = dir.join(name);
        let mut parent = dir.to_path_buf();
        for part in Path::new(name).parent().into_iter().flat_map(Path::components) {
            parent.push(part);
            if !parent.exists() {
                fs::create_dir(&parent)?;
                own(&parent, None, directory_mode)?;
            }
        }
        fs::write(&path, &file.data)?;
        own(&path, file.owner, mode_of(file.mode, group))?;
    }
    Ok(())
}

/// The files were replaced, or already were as asked (`false`).
pub fn write(dir: &Path, payload: &Payload, group: Option<u32>) -> io::Result<bool> {
    for path in payload.keys() {
        check(path)?;
    }
    let data = dir.join(DATA);
    let old: Option<PathBuf> = fs::read_link(&data).ok().map(|target| dir.join(target));
    if old.as_ref().is_some_and(|old| unchanged(old, payload, group)) {
        return Ok(false);
    }
    let now = jiff::Timestamp::now();
    let fresh = format!("..{}.{:09}", now.strftime("%Y_%m_%d_%H_%M_%S"), now.subsec_nanosecond());
    write_files(&dir.join(&fresh), payload, group)?;
    let new_link = dir.join(DATA_NEW);
    let _ = fs::remove_file(&new_link);
    symlink(&fresh, &new_link)?;
    fs::rename(&new_link, &data)?;
    let visible: BTreeSet<&str> = payload.keys().map(|p| first_component(p)).collect();
    for name in &visible {
        let link = dir.join(name);
        if fs::symlink_metadata(&link).is_err() {
            symlink(Path::new(DATA).join(name), &link)?;
        }
    }
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name != DATA && name != fresh && name.starts_with("..") && entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else if entry.file_type()?.is_symlink()
            && !name.starts_with("..")
            && !visible.contains(name.as_str())
        {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::super::payload::File;
    use super::*;

    fn payload(files: &[(&str, &str)]) -> Payload {
        files
            .iter()
            .map(|(p, d)| ((*p).to_owned(), File { data: d.as_bytes().to_vec(), mode: 0o600, owner: None }))
            .collect()
    }

    #[test]
    fn a_new_set_replaces_the_old_one_through_one_link() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        assert!(write(dir, &payload(&[("a", "1"), ("d/e", "2")]), None).unwrap());
        assert!(!write(dir, &payload(&[("a", "1"), ("d/e", "2")]), None).unwrap());
        assert_eq!(fs::read_link(dir.join("a")).unwrap(), Path::new("..data/a"));
        assert_eq!(fs::metadata(dir.join("a")).unwrap().mode() & 0o777, 0o600);
        let before = fs::read_link(dir.join("..data")).unwrap();
        assert!(write(dir, &payload(&[("a", "3"), ("f", "4")]), None).unwrap());
        assert_eq!(fs::read_to_string(dir.join("a")).unwrap(), "3");
        assert_eq!(fs::read_to_string(dir.join("f")).unwrap(), "4");
        assert!(!dir.join("d").exists() && !dir.join(before).exists());
    }

    #[test]
    fn a_place_where_something_else_is_mounted_stays() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("inner")).unwrap();
        for value in ["1", "2"] {
            assert!(write(dir.path(), &payload(&[("a", value)]), None).unwrap());
            assert!(dir.path().join("inner").is_dir());
        }
    }

    /// Of its own group: that needs no root.
    #[test]
    fn a_group_reads_everything_and_new_directories_belong_to_it() {
        let dir = tempfile::tempdir().unwrap();
        let gid = fs::metadata(dir.path()).unwrap().gid();
        write(dir.path(), &payload(&[("d/e", "2")]), Some(gid)).unwrap();
        let mode = |path: &str| fs::metadata(dir.path().join(path)).unwrap().mode() & 0o7777;
        assert_eq!((mode("..data"), mode("d"), mode("d/e")), (0o2755, 0o2755, 0o640));
    }

    #[test]
    fn paths_that_leave_the_volume_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        for path in ["../x", "/x", "a/../../x", "", "..data"] {
            assert!(write(dir.path(), &payload(&[(path, "")]), None).is_err(), "{path}");
        }
    }
}
