//! Which images there are: `index.json`, replaced atomically under a lock, read anew when it changed.

use std::{
    fs::{self, File, Permissions},
    io::{ErrorKind, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use nix::fcntl::{Flock, FlockArg};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Access, ImageConfig, ImageError, Reference, layers, reference};

/// A failed pull is tried again within five minutes, and then finds the layers that it finished.
const KEPT_FOR_RETRY: Duration = Duration::from_secs(600);

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Entries {
    pub images: Vec<Entry>,
}

/// One image. `names` are canonical references with a tag, `digests` such with a manifest's digest.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Entry {
    pub id: String,
    pub names: Vec<String>,
    pub digests: Vec<String>,
    /// Lowest first.
    pub layers: Vec<EntryLayer>,
    #[serde(default)]
    pub access: Access,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryLayer {
    pub diff_id: String,
    /// Of the uncompressed tar.
    pub size_bytes: u64,
}

impl Entry {
    pub fn damaged(&self, part: String, source: std::io::Error) -> ImageError {
        let image = self.names.first().or(self.digests.first()).unwrap_or(&self.id);
        ImageError::DamagedImage { image: image.clone(), part, source }
    }
}

impl Entries {
    /// By id, by the start of an id, by tag or by digest.
    pub fn find(&self, text: &str) -> Result<Option<Entry>, ImageError> {
        let hex = text.strip_prefix("sha256:").unwrap_or(text);
        let looks_like_id = text.starts_with("sha256:") || reference::is_sha256(hex);
        let is_short_id = hex.len() >= 12 && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
        if looks_like_id || is_short_id {
            let prefix = format!("sha256:{hex}");
            let found = self.images.iter().find(|entry| entry.id.starts_with(&prefix));
            if found.is_some() || looks_like_id {
                return Ok(found.cloned());
            }
        }
        let reference = Reference::parse(text)?;
        let by_digest =
            reference.digest.as_ref().map(|digest| format!("{}@{digest}", reference.repository()));
        let found = self.images.iter().find(|entry| match &by_digest {
            Some(digest) => entry.digests.contains(digest),
            None => entry.names.contains(&reference.to_string()),
        });
        Ok(found.cloned())
    }

    /// A tag belongs to one image: whoever had it loses it. Names and digests of a known image add up.
    fn put(&mut self, new: Entry) {
        for entry in &mut self.images {
            entry.names.retain(|name| !new.names.contains(name));
        }
        let known = match self.images.iter().position(|entry| entry.id == new.id) {
            Some(at) => &mut self.images[at],
            None => {
                let access = Access::default();
                self.images.push(Entry { names: Vec::new(), digests: Vec::new(), access, ..new });
                self.images.last_mut().expect("it has just been put there")
            }
        };
        add_new(&mut known.names, new.names);
        add_new(&mut known.digests, new.digests);
        known.access.extend(new.access);
    }

    /// Takes a tag or, with an id, an image out; images without names go. Returns the image's id.
    fn take(&mut self, text: &str) -> Result<String, ImageError> {
        let found = self.find(text)?.ok_or_else(|| ImageError::NoSuchImage(text.into()))?;
        let reference = Reference::parse(text).map(|reference| reference.to_string()).unwrap_or_default();
        for entry in self.images.iter_mut().filter(|entry| entry.id == found.id) {
            let tagged = entry.names.contains(&reference);
            entry.names.retain(|name| tagged && *name != reference);
        }
        self.images.retain(|entry| entry.id != found.id || !entry.names.is_empty());
        Ok(found.id)
    }

    /// The id of the image that goes when this name is removed.
    pub fn ended_by(&self, text: &str) -> Result<Option<String>, ImageError> {
        let mut left = self.clone();
        let id = left.take(text)?;
        Ok(left.images.iter().all(|entry| entry.id != id).then_some(id))
    }
}

pub(super) fn add_new(known: &mut Vec<String>, new: Vec<String>) {
    for name in new {
        if !known.contains(&name) {
            known.push(name);
        }
    }
}

pub struct Index {
    dir: PathBuf,
    /// The last reading and the file's identity then.
    cache: Mutex<Option<(FileIdentity, Arc<Entries>)>>,
}

type FileIdentity = (u64, i64, i64);

impl Index {
    pub fn open(dir: &Path) -> Result<Index, ImageError> {
        private(dir).map_err(ImageError::io("create", dir))?;
        for folder in ["configs", "layers", "notes", "tmp"] {
            let path = dir.join(folder);
            fs::create_dir_all(&path).map_err(ImageError::io("create", &path))?;
        }
        let index = Index { dir: dir.into(), cache: Mutex::new(None) };
        if let Some(_alone) = index.alone()? {
            let tmp = dir.join("tmp");
            // It stays itself: another process that starts may be looking at it.
            for entry in fs::read_dir(&tmp).map_err(ImageError::io("list", &tmp))?.flatten() {
                let _ = fs::remove_dir_all(entry.path()).or_else(|_| fs::remove_file(entry.path()));
            }
        }
        index.tidy();
        Ok(index)
    }

    /// Held by whoever brings layers, from the first byte in `tmp` until the index names them, in any process.
    pub fn bringing(&self) -> Result<Flock<File>, ImageError> {
        let locked = Flock::lock(self.lock_file("bringing")?, FlockArg::LockShared);
        locked.map_err(|(_, error)| ImageError::io("lock", &self.dir)(error.into()))
    }

    /// Given when nobody brings layers: what nothing names is then left over.
    fn alone(&self) -> Result<Option<Flock<File>>, ImageError> {
        Ok(Flock::lock(self.lock_file("bringing")?, FlockArg::LockExclusiveNonblock).ok())
    }

    pub fn read(&self) -> Result<Arc<Entries>, ImageError> {
        let path = self.dir.join("index.json");
        let metadata = match fs::metadata(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Arc::default()),
            other => other.map_err(ImageError::io("read", &path))?,
        };
        let identity = (metadata.ino(), metadata.mtime(), metadata.mtime_nsec());
        let mut cache = self.cache.lock();
        if let Some((known, entries)) = &*cache
            && *known == identity
        {
            return Ok(entries.clone());
        }
        let bytes = fs::read(&path).map_err(ImageError::io("read", &path))?;
        let entries: Entries = serde_json::from_slice(&bytes)
            .map_err(|source| ImageError::DamagedIndex { path: path.display().to_string(), source })?;
        let entries = Arc::new(entries);
        *cache = Some((identity, entries.clone()));
        Ok(entries)
    }

    /// Records an image whose layers are in place. `config` are the bytes whose digest is its id.
    pub fn add(&self, entry: Entry, config: &[u8]) -> Result<(), ImageError> {
        let path = self.config_path(&entry.id);
        replace(&path, config)?;
        self.change(|entries| {
            entries.put(entry);
            Ok(())
        })
    }

    /// Gives a known image more names, and those who may run it by them.
    pub fn tag(
        &self,
        id: &str,
        names: Vec<String>,
        digests: Vec<String>,
        access: Access,
    ) -> Result<(), ImageError> {
        self.change(|entries| {
            let known = entries
                .images
                .iter()
                .find(|entry| entry.id == id)
                .ok_or_else(|| ImageError::NoSuchImage(id.into()))?;
            let renamed = Entry { names, digests, access, ..known.clone() };
            entries.put(renamed);
            Ok(())
        })
    }

    /// Removes a tag or, with an id, an image; images without names go, and layers that nothing names.
    pub fn remove(&self, text: &str) -> Result<(), ImageError> {
        self.change(|entries| entries.take(text).map(|_| ()))?;
        self.collect_garbage(Duration::ZERO)
    }

    /// Removes layers of pulls that failed and were not tried again. That it cannot be done hinders nobody.
    pub fn tidy(&self) {
        if let Err(error) = self.collect_garbage(KEPT_FOR_RETRY) {
            tracing::debug!(
                error = &error as &dyn std::error::Error,
                "left over layers could not be removed"
            );
        }
    }

    fn collect_garbage(&self, spared: Duration) -> Result<(), ImageError> {
        // Left for the next removal when a pull is under way, which may count on any layer that is here.
        let Some(_alone) = self.alone()? else { return Ok(()) };
        let _lock = self.lock()?;
        // Somebody took the list away: containers may run on what it named.
        if !self.dir.join("index.json").exists() {
            return Ok(());
        }
        let entries = self.read()?;
        let known_layers = |name: &str| {
            entries.images.iter().any(|entry| entry.layers.iter().any(|layer| layer.diff_id.ends_with(name)))
        };
        layers::retain(&self.dir, known_layers, spared)?;
        let configs = self.dir.join("configs");
        for file in fs::read_dir(&configs).map_err(ImageError::io("list", &configs))?.flatten() {
            let name = file.file_name().to_string_lossy().trim_end_matches(".json").to_string();
            if !entries.images.iter().any(|entry| entry.id.ends_with(&name)) {
                fs::remove_file(file.path()).map_err(ImageError::io("remove", &file.path()))?;
            }
        }
        Ok(())
    }

    fn change(&self, change: impl FnOnce(&mut Entries) -> Result<(), ImageError>) -> Result<(), ImageError> {
        let _lock = self.lock()?;
        let mut entries = (*self.read()?).clone();
        change(&mut entries)?;
        let bytes = serde_json::to_vec_pretty(&entries).expect("entries are plain data");
        replace(&self.dir.join("index.json"), &bytes)
    }

    /// The configuration as the image brought it.
    pub fn config_json(&self, entry: &Entry) -> Result<Value, ImageError> {
        let read = fs::read(self.config_path(&entry.id));
        read.and_then(|bytes| Ok(serde_json::from_slice(&bytes)?))
            .map_err(|error| entry.damaged("its configuration".into(), error))
    }

    pub fn config(&self, entry: &Entry) -> Result<ImageConfig, ImageError> {
        let json = self.config_json(entry)?;
        let config = &json["config"];
        let list = |key: &str| -> Vec<String> {
            config[key]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .map(str::to_string)
                .collect()
        };
        let text = |key: &str| config[key].as_str().unwrap_or_default().to_string();
        let env = list("Env").into_iter().map(|pair| match pair.split_once('=') {
            Some((key, value)) => (key.to_string(), value.to_string()),
            None => (pair, String::new()),
        });
        Ok(ImageConfig {
            id: entry.id.clone(),
            repo_digests: entry.digests.clone(),
            repo_tags: entry.names.clone(),
            access: entry.access.clone(),
            size_bytes: entry.layers.iter().map(|layer| layer.size_bytes).sum(),
            entrypoint: list("Entrypoint"),
            cmd: list("Cmd"),
            env: env.collect(),
            working_dir: text("WorkingDir"),
            user: text("User"),
            stop_signal: Some(text("StopSignal")).filter(|signal| !signal.is_empty()),
            volumes: config["Volumes"]
                .as_object()
                .into_iter()
                .flat_map(|volumes| volumes.keys().cloned())
                .collect(),
        })
    }

    fn config_path(&self, id: &str) -> PathBuf {
        self.dir.join("configs").join(format!("{}.json", id.trim_start_matches("sha256:")))
    }

    fn lock_file(&self, name: &str) -> Result<File, ImageError> {
        let path = self.dir.join(name);
        File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(ImageError::io("open", &path))
    }

    fn lock(&self) -> Result<Flock<File>, ImageError> {
        let locked = Flock::lock(self.lock_file("lock")?, FlockArg::LockExclusive);
        locked.map_err(|(_, error)| ImageError::io("lock", &self.dir)(error.into()))
    }
}

