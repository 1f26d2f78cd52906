//! A list as protobuf, streamed.
//!
//! Invariant: the answer is never in memory as a whole. A message says its length before its bytes, so every item is
//! encoded once to be measured; what does not fit into [`KEPT_BYTES`] is encoded again when its turn comes.

use bytes::Bytes;
use futures::stream;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use serde_json::Value;

use super::{
    MAGIC,
    wire::Backwards,
    write::{self, TRAILER},
};
use crate::{status::Status, types::Body};

/// Short lists are encoded only once.
const KEPT_BYTES: usize = 1024 * 1024;

/// What a list consists of, and how one item becomes a message.
pub struct Items<T, F> {
    pub objects: Vec<T>,
    pub encode: F,
}

enum Item<T> {
    Encoded(Vec<u8>),
    Measured(T, usize),
}

impl<T> Item<T> {
    fn len(&self) -> usize {
        match self {
            Item::Encoded(bytes) => bytes.len(),
            Item::Measured(_, bytes) => *bytes,
        }
    }
}

/// Of every list type, `metadata` is field 1 and `items` is field 2.
pub fn list_body<T, F>(
    api_version: &str,
    kind: &str,
    metadata: &Value,
    list: Items<T, F>,
) -> Result<Body, Status>
where
    T: Send + 'static,
    F: Fn(&T) -> Result<Vec<u8>, Status> + Send + 'static,
{
    let Items { objects, encode } = list;
    let mut kept = 0;
    let mut items = Vec::with_capacity(objects.len());
    for object in objects {
        let bytes = encode(&object)?;
        kept += bytes.len();
        items.push(if kept <= KEPT_BYTES {
            Item::Encoded(bytes)
        } else {
            Item::Measured(object, bytes.len())
        });
    }
    let head = head(api_version, kind, metadata, items.iter().map(Item::len))?;
    let frames = items.into_iter().map(move |item| {
        let bytes = match item {
            Item::Encoded(bytes) => bytes,
            Item::Measured(object, _) => encode(&object)?,
        };
        let mut out = Backwards::with_capacity(bytes.len() + 12);
        out.put_bytes(2, &bytes);
        Ok(Frame::data(Bytes::from(out.finish())))
    });
    let frames = std::iter::once(Ok(Frame::data(Bytes::from(head))))
        .chain(frames)
        .chain([Ok(Frame::data(Bytes::from_static(TRAILER)))]);
    let frames = frames.map(|frame| frame.map_err(|status: Status| status.into()));
    Ok(StreamBody::new(stream::iter(frames)).boxed_unsync())
}

/// The envelope up to the first item.
fn head(
    api_version: &str,
    kind: &str,
    metadata: &Value,
    lengths: impl Iterator<Item = usize>,
) -> Result<Vec<u8>, Status> {
    let meta = coracle_schema::Registry::builtin()
        .definition("io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta")
        .ok_or_else(|| Status::internal("no schema of ListMeta"))?;
    let mut list = Backwards::default();
    list.put_bytes(1, &write::message(meta.shape(), metadata).map_err(Status::internal)?);
    let list = list.finish();
    let items: usize = lengths.map(|length| 1 + varint_len(length) + length).sum();
    let mut out = Backwards::default();
    out.raw(&list);
    out.announce(2, list.len() + items);
    write::type_meta(&mut out, api_version, kind);
    out.raw(MAGIC);
    Ok(out.finish())
}

fn varint_len(value: usize) -> usize {
    ((usize::BITS - value.leading_zeros()).max(1) as usize).div_ceil(7)
}
