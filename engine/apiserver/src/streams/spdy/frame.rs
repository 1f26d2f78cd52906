//! Frames of SPDY/3.1 from and to bytes.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::headers::HeaderError;

const VERSION: u16 = 3;
const HEAD_BYTES: usize = 8;
/// Clients send what they read at once, some tens of KiB.
const MAX_FRAME_BYTES: usize = 4 << 20;
const FLAG_FIN: u8 = 1;
/// `REFUSED_STREAM`
const REFUSED: u32 = 3;

const SYN_STREAM: u16 = 1;
const SYN_REPLY: u16 = 2;
const RST_STREAM: u16 = 3;
const PING: u16 = 6;
const GOAWAY: u16 = 7;
const HEADERS: u16 = 8;

#[derive(Debug, thiserror::Error)]
pub enum SpdyError {
    #[error("read from the client")]
    Read(#[source] std::io::Error),
    #[error("frame of {bytes} bytes, at most {MAX_FRAME_BYTES} are taken")]
    TooLarge { bytes: usize },
    #[error("SPDY version {version}, expected {VERSION}")]
    Version { version: u16 },
    #[error("frame of type {kind} is too short")]
    Short { kind: u16 },
    #[error("header block")]
    Headers(#[from] HeaderError),
}

#[derive(Debug, PartialEq, Eq)]
pub enum Frame {
    SynStream {
        stream: u32,
        finished: bool,
        block: Bytes,
    },
    Data {
        stream: u32,
        finished: bool,
        bytes: Bytes,
    },
    Reset {
        stream: u32,
    },
    /// More headers of a stream, or of our answer: only kept for the compression's state.
    Headers {
        block: Bytes,
    },
    Ping {
        id: u32,
    },
    /// Settings, windows, goaway: nothing to do.
    Ignored,
}

impl Frame {
    /// Takes the first frame out of the buffer, if it is there as a whole.
    pub fn parse(buffer: &mut BytesMut) -> Result<Option<Frame>, SpdyError> {
        if buffer.len() < HEAD_BYTES {
            return Ok(None);
        }
        let first = u32::from_be_bytes([buffer[0], buffer[1], buffer[2], buffer[3]]);
        let (flags, length) = (buffer[4], u32::from_be_bytes([0, buffer[5], buffer[6], buffer[7]]) as usize);
        if length > MAX_FRAME_BYTES {
            return Err(SpdyError::TooLarge { bytes: length });
        }
        if buffer.len() < HEAD_BYTES + length {
            buffer.reserve(HEAD_BYTES + length - buffer.len());
            return Ok(None);
        }
        buffer.advance(HEAD_BYTES);
        let body = buffer.split_to(length).freeze();
        let finished = flags & FLAG_FIN != 0;
        if first >> 31 == 0 {
            return Ok(Some(Frame::Data { stream: first, finished, bytes: body }));
        }
        let version = (first >> 16) as u16 & 0x7fff;
        if version != VERSION {
            return Err(SpdyError::Version { version });
        }
        control(first as u16, finished, body).map(Some)
    }
}

fn control(kind: u16, finished: bool, mut body: Bytes) -> Result<Frame, SpdyError> {
    let fixed = match kind {
        SYN_STREAM => 10,
        SYN_REPLY | HEADERS | PING => 4,
        RST_STREAM => 8,
        _ => return Ok(Frame::Ignored),
    };
    if body.len() < fixed {
        return Err(SpdyError::Short { kind });
    }
    let id = body.get_u32();
    // Of SYN_STREAM: the associated stream, the priority and an unused slot.
    body.advance(fixed - 4);
    Ok(match kind {
        SYN_STREAM => Frame::SynStream { stream: id & 0x7fff_ffff, finished, block: body },
        RST_STREAM => Frame::Reset { stream: id & 0x7fff_ffff },
        PING => Frame::Ping { id },
        _ => Frame::Headers { block: body },
    })
}

fn control_head(buffer: &mut BytesMut, kind: u16, length: usize) {
    buffer.put_u16(0x8000 | VERSION);
    buffer.put_u16(kind);
    buffer.put_u32(length as u32);
}

pub fn syn_reply(buffer: &mut BytesMut, stream: u32, block: &[u8]) {
    control_head(buffer, SYN_REPLY, 4 + block.len());
    buffer.put_u32(stream);
    buffer.put_slice(block);
}

pub fn data(buffer: &mut BytesMut, stream: u32, bytes: &[u8], finished: bool) {
    buffer.put_u32(stream);
    buffer.put_u32(u32::from(if finished { FLAG_FIN } else { 0 }) << 24 | bytes.len() as u32);
    buffer.put_slice(bytes);
}

pub fn ping(buffer: &mut BytesMut, id: u32) {
    control_head(buffer, PING, 4);
    buffer.put_u32(id);
}

pub fn reset(buffer: &mut BytesMut, stream: u32) {
    control_head(buffer, RST_STREAM, 8);
    buffer.put_u32(stream);
    buffer.put_u32(REFUSED);
}

pub fn go_away(buffer: &mut BytesMut) {
    control_head(buffer, GOAWAY, 8);
    buffer.put_u64(0);
}

/// What a client sends.
#[cfg(test)]
pub fn syn_stream(buffer: &mut BytesMut, stream: u32, block: &[u8]) {
    control_head(buffer, SYN_STREAM, 10 + block.len());
    buffer.put_u32(stream);
    buffer.put_slice(&[0; 6]);
    buffer.put_slice(block);
}
