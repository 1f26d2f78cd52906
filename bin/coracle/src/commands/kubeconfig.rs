//! `coracle kubeconfig`: prints an admin kubeconfig made from the cluster's own keys.

use std::{process::ExitCode, time::Duration};

use anyhow::{Context, Result, bail};
use clap::ArgMatches;

use crate::settings::{DataOptions, Values};

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

/// A DNS label of RFC 1123, as names of namespaces are.
fn is_label(name: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&name.len())
        && name.bytes().all(inner)
        && !name.starts_with('-')
        && !name.ends_with('-')
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_certificate_or_namespace_can_be_is_refused() {
        assert!(expiry(None).unwrap().is_none());
        assert_eq!(expiry(Some(60)).unwrap(), Some(Duration::from_secs(60)));
        for seconds in [0, 4_294_967_296_000, u64::MAX] {
            assert!(expiry(Some(seconds)).is_err(), "{seconds}");
        }
        for (name, valid) in [("web-1", true), ("", false), ("BAD NS", false), ("-a", false), ("a.b", false)]
        {
            assert_eq!(is_label(name), valid, "{name}");
        }
    }
}
