//! One data directory a run directory: the shims below the latter serve pods of the former, and another Coracle would
//! take them for its own or end them.

use std::{
    fs,
    io::ErrorKind,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

use crate::settings::DataOptions;

const NAME: &str = "data-dir";

/// Fails while pods of other data are there.
pub fn check(options: &DataOptions) -> Result<()> {
    let Ok(owner) = fs::read(options.run_dir.join(NAME)) else { return Ok(()) };
    let owner = Path::new(std::ffi::OsStr::from_bytes(&owner));
    let owner = owner.canonicalize().unwrap_or_else(|_| owner.to_owned());
    let has_pods = fs::read_dir(pods(options)).is_ok_and(|mut pods| pods.next().is_some());
    if owner == options.data_dir || !owner.exists() || !has_pods {
        return Ok(());
    }
    let (run, owner) = (options.run_dir.display(), owner.display());
    bail!(
        "`{run}` holds pods of the Coracle with the data `{owner}`\n\
         hint: `coracle down --data-dir {owner}` stops them; or choose another place with --run-dir"
    )
}

/// What all pods have there.
pub fn pods(options: &DataOptions) -> PathBuf {
    options.run_dir.join("pods")
}

/// Removes what is of pods there, and the directory when it was for nothing else. One that no Coracle claimed is left
/// alone.
pub fn remove(options: &DataOptions) -> Result<()> {
    let marker = options.run_dir.join(NAME);
    if !marker.exists() {
        return Ok(());
    }
    let pods = pods(options);
    match fs::remove_dir_all(&pods) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("remove `{}`", pods.display()));
        }
        _ => {}
    }
    fs::remove_file(&marker).with_context(|| format!("remove `{}`", marker.display()))?;
    match fs::remove_dir(&options.run_dir) {
        Err(error) if error.kind() != ErrorKind::DirectoryNotEmpty => {
            Err(error).with_context(|| format!("remove `{}`", options.run_dir.display()))
        }
        _ => Ok(()),
    }
}

/// Of what the run directory is part: the directories that were made for it.
pub struct Claim {
    made: Vec<PathBuf>,
}

/// Says whose pods are there from now on. The directory is checked before.
pub fn claim(options: &DataOptions) -> Result<Claim> {
    let missing = options.run_dir.ancestors().take_while(|directory| !directory.exists());
    let made = missing.map(Path::to_owned).collect();
    let path = options.run_dir.join(NAME);
    super::create_private_dir(&options.run_dir)?;
    fs::write(&path, options.data_dir.as_os_str().as_bytes())
        .with_context(|| format!("write `{}`", path.display()))?;
    Ok(Claim { made })
}

impl Claim {
    /// After a start that failed: a directory that was made for pods that never came goes again.
    pub fn give_up(self) {
        let Some(run_dir) = self.made.first() else { return };
        // One with pods in it stays.
        let _ = fs::remove_dir(run_dir.join("pods"));
        if !run_dir.join("pods").exists() {
            let _ = fs::remove_file(run_dir.join(NAME));
        }
        for directory in &self.made {
            let _ = fs::remove_dir(directory);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(dir: &Path, data: &str, run: &str) -> DataOptions {
        DataOptions {
            data_dir: dir.join(data),
            run_dir: dir.join(run),
            pod_log_dir: dir.join("logs"),
            log: "warn".into(),
        }
    }

    #[test]
    fn pods_of_other_data_are_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let (first, second) = (options(dir.path(), "first", "run"), options(dir.path(), "second", "run"));
        let claim = |options: &DataOptions| check(options).and_then(|()| claim(options)).map(drop);
        claim(&first).unwrap();
        claim(&second).unwrap();
        fs::create_dir_all(&first.data_dir).unwrap();
        claim(&first).unwrap();
        fs::create_dir_all(dir.path().join("run/pods/uid")).unwrap();
        claim(&first).unwrap();
        let error = claim(&second).unwrap_err().to_string();
        assert!(error.contains(&*first.data_dir.to_string_lossy()), "{error}");
        fs::remove_dir(&first.data_dir).unwrap();
        claim(&second).unwrap();
    }

    #[test]
    fn a_start_that_fails_leaves_no_directory_for_pods_that_never_came() {
        let dir = tempfile::tempdir().unwrap();
        let options = options(dir.path(), "data", "run/of/mine");
        let pods = options.run_dir.join("pods");
        for (pod, is_left) in [(None, false), (Some("uid"), true)] {
            let claimed = claim(&options).unwrap();
            fs::create_dir_all(pods.join(pod.unwrap_or_default())).unwrap();
            claimed.give_up();
            assert_eq!(dir.path().join("run").exists(), is_left);
        }
        // What was there before stays.
        fs::remove_dir_all(&pods).unwrap();
        claim(&options).unwrap().give_up();
        assert!(options.run_dir.exists());
    }

    #[test]
    fn what_others_keep_in_the_directory_stays() {
        let dir = tempfile::tempdir().unwrap();
        let options = options(dir.path(), "data", "shared");
        fs::create_dir_all(options.run_dir.join("pods/theirs")).unwrap();
        remove(&options).unwrap();
        assert!(options.run_dir.join("pods/theirs").exists(), "nobody claimed it");
        fs::remove_dir_all(pods(&options)).unwrap();
        fs::write(options.run_dir.join("precious"), "").unwrap();
        claim(&options).unwrap();
        fs::create_dir_all(options.run_dir.join("pods/uid")).unwrap();
        remove(&options).unwrap();
        let left: Vec<_> =
            fs::read_dir(&options.run_dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["precious"]);
        fs::remove_file(options.run_dir.join("precious")).unwrap();
        claim(&options).unwrap();
        remove(&options).unwrap();
        assert!(!options.run_dir.exists());
    }
}
