//! The ingress-nginx annotations that are honoured.
//! Source: <https://kubernetes.github.io/ingress-nginx/user-guide/nginx-configuration/annotations/>

use std::collections::BTreeMap;

const PREFIX: &str = "nginx.ingress.kubernetes.io/";

/// The older way to name the class of an Ingress.
pub const CLASS: &str = "kubernetes.io/ingress.class";

/// How the backend is spoken to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Protocol {
    #[default]
    Http1,
    /// HTTP/2 without TLS and without upgrade: `backend-protocol: GRPC`.
    Http2,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Annotations {
    /// Redirect to HTTPS where the Ingress has TLS for the host. Default true.
    pub ssl_redirect: bool,
    /// Redirect to HTTPS always.
    pub force_ssl_redirect: bool,
    pub protocol: Protocol,
    /// Names under the nginx prefix that have no effect here.
    pub ignored: Vec<String>,
}

impl Annotations {
    pub fn read(annotations: &BTreeMap<String, String>) -> Annotations {
        let mut read = Annotations { ssl_redirect: true, ..Annotations::default() };
        for (key, value) in annotations {
            let Some(name) = key.strip_prefix(PREFIX) else { continue };
            match (name, value.as_str()) {
                ("ssl-redirect", "true" | "false") => read.ssl_redirect = value == "true",
                ("force-ssl-redirect", "true" | "false") => read.force_ssl_redirect = value == "true",
                ("backend-protocol", "HTTP") => read.protocol = Protocol::Http1,
                ("backend-protocol", "GRPC") => read.protocol = Protocol::Http2,
                _ => read.ignored.push(format!("{name}: {value}")),
            }
        }
        read
    }
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
    fn what_has_no_effect_is_named() {
        assert_eq!(read(&[("rewrite-target", "/$1")]).ignored, ["rewrite-target: /$1"]);
        assert_eq!(read(&[("backend-protocol", "AJP")]).ignored, ["backend-protocol: AJP"]);
    }
}
