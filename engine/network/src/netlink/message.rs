//! Netlink messages as bytes: headers, attributes, nested attributes, several messages in one buffer.

/// Messages sent to the kernel at once. The position of a message is its sequence number.
#[derive(Default)]
pub struct Batch {
    pub(super) bytes: Vec<u8>,
    pub(super) entries: Vec<Entry>,
}

pub(super) struct Entry {
    pub action: &'static str,
    pub subject: String,
    /// Errnos that mean "already as wanted".
    pub tolerated: &'static [i32],
}

const HEADER_LEN: usize = 16;

impl Batch {
    pub fn message_count(&self) -> usize {
        self.entries.len()
    }

    /// Appends one message: `fixed` is the family's own header (e.g. `ifinfomsg`), `fill` writes the attributes.
    pub fn message(
        &mut self,
        (action, subject): (&'static str, impl Into<String>),
        kind: u16,
        flags: i32,
        fixed: &[u8],
        fill: impl FnOnce(&mut Attributes<'_>),
    ) -> &mut Self {
        let start = self.bytes.len();
        let sequence = self.entries.len() as u32;
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(&((flags | libc::NLM_F_REQUEST) as u16).to_ne_bytes());
        self.bytes.extend_from_slice(&sequence.to_ne_bytes());
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(fixed);
        pad(&mut self.bytes);
        fill(&mut Attributes { bytes: &mut self.bytes });
        let len = (self.bytes.len() - start) as u32;
        self.bytes[start..start + 4].copy_from_slice(&len.to_ne_bytes());
        self.entries.push(Entry { action, subject: subject.into(), tolerated: &[] });
        self
    }

    /// The last message may fail with one of these.
    pub fn tolerate(&mut self, errnos: &'static [i32]) -> &mut Self {
        if let Some(entry) = self.entries.last_mut() {
            entry.tolerated = errnos;
        }
        self
    }
}

/// Writes attributes into a message.
pub struct Attributes<'a> {
    bytes: &'a mut Vec<u8>,
}

impl Attributes<'_> {
    pub fn bytes(&mut self, kind: u16, value: &[u8]) -> &mut Self {
        let len = (4 + value.len()) as u16;
        self.bytes.extend_from_slice(&len.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(value);
        pad(self.bytes);
        self
    }

    pub fn u8(&mut self, kind: u16, value: u8) -> &mut Self {
        self.bytes(kind, &[value])
    }

    pub fn u32(&mut self, kind: u16, value: u32) -> &mut Self {
        self.bytes(kind, &value.to_ne_bytes())
    }

    pub fn be32(&mut self, kind: u16, value: u32) -> &mut Self {
        self.bytes(kind, &value.to_be_bytes())
    }

    pub fn be64(&mut self, kind: u16, value: u64) -> &mut Self {
        self.bytes(kind, &value.to_be_bytes())
    }

    /// A string with its closing NUL.
    pub fn text(&mut self, kind: u16, value: &str) -> &mut Self {
        let mut bytes = Vec::with_capacity(value.len() + 1);
        bytes.extend_from_slice(value.as_bytes());
        bytes.push(0);
        self.bytes(kind, &bytes)
    }

    /// Attributes within an attribute. A nest larger than 64 KiB cannot be expressed: callers split lists.
    pub fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Attributes<'_>)) -> &mut Self {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 2]);
        self.bytes.extend_from_slice(&(kind | libc::NLA_F_NESTED as u16).to_ne_bytes());
        fill(&mut Attributes { bytes: self.bytes });
        let len = self.bytes.len() - start;
        debug_assert!(len <= usize::from(u16::MAX), "nested attribute of {len} bytes");
        self.bytes[start..start + 2].copy_from_slice(&(len as u16).to_ne_bytes());
        self
    }

    /// A fixed structure in front of attributes (`ifinfomsg` within `VETH_INFO_PEER`).
    pub fn raw(&mut self, value: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(value);
        pad(self.bytes);
        self
    }
}

fn pad(bytes: &mut Vec<u8>) {
    while !bytes.len().is_multiple_of(4) {
        bytes.push(0);
    }
}

/// The attributes in `bytes`: kind without its flag bits, value.
pub fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let len = usize::from(u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?));
        let kind = u16::from_ne_bytes(bytes.get(2..4)?.try_into().ok()?) & 0x3fff;
        let value = bytes.get(4..len)?;
        bytes = bytes.get((len + 3) & !3..).unwrap_or_default();
        Some((kind, value))
    })
}

/// The first of a kind among the attributes in `bytes`.
pub fn attribute(bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    attributes(bytes).find(|(kind, _)| *kind == wanted).map(|(_, value)| value)
}

/// A text in an attribute: it ends with a zero.
pub fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value).trim_end_matches('\0').to_owned()
}

/// The messages in what the kernel sent: kind, sequence number, payload.
pub(super) fn messages(mut bytes: &[u8]) -> impl Iterator<Item = (u16, u32, &[u8])> {
    std::iter::from_fn(move || {
        let len = u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?) as usize;
        let kind = u16::from_ne_bytes(bytes.get(4..6)?.try_into().ok()?);
        let sequence = u32::from_ne_bytes(bytes.get(8..12)?.try_into().ok()?);
        let payload = bytes.get(HEADER_LEN..len)?;
        bytes = bytes.get((len + 3) & !3..).unwrap_or_default();
        Some((kind, sequence, payload))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_padded_to_four_bytes_and_read_back() {
        let mut batch = Batch::default();
        batch.message(("test", "x"), 7, 0, &[1, 2], |a| {
            a.text(1, "ab").u8(2, 9).nest(3, |a| {
                a.be32(4, 0x01020304);
            });
        });
        let (kind, sequence, payload) = messages(&batch.bytes).next().unwrap();
        assert_eq!((kind, sequence, batch.bytes.len() % 4), (7, 0, 0));
        let read: Vec<_> = attributes(&payload[4..]).collect();
        assert_eq!(read[0], (1, &b"ab\0"[..]));
        assert_eq!(read[1], (2, &[9][..]));
        assert_eq!(attributes(read[2].1).next().unwrap(), (4, &[1, 2, 3, 4][..]));
    }
}
