//! A body in chunks.
//! Source: RFC 9112, section 7.1. Extensions are passed over; lines end with CRLF, nothing else.

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::Frame;
use httparse::Status;

use super::{
    answer::{MAX_HEAD_BYTES, MAX_HEADERS, Malformed},
    decode::take,
};
use crate::headers;

/// Of the line before a chunk, with its extensions.
const MAX_LINE_BYTES: usize = 4 << 10;

/// What comes next.
#[derive(Default)]
pub enum Chunks {
    #[default]
    Size,
    /// Bytes of the chunk that are still to come, more than 0.
    Data(u64),
    DataEnd,
    Trailers,
    Ended,
}

impl Chunks {
    pub fn has_ended(&self) -> bool {
        matches!(self, Chunks::Ended)
    }

    /// `None`: the body has ended, or more must be read.
    pub fn decode(&mut self, unread: &mut BytesMut) -> Result<Option<Frame<Bytes>>, Malformed> {
        loop {
            match self {
                Chunks::Size => match take_size(unread)? {
                    None => return Ok(None),
                    Some(0) => *self = Chunks::Trailers,
                    Some(size) => *self = Chunks::Data(size),
                },
                Chunks::Data(rest) => {
                    let data = take(rest, unread);
                    if *rest == 0 {
                        *self = Chunks::DataEnd;
                    }
                    return Ok(data.map(Frame::data));
                }
                Chunks::DataEnd => match **unread {
                    [b'\r', b'\n', ..] => {
                        unread.advance(2);
                        *self = Chunks::Size;
                    }
                    [] | [b'\r'] => return Ok(None),
                    _ => return Err(Malformed::ChunkEnd),
                },
                Chunks::Trailers => {
                    let Some(trailers) = take_trailers(unread)? else { return Ok(None) };
                    *self = Chunks::Ended;
                    return Ok((!trailers.is_empty()).then(|| Frame::trailers(trailers)));
                }
                Chunks::Ended => return Ok(None),
            }
        }
    }
}

fn take_size(unread: &mut BytesMut) -> Result<Option<u64>, Malformed> {
    let line = &unread[..unread.len().min(MAX_LINE_BYTES)];
    let Some(end) = memchr::memchr(b'\n', line) else {
        return if line.len() < MAX_LINE_BYTES { Ok(None) } else { Err(Malformed::ChunkSize) };
    };
    let line = line[..end].strip_suffix(b"\r").ok_or(Malformed::ChunkSize)?;
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let (digits, extension) = line.split_at(digits);
    let may_follow = extension.trim_ascii_start().first().is_none_or(|byte| *byte == b';');
    let is_text = extension.iter().all(|byte| *byte == b'\t' || !byte.is_ascii_control());
    if !(1..=16).contains(&digits.len()) || !may_follow || !is_text {
        return Err(Malformed::ChunkSize);
    }
    let size = digits.iter().fold(0, |size, digit| size << 4 | u64::from(hex(*digit)));
    unread.advance(end + 1);
    Ok(Some(size))
}

fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

fn take_trailers(unread: &mut BytesMut) -> Result<Option<HeaderMap>, Malformed> {
    let mut room = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let Status::Complete((size, lines)) = httparse::parse_headers(unread, &mut room)? else {
        return if unread.len() < MAX_HEAD_BYTES { Ok(None) } else { Err(Malformed::LargeTrailers) };
    };
    let mut trailers = HeaderMap::new();
    for line in lines {
        let name = HeaderName::from_bytes(line.name.as_bytes()).map_err(|_| Malformed::Header)?;
        let value = HeaderValue::from_bytes(line.value).map_err(|_| Malformed::Header)?;
        if !headers::shapes_message(name.as_str()) {
            trailers.append(name, value);
        }
    }
    unread.advance(size);
    Ok(Some(trailers))
}
