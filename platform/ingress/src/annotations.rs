//! The ingress-nginx annotations that are honoured, with its defaults.
//! Source: <https://kubernetes.github.io/ingress-nginx/user-guide/nginx-configuration/annotations/>

use std::{collections::BTreeMap, time::Duration};

const PREFIX: &str = "nginx.ingress.kubernetes.io/";

/// The older way to name the class of an Ingress.
pub const CLASS: &str = "kubernetes.io/ingress.class";

/// They tune how nginx buffers. Nothing is buffered here, so what they ask for holds anyway.
const BUFFERS: [&str; 6] = [
    "proxy-buffer-size",
    "proxy-buffers-number",
    "proxy-busy-buffers-size",
    "proxy-max-temp-file-size",
    "client-body-buffer-size",
    "proxy-http-version",
];

/// They say who may come; letting everybody in instead would open what its owner has closed.
const ACCESS: [&str; 4] =
    ["auth-", "whitelist-source-range", "allowlist-source-range", "denylist-source-range"];

/// How the backend is spoken to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Protocol {
    #[default]
    Http1,
    /// HTTP/2 without TLS and without upgrade: `backend-protocol: GRPC`.
    Http2,
}

/// What holds for the requests to one backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    pub protocol: Protocol,
    /// Bytes of a request's body; more is answered 413. `None`: no limit.
    pub body_limit: Option<u64>,
    pub connect_timeout: Duration,
    /// While the body of a request is sent: the longest time without progress.
    pub send_timeout: Duration,
    /// From the end of the request to the head of the answer.
    pub read_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            protocol: Protocol::Http1,
            body_limit: Some(1 << 20),
            connect_timeout: Duration::from_secs(5),
            send_timeout: Duration::from_secs(60),
            read_timeout: Duration::from_secs(60),
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Annotations {
    /// Redirect to HTTPS where the host has TLS. Default true.
    pub ssl_redirect: bool,
    /// Redirect to HTTPS always.
    pub force_ssl_redirect: bool,
    pub settings: Settings,
    /// One that says who may come, and has no effect here: nobody may.
    pub denies: bool,
    /// Annotations under the nginx prefix that have no effect here, or a value that has none.
    pub ignored: Vec<String>,
}

impl Annotations {
    pub fn read(annotations: &BTreeMap<String, String>) -> Annotations {
        let mut read = Annotations { ssl_redirect: true, ..Annotations::default() };
        for (key, value) in annotations {
            let Some(name) = key.strip_prefix(PREFIX) else { continue };
            if read.take(name, value.trim()).is_none() {
                read.denies |= ACCESS.iter().any(|own| name.starts_with(own));
                read.ignored.push(key.clone());
            }
        }
        read
    }

    /// `None`: without effect.
    fn take(&mut self, name: &str, value: &str) -> Option<()> {
        let settings = &mut self.settings;
        match name {
            "ssl-redirect" => self.ssl_redirect = value.parse().ok()?,
            "force-ssl-redirect" => self.force_ssl_redirect = value.parse().ok()?,
            "backend-protocol" => {
                settings.protocol = match value.to_ascii_uppercase().as_str() {
                    "HTTP" | "AUTO_HTTP" => Protocol::Http1,
                    "GRPC" => Protocol::Http2,
                    _ => return None,
                }
            }
            "proxy-body-size" => settings.body_limit = Some(size(value)?).filter(|size| *size > 0),
            "proxy-connect-timeout" => settings.connect_timeout = seconds(value)?,
            "proxy-send-timeout" => settings.send_timeout = seconds(value)?,
            "proxy-read-timeout" => settings.read_timeout = seconds(value)?,
            "proxy-buffering" | "proxy-request-buffering" if value == "off" => {}
            // As the solvers of cert-manager carry it.
            "whitelist-source-range" | "allowlist-source-range" if holds_everybody(value) => {}
            _ if BUFFERS.contains(&name) => {}
            _ => return None,
        }
        Some(())
    }
}

/// Whether a list of CIDRs holds all that can come: the listeners are IPv4's.
fn holds_everybody(ranges: &str) -> bool {
    ranges.split(',').any(|range| range.trim() == "0.0.0.0/0")
}

fn seconds(value: &str) -> Option<Duration> {
    let seconds = value.strip_suffix('s').unwrap_or(value).parse().ok()?;
    (seconds > 0).then(|| Duration::from_secs(seconds))
}

/// As nginx writes sizes: `1024`, `8k`, `8m`, `1g`.
fn size(value: &str) -> Option<u64> {
    let (digits, factor) = match value.bytes().last()?.to_ascii_lowercase() {
        b'k' => (&value[..value.len() - 1], 1 << 10),
        b'm' => (&value[..value.len() - 1], 1 << 20),
        b'g' => (&value[..value.len() - 1], 1 << 30),
        _ => (value, 1),
    };
    digits.trim().parse::<u64>().ok()?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Annotations {
        Annotations::read(
            &pairs.iter().map(|(key, value)| (format!("{PREFIX}{key}"), value.to_string())).collect(),
        )
    }

    #[test]
    fn redirect_is_on_unless_switched_off() {
        assert!(read(&[]).ssl_redirect);
        assert!(!read(&[("ssl-redirect", "false")]).ssl_redirect);
    }

    #[test]
    fn what_would_keep_strangers_out_lets_nobody_in() {
        let cases = [
            ("auth-url", "x", true),
            ("whitelist-source-range", "10.0.0.0/8", true),
            ("whitelist-source-range", "0.0.0.0/0,::/0", false),
            ("allowlist-source-range", "10.0.0.0/8, 0.0.0.0/0", false),
            ("denylist-source-range", "0.0.0.0/0", true),
            ("use-regex", "x", false),
        ];
        for (name, value, expected) in cases {
            assert_eq!(read(&[(name, value)]).denies, expected, "{name}: {value}");
        }
    }

    #[test]
    fn sizes_are_read_as_nginx_writes_them() {
        let cases = [
            ("0", Some(None)),
            ("100", Some(Some(100))),
            ("8k", Some(Some(8192))),
            ("50M", Some(Some(50 << 20))),
            ("1g", Some(Some(1 << 30))),
            ("much", None),
            ("", None),
            ("\u{e9}", None),
        ];
        for (value, expected) in cases {
            let read = read(&[("proxy-body-size", value)]);
            let found = read.ignored.is_empty().then_some(read.settings.body_limit);
            assert_eq!(found, expected, "`{value}`");
        }
        assert_eq!(read(&[]).settings.body_limit, Some(1 << 20));
    }

    #[test]
    fn what_has_no_effect_is_named() {
        let key = |name| [format!("{PREFIX}{name}")];
        assert_eq!(read(&[("rewrite-target", "/$1")]).ignored, key("rewrite-target"));
        assert_eq!(read(&[("backend-protocol", "AJP")]).ignored, key("backend-protocol"));
        assert_eq!(read(&[("proxy-read-timeout", "soon")]).ignored, key("proxy-read-timeout"));
        assert!(read(&[("proxy-read-timeout", "3600"), ("proxy-buffering", "off")]).ignored.is_empty());
    }
}
