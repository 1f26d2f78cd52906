//! A client over TLS, from a kubeconfig file.

use std::path::{Path, PathBuf};

use kube::config::{Config, KubeConfigOptions, Kubeconfig};

#[derive(Debug, thiserror::Error)]
pub enum KubeconfigError {
    #[error("read kubeconfig `{}`", path.display())]
    Read { path: PathBuf, source: kube::config::KubeconfigError },
    #[error("read kubeconfig `{}`", path.display())]
    Malformed { path: PathBuf, source: MalformedKubeconfig },
    #[error("make a client from kubeconfig `{}`", path.display())]
    Client { path: PathBuf, source: Box<kube::Error> },
}

#[derive(Debug, thiserror::Error)]
pub enum MalformedKubeconfig {
    #[error(transparent)]
    Yaml(#[from] serde_saphyr::Error),
    #[error(transparent)]
    Shape(#[from] serde_json::Error),
}

/// By way of a JSON value: read straight from YAML, these types are a megabyte of the binary.
pub fn parse_kubeconfig(text: &str) -> Result<Kubeconfig, MalformedKubeconfig> {
    let value: serde_json::Value = serde_saphyr::from_str(text)?;
    Ok(serde_json::from_value(value)?)
}

/// A client of the kubeconfig's current context.
pub async fn from_kubeconfig(path: &Path) -> Result<kube::Client, KubeconfigError> {
    let read = |source| KubeconfigError::Read { path: path.to_owned(), source };
    let text = std::fs::read_to_string(path)
        .map_err(|source| read(kube::config::KubeconfigError::ReadConfig(source, path.to_owned())))?;
    let kubeconfig = parse_kubeconfig(&text)
        .map_err(|source| KubeconfigError::Malformed { path: path.to_owned(), source })?;
    let config =
        Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.map_err(read)?;
    kube::Client::try_from(config)
        .map_err(|source| KubeconfigError::Client { path: path.to_owned(), source: Box::new(source) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_absent_file_is_named_in_the_error() {
        let Err(error) = from_kubeconfig(Path::new("/nonexistent/kubeconfig")).await else {
            panic!("a client came from nothing");
        };
        assert_eq!(error.to_string(), "read kubeconfig `/nonexistent/kubeconfig`");
    }
}
