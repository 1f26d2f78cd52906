//! Settings as typed values.

use std::{
    net::{IpAddr, Ipv4Addr},
    num::{NonZeroU16, NonZeroU64},
    ops::RangeInclusive,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use coracle_apiserver::{
    Protection,
    audit::{self, LogConfig},
    authn::{self, Anonymous, ConfigurationFile, IssuerConfig, Mapping, Rule},
};
use coracle_runtime::images::RegistryConfig;
use tracing_subscriber::filter::LevelFilter;

use super::{Values, expected, expected::Expected, networks::networks, ports::ports, registries::registries};
use crate::{node_address, up::create_private_dir};

/// What every command needs that touches a data directory.
#[derive(Clone, Debug)]
pub struct DataOptions {
    pub data_dir: PathBuf,
    pub run_dir: PathBuf,
    pub pod_log_dir: PathBuf,
    pub log: String,
}

impl DataOptions {
    pub fn from_values(values: &Values) -> Result<DataOptions> {
        let path =
            |key| values.text(key).map(PathBuf::from).with_context(|| format!("setting `{key}` is empty"));
        Ok(DataOptions {
            data_dir: one_spelling(&path("data-dir")?)?,
            run_dir: one_spelling(&path("run-dir")?)?,
            pod_log_dir: std::path::absolute(path("pod-log-dir")?)?,
            log: log_filter(values.text("log").unwrap_or("warn"))?,
        })
    }

    /// For commands that need what is there already, and would leave an empty directory behind.
    pub fn require_data_dir(&self) -> Result<()> {
        if !self.data_dir.exists() {
            bail!("no data directory `{}`\nhint: name it with --data-dir", self.data_dir.display());
        }
        Ok(())
    }

    /// For commands that may come before the first `coracle up`. A place in a directory that is not there is a slip of
    /// the pen.
    pub fn make_data_dir(&self) -> Result<()> {
        let parent = self.data_dir.parent().unwrap_or(&self.data_dir);
        if !parent.is_dir() {
            bail!(
                "make data directory `{}`: there is no directory `{}`\nhint: name it with --data-dir",
                self.data_dir.display(),
                parent.display()
            );
        }
        create_private_dir(&self.data_dir)
    }

    pub fn store_dir(&self) -> PathBuf {
        self.data_dir.join("store")
    }

    pub fn images_dir(&self) -> PathBuf {
        self.data_dir.join("images")
    }

    pub fn kubeconfig(&self) -> PathBuf {
        self.data_dir.join("kubeconfig")
    }

    /// Holds the process id of the running `coracle up`.
    pub fn pid_file(&self) -> PathBuf {
        self.data_dir.join("coracle.pid")
    }
}

/// A word alone would be taken for a target, of which then everything is logged, and of the rest nothing.
fn log_filter(text: &str) -> Result<String> {
    const LEVELS: &str = "error, warn, info, debug, trace or off";
    for item in text.split(',').map(str::trim) {
        // `TARGET[SPAN{FIELD=VALUE}]=LEVEL` is left to who reads it.
        let level = item.rsplit_once('=').map_or(item, |(_, level)| level);
        if !item.contains(['[', '{', '}', ']']) && level.parse::<LevelFilter>().is_err() {
            bail!("setting `log` is `{text}`, expected {LEVELS}, or TARGET=LEVEL, separated by commas");
        }
    }
    Ok(text.to_string())
}

/// The path without links and dots, as far as it exists: who owns what is told by comparing paths.
fn one_spelling(path: &Path) -> Result<PathBuf> {
    let path = std::path::absolute(path).with_context(|| format!("find `{}`", path.display()))?;
    for existing in path.ancestors() {
        if let (Ok(known), Ok(rest)) = (existing.canonicalize(), path.strip_prefix(existing)) {
            // Joined with nothing, a path ends with a slash.
            return Ok(if rest.as_os_str().is_empty() { known } else { known.join(rest) });
        }
    }
    Ok(path)
}

/// What `coracle up` runs with.
#[derive(Clone, Debug)]
pub struct UpOptions {
    pub data: DataOptions,
    pub node_ip: Ipv4Addr,
    pub node_name: String,
    pub api_port: u16,
    pub http_port: u16,
    pub https_port: u16,
    pub api_sans: Vec<String>,
    pub cluster_domain: String,
    pub pod_cidr: ipnet::Ipv4Net,
    pub service_cidr: ipnet::Ipv4Net,
    pub cluster_dns: Ipv4Addr,
    pub upstream_dns: Vec<IpAddr>,
    pub node_ports: RangeInclusive<u16>,
    pub max_pods: u32,
    pub registries: RegistryConfig,
    pub protection: Protection,
}

impl UpOptions {
    pub fn from_values(values: &Values) -> Result<UpOptions> {
        let networks = networks(values)?;
        let ports = ports(values)?;
        let upstream_dns =
            values.list("upstream-dns").into_iter().map(|text| expected::parse("upstream-dns", &text));
        Ok(UpOptions {
            data: DataOptions::from_values(values)?,
            node_ip: match values.parse("node-ip")? {
                Some(address) => node_address::of_this_machine(address)?,
                None => node_address::detect()?,
            },
            node_name: match values.text("node-name") {
                Some(name) => node_name(name.to_owned())?,
                None => node_name(node_address::host_name()?)?,
            },
            api_port: ports.api,
            http_port: ports.http,
            https_port: ports.https,
            api_sans: api_sans(values.list("api-sans"))?,
            cluster_domain: domain(values.text("cluster-domain").unwrap_or_default())?,
            pod_cidr: networks.pods,
            service_cidr: networks.services,
            cluster_dns: networks.dns,
            upstream_dns: upstream_dns.collect::<Result<_>>()?,
            node_ports: ports.node_ports,
            max_pods: required::<NonZeroU16>(values, "max-pods")?.get().into(),
            registries: registries(values)?,
            protection: protection(values)?,
        })
    }
}

/// Whose tokens are taken; the file that says it, and who may ask without one.
fn authentication(values: &Values) -> Result<(Vec<IssuerConfig>, Option<ConfigurationFile>)> {
    if let Some(key) = values.first_set(|key| key.starts_with("oidc-"))
        && (values.text("oidc-issuer-url").is_none() || values.text("oidc-client-id").is_none())
    {
        bail!("setting `{key}` needs both `oidc-issuer-url` and `oidc-client-id`, as any oidc-* does");
    }
    let flags = values.text("oidc-issuer-url").map(|url| oidc(values, url)).transpose()?;
    match values.text("authentication-config") {
        Some(_) if flags.is_some() => {
            bail!("settings `authentication-config` and `oidc-issuer-url` exclude each other")
        }
        Some(path) => {
            let (issuers, file) = authn::read_configuration(&std::path::absolute(path)?)?;
            authn::check_issuers(&issuers)
                .with_context(|| format!("use setting `authentication-config`, `{path}`"))?;
            Ok((issuers, Some(file)))
        }
        None => {
            let issuers: Vec<_> = flags.into_iter().collect();
            authn::check_issuers(&issuers).context("use the settings `oidc-*`")?;
            Ok((issuers, None))
        }
    }
}

fn oidc(values: &Values, url: &str) -> Result<IssuerConfig> {
    if !url.starts_with("https://") {
        bail!("setting `oidc-issuer-url` is `{url}`, expected an address that begins with https://");
    }
    let text = |key| values.text(key).unwrap_or_default().to_string();
    let rule = |pair: String| match pair.split_once('=') {
        Some((claim, value)) => {
            Ok(Rule { claim: claim.into(), required_value: value.into(), ..Rule::default() })
        }
        None => bail!("setting `oidc-required-claims` has `{pair}`, expected CLAIM=VALUE"),
    };
    let mapping =
        |claim: String, prefix: String| Mapping { claim, prefix: Some(prefix), ..Mapping::default() };
    let username = text("oidc-username-claim");
    let prefix = match text("oidc-username-prefix").as_str() {
        "-" => String::new(),
        "" if username == "email" => String::new(),
        "" => format!("{url}#"),
        prefix => prefix.to_string(),
    };
    let authorities = match values.text("oidc-ca-file") {
        Some(path) => std::fs::read_to_string(path)
            .with_context(|| format!("read setting `oidc-ca-file` from `{path}`"))?,
        None => String::new(),
    };
    Ok(IssuerConfig {
        url: url.to_string(),
        audiences: vec![text("oidc-client-id")],
        authorities,
        username: mapping(username, prefix),
        groups: mapping(text("oidc-groups-claim"), text("oidc-groups-prefix")),
        claim_rules: values.list("oidc-required-claims").into_iter().map(rule).collect::<Result<_>>()?,
        signing_algs: values.list("oidc-signing-algs"),
        ..IssuerConfig::default()
    })
}

fn protection(values: &Values) -> Result<Protection> {
    let default_path = || Some(PathBuf::from(values.text("data-dir")?).join("audit/audit.log"));
    let path = match values.text("audit-log-path") {
        Some("off") => None,
        Some(path) => Some(PathBuf::from(path)),
        None => default_path(),
    };
    if let Some(path) = path.as_deref().filter(|path| path.is_dir()) {
        bail!("setting `audit-log-path` is `{}`, a directory: name a file in it", path.display());
    }
    let log = match path {
        None => None,
        Some(path) => Some(LogConfig {
            path: if path.as_os_str() == "-" { path } else { std::path::absolute(path)? },
            max_size_mib: required(values, "audit-log-maxsize")?,
            max_backups: required(values, "audit-log-maxbackup")?,
            max_age_days: required(values, "audit-log-maxage")?,
        }),
    };
    let in_flight = ["max-requests-inflight", "max-mutating-requests-inflight"];
    if in_flight.iter().try_fold(0, |sum, key| anyhow::Ok(sum + required::<usize>(values, key)?))? == 0 {
        bail!("settings `{}` and `{}` are both 0: nobody would be answered", in_flight[0], in_flight[1]);
    }
    let policy_file = values.text("audit-policy-file").map(PathBuf::from);
    let (issuers, authentication_file) = authentication(values)?;
    let audit = audit::Config { policy_file, log };
    audit.check().context("setting `audit-policy-file`")?;
    Ok(Protection {
        audit,
        max_in_flight: required(values, "max-requests-inflight")?,
        max_mutating_in_flight: required(values, "max-mutating-requests-inflight")?,
        issuers,
        anonymous: authentication_file.as_ref().map_or(Anonymous::Everywhere, |file| file.anonymous.clone()),
        authentication_file,
        request_timeout: Duration::from_secs(required::<NonZeroU64>(values, "request-timeout")?.get()),
    })
}

pub fn required<T: Expected>(values: &Values, key: &str) -> Result<T> {
    values.parse(key)?.with_context(|| format!("setting `{key}` is empty"))
}

fn node_name(name: String) -> Result<String> {
    if !is_dns_name(&name) {
        bail!(
            "the node cannot be called `{name}`, expected a DNS name in lower case\nhint: --node-name names it"
        );
    }
    Ok(name)
}

/// As names of Services below it must be.
fn domain(text: &str) -> Result<String> {
    if !is_dns_name(text) {
        bail!(
            "setting `cluster-domain` is `{text}`, expected a DNS name in lower case such as cluster.local"
        );
    }
    Ok(text.to_string())
}

/// Labels of RFC 1123 between dots, 253 bytes at most.
fn is_dns_name(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_label)
}

