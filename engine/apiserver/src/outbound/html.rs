//! Links inside of HTML that came through a proxy path.
//!
//! Kept true: only values of attributes that hold a URL change, all else stays as it is, byte for byte.
//! Source: https://github.com/kubernetes/apimachinery/blob/master/pkg/util/proxy/transport.go (`atomsToAttrs`)

use std::io::Read;

use http::{HeaderMap, header};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;

use super::CallError;
use crate::types::{Response, body_from};

/// A page; what is larger is refused rather than kept in memory.
const MAX_BYTES: usize = 16 << 20;

/// Tags and their attributes that hold a URL.
const LINKS: [(&str, &[&str]); 25] = [
    ("a", &["href"]),
    ("applet", &["codebase"]),
    ("area", &["href"]),
    ("audio", &["src"]),
    ("base", &["href"]),
    ("blockquote", &["cite"]),
    ("body", &["background"]),
    ("button", &["formaction"]),
    ("command", &["icon"]),
    ("del", &["cite"]),
    ("embed", &["src"]),
    ("form", &["action"]),
    ("frame", &["longdesc", "src"]),
    ("head", &["profile"]),
    ("html", &["manifest"]),
    ("iframe", &["longdesc", "src"]),
    ("img", &["longdesc", "src", "usemap"]),
    ("input", &["formaction", "src", "usemap"]),
    ("ins", &["cite"]),
    ("link", &["href"]),
    ("object", &["classid", "codebase", "data", "usemap"]),
    ("q", &["cite"]),
    ("script", &["src"]),
    ("source", &["src"]),
    ("video", &["poster", "src"]),
];

/// What is inside of these is no markup.
const RAW: [&str; 4] = ["script", "style", "textarea", "title"];

/// HTML whose encoding we read.
pub fn is_html(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = text(header::CONTENT_TYPE).split(';').next().unwrap_or_default().trim().to_owned();
    media_type.eq_ignore_ascii_case("text/html") && matches!(text(header::CONTENT_ENCODING), "" | "gzip")
}

pub async fn rewrite(
    response: http::Response<Incoming>,
    link: impl Fn(&str) -> String,
) -> Result<Response, CallError> {
    let (mut parts, body) = response.into_parts();
    let failed = |why: String| CallError::Exchange(format!("rewrite HTML: {why}"));
    let bytes = Limited::new(body, MAX_BYTES).collect().await.map_err(|error| failed(error.to_string()))?;
    let mut bytes = bytes.to_bytes();
    if bytes.is_empty() {
        // The answer to HEAD: what it says of the body holds for the body that GET would give.
        return Ok(Response::from_parts(parts, body_from(bytes)));
    }
    if parts.headers.remove(header::CONTENT_ENCODING).is_some() {
        let mut plain = Vec::new();
        let mut decoder = flate2::read::MultiGzDecoder::new(&bytes[..]).take(MAX_BYTES as u64 + 1);
        decoder.read_to_end(&mut plain).map_err(|error| failed(error.to_string()))?;
        if plain.len() > MAX_BYTES {
            return Err(failed(format!("the page has more than {MAX_BYTES} bytes")));
        }
        bytes = plain.into();
    }
    parts.headers.remove(header::CONTENT_LENGTH);
    let text = match std::str::from_utf8(&bytes) {
        Ok(text) => rewrite_text(text, &link).into(),
        // Of another charset: as it is.
        Err(_) => bytes,
    };
    Ok(Response::from_parts(parts, body_from(text)))
}

