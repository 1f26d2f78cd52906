//! The admin kubeconfig beside the data: certificate and address are of this start, the namespace is the user's.

use std::{os::unix::fs::OpenOptionsExt, path::Path};

use anyhow::{Context, Result};
use coracle_apiserver::ApiServer;
use kube::config::Kubeconfig;

/// Replaced atomically, mode 0600.
pub fn write(path: &Path, api: &ApiServer) -> Result<()> {
    let namespace = std::fs::read_to_string(path).ok().and_then(|text| chosen_namespace(&text));
    let text = api.admin_kubeconfig(None, namespace.as_deref()).context("make the admin kubeconfig")?;
    let beside = path.with_extension("new");
    let write = || -> std::io::Result<()> {
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
        std::io::Write::write_all(&mut file, text.as_bytes())?;
        std::fs::rename(&beside, path)
    };
    write().with_context(|| format!("write `{}`", path.display()))
}

/// What `kubectl config set-context --current --namespace=…` left in the file.
fn chosen_namespace(text: &str) -> Option<String> {
    let config: Kubeconfig = serde_saphyr::from_str(text).ok()?;
    let current = config.current_context?;
    let named = config.contexts.into_iter().find(|named| named.name == current)?;
    named.context?.namespace
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_namespace_of_the_current_context_is_kept() {
        let context = |namespace| {
            format!(
                "contexts:\n- name: other\n  context: {{cluster: c, namespace: no}}\n\
                 - name: coracle\n  context: {{cluster: c, user: u{namespace}}}\ncurrent-context: coracle\n"
            )
        };
        assert_eq!(super::chosen_namespace(&context(", namespace: web")).as_deref(), Some("web"));
        assert_eq!(super::chosen_namespace(&context("")), None);
        assert_eq!(super::chosen_namespace("no kubeconfig: ["), None);
    }
}
