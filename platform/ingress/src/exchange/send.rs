//! A request on its way to a backend.
//!
//! Invariant: the backend gets as many bytes as the head announced, or the connection ends: what one client sends never
//! becomes the beginning of another's request.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use http::{HeaderMap, header};
use http_body::{Body, Frame};
use tokio::{io::AsyncWrite, net::TcpStream};

use crate::{
    headers::{self, Forwarded},
    upload::{RequestBody, UploadError},
};

/// What is copied behind the head, so that it leaves in one piece with it. More is not worth copying.
const SMALL: usize = 1024;

/// As much as is gathered of small parts.
const GATHERED: usize = 8 << 10;

#[derive(Default)]
pub struct Sending {
    /// The head, small parts of the body, and what is between them.
    lines: Vec<u8>,
    /// Bytes of `lines` that have left.
    left: usize,
    /// Of the body, to follow the lines uncopied; then what ends it.
    part: Bytes,
    part_end: &'static [u8],
    body: RequestBody,
    rest: Rest,
    progress: Progress,
    /// The backend takes no more.
    is_given_up: bool,
}

/// What is still to be taken from the body.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Rest {
    #[default]
    Nothing,
    Bytes(u64),
    Chunks,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Progress {
    /// No byte has left, and none was taken from the body.
    #[default]
    None,
    /// The same; the body was asked once.
    Asked,
    Some,
}

impl Sending {
    pub fn begin(&mut self, request: &Forwarded<'_>, body: RequestBody) {
        self.lines.clear();
        (self.left, self.progress, self.is_given_up) = (0, Progress::None, false);
        self.rest = match body.size_hint().exact() {
            // Also of a client on HTTP/2 that tells only later that it was all.
            Some(0) => Rest::Nothing,
            Some(size) => Rest::Bytes(size),
            None => Rest::Chunks,
        };
        self.body = body;
        write_head(&mut self.lines, request, self.rest);
    }

    /// All of the request has left.
    pub fn has_ended(&self) -> bool {
        self.rest == Rest::Nothing && !self.has_waiting() && !self.is_given_up
    }

    pub fn is_given_up(&self) -> bool {
        self.is_given_up
    }

    pub fn give_up(&mut self) {
        self.is_given_up = true;
    }

    pub fn take_unsent(&mut self) -> Option<RequestBody> {
        (self.progress != Progress::Some).then(|| std::mem::take(&mut self.body))
    }

    /// For a request that may be sent twice.
    pub fn take_again(&mut self) -> Option<RequestBody> {
        std::mem::take(&mut self.body).again()
    }

    /// Ready once all of the request has left. The outer error is the client's, the inner one the backend's.
    pub fn poll(
        &mut self,
        stream: &mut TcpStream,
        context: &mut Context<'_>,
    ) -> Result<Poll<io::Result<()>>, UploadError> {
        loop {
            while self.rest != Rest::Nothing && self.part.is_empty() && self.lines.len() < GATHERED {
                match Pin::new(&mut self.body).poll_frame(context) {
                    Poll::Ready(frame) => self.push(frame.transpose()?)?,
                    Poll::Pending if self.progress == Progress::None => {
                        // A body that came together with its head is there at the next turn.
                        self.progress = Progress::Asked;
                        context.waker().wake_by_ref();
                        return Ok(Poll::Pending);
                    }
                    Poll::Pending => {
                        let flushed = self.poll_flush(stream, context);
                        return Ok(if let Poll::Ready(Err(_)) = flushed { flushed } else { Poll::Pending });
                    }
                }
            }
            match self.poll_flush(stream, context) {
                Poll::Ready(Ok(())) if self.rest != Rest::Nothing => {}
                flushed => return Ok(flushed),
            }
        }
    }

    fn push(&mut self, frame: Option<Frame<Bytes>>) -> Result<(), UploadError> {
        self.progress = Progress::Some;
        let Some(frame) = frame else { return self.end(None) };
        match frame.into_data() {
            Ok(data) if data.is_empty() => Ok(()),
            Ok(data) => self.push_data(data),
            Err(frame) => self.end(frame.into_trailers().ok()),
        }
    }

    fn push_data(&mut self, data: Bytes) -> Result<(), UploadError> {
        let size = data.len();
        let end: &[u8] = match self.rest {
            Rest::Chunks => {
                self.lines.extend_from_slice(format!("{size:x}\r\n").as_bytes());
                b"\r\n"
            }
            Rest::Bytes(rest) => {
                let rest = rest.checked_sub(size as u64).ok_or(UploadError::Length)?;
                self.rest = if rest == 0 { Rest::Nothing } else { Rest::Bytes(rest) };
                b""
            }
            Rest::Nothing => return Err(UploadError::Length),
        };
        if size <= SMALL {
            self.lines.extend_from_slice(&data);
            self.lines.extend_from_slice(end);
        } else {
            (self.part, self.part_end) = (data, end);
        }
        Ok(())
    }

    fn end(&mut self, trailers: Option<HeaderMap>) -> Result<(), UploadError> {
        if let Rest::Bytes(_) = self.rest {
            return Err(UploadError::Length);
        }
        self.lines.extend_from_slice(b"0\r\n");
        for (name, value) in trailers.iter().flatten() {
            if !headers::shapes_message(name.as_str()) {
                write_line(&mut self.lines, name.as_str().as_bytes(), value.as_bytes());
            }
        }
        self.lines.extend_from_slice(b"\r\n");
        self.rest = Rest::Nothing;
        Ok(())
    }

    fn has_waiting(&self) -> bool {
        self.left < self.lines.len() || !self.part.is_empty() || !self.part_end.is_empty()
    }

    fn poll_flush(&mut self, stream: &mut TcpStream, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.has_waiting() {
            let (stream, lines) = (Pin::new(&mut *stream), &self.lines[self.left..]);
            let written = if self.part.is_empty() && self.part_end.is_empty() {
                ready!(stream.poll_write(context, lines))?
            } else {
                let parts = [lines, &self.part, self.part_end].map(IoSlice::new);
                ready!(stream.poll_write_vectored(context, &parts))?
            };
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.progress = Progress::Some;
            self.advance(written);
        }
        self.lines.clear();
        self.left = 0;
        Poll::Ready(Ok(()))
    }

    fn advance(&mut self, written: usize) {
        let of_lines = written.min(self.lines.len() - self.left);
        let of_part = (written - of_lines).min(self.part.len());
        self.left += of_lines;
        self.part.advance(of_part);
        self.part_end = &self.part_end[written - of_lines - of_part..];
    }
}

fn write_head(lines: &mut Vec<u8>, request: &Forwarded<'_>, rest: Rest) {
    for part in [request.parts.method.as_str(), " ", request.target(), " HTTP/1.1\r\n"] {
        lines.extend_from_slice(part.as_bytes());
    }
    request.each(|name, value| write_line(lines, name.as_str().as_bytes(), value.as_bytes()));
    lines.extend_from_slice(&request.arrival.lines);
    match rest {
        Rest::Nothing if !request.parts.headers.contains_key(header::CONTENT_LENGTH) => {}
        Rest::Nothing => write_line(lines, b"content-length", b"0"),
        Rest::Bytes(size) => write_line(lines, b"content-length", size.to_string().as_bytes()),
        Rest::Chunks => write_line(lines, b"transfer-encoding", b"chunked"),
    }
    lines.extend_from_slice(b"\r\n");
}

pub fn write_line(lines: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    lines.reserve(name.len() + value.len() + 4);
    for part in [name, b": ", value, b"\r\n"] {
        lines.extend_from_slice(part);
    }
}