/// Layers hold programs that run with their owner's rights, and files that are not for all to read.
fn private(dir: &Path) -> std::io::Result<()> {
    if let Some(parent) = dir.parent() {
        fs::create_dir_all(parent)?;
    }
    match fs::DirBuilder::new().mode(0o700).create(dir) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            fs::set_permissions(dir, Permissions::from_mode(0o700))
        }
        other => other,
    }
}

/// Written beside, synced, renamed: a reader sees the old or the new file, and after a loss of power the new one.
fn replace(path: &Path, bytes: &[u8]) -> Result<(), ImageError> {
    let write = || -> std::io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(path.parent().unwrap_or(Path::new("/")))?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        layers::sync_names_beside(path)
    };
    write().map_err(ImageError::io("write", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(id: &str, names: &[&str]) -> Entry {
        let names = names.iter().map(|name| format!("docker.io/library/{name}")).collect();
        let id = format!("sha256:{}", id.repeat(64));
        Entry { id, names, digests: Vec::new(), layers: Vec::new(), access: Access::default() }
    }

    #[test]
    fn the_directory_is_its_owners_alone() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("data/images");
        let mode = || fs::metadata(&dir).unwrap().mode() & 0o777;
        Index::open(&dir).unwrap();
        assert_eq!(mode(), 0o700);
        fs::set_permissions(&dir, Permissions::from_mode(0o755)).unwrap();
        Index::open(&dir).unwrap();
        assert_eq!(mode(), 0o700);
    }

    #[test]
    fn a_start_empties_the_directory_of_parts_and_lets_it_stay() {
        let dir = tempfile::tempdir().unwrap();
        let tmp = dir.path().join("tmp");
        fs::create_dir_all(tmp.join("layer-x/etc")).unwrap();
        fs::write(tmp.join("part"), "x").unwrap();
        // Held, so that no new directory can have its number.
        let before = File::open(&tmp).unwrap();
        Index::open(dir.path()).unwrap();
        assert_eq!(fs::metadata(&tmp).unwrap().ino(), before.metadata().unwrap().ino());
        assert_eq!(fs::read_dir(&tmp).unwrap().count(), 0);
    }

    #[test]
    fn a_name_is_recorded_once_and_the_last_one_takes_the_image_with_it() {
        let mut entries = Entries::default();
        entries.put(entry("a", &["bb:latest", "bb:latest"]));
        assert_eq!(entries.images[0].names, ["docker.io/library/bb:latest"]);
        entries.put(entry("a", &["a:1", "a:1", "bb:latest"]));
        assert_eq!(entries.images[0].names, ["docker.io/library/a:1", "docker.io/library/bb:latest"]);
        let id = entries.images[0].id.clone();
        for (text, ends) in [("bb", false), ("a:1", false), (id.as_str(), true), (&id[7..20], true)] {
            assert_eq!(entries.ended_by(text).unwrap().is_some(), ends, "{text}");
        }
        entries.take("a:1").unwrap();
        assert_eq!(entries.ended_by("bb").unwrap(), Some(id));
        assert!(entries.ended_by("a:1").is_err());
    }

    #[test]
    fn a_file_may_be_replaced_by_several_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.json");
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| (0..20).for_each(|_| replace(&path, b"{}").unwrap()));
            }
        });
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn an_index_with_a_name_twice_loses_both_at_once() {
        let mut entries = Entries { images: vec![entry("a", &["bb:latest", "bb:latest"])] };
        assert!(entries.ended_by("bb").unwrap().is_some());
        entries.take("bb").unwrap();
        assert!(entries.images.is_empty());
    }
}
