//! What is mounted where, as this process sees it.
//!
//! Source: proc_pid_mountinfo(5)

use std::{
    ffi::OsString,
    fs, io,
    os::unix::ffi::OsStringExt,
    path::{Path, PathBuf},
};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mounted {
    pub point: PathBuf,
    /// Whether what is mounted below is seen in the mount namespaces of its peer group.
    pub shared: bool,
    pub file_system: String,
    /// Those of the file system, not of the mount: `rw,memory`.
    pub options: String,
}

/// The mounts in the order of mounting.
pub fn mounts() -> io::Result<Vec<Mounted>> {
    Ok(parse(&fs::read_to_string("/proc/thread-self/mountinfo")?))
}

/// Those at and below `dir`.
pub fn mounts_below(dir: &Path) -> io::Result<Vec<Mounted>> {
    Ok(mounts()?.into_iter().filter(|mount| mount.point.starts_with(dir)).collect())
}

/// The one that `path` lies on; of several at one point, the uppermost.
pub fn mount_of(path: &Path) -> io::Result<Option<Mounted>> {
    let mounts = mounts()?.into_iter().filter(|mount| path.starts_with(&mount.point));
    Ok(mounts.max_by_key(|mount| mount.point.as_os_str().len()))
}

pub(crate) fn parse(mountinfo: &str) -> Vec<Mounted> {
    mountinfo.lines().filter_map(line).collect()
}

fn line(text: &str) -> Option<Mounted> {
    let (before, after) = text.split_once(" - ")?;
    let mut before = before.split(' ').skip(4);
    let point = unescape(before.next()?);
    let shared = before.any(|field| field.starts_with("shared:"));
    let mut after = after.split(' ');
    let file_system = after.next()?.to_owned();
    Some(Mounted { point, shared, file_system, options: after.nth(1)?.to_owned() })
}

/// The kernel writes space, tab, newline and backslash as three octal digits.
fn unescape(field: &str) -> PathBuf {
    let bytes = field.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let octal = (bytes[at] == b'\\').then(|| field.get(at + 1..at + 4)).flatten();
        match octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                out.push(byte);
                at += 4;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    PathBuf::from(OsString::from_vec(out))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_read_with_their_escapes_and_optional_fields() {
        let text = "36 35 98:0 / /mnt/a\\040b rw,noatime master:1 shared:7 - ext3 /dev/root rw,errors=continue\n\
                    37 35 0:1 / /x rw - tmpfs tmpfs rw\n";
        let mount = |point: &str, shared, file_system: &str, options: &str| Mounted {
            point: point.into(),
            shared,
            file_system: file_system.into(),
            options: options.into(),
        };
        let expected =
            [mount("/mnt/a b", true, "ext3", "rw,errors=continue"), mount("/x", false, "tmpfs", "rw")];
        assert_eq!(parse(text), expected);
    }

    #[test]
    fn a_path_lies_on_the_deepest_mount_above_it() {
        let found = mount_of(Path::new("/proc/self")).unwrap().unwrap();
        assert_eq!((found.point.as_path(), &*found.file_system), (Path::new("/proc"), "proc"));
    }
}
