//! The body of an answer, out of the bytes of its connection.
//! Source: RFC 9112, section 6.3.

use bytes::{Bytes, BytesMut};
use http_body::{Frame, SizeHint};

use super::{answer::Malformed, chunks::Chunks};

/// What is still to come.
pub enum Decoder {
    Ended,
    /// Bytes, more than 0.
    Length(u64),
    Chunks(Chunks),
    /// All until the connection ends.
    Connection,
}

impl Decoder {
    pub fn length(bytes: u64) -> Decoder {
        if bytes == 0 { Decoder::Ended } else { Decoder::Length(bytes) }
    }

    pub fn has_ended(&self) -> bool {
        matches!(self, Decoder::Ended)
    }

    pub fn ends_with_connection(&self) -> bool {
        matches!(self, Decoder::Connection)
    }

    pub fn size_hint(&self) -> SizeHint {
        match self {
            Decoder::Ended => SizeHint::with_exact(0),
            Decoder::Length(rest) => SizeHint::with_exact(*rest),
            Decoder::Chunks(_) | Decoder::Connection => SizeHint::default(),
        }
    }

    /// The rest of the body, if all of it is there.
    pub fn take_whole(&mut self, unread: &mut BytesMut) -> Option<Bytes> {
        let size = match self {
            Decoder::Ended => 0,
            Decoder::Length(rest) if *rest <= unread.len() as u64 => *rest as usize,
            _ => return None,
        };
        *self = Decoder::Ended;
        Some(unread.split_to(size).freeze())
    }

    /// `None`: the body has ended, or more must be read.
    pub fn decode(&mut self, unread: &mut BytesMut) -> Result<Option<Frame<Bytes>>, Malformed> {
        match self {
            Decoder::Ended => Ok(None),
            Decoder::Length(rest) => {
                let data = take(rest, unread);
                if *rest == 0 {
                    *self = Decoder::Ended;
                }
                Ok(data.map(Frame::data))
            }
            Decoder::Chunks(chunks) => {
                let frame = chunks.decode(unread)?;
                if chunks.has_ended() {
                    *self = Decoder::Ended;
                }
                Ok(frame)
            }
            Decoder::Connection if unread.is_empty() => Ok(None),
            Decoder::Connection => Ok(Some(Frame::data(unread.split().freeze()))),
        }
    }
}

/// At most `rest` bytes, which become fewer.
pub fn take(rest: &mut u64, unread: &mut BytesMut) -> Option<Bytes> {
    let size = unread.len().min(usize::try_from(*rest).unwrap_or(usize::MAX));
    *rest -= size as u64;
    (size > 0).then(|| unread.split_to(size).freeze())
}
