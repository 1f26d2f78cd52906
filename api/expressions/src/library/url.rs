//! `url('https://example.com:80/path?k=v')`: an absolute URI, or an absolute path.
//!
//! Source: https://kubernetes.io/docs/reference/using-api/cel/#kubernetes-url-library

use std::sync::Arc;

use super::{Library, text};
use crate::{
    error::{Error, failed},
    signature::{Function, Meter},
    value::Value,
};

#[derive(Debug, PartialEq)]
pub struct Url {
    pub text: String,
    scheme: String,
    host: String,
    path: String,
    query: String,
}

impl Url {
    fn parse(text: &str) -> Option<Url> {
        if text.is_empty() || text.bytes().any(|byte| byte <= b' ' || byte == 0x7f) {
            return None;
        }
        let (before, query) = text.split_once('?').unwrap_or((text, ""));
        let mut url = Url {
            text: text.to_owned(),
            scheme: String::new(),
            host: String::new(),
            path: String::new(),
            query: query.to_owned(),
        };
        let rest = if before.starts_with('/') {
            before
        } else {
            let (scheme, rest) = before.split_once(':')?;
            let mut chars = scheme.chars();
            let good = chars.next().is_some_and(|c| c.is_ascii_alphabetic())
                && chars.all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
            if !good || !rest.starts_with('/') {
                return None;
            }
            url.scheme = scheme.to_ascii_lowercase();
            rest
        };
        let authority = rest.strip_prefix("//").filter(|_| !url.scheme.is_empty());
        match authority {
            Some(rest) => {
                let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
                url.host = authority.rsplit_once('@').map_or(authority, |(_, host)| host).to_owned();
                url.path = path.to_owned();
                check_host(&url.host)?;
            }
            None => url.path = rest.to_owned(),
        }
        check_escapes(&url.path)?;
        Some(url)
    }

    /// Without brackets, and the port.
    fn host_and_port(&self) -> (&str, &str) {
        if let Some(rest) = self.host.strip_prefix('[') {
            let (host, rest) = rest.split_once(']').unwrap_or((rest, ""));
            return (host, rest.strip_prefix(':').unwrap_or_default());
        }
        self.host.rsplit_once(':').unwrap_or((&self.host, ""))
    }
}

fn check_host(host: &str) -> Option<()> {
    let port = match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?.1,
        None => host.find(':').map_or("", |at| &host[at..]),
    };
    let good = port.is_empty()
        || port.strip_prefix(':').is_some_and(|port| port.bytes().all(|c| c.is_ascii_digit()));
    (good && !host.contains(['<', '>', '"', '\\', '^', '`', '{', '|', '}'])).then_some(())
}

/// Every percent sign is followed by two hexadecimal digits.
fn check_escapes(text: &str) -> Option<()> {
    text.split('%')
        .skip(1)
        .all(|part| part.len() >= 2 && part.as_bytes()[..2].iter().all(u8::is_ascii_hexdigit))
        .then_some(())
}

fn unescape(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let hex = |at: usize| bytes.get(at).and_then(|byte| (*byte as char).to_digit(16));
        match (bytes[at], hex(at + 1), hex(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                out.push((high * 16 + low) as u8);
                at += 2;
            }
            (b'+', ..) => out.push(b' '),
            (byte, ..) => out.push(byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn url<'a>(meter: &mut Meter<'_>, args: &[Value<'a>]) -> Result<Value<'a>, Error> {
    let own = text(&args[0])?;
    meter.traverse(own.len())?;
    match Url::parse(own) {
        Some(url) => Ok(Value::Library(Library::Url(Arc::new(url)))),
        None => failed(format!(
            "URL parse error during conversion from string: parse {own:?}: invalid URI for request"
        )),
    }
}

fn is_url<'a>(meter: &mut Meter<'_>, args: &[Value<'a>]) -> Result<Value<'a>, Error> {
    let own = text(&args[0])?;
    meter.traverse(own.len())?;
    Ok(Value::Bool(Url::parse(own).is_some()))
}

fn own<'v>(args: &'v [Value<'_>]) -> Result<&'v Url, Error> {
    match &args[0] {
        Value::Library(Library::Url(url)) => Ok(url),
        _ => Err(Error::NoOverload),
    }
}

fn scheme<'a>(_: &mut Meter<'_>, args: &[Value<'a>]) -> Result<Value<'a>, Error> {
    Ok(own(args)?.scheme.clone().into())
}

fn host<'a>(_: &mut Meter<'_>, args: &[Value<'a>]) -> Result<Value<'a>, Error> {
    Ok(own(args)?.host.clone().into())
}

fn hostname<'a>(_: &mut Meter<'_>, args: &[Value<'a>]) -> Result<Value<'a>, Error> {
    Ok(own(args)?.host_and_port().0.to_owned().into())
}

fn port<'a>(_: &mut Meter<'_>, args: &[Value<'a>]) -> Result<Value<'a>, Error> {
    Ok(own(args)?.host_and_port().1.to_owned().into())
}

fn path<'a>(_: &mut Meter<'_>, args: &[Value<'a>]) -> Result<Value<'a>, Error> {
    Ok(own(args)?.path.clone().into())
}

fn query<'a>(meter: &mut Meter<'_>, args: &[Value<'a>]) -> Result<Value<'a>, Error> {
    let query = &own(args)?.query;
    meter.traverse(query.len())?;
    let mut all: Vec<(String, Vec<Value<'a>>)> = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (key, value) = (unescape(key), Value::from(unescape(value)));
        match all.iter_mut().find(|(own, _)| *own == key) {
            Some((_, values)) => values.push(value),
            None => all.push((key, vec![value])),
        }
    }
    Ok(Value::map(all.into_iter().map(|(key, values)| (key.into(), Value::list(values))).collect()))
}

pub(super) const TABLE: &[(&str, Function)] = &[
    ("url(string) url", url),
    ("isURL(string) bool", is_url),
    ("url.getScheme() string", scheme),
    ("url.getHost() string", host),
    ("url.getHostname() string", hostname),
    ("url.getPort() string", port),
    ("url.getEscapedPath() string", path),
    ("url.getQuery() map<string, list<string>>", query),
];
