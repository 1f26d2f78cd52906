//! The head of an answer, and what it says of the body and of the connection.
//!
//! Invariant: heads that two readers could understand differently are errors.
//! Source: RFC 9112, sections 5, 6 and 9.3; nginx refuses the same.

use std::mem::MaybeUninit;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};
use httparse::{ParserConfig, Status};
use hyper::ext::ReasonPhrase;

use super::decode::Decoder;
use crate::headers;

/// As for clients.
pub const MAX_HEAD_BYTES: usize = 32 << 10;
pub const MAX_HEADERS: usize = 100;

pub struct Answer {
    /// Without headers that concern this connection only, but for those of a switch of protocols.
    pub head: Response<()>,
    pub decoder: Decoder,
    pub keep_alive: bool,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("{0}")]
    Head(#[from] httparse::Error),
    #[error("the head is larger than {MAX_HEAD_BYTES} bytes")]
    LargeHead,
    #[error("a header's name or value is not valid")]
    Header,
    #[error("`Content-Length` is no number, or several")]
    Length,
    #[error("`Transfer-Encoding` is not `chunked`, or has no place here")]
    Encoding,
    #[error("the size of a chunk is not valid")]
    ChunkSize,
    #[error("a chunk is longer than its size says")]
    ChunkEnd,
    #[error("the trailers are too large")]
    LargeTrailers,
}

impl Answer {
    /// Another head follows this one.
    pub fn is_interim(&self) -> bool {
        self.head.status().is_informational() && self.head.status() != StatusCode::SWITCHING_PROTOCOLS
    }
}

/// `None`: more must be read.
pub fn take(unread: &mut BytesMut, asked: &Method) -> Result<Option<Answer>, Malformed> {
    match end_of_head(unread) {
        Some(size) if size <= MAX_HEAD_BYTES => parse(unread.split_to(size).freeze(), asked).map(Some),
        None if unread.len() < MAX_HEAD_BYTES => Ok(None),
        _ => Err(Malformed::LargeHead),
    }
}

/// Behind the first empty line.
fn end_of_head(bytes: &[u8]) -> Option<usize> {
    memchr::memchr_iter(b'\n', bytes).find_map(|at| match bytes[at + 1..] {
        [b'\n', ..] => Some(at + 2),
        [b'\r', b'\n', ..] => Some(at + 3),
        _ => None,
    })
}

/// What the headers say of the message itself.
#[derive(Default)]
struct Framing {
    length: Option<u64>,
    chunked: bool,
    close: bool,
    /// Named in `Connection`.
    named: Vec<HeaderName>,
}

fn parse(bytes: Bytes, asked: &Method) -> Result<Answer, Malformed> {
    let mut room = [const { MaybeUninit::uninit() }; MAX_HEADERS];
    let mut parsed = httparse::Response::new(&mut []);
    let outcome =
        ParserConfig::default().parse_response_with_uninit_headers(&mut parsed, &bytes, &mut room)?;
    let (Status::Complete(_), Some(code)) = (outcome, parsed.code) else { return Err(Malformed::Header) };
    let status = StatusCode::from_u16(code).map_err(|_| Malformed::Header)?;
    let is_http11 = parsed.version == Some(1);
    let is_switch = status == StatusCode::SWITCHING_PROTOCOLS;

    let mut headers = HeaderMap::with_capacity(parsed.headers.len());
    let mut framing = Framing::default();
    for line in parsed.headers.iter() {
        let name = HeaderName::from_bytes(line.name.as_bytes()).map_err(|_| Malformed::Header)?;
        let passes = framing.note(&name, line.value, is_http11)?;
        let switches = is_switch && [header::CONNECTION, header::UPGRADE].contains(&name);
        if switches || (passes && !headers::is_of_one_hop(name.as_str())) {
            let value = HeaderValue::from_maybe_shared(bytes.slice_ref(line.value));
            headers.append(name, value.map_err(|_| Malformed::Header)?);
        }
    }
    if framing.chunked && framing.length.is_some() {
        return Err(Malformed::Encoding);
    }
    if !is_switch {
        for name in &framing.named {
            headers.remove(name);
        }
    }
    let decoder = framing.decoder(asked, status);
    let keep_alive = is_http11 && !framing.close && !is_switch && !matches!(decoder, Decoder::Connection);
    let mut head = Response::new(());
    *head.status_mut() = status;
    *head.headers_mut() = headers;
    if let Some(reason) = parsed.reason
        && Some(reason) != status.canonical_reason()
        && let Ok(reason) = ReasonPhrase::try_from(reason.as_bytes())
    {
        head.extensions_mut().insert(reason);
    }
    Ok(Answer { head, decoder, keep_alive })
}

impl Framing {
    /// Whether the header may pass; a length does so once.
    fn note(&mut self, name: &HeaderName, value: &[u8], is_http11: bool) -> Result<bool, Malformed> {
        match *name {
            header::CONTENT_LENGTH => {
                let length = length(value).ok_or(Malformed::Length)?;
                match self.length.replace(length) {
                    Some(other) if other != length => Err(Malformed::Length),
                    other => Ok(other.is_none()),
                }
            }
            header::TRANSFER_ENCODING => {
                let is_new = !std::mem::replace(&mut self.chunked, true);
                let is_known = is_http11 && value.eq_ignore_ascii_case(b"chunked");
                if is_new && is_known { Ok(false) } else { Err(Malformed::Encoding) }
            }
            header::CONNECTION => {
                for option in headers::options(value) {
                    self.close |= option.eq_ignore_ascii_case("close");
                    self.named.extend(headers::named(option));
                }
                Ok(false)
            }
            _ => Ok(true),
        }
    }

    fn decoder(&self, asked: &Method, status: StatusCode) -> Decoder {
        let is_empty = status.is_informational()
            || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
            || asked == Method::HEAD;
        match self.length {
            _ if is_empty => Decoder::Ended,
            _ if self.chunked => Decoder::Chunks(Default::default()),
            Some(length) => Decoder::length(length),
            None => Decoder::Connection,
        }
    }
}

fn length(value: &[u8]) -> Option<u64> {
    let is_number = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    is_number.then(|| std::str::from_utf8(value).ok()?.parse().ok()).flatten()
}
