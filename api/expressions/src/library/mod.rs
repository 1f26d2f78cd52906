//! The values that Kubernetes' own libraries bring: quantities, URLs, addresses, formats, versions, the authorizer.
//!
//! Source: https://kubernetes.io/docs/reference/using-api/cel/#cel-options-language-features-and-libraries

pub mod authorizer;
mod formats;
mod net;
mod quantity;
mod semver;
mod url;

use std::{fmt, sync::Arc};

use crate::{error::Error, signature::Function, value::Value};

#[derive(Clone, Debug)]
pub enum Library<'a> {
    /// In billionths.
    Quantity(i128),
    Url(Arc<url::Url>),
    Ip(std::net::IpAddr),
    Cidr(ipnet::IpNet),
    Format(&'static formats::Format),
    Semver(Arc<semver::Semver>),
    Authorizer(Arc<authorizer::Authorizer<'a>>),
    Check(Arc<authorizer::Check<'a>>),
    Decision(Arc<authorizer::Decision>),
}

/// (in signatures, as messages print it)
const NAMES: [(&str, &str); 11] = [
    ("quantity", "kubernetes.Quantity"),
    ("url", "kubernetes.URL"),
    ("ip", "net.IP"),
    ("cidr", "net.CIDR"),
    ("format", "kubernetes.NamedFormat"),
    ("semver", "kubernetes.Semver"),
    ("authorizer", "kubernetes.authorization.Authorizer"),
    ("pathCheck", "kubernetes.authorization.PathCheck"),
    ("groupCheck", "kubernetes.authorization.GroupCheck"),
    ("resourceCheck", "kubernetes.authorization.ResourceCheck"),
    ("decision", "kubernetes.authorization.Decision"),
];

/// A signature that names an unknown type would be found by the tests of the table.
pub(crate) fn type_name(short: &str) -> &'static str {
    NAMES.iter().find(|(own, _)| *own == short).map_or("unknown", |(_, name)| name)
}

pub(crate) fn tables() -> impl Iterator<Item = &'static [(&'static str, Function)]> {
    [authorizer::TABLE, formats::TABLE, net::TABLE, quantity::TABLE, semver::TABLE, url::TABLE].into_iter()
}

impl Library<'_> {
    pub fn type_name(&self) -> &'static str {
        type_name(match self {
            Library::Quantity(_) => "quantity",
            Library::Url(_) => "url",
            Library::Ip(_) => "ip",
            Library::Cidr(_) => "cidr",
            Library::Format(_) => "format",
            Library::Semver(_) => "semver",
            Library::Authorizer(_) => "authorizer",
            Library::Check(check) => check.kind(),
            Library::Decision(_) => "decision",
        })
    }

    pub(crate) fn equal(&self, other: &Library<'_>) -> bool {
        match (self, other) {
            (Library::Quantity(a), Library::Quantity(b)) => a == b,
            (Library::Url(a), Library::Url(b)) => a == b,
            (Library::Ip(a), Library::Ip(b)) => a == b,
            (Library::Cidr(a), Library::Cidr(b)) => a == b,
            (Library::Format(a), Library::Format(b)) => a.name == b.name,
            (Library::Semver(a), Library::Semver(b)) => a == b,
            _ => false,
        }
    }
}

impl fmt::Display for Library<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Library::Quantity(nanos) => f.write_str(&quantity::print(*nanos)),
            Library::Url(url) => f.write_str(&url.text),
            Library::Ip(ip) => write!(f, "{ip}"),
            Library::Cidr(cidr) => write!(f, "{cidr}"),
            Library::Format(format) => f.write_str(format.name),
            Library::Semver(version) => write!(f, "{version}"),
            other => f.write_str(other.type_name()),
        }
    }
}

fn text<'v>(value: &'v Value<'_>) -> Result<&'v str, Error> {
    value.as_str().ok_or(Error::NoOverload)
}
