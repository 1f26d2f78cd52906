//! The admin kubeconfig beside the data: certificate and address are of this start, the namespace is the user's.

use std::{os::unix::fs::OpenOptionsExt, path::Path};

use anyhow::{Context, Result};
use coracle_apiserver::ApiServer;

/// One for this start; when the disk does not take it, that of an earlier start stays: the cluster is up all the same.
pub fn write(path: &Path, api: &ApiServer) -> Result<()> {
    let namespace = std::fs::read_to_string(path).ok().and_then(|text| chosen_namespace(&text));
    let text = api.admin_kubeconfig(None, namespace.as_deref()).context("make the admin kubeconfig")?;
    replace(path, &text)
}

/// Atomically, mode 0600.
fn replace(path: &Path, text: &str) -> Result<()> {
    let beside = path.with_extension("new");
    let write = || -> std::io::Result<()> {
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
        std::io::Write::write_all(&mut file, text.as_bytes())?;
        std::fs::rename(&beside, path)
    };
    let Err(error) = write() else { return Ok(()) };
    _ = std::fs::remove_file(&beside);
    if path.exists() {
        tracing::warn!(%error, path = %path.display(), "the kubeconfig could not be renewed");
        return Ok(());
    }
    Err(error).with_context(|| format!("write `{}`", path.display()))
}

/// What `kubectl config set-context --current --namespace=…` left in the file.
fn chosen_namespace(text: &str) -> Option<String> {
    let config = coracle_client::parse_kubeconfig(text).ok()?;
    let current = config.current_context?;
    let named = config.contexts.into_iter().find(|named| named.name == current)?;
    named.context?.namespace
}

#[cfg(test)]
mod tests {
    #[test]
    fn one_that_cannot_be_renewed_stays() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("kubeconfig");
        super::replace(&path, "first").expect("is written");
        // Nothing can be written there: as on a full disk.
        std::fs::create_dir(dir.path().join("kubeconfig.new")).expect("directory");
        super::replace(&path, "second").expect("goes on");
        assert_eq!(std::fs::read_to_string(&path).expect("is there"), "first");
        std::fs::remove_file(&path).expect("removed");
        assert!(super::replace(&path, "third").is_err(), "without any there is no way in");
    }

    #[test]
    fn the_namespace_of_the_current_context_is_kept() {
        let context = |namespace| {
            format!(
                "contexts:\n- name: other\n  context: {{cluster: c, namespace: apart}}\n\
                 - name: coracle\n  context: {{cluster: c, user: u{namespace}}}\ncurrent-context: coracle\n"
            )
        };
        assert_eq!(super::chosen_namespace(&context(", namespace: web")).as_deref(), Some("web"));
        assert_eq!(super::chosen_namespace(&context("")), None);
        assert_eq!(super::chosen_namespace("no kubeconfig: ["), None);
    }
}
