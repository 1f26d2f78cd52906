//! `hostPath` volumes: what has to be at the path before a container gets it.
//!
//! Source:    https://kubernetes.io/docs/concepts/storage/volumes/#hostpath-volume-types

use std::fs;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, OpenOptionsExt};
use std::path::Path;

pub fn check(path: &Path, kind: &str) -> Result<(), String> {
    let failed = |what: &str| Err(format!("hostPath type check failed: {} is not {what}", path.display()));
    let meta = fs::metadata(path).ok();
    let is = |test: fn(&fs::Metadata) -> bool| meta.as_ref().is_some_and(test);
    match kind {
        // Nothing is asked; a missing directory is made when it is mounted.
        "" => Ok(()),
        "DirectoryOrCreate" if meta.is_none() => {
            fs::DirBuilder::new().recursive(true).mode(0o755).create(path).map_err(|e| e.to_string())
        }
        "FileOrCreate" if meta.is_none() => {
            let made = fs::OpenOptions::new().create_new(true).write(true).mode(0o644).open(path);
            made.map(|_| ()).map_err(|e| e.to_string())
        }
        "Directory" | "DirectoryOrCreate" if !is(fs::Metadata::is_dir) => failed("a directory"),
        "File" | "FileOrCreate" if !is(fs::Metadata::is_file) => failed("a file"),
        "Socket" if !is(|m| m.file_type().is_socket()) => failed("a socket file"),
        "CharDevice" if !is(|m| m.file_type().is_char_device()) => failed("a character device"),
        "BlockDevice" if !is(|m| m.file_type().is_block_device()) => failed("a block device"),
        "Directory" | "DirectoryOrCreate" | "File" | "FileOrCreate" | "Socket" | "CharDevice"
        | "BlockDevice" => Ok(()),
        other => Err(format!("{other} is an invalid volume type")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_type_accepts_what_it_names() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("f");
        fs::write(&file, "").unwrap();
        let absent = dir.path().join("absent");
        for (path, kind, fine) in [
            (dir.path(), "Directory", true),
            (&file, "Directory", false),
            (&file, "File", true),
            (dir.path(), "File", false),
            (&absent, "File", false),
            (&absent, "", true),
            (Path::new("/dev/null"), "CharDevice", true),
            (Path::new("/dev/null"), "Socket", false),
            (&dir.path().join("a/b"), "DirectoryOrCreate", true),
            (&dir.path().join("c"), "FileOrCreate", true),
        ] {
            assert_eq!(check(path, kind).is_ok(), fine, "{kind} {}", path.display());
        }
        assert_eq!(
            check(Path::new("/dev/null"), "Directory").unwrap_err(),
            "hostPath type check failed: /dev/null is not a directory"
        );
    }
}
