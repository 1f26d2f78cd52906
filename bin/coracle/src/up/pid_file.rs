//! The file that names the running `coracle up`, and its lock: the process that holds the lock is the running one,
//! so a stale number is never taken for it.

use std::{
    fs::{File, OpenOptions},
    io::{Read, Write},
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use nix::fcntl::{Flock, FlockArg};

/// Held while `coracle up` runs.
pub struct PidFile(#[allow(dead_code)] Flock<File>);

impl PidFile {
    pub fn acquire(path: &Path) -> Result<PidFile> {
        let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
        let file = opened.map_err(|error| not_opened(path, error))?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(mut lock) => {
                lock.set_len(0)?;
                write!(lock, "{}", std::process::id())
                    .with_context(|| format!("write `{}`", path.display()))?;
                Ok(PidFile(lock))
            }
            Err((_, nix::Error::EWOULDBLOCK)) => bail!(taken(path)),
            Err((_, error)) => Err(error).with_context(|| format!("lock `{}`", path.display())),
        }
    }
}

/// Fails while another `coracle up` holds the lock; makes nothing.
pub fn check(path: &Path) -> Result<()> {
    match once_free(|| running(path), |outcome| matches!(outcome, Ok(Some(_))))? {
        Some(_) => bail!(taken(path)),
        None => Ok(()),
    }
}

fn taken(path: &Path) -> String {
    let dir = path.parent().unwrap_or(path).display();
    format!("another coracle runs on `{dir}`\nhint: stop it with `coracle down`")
}

/// What a killed process held becomes free some milliseconds after its end: tries again while it is taken, for 1 s.
pub fn once_free<T>(attempt: impl Fn() -> T, taken: impl Fn(&T) -> bool) -> T {
    let started = Instant::now();
    loop {
        let outcome = attempt();
        if !taken(&outcome) || started.elapsed() > Duration::from_secs(1) {
            return outcome;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The process id of the `coracle up` that holds the lock.
pub fn running(path: &Path) -> Result<Option<i32>> {
    // Who may not look into the data directory cannot say that nothing runs there.
    if !path.try_exists().map_err(|error| not_opened(path, error))? {
        return Ok(None);
    }
    // For reading alone: the file system may have become read-only under whoever runs.
    let file = File::open(path).map_err(|error| not_opened(path, error))?;
    let mut file = match Flock::lock(file, FlockArg::LockSharedNonblock) {
        Ok(_) => return Ok(None),
        Err((file, nix::Error::EWOULDBLOCK)) => file,
        Err((_, error)) => return Err(error).with_context(|| format!("lock `{}`", path.display())),
    };
    let mut text = String::new();
    file.read_to_string(&mut text).with_context(|| format!("read `{}`", path.display()))?;
    if text.is_empty() {
        let dir = path.parent().unwrap_or(path).display();
        bail!("another coracle is starting on `{dir}`\nhint: try again in a second");
    }
    let number = text.trim().parse();
    Ok(Some(number.with_context(|| format!("`{}` holds no process id", path.display()))?))
}

fn not_opened(path: &Path, error: std::io::Error) -> anyhow::Error {
    let hint = match error.kind() {
        std::io::ErrorKind::PermissionDenied => "\nhint: run it as root, or with sudo",
        _ => "",
    };
    anyhow::Error::new(error).context(format!("open `{}`{hint}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_holder_of_the_lock_is_running() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("coracle.pid");
        assert_eq!(running(&path).unwrap(), None);
        let held = PidFile::acquire(&path).unwrap();
        assert_eq!(running(&path).unwrap(), Some(std::process::id() as i32));
        assert!(PidFile::acquire(&path).is_err());
        assert!(check(&path).is_err());
        std::thread::scope(|scope| {
            let checked = scope.spawn(|| check(&path));
            drop(held);
            checked.join().unwrap().unwrap();
        });
        assert_eq!(running(&path).unwrap(), None);
    }

    #[test]
    fn a_lock_without_a_number_is_a_start() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("coracle.pid");
        let _starting = Flock::lock(File::create(&path).unwrap(), FlockArg::LockExclusiveNonblock).unwrap();
        let error = check(&path).unwrap_err().to_string();
        assert!(error.starts_with("another coracle is starting on `"), "{error}");
    }

    #[test]
    fn looking_who_runs_needs_no_right_to_write() {
        // Nobody can open a file for writing that is being executed, as none on a read-only file system.
        let busy = std::env::current_exe().unwrap();
        assert!(OpenOptions::new().write(true).open(&busy).is_err());
        assert_eq!(running(&busy).unwrap(), None);
    }

    #[test]
    fn a_place_that_cannot_be_looked_into_is_not_one_where_nothing_runs() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(running(&file.path().join("coracle.pid")).is_err());
        let refused = std::io::Error::from(std::io::ErrorKind::PermissionDenied);
        assert!(
            not_opened(Path::new("/x"), refused).to_string().ends_with("hint: run it as root, or with sudo")
        );
    }
}
