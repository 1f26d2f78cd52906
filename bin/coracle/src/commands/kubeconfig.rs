//! `coracle kubeconfig`: prints an admin kubeconfig made from the cluster's own keys.

use std::{process::ExitCode, time::Duration};

use anyhow::{Context, Result, bail};
use clap::ArgMatches;

use crate::settings::{DataOptions, Values, is_label};

pub fn run(matches: &ArgMatches) -> Result<ExitCode> {
    let values = Values::resolve(matches)?;
    let options = DataOptions::from_values(&values)?;
    let expiry = expiry(values.parse("expiry-seconds")?)?;
    if let Some(namespace) = values.text("namespace").filter(|name| !is_label(name)) {
        bail!("setting `namespace` is `{namespace}`, expected a namespace's name such as `web-1`");
    }
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

/// Beyond ten years the authority itself is no longer valid.
fn expiry(seconds: Option<u64>) -> Result<Option<Duration>> {
    const MAX_SECONDS: u64 = 10 * 365 * 24 * 3600;
    match seconds {
        Some(seconds) if !(1..=MAX_SECONDS).contains(&seconds) => {
            bail!("setting `expiry-seconds` is {seconds}, expected 1 to {MAX_SECONDS} (ten years)")
        }
        seconds => Ok(seconds.map(Duration::from_secs)),
    }
}

/// The server that the admin kubeconfig beside the data names.
fn server_of(options: &DataOptions) -> Result<String> {
    let path = options.kubeconfig();
    let read = || -> Result<Option<String>> {
        let text = std::fs::read_to_string(&path)?;
        let config = coracle_client::parse_kubeconfig(&text)?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expiry_that_no_certificate_can_have_is_refused() {
        assert!(expiry(None).unwrap().is_none());
        assert_eq!(expiry(Some(60)).unwrap(), Some(Duration::from_secs(60)));
        for seconds in [0, 4_294_967_296_000, u64::MAX] {
            assert!(expiry(Some(seconds)).is_err(), "{seconds}");
        }
    }
}
