//! A backup becomes the cluster state of a data directory.
//!
//! Everything is written to `restore.tmp` first, and checked as it is read. One rename makes it `restored`: from then on
//! the restore has happened, before that it has not. [`finish`] moves what `restored` holds to where it belongs, and can
//! be done again wherever it was stopped; what was there before is kept in `before-restore`.
//!
//! Kept true: whoever calls these holds the data directory's lock, and calls [`finish`] before reading `store` or `pki`.

use std::{
    fs::{self, File},
    io::{self, BufRead, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Component, Path},
};

use coracle_store::{Key, OpenError, Rebuild, Resource, Revision, last_revision};

use crate::{Header, Line, Reader, RestoreError};

/// What a restore replaces, each as a whole.
const PARTS: [&str; 2] = ["pki", "store"];

/// Without these the cluster would be another one for everybody who has a kubeconfig or a token.
pub const NEEDED: [&str; 3] = ["pki/ca.crt", "pki/ca.key", "pki/sa.key"];

const STAGING: &str = "restore.tmp";
const COMMITTED: &str = "restored";
const REPLACED: &str = "before-restore";

/// Clients may have seen revisions that came after the backup, and those of the cluster that is replaced. The count goes
/// on beyond all of these, so that a watch from one of them is answered with 410 and no revision means two things. The
/// number is the one that etcd advises.
/// Source: https://etcd.io/docs/v3.6/op-guide/recovery/#restoring-with-revision-bump
const REVISION_BUMP: u64 = 1_000_000_000;

/// What was restored.
#[derive(Debug)]
pub struct Restored {
    pub objects: u64,
    /// When the backup was made.
    pub time: String,
    /// The revision that the backup was made at.
    pub revision: u64,
    /// Names of the nodes in it: pods are bound to these.
    pub nodes: Vec<String>,
    /// Why the last revision of the store that was replaced is not known: the count may not go on beyond it.
    pub uncounted: Option<OpenError>,
}

/// Whether the data directory has cluster state.
pub fn holds_a_cluster(data_dir: &Path) -> bool {
    PARTS.iter().any(|part| data_dir.join(part).exists())
}

/// Restores the backup into the data directory, which is there. `replace` allows it to hold a cluster already.
pub fn restore(
    data_dir: &Path,
    backup: impl BufRead,
    replace: bool,
    encrypted: &[Resource],
) -> Result<Restored, RestoreError> {
    finish(data_dir)?;
    if holds_a_cluster(data_dir) && !replace {
        return Err(RestoreError::Occupied { dir: data_dir.to_owned() });
    }
    let replaced = data_dir.join("store");
    let last = if replaced.exists() { last_revision(&replaced) } else { Ok(Revision(0)) };
    let staging = data_dir.join(STAGING);
    let staged = stage(&staging, backup, encrypted, last).and_then(|restored| {
        remove(&data_dir.join(REPLACED)).map_err(failed("remove", &data_dir.join(REPLACED)))?;
        sync_tree(&staging).map_err(failed("sync", &staging))?;
        Ok(restored)
    });
    let restored = staged.inspect_err(|_| _ = remove(&staging))?;
    let committed = data_dir.join(COMMITTED);
    fs::rename(&staging, &committed)
        .map_err(failed("make", &committed))
        .inspect_err(|_| _ = remove(&staging))?;
    finish(data_dir)?;
    Ok(restored)
}

/// Completes a restore that was stopped after it had happened, and removes one that was stopped before.
pub fn finish(data_dir: &Path) -> Result<(), RestoreError> {
    let staging = data_dir.join(STAGING);
    remove(&staging).map_err(failed("remove", &staging))?;
    let committed = data_dir.join(COMMITTED);
    if !committed.exists() {
        return Ok(());
    }
    let unfinished = |action, path: &Path| {
        let path = path.to_owned();
        move |source| RestoreError::Unfinished { action, path, source }
    };
    sync(data_dir).map_err(unfinished("sync", data_dir))?;
    let replaced = data_dir.join(REPLACED);
    for part in PARTS {
        let (from, to) = (committed.join(part), data_dir.join(part));
        if !from.exists() {
            continue;
        }
        if to.exists() {
            make_dir(&replaced).map_err(unfinished("make", &replaced))?;
            fs::rename(&to, replaced.join(part)).map_err(unfinished("move away", &to))?;
        }
        fs::rename(&from, &to).map_err(unfinished("move into place", &to))?;
    }
    sync(data_dir).map_err(unfinished("sync", data_dir))?;
    remove(&committed).map_err(unfinished("remove", &committed))
}

/// Writes all that the backup holds below `staging`, once it is known to be whole. Its revisions go on beyond `last`, if
/// that could be read: a damaged store is what a backup is for.
fn stage(
    staging: &Path,
    backup: impl BufRead,
    encrypted: &[Resource],
    last: Result<Revision, OpenError>,
) -> Result<Restored, RestoreError> {
    let mut reader = Reader::open(backup)?;
    let mut rebuild = Rebuild::default();
    let mut files: Vec<(String, String)> = Vec::new();
    let mut nodes = Vec::new();
    make_dir(staging).map_err(failed("make", staging))?;
    loop {
        let number = reader.line() + 1;
        match reader.next_line()? {
            None => break,
            Some(Line::File(file)) => files.push((allowed(file.path)?, file.content)),
            Some(Line::Object(line)) => {
                let key = Key::new(Resource::new(line.resource), line.namespace, line.name);
                let json = line.json.get().to_owned();
                if line.resource == "nodes" {
                    nodes.push(line.name.to_owned());
                }
                rebuild
                    .put(key, Revision(line.revision), json.into())
                    .map_err(|source| RestoreError::Object { line: number, source })?;
            }
            // The reader gives no others.
            Some(Line::Backup(_) | Line::End(_)) => {}
        }
    }
    for path in NEEDED {
        if !files.iter().any(|(known, _)| known == path) {
            return Err(RestoreError::MissingKey { path });
        }
    }
    for (path, content) in &files {
        let path = staging.join(path);
        write_file(&path, content).map_err(failed("write", &path))?;
    }
    let header = reader.header();
    let last_seen = last.as_ref().map_or(0, |revision| revision.0).max(header.revision);
    rebuild.write(&staging.join("store"), encrypted, Revision(last_seen + REVISION_BUMP))?;
    let Header { time, revision, .. } = header.clone();
    Ok(Restored { objects: reader.objects(), time, revision, nodes, uncounted: last.err() })
}

/// A plain file directly below `pki`: nothing else has a place in a backup.
fn allowed(path: String) -> Result<String, RestoreError> {
    let parts: Vec<Component> = Path::new(&path).components().collect();
    match parts[..] {
        [Component::Normal(dir), Component::Normal(_)] if dir == "pki" => Ok(path),
        _ => Err(RestoreError::ForeignFile { path }),
    }
}

fn write_file(path: &Path, content: &str) -> io::Result<()> {
    path.parent().map_or(Ok(()), make_dir)?;
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options.open(path)?.write_all(content.as_bytes())
}

fn make_dir(dir: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

fn remove(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn sync(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Everything below `dir`, contents and names.
fn sync_tree(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_tree(&entry.path())?;
        } else {
            sync(&entry.path())?;
        }
    }
    sync(dir)
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> RestoreError + use<> {
    let path = path.to_owned();
    move |source| RestoreError::Io { action, path, source }
}
