//! `coracle kubeconfig`: prints an admin kubeconfig made from the cluster's own keys.

use std::{process::ExitCode, time::Duration};

use anyhow::{Context, Result};
use clap::{Arg, ArgMatches, Command, value_parser};

use crate::settings::{DataOptions, Values};

pub fn command() -> Command {
    Command::new("kubeconfig")
        .about("Print an admin kubeconfig")
        .arg(
            Arg::new("expiry-seconds")
                .long("expiry-seconds")
                .value_name("N")
                .value_parser(value_parser!(u64).range(1..))
                .help("How long its certificate is valid [default: one year]"),
        )
        .arg(Arg::new("namespace").long("namespace").value_name("NS").help("Namespace of its context"))
}

pub fn run(matches: &ArgMatches) -> Result<ExitCode> {
    let options = DataOptions::from_values(&Values::resolve(matches)?)?;
    let expiry = matches.get_one::<u64>("expiry-seconds").copied().map(Duration::from_secs);
    let namespace = matches.get_one::<String>("namespace").map(String::as_str);
    let server = server_of(&options)?;
    let text = coracle_apiserver::admin_kubeconfig_from(&options.data_dir, &server, expiry, namespace)
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