/// Lower-case letters, digits and dashes, as names of namespaces are.
pub fn is_label(label: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&label.len())
        && label.bytes().all(inner)
        && !label.starts_with('-')
        && !label.ends_with('-')
}

/// Names and addresses of the API server's certificate; a name may begin with a wildcard.
fn api_sans(names: Vec<String>) -> Result<Vec<String>> {
    let valid = |name: &str| {
        let name = name.to_ascii_lowercase();
        name.parse::<IpAddr>().is_ok() || is_dns_name(name.strip_prefix("*.").unwrap_or(&name))
    };
    match names.iter().find(|name| !valid(name)) {
        Some(wrong) => bail!("setting `api-sans` has `{wrong}`, expected a DNS name or an address"),
        None => Ok(names),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_filters_are_levels_or_targets_with_one() {
        for right in ["warn", "INFO", "off", "coracle_kubelet=debug,warn", "h2=off", "a[b{c=d}]=trace"] {
            assert_eq!(log_filter(right).unwrap(), right);
        }
        for wrong in ["verbose", "warn,verbose", "coracle_kubelet=loud", "coracle_kubelet"] {
            assert!(log_filter(wrong).unwrap_err().to_string().starts_with("setting `log` is `"), "{wrong}");
        }
    }

    #[test]
    fn somebody_must_be_answered() {
        let none = ["--max-requests-inflight", "0", "--max-mutating-requests-inflight", "0"];
        assert!(protection(&Values::of_flags(&none[..2])).is_ok());
        let error = protection(&Values::of_flags(&none)).err().unwrap().to_string();
        assert!(error.ends_with("are both 0: nobody would be answered"), "{error}");
    }

    #[test]
    fn settings_of_an_issuer_need_its_address() {
        let values = Values::of_flags;
        assert!(authentication(&values(&["--oidc-username-claim", "sub"])).is_ok());
        for (flag, value) in
            [("oidc-client-id", "x"), ("oidc-groups-claim", "g"), ("oidc-issuer-url", "https://x")]
        {
            let error = authentication(&values(&[&format!("--{flag}"), value])).unwrap_err().to_string();
            let expected = "needs both `oidc-issuer-url` and `oidc-client-id`, as any oidc-* does";
            assert_eq!(error, format!("setting `{flag}` {expected}"));
        }
    }

    #[test]
    fn files_and_issuers_that_cannot_be_used_are_told_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let policy = dir.path().join("policy.yaml");
        std::fs::write(&policy, "a policy of many words").unwrap();
        let (policy, dir) = (policy.display(), dir.path().display());
        let issuer = "--oidc-client-id=x --oidc-issuer-url=";
        for (flags, says) in [
            (format!("--audit-policy-file={dir}/absent"), "read audit policy `"),
            (format!("--audit-policy-file={policy}"), "is not a Policy: expected keys with values"),
            (format!("--audit-log-path={dir}"), ", a directory: name a file in it"),
            (
                format!("{issuer}http://x"),
                "`oidc-issuer-url` is `http://x`, expected an address that begins with https://",
            ),
            (format!("{issuer}https://x?y"), "URL must not contain a query"),
            (format!("{issuer}https://x --oidc-signing-algs=none"), "unsupported signing alg: `none`"),
        ] {
            let values = Values::of_flags(&flags.split(' ').collect::<Vec<_>>());
            let said = format!("{:#}", protection(&values).unwrap_err());
            assert!(said.contains(says) && !said.contains("many words"), "{flags}: {said}");
        }
    }

    #[test]
    fn a_data_directory_is_made_where_its_parent_is() {
        let dir = tempfile::tempdir().unwrap();
        let make = |path: &str| {
            let data_dir = dir.path().join(path);
            let flag = format!("--data-dir={}", data_dir.display());
            DataOptions::from_values(&Values::of_flags(&[&flag])).unwrap().make_data_dir()
        };
        let said = make("typo/data").unwrap_err().to_string();
        assert!(
            said.contains("/typo/data`: there is no directory `") && !dir.path().join("typo").exists(),
            "{said}"
        );
        make("data").unwrap();
        make("data/inner").unwrap();
    }

    #[test]
    fn a_name_has_253_bytes_at_most() {
        let name = |length: usize| "a.".repeat(length / 2) + &"a".repeat(length % 2);
        assert!(node_name(name(253)).is_ok());
        assert!(node_name(name(254) + "a").is_err());
    }

    #[test]
    fn a_directory_has_one_name() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().canonicalize().unwrap();
        std::fs::create_dir(dir.join("data")).unwrap();
        std::os::unix::fs::symlink("data", dir.join("link")).unwrap();
        for spelling in ["data", "link", "data/../data", "./link/"] {
            let found = one_spelling(&dir.join(spelling)).unwrap();
            assert_eq!(found.as_os_str(), dir.join("data").as_os_str(), "{spelling}");
        }
        assert_eq!(one_spelling(&dir.join("link/new/one")).unwrap(), dir.join("data/new/one"));
    }

    #[test]
    fn domains_are_checked() {
        assert_eq!(domain("cluster.local").unwrap(), "cluster.local");
        for wrong in ["", "Bad_Domain", ".local", "a..b", "-a.b", "cluster.local."] {
            assert!(domain(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn names_of_the_certificate_are_checked() {
        let names = |text: &str| api_sans(vec![text.to_owned()]);
        for right in ["k8s.example.com", "*.example.com", "10.1.2.3", "fd00::1", "Host-1"] {
            assert!(names(right).is_ok(), "{right}");
        }
        for wrong in ["bad name!", "", "https://x", "a:6443"] {
            assert!(names(wrong).is_err(), "{wrong}");
        }
    }
}
