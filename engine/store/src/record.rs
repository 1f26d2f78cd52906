//! What frames carry: groups of commits in the log, runs of objects in a checkpoint, and the closing words of both.
//!
//! Group:   1, ceiling 8, count 4, then per entry: operation 1, revision 8, lengths of resource, namespace and
//!          name 2 each, length of the body 4, and these four. A deletion has no body.
//! Closing: 2, ceiling 8, sequence of the first log frame that follows 8, number of objects 8.
//! Continued: 3; the log goes on in the next segment, which is on disk before this is written.
//!
//! The ceiling is a revision that no volatile commit has passed: after a crash, the count goes on from it.

use std::ops::Range;

use crate::{
    Key, Revision,
    frame::FRAME_HEADER_LEN,
    keyring::{KeyError, Keyring},
};

const GROUP: u8 = 1;
const CLOSING: u8 = 2;
const CONTINUED: u8 = 3;

const PUT: u8 = 1;
const DELETE: u8 = 2;
const PUT_SEALED: u8 = 3;

/// The longest resource, namespace or name.
pub(crate) const MAX_NAME_LEN: usize = u16::MAX as usize;

/// Builds the frame of a group, with room for its header.
pub(crate) struct GroupEncoder {
    pub frame: Vec<u8>,
    count: u32,
}

const CEILING_AT: usize = FRAME_HEADER_LEN + 1;
const COUNT_AT: usize = CEILING_AT + 8;
const ENTRIES_AT: usize = COUNT_AT + 4;

impl GroupEncoder {
    /// Takes over a buffer, so that it is allocated once.
    pub fn new(mut buffer: Vec<u8>) -> Self {
        buffer.clear();
        buffer.resize(ENTRIES_AT, 0);
        buffer[FRAME_HEADER_LEN] = GROUP;
        GroupEncoder { frame: buffer, count: 0 }
    }

    /// `keyring` is given when the body has to be encrypted.
    pub fn put(
        &mut self,
        key: &Key,
        revision: Revision,
        json: &[u8],
        keyring: Option<&Keyring>,
    ) -> Result<(), KeyError> {
        let Some(keyring) = keyring else {
            self.entry(PUT, key, revision, json);
            return Ok(());
        };
        let sealed = keyring.seal(&bound_to(key, revision), json)?;
        self.entry(PUT_SEALED, key, revision, &sealed);
        Ok(())
    }

    pub fn delete(&mut self, key: &Key, revision: Revision) {
        self.entry(DELETE, key, revision, &[]);
    }

    fn entry(&mut self, operation: u8, key: &Key, revision: Revision, body: &[u8]) {
        self.count += 1;
        self.frame.push(operation);
        self.frame.extend_from_slice(&revision.0.to_le_bytes());
        let names = [&*key.resource.0, &*key.namespace, &*key.name];
        for name in names {
            self.frame.extend_from_slice(&(name.len() as u16).to_le_bytes());
        }
        self.frame.extend_from_slice(&(body.len() as u32).to_le_bytes());
        for name in names {
            self.frame.extend_from_slice(name.as_bytes());
        }
        self.frame.extend_from_slice(body);
    }

    /// The frame, but for its header.
    pub fn finish(mut self, ceiling: Revision) -> Vec<u8> {
        self.frame[CEILING_AT..COUNT_AT].copy_from_slice(&ceiling.0.to_le_bytes());
        self.frame[COUNT_AT..ENTRIES_AT].copy_from_slice(&self.count.to_le_bytes());
        self.frame
    }
}

