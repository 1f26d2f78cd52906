//! JSON for people: answers to browsers, curl and wget, or with `?pretty=true`, are indented.
//!
//! Kept true: an answer is indented as it passes by, frame by frame; only blanks are added, between its tokens.
//! Source: https://github.com/kubernetes/apiserver/blob/master/pkg/endpoints/handlers/negotiation/negotiate.go (`isPrettyPrint`)

use http::{HeaderMap, Uri, header};
use http_body_util::BodyExt;

use crate::{
    options::{Query, parse_bool},
    types::Response,
};

/// Whether a person reads the answer.
pub fn is_wanted(uri: &Uri, headers: &HeaderMap) -> bool {
    if uri.query().is_some_and(|query| query.contains("pretty=")) {
        let asked = Query::parse(uri.query()).text("pretty").to_owned();
        if !asked.is_empty() {
            return parse_bool(&asked);
        }
    }
    let agent = headers.get(header::USER_AGENT).map_or(&b""[..], |agent| agent.as_bytes());
    [&b"curl"[..], b"Wget", b"Mozilla/5.0"].iter().any(|name| agent.starts_with(name))
}

/// The same answer, indented if it is JSON.
pub fn indented(response: Response) -> Response {
    let headers = response.headers();
    let is_json = headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind == "application/json");
    if !is_json || headers.contains_key(header::CONTENT_ENCODING) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    parts.headers.remove(header::CONTENT_LENGTH);
    let mut layout = Layout::default();
    let body = body.map_frame(move |frame| frame.map_data(|bytes| layout.indent(&bytes).into()));
    Response::from_parts(parts, body.boxed_unsync())
}

/// Where in a document the last byte was.
#[derive(Default)]
struct Layout {
    depth: usize,
    in_text: bool,
    escaped: bool,
    /// After an opening bracket: a closing one stays on its line.
    opened: bool,
}

impl Layout {
    fn indent(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(bytes.len() * 2);
        for &byte in bytes {
            self.put(byte, &mut out);
        }
        out
    }

    fn put(&mut self, byte: u8, out: &mut Vec<u8>) {
        if self.in_text {
            out.push(byte);
            self.in_text = byte != b'"' || self.escaped;
            self.escaped = byte == b'\\' && !self.escaped;
            return;
        }
        if byte.is_ascii_whitespace() {
            return;
        }
        let opened = std::mem::take(&mut self.opened);
        match byte {
            b'}' | b']' => {
                self.depth = self.depth.saturating_sub(1);
                if !opened {
                    self.line(out);
                }
            }
            _ if opened => self.line(out),
            _ => {}
        }
        out.push(byte);
        match byte {
            b'{' | b'[' => {
                self.depth += 1;
                self.opened = true;
            }
            b',' => self.line(out),
            b':' => out.push(b' '),
            b'"' => self.in_text = true,
            _ => {}
        }
    }

    fn line(&self, out: &mut Vec<u8>) {
        out.push(b'\n');
        out.resize(out.len() + 2 * self.depth, b' ');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_in_any_pieces_are_laid_out_as_their_encoder_would() {
        let document = serde_json::json!({
            "a": {}, "b": [], "c": [1, {"d": "x, {\"y\": [\\\"]}"}, []], "é": null, "e": {"f": [true, "\\\\"]},
        });
        let compact = serde_json::to_vec(&document).unwrap();
        let pretty = serde_json::to_string_pretty(&document).unwrap();
        for size in [1, 3, 7, compact.len()] {
            let mut layout = Layout::default();
            let seen: Vec<u8> = compact.chunks(size).flat_map(|piece| layout.indent(piece)).collect();
            assert_eq!(String::from_utf8(seen).unwrap(), pretty, "in pieces of {size}");
        }
    }

    #[test]
    fn people_are_known_by_their_programs_unless_the_query_says_so() {
        for (uri, agent, wanted) in [
            ("/api", "curl/8.5.0", true),
            ("/api", "Mozilla/5.0 (X11)", true),
            ("/api", "kubectl/v1.36.0", false),
            ("/api?pretty=false", "curl/8.5.0", false),
            ("/api?pretty=true", "kubectl/v1.36.0", true),
            ("/api?pretty=", "Wget/1.2", true),
        ] {
            let headers = HeaderMap::from_iter([(header::USER_AGENT, agent.parse().unwrap())]);
            assert_eq!(is_wanted(&uri.parse().unwrap(), &headers), wanted, "{uri} {agent}");
        }
    }
}
