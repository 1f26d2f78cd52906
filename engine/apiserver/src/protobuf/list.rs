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
    MAGIC, OLD_META,
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

/// The numbers of `metadata` and `items`: of one list alone, the other way round.
/// Source: https://github.com/kubernetes/apimachinery/blob/master/pkg/apis/meta/v1beta1/generated.proto
fn numbers(api_version: &str) -> [u32; 2] {
    if api_version == OLD_META { [2, 1] } else { [1, 2] }
}

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
    let numbers = numbers(api_version);
    let metadata = encoded_metadata(numbers[0], metadata)?;
    let items_len = items.iter().map(Item::len).map(|length| 1 + varint_len(length) + length).sum::<usize>();
    let mut head = Backwards::default();
    head.announce(2, metadata.len() + items_len);
    write::type_meta(&mut head, api_version, kind);
    head.raw(MAGIC);
    // Fields are in the order of their numbers.
    let (before, after) =
        if numbers[0] < numbers[1] { (metadata, Vec::new()) } else { (Vec::new(), metadata) };
    let [head, tail] = [[head.finish(), before].concat(), [after, TRAILER.to_vec()].concat()];
    let frames = items.into_iter().map(move |item| {
        let bytes = match item {
            Item::Encoded(bytes) => bytes,
            Item::Measured(object, _) => encode(&object)?,
        };
        let mut out = Backwards::with_capacity(bytes.len() + 12);
        out.put_bytes(numbers[1], &bytes);
        Ok(Frame::data(Bytes::from(out.finish())))
    });
    let frames = std::iter::once(Ok(Frame::data(Bytes::from(head))))
        .chain(frames)
        .chain([Ok(Frame::data(Bytes::from(tail)))]);
    let frames = frames.map(|frame| frame.map_err(|status: Status| status.into()));
    Ok(StreamBody::new(stream::iter(frames)).boxed_unsync())
}

fn encoded_metadata(number: u32, metadata: &Value) -> Result<Vec<u8>, Status> {
    let meta = coracle_schema::Registry::builtin()
        .definition("io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta")
        .ok_or_else(|| Status::internal("no schema of ListMeta"))?;
    let mut list = Backwards::default();
    list.put_bytes(number, &write::message(meta.shape(), metadata).map_err(Status::internal)?);
    Ok(list.finish())
}

fn varint_len(value: usize) -> usize {
    ((usize::BITS - value.leading_zeros()).max(1) as usize).div_ceil(7)
}