/// What an encrypted body belongs to: it cannot be moved to another object or revision.
fn bound_to(key: &Key, revision: Revision) -> Vec<u8> {
    let names = [&*key.resource.0, &*key.namespace, &*key.name];
    let mut bytes = revision.0.to_le_bytes().to_vec();
    for name in names {
        bytes.extend_from_slice(&(name.len() as u16).to_le_bytes());
        bytes.extend_from_slice(name.as_bytes());
    }
    bytes
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Closing {
    pub ceiling: Revision,
    pub next_sequence: u64,
    pub objects: u64,
}

impl Closing {
    pub fn encode(&self) -> Vec<u8> {
        let mut frame = vec![0; FRAME_HEADER_LEN];
        frame.push(CLOSING);
        for number in [self.ceiling.0, self.next_sequence, self.objects] {
            frame.extend_from_slice(&number.to_le_bytes());
        }
        frame
    }
}

/// The last frame of a log segment, but for its header.
pub(crate) fn encode_continued() -> Vec<u8> {
    let mut frame = vec![0; FRAME_HEADER_LEN];
    frame.push(CONTINUED);
    frame
}

pub(crate) enum Payload {
    Group { ceiling: Revision, entries: Vec<Entry> },
    Closing(Closing),
    Continued,
}

pub(crate) struct Entry {
    pub key: Key,
    pub revision: Revision,
    /// `None` for a deletion.
    pub body: Option<Vec<u8>>,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum DecodeError {
    /// The checksum was right, so this is another version's doing, or ours.
    #[error("its contents make no sense")]
    Malformed,
    #[error("decrypt `{key}`")]
    Key { key: Key, source: KeyError },
}

pub(crate) fn decode(payload: &[u8], keyring: &Keyring) -> Result<Payload, DecodeError> {
    let mut rest = Cursor { bytes: payload, at: 0 };
    match rest.u8()? {
        GROUP => {
            let ceiling = Revision(rest.u64()?);
            let count = rest.u32()? as usize;
            let mut entries = Vec::with_capacity(count.min(payload.len()));
            for _ in 0..count {
                entries.push(entry(&mut rest, keyring)?);
            }
            rest.end()?;
            Ok(Payload::Group { ceiling, entries })
        }
        CLOSING => {
            let ceiling = Revision(rest.u64()?);
            let closing = Closing { ceiling, next_sequence: rest.u64()?, objects: rest.u64()? };
            rest.end()?;
            Ok(Payload::Closing(closing))
        }
        CONTINUED => rest.end().map(|()| Payload::Continued),
        _ => Err(DecodeError::Malformed),
    }
}

fn entry(rest: &mut Cursor, keyring: &Keyring) -> Result<Entry, DecodeError> {
    let operation = rest.u8()?;
    let revision = Revision(rest.u64()?);
    let lens = [rest.u16()?, rest.u16()?, rest.u16()?];
    let body_len = rest.u32()? as usize;
    let [resource, namespace, name] = lens;
    let resource = crate::Resource::new(rest.str(resource.into())?);
    let key = Key::new(resource, rest.str(namespace.into())?, rest.str(name.into())?);
    let body = rest.take(body_len)?;
    let body = match operation {
        PUT => Some(body.to_vec()),
        PUT_SEALED => match keyring.open(&bound_to(&key, revision), body) {
            Ok(json) => Some(json),
            Err(source) => return Err(DecodeError::Key { key, source }),
        },
        DELETE => None,
        _ => return Err(DecodeError::Malformed),
    };
    Ok(Entry { key, revision, body })
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        let range: Range<usize> = self.at..self.at.checked_add(len).ok_or(DecodeError::Malformed)?;
        let taken = self.bytes.get(range).ok_or(DecodeError::Malformed)?;
        self.at += len;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        self.take(N)?.try_into().map_err(|_| DecodeError::Malformed)
    }

    fn u8(&mut self) -> Result<u8, DecodeError> {
        self.array().map(u8::from_le_bytes)
    }

    fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, DecodeError> {
        self.array().map(u64::from_le_bytes)
    }

    fn str(&mut self, len: usize) -> Result<&'a str, DecodeError> {
        std::str::from_utf8(self.take(len)?).map_err(|_| DecodeError::Malformed)
    }

    fn end(&self) -> Result<(), DecodeError> {
        if self.at == self.bytes.len() { Ok(()) } else { Err(DecodeError::Malformed) }
    }
}
