//! `coracle kubeconfig`: prints an admin kubeconfig made from the cluster's own keys.

use std::{num::NonZeroU64, process::ExitCode, time::Duration};

use anyhow::{Context, Result};
use clap::ArgMatches;

use crate::settings::{DataOptions, Values};

pub fn run(matches: &ArgMatches) -> Result<ExitCode> {
    let values = Values::resolve(matches)?;
    let options = DataOptions::from_values(&values)?;
    let expiry = values.parse::<NonZeroU64>("expiry-seconds")?.map(|n| Duration::from_secs(n.get()));
    let server = server_of(&options)?;
    let text = coracle_apiserver::admin_kubeconfig_from(
        &options.data_dir,
        &server,
        expiry,
        values.text("namespace"),
    )
    .with_context(|| format!("make a kubeconfig from the keys in `{}`", options.data_dir.display()))?;
    print!("{text}");
    Ok(ExitCode::SUCCESS)
}

/// The server that the admin kubeconfig beside the data names.
fn server_of(options: &DataOptions) -> Result<String> {
    let path = options.kubeconfig();
    let read = || -> Result<Option<String>> {
        let text = std::fs::read_to_string(&path)?;
        let config: kube::config::Kubeconfig = serde_saphyr::from_str(&text)?;
        Ok(config.clusters.first().and_then(|named| named.cluster.as_ref()?.server.clone()))
    };
    read()
        .with_context(|| {
            format!(
                "read `{}`\nhint: `coracle up` writes it; name another place with --data-dir",
                path.display()
            )
        })?
        .with_context(|| format!("`{}` names no server", path.display()))
}