fn rewrite_text(html: &str, link: &impl Fn(&str) -> String) -> String {
    let mut out = String::with_capacity(html.len() + 256);
    let mut rest = html;
    while let Some(at) = rest.find('<') {
        let (before, tag) = rest.split_at(at);
        out.push_str(before);
        if tag.starts_with("<!--") {
            let end = tag.find("-->").map_or(tag.len(), |end| end + 3);
            out.push_str(&tag[..end]);
            rest = &tag[end..];
            continue;
        }
        if !tag[1..].starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '/' | '!' | '?')) {
            out.push('<');
            rest = &tag[1..];
            continue;
        }
        let end = tag_end(tag);
        let (tag, after) = tag.split_at(end);
        rest = after;
        let name_end = tag[1..].find(|c: char| !c.is_ascii_alphanumeric()).map_or(tag.len(), |end| end + 1);
        let name = tag[1..name_end].to_ascii_lowercase();
        match LINKS.iter().find(|(own, _)| *own == name) {
            Some((_, attributes)) => out.push_str(&rewrite_tag(tag, name_end, attributes, link)),
            None => out.push_str(tag),
        }
        if RAW.contains(&name.as_str()) {
            let close = format!("</{name}");
            let is_close = |window: &[u8]| window.eq_ignore_ascii_case(close.as_bytes());
            let end = rest.as_bytes().windows(close.len()).position(is_close).unwrap_or(rest.len());
            out.push_str(&rest[..end]);
            rest = &rest[end..];
        }
    }
    out.push_str(rest);
    out
}

/// Where the tag that `text` begins with ends; a `>` inside of quotes does not end it.
fn tag_end(text: &str) -> usize {
    let mut quote = None;
    let mut before = b' ';
    for (at, byte) in text.bytes().enumerate() {
        match (quote, byte) {
            (Some(open), _) if byte == open => quote = None,
            (Some(_), _) => {}
            (None, b'"' | b'\'') if before == b'=' => quote = Some(byte),
            (None, b'>') => return at + 1,
            _ => {}
        }
        if !byte.is_ascii_whitespace() {
            before = byte;
        }
    }
    text.len()
}

fn rewrite_tag(tag: &str, from: usize, attributes: &[&str], link: &impl Fn(&str) -> String) -> String {
    let mut out = tag[..from].to_owned();
    let mut rest = &tag[from..];
    while let Some(equals) = rest.find('=') {
        let (head, tail) = rest.split_at(equals + 1);
        out.push_str(head);
        let name = head[..equals].trim_end().rsplit(|c: char| c.is_whitespace() || c == '/').next();
        let name = name.unwrap_or_default().to_ascii_lowercase();
        let value_at = tail.len() - tail.trim_start().len();
        out.push_str(&tail[..value_at]);
        let tail = &tail[value_at..];
        let (open, value, after) = match tail.chars().next() {
            Some(quote @ ('"' | '\'')) => {
                let inner = &tail[1..];
                let end = inner.find(quote).unwrap_or(inner.len());
                (&tail[..1], &inner[..end], &inner[end..])
            }
            _ => {
                let end = tail.find(|c: char| c.is_whitespace() || c == '>').unwrap_or(tail.len());
                ("", &tail[..end], &tail[end..])
            }
        };
        out.push_str(open);
        if attributes.contains(&name.as_str()) {
            out.push_str(&link(value))
        } else {
            out.push_str(value)
        }
        // The closing quote belongs to what follows.
        let closing = open.len().min(after.len());
        out.push_str(&after[..closing]);
        rest = &after[closing..];
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_links_in_markup_are_rewritten() {
        let link = |text: &str| if text.starts_with('/') { format!("/p{text}") } else { text.to_owned() };
        for (html, expected) in [
            (r#"<a href="/rewriteme">test</a>"#, r#"<a href="/p/rewriteme">test</a>"#),
            (r#"<A class=b HREF='/x' title="/y">"#, r#"<A class=b HREF='/p/x' title="/y">"#),
            ("<img src=/x alt=/y>", "<img src=/p/x alt=/y>"),
            (r#"<p href="/x">/x</p>"#, r#"<p href="/x">/x</p>"#),
            (r#"<!-- <a href="/x"> --><a href="y">"#, r#"<!-- <a href="/x"> --><a href="y">"#),
            (
                r#"<script src="/x">"<a href='/y'>"</script>"#,
                r#"<script src="/p/x">"<a href='/y'>"</script>"#,
            ),
            (r#"a < b <link href="/x"/>"#, r#"a < b <link href="/p/x"/>"#),
            (r#"<a title="a > b" href="/x">"#, r#"<a title="a > b" href="/p/x">"#),
        ] {
            assert_eq!(rewrite_text(html, &link), expected);
        }
    }
}
