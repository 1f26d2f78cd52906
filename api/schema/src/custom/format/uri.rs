//! What a request may ask for: a path, or something behind a scheme.
//!
//! Source: https://pkg.go.dev/net/url#ParseRequestURI

pub(super) fn is_request(text: &str) -> bool {
    if text == "*" {
        return true;
    }
    if text.is_empty() || text.starts_with(':') || text.bytes().any(|byte| byte.is_ascii_control()) {
        return false;
    }
    let (scheme, rest) = scheme(text).map_or(("", text), |(scheme, rest)| (scheme, rest));
    let rest = rest.split_once('?').map_or(rest, |(path, _)| path);
    if !rest.starts_with('/') {
        return !scheme.is_empty();
    }
    match rest.strip_prefix("//").filter(|_| !scheme.is_empty()) {
        None => is_escaped(rest),
        Some(rest) => {
            let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            is_authority(authority) && is_escaped(path)
        }
    }
}

fn scheme(text: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = text.split_once(':')?;
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    is_scheme.then_some((scheme, rest))
}

fn is_escaped(path: &str) -> bool {
    path.split('%')
        .skip(1)
        .all(|after| after.len() >= 2 && after.bytes().take(2).all(|byte| byte.is_ascii_hexdigit()))
}

fn is_authority(text: &str) -> bool {
    let (user, host) = text.rsplit_once('@').unwrap_or(("", text));
    let in_user = |c: char| c.is_ascii_alphanumeric() || "-._:~!$&'()*+,;=%@".contains(c);
    let in_host =
        |c: char| c.is_ascii_alphanumeric() || !c.is_ascii() || "-_.~!$&'()*+,;=:[]<>\"".contains(c);
    let port = match host.rsplit_once(']') {
        Some((_, port)) => port,
        None => host.rfind(':').map_or("", |at| &host[at..]),
    };
    let is_port = |port: &str| {
        port.strip_prefix(':').is_some_and(|port| port.bytes().all(|byte| byte.is_ascii_digit()))
    };
    user.chars().all(in_user) && host.chars().all(in_host) && (port.is_empty() || is_port(port))
}
