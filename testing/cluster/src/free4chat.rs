//! The reference application, deployed as its README says.

use std::path::Path;

use anyhow::Result;

use crate::Cluster;

/// The host name in its Ingress.
pub const HOST: &str = "api.k.free4.chat";

pub fn repository() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// Builds the backend's image as a user does, from the repository's root.
pub fn build_backend(cluster: &Cluster, tag: &str) -> Result<()> {
    let mut command = cluster.coracle("build");
    command
        .args(["-t", tag, "-f", "examples/free4chat/infra/Dockerfile.backend", "."])
        .current_dir(repository());
    cluster.run(&mut command).ok().map(|_| ())
}

/// All manifests with the image filled in, one behind the other as `sed` gives them.
pub fn manifests(image: &str) -> Result<String> {
    let folder = repository().join("examples/free4chat/infra/k8s");
    let mut files: Vec<_> = std::fs::read_dir(&folder)?.collect::<std::io::Result<Vec<_>>>()?;
    files.sort_by_key(|file| file.file_name());
    let texts = files.iter().map(|file| std::fs::read_to_string(file.path()));
    let all = texts.collect::<std::io::Result<String>>()?;
    Ok(all.replace("<IMAGE>", image))
}
