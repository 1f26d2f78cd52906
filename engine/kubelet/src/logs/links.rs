//! One link a container to its log, in the one folder where log collectors look.
//!
//! Writes:    `containers/<pod>_<ns>_<container>-<id>.log` beside the pods' logs.
//! Invariant: a link goes with the log that it leads to; a link that cannot be made stops no container.
//! Source:    https://kubernetes.io/docs/concepts/cluster-administration/logging/#log-location-node

use std::{
    io,
    path::{Path, PathBuf},
};

/// `/var/log/pods` gives `/var/log/containers`.
fn folder(log_dir: &Path) -> PathBuf {
    log_dir.with_file_name("containers")
}

/// `pod` is `name_namespace`.
pub async fn make(log_dir: &Path, pod: &str, container: &str, id: &str, log: &Path) -> io::Result<()> {
    let folder = folder(log_dir);
    tokio::fs::create_dir_all(&folder).await?;
    let link = folder.join(format!("{pod}_{container}-{id}.log"));
    match tokio::fs::symlink(log, link).await {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

/// Removes the links to the log `gone`, or to all logs in the folder `gone`.
pub async fn remove(log_dir: &Path, gone: &Path) {
    let folder = folder(log_dir);
    let Ok(mut entries) = tokio::fs::read_dir(&folder).await else { return };
    while let Ok(Some(entry)) = entries.next_entry().await {
        if tokio::fs::read_link(entry.path()).await.is_ok_and(|log| log.starts_with(gone)) {
            let _ = tokio::fs::remove_file(entry.path()).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_link_goes_with_its_log() {
        let dir = tempfile::tempdir().unwrap();
        let logs = dir.path().join("pods");
        let names = || {
            let entries = std::fs::read_dir(dir.path().join("containers")).unwrap();
            let mut names: Vec<_> =
                entries.map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            names
        };
        for (id, log) in
            [("1", "n_p_u/c/0.log"), ("2", "n_p_u/c/1.log"), ("2", "n_p_u/c/1.log"), ("3", "n_p_v/c/0.log")]
        {
            make(&logs, "p_n", "c", id, &logs.join(log)).await.unwrap();
        }
        assert_eq!(names(), ["p_n_c-1.log", "p_n_c-2.log", "p_n_c-3.log"]);
        remove(&logs, &logs.join("n_p_u/c/0.log")).await;
        assert_eq!(names(), ["p_n_c-2.log", "p_n_c-3.log"]);
        remove(&logs, &logs.join("n_p_u")).await;
        assert_eq!(names(), ["p_n_c-3.log"]);
    }
}
