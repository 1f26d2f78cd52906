//! `GET /coracle/backup`: every object of one revision as the lines of a backup, see [`coracle_backup`]. Keys and
//! certificates are no objects and not in it; `coracle backup`, which runs beside them, adds them.
//!
//! Kept true: whoever gets it may list every resource, beside being allowed the path itself; the answer is made while it
//!            is read, no more than [`CHUNKS`] chunks ahead; an answer that ends early lacks the last line of a backup.
//! Reads:     one snapshot of the store.

use std::io::{self, Write};

use bytes::Bytes;
use coracle_backup::Encoder;
use coracle_store::{Scope, Snapshot};
use futures::StreamExt;
use http::{HeaderValue, header};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::{
    authz::Attributes,
    status::Status,
    types::{BoxError, Response, State, UserInfo},
};

pub const PATH: [&str; 2] = ["coracle", "backup"];

const CHUNK_LEN: usize = 64 << 10;
const CHUNKS: usize = 4;

pub fn serve(state: &State, user: &UserInfo) -> Result<Response, Status> {
    let everything =
        Attributes { verb: "list".into(), group: "*".into(), resource: "*".into(), ..Attributes::default() };
    state.authorizer.require(user, &everything)?;
    let snapshot = state.reader.snapshot();
    let (chunks, body) = mpsc::channel(CHUNKS);
    // Encoding is work for a processor, and waits for the client: both have no place among the requests.
    tokio::task::spawn_blocking(move || {
        if let Err(error) = encode(&snapshot, Chunks { chunks: chunks.clone(), chunk: Vec::new() }) {
            // A client that went away is not told.
            _ = chunks.blocking_send(Err(error));
        }
    });
    let frames = ReceiverStream::new(body).map(|chunk| chunk.map(Frame::data).map_err(BoxError::from));
    let mut response = http::Response::new(StreamBody::new(frames).boxed_unsync());
    let content_type = HeaderValue::from_static("application/x-ndjson");
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    Ok(response)
}

fn encode(snapshot: &Snapshot, out: Chunks) -> io::Result<()> {
    let mut encoder = Encoder::start(out, snapshot.revision().0)?;
    for (resource, _) in snapshot.resources() {
        for object in snapshot.list(&Scope::all(resource)) {
            encoder.object(object)?;
        }
    }
    encoder.finish().map(drop)
}

/// Collects what is written into chunks of the answer.
struct Chunks {
    chunks: mpsc::Sender<io::Result<Bytes>>,
    chunk: Vec<u8>,
}

impl Write for Chunks {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.chunk.extend_from_slice(bytes);
        if self.chunk.len() >= CHUNK_LEN {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let chunk = std::mem::take(&mut self.chunk);
        let sent = self.chunks.blocking_send(Ok(chunk.into()));
        sent.map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}
