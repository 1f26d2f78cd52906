//! The wire format: tags, varints and length-delimited bytes, read forwards and written backwards.
//!
//! Written backwards, as the stock server does: a message's length is known when its bytes are there, and nothing is
//! measured beforehand or moved afterwards.
//! Source: https://protobuf.dev/programming-guides/encoding/

pub enum Wire<'a> {
    Varint(u64),
    Fixed64(u64),
    Fixed32(u32),
    Bytes(&'a [u8]),
    /// A group, which no message of Kubernetes has; passed over with all that is in it.
    Group,
}

/// Deeper groups than this are refused, as by the stock server's decoder.
const MAX_GROUPS: usize = 64;

/// The fields of a message, in order.
pub struct Fields<'a>(pub &'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u32, Wire<'a>), String>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let item = self.field();
        if item.is_err() {
            self.0 = &[];
        }
        Some(item)
    }
}

impl<'a> Fields<'a> {
    fn field(&mut self) -> Result<(u32, Wire<'a>), String> {
        let tag = self.varint()?;
        let number = u32::try_from(tag >> 3).map_err(|_| "proto: illegal tag")?;
        if tag & 7 == 3 {
            self.skip_group()?;
            return Ok((number, Wire::Group));
        }
        Ok((number, self.wire(tag)?))
    }

    /// Up to the end of a group whose start was read.
    fn skip_group(&mut self) -> Result<(), String> {
        let mut depth = 1;
        while depth > 0 {
            let tag = self.varint()?;
            match tag & 7 {
                3 if depth == MAX_GROUPS => return Err("proto: nested too deeply".into()),
                3 => depth += 1,
                4 => depth -= 1,
                _ => _ = self.wire(tag)?,
            }
        }
        Ok(())
    }

    fn wire(&mut self, tag: u64) -> Result<Wire<'a>, String> {
        let wire = match tag & 7 {
            0 => Wire::Varint(self.varint()?),
            1 => Wire::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| "proto: invalid length")?;
                Wire::Bytes(self.take(length)?)
            }
            5 => Wire::Fixed32(u32::from_le_bytes(self.array()?)),
            other => return Err(format!("proto: illegal wireType {other}")),
        };
        Ok(wire)
    }

    pub fn varint(&mut self) -> Result<u64, String> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let [byte] = self.array::<1>()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err("proto: integer overflow".into())
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let bytes = self.take(N)?;
        bytes.try_into().map_err(|_| "unexpected EOF".into())
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], String> {
        let (head, tail) = self.0.split_at_checked(length).ok_or("unexpected EOF")?;
        self.0 = tail;
        Ok(head)
    }
}

/// A message that grows from its end to its start.
#[derive(Default)]
pub struct Backwards {
    reversed: Vec<u8>,
}

impl Backwards {
    pub fn with_capacity(bytes: usize) -> Backwards {
        Backwards { reversed: Vec::with_capacity(bytes) }
    }

    /// Where a nested message ends; given to [`Backwards::close`] once its fields are there.
    pub fn end(&self) -> usize {
        self.reversed.len()
    }

    pub fn close(&mut self, end: usize, number: u32) {
        self.varint((self.reversed.len() - end) as u64);
        self.tag(number, 2);
    }

    pub fn put_varint(&mut self, number: u32, value: u64) {
        self.varint(value);
        self.tag(number, 0);
    }

    pub fn put_double(&mut self, number: u32, value: f64) {
        self.raw(&value.to_bits().to_le_bytes());
        self.tag(number, 1);
    }

    pub fn put_bytes(&mut self, number: u32, bytes: &[u8]) {
        self.raw(bytes);
        self.varint(bytes.len() as u64);
        self.tag(number, 2);
    }

    /// The start of a field whose bytes are sent after this message's.
    pub fn announce(&mut self, number: u32, length: usize) {
        self.varint(length as u64);
        self.tag(number, 2);
    }

    pub fn raw(&mut self, bytes: &[u8]) {
        self.reversed.extend(bytes.iter().rev());
    }

    pub fn finish(mut self) -> Vec<u8> {
        self.reversed.reverse();
        self.reversed
    }

    fn tag(&mut self, number: u32, wire: u64) {
        self.varint(u64::from(number) << 3 | wire);
    }

    fn varint(&mut self, mut value: u64) {
        let start = self.reversed.len();
        while value >= 0x80 {
            self.reversed.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.reversed.push(value as u8);
        self.reversed[start..].reverse();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_backwards_reads_forwards() {
        let mut out = Backwards::default();
        let end = out.end();
        out.put_bytes(2, b"inner");
        out.put_varint(1, u64::MAX);
        out.close(end, 300);
        out.put_double(1, 0.5);
        let bytes = out.finish();
        let mut fields = Fields(&bytes);
        assert!(matches!(fields.next(), Some(Ok((1, Wire::Fixed64(bits)))) if f64::from_bits(bits) == 0.5));
        let Some(Ok((300, Wire::Bytes(inner)))) = fields.next() else { panic!("no message") };
        assert!(fields.next().is_none());
        let mut inner = Fields(inner);
        assert!(matches!(inner.next(), Some(Ok((1, Wire::Varint(u64::MAX))))));
        assert!(matches!(inner.next(), Some(Ok((2, Wire::Bytes(b"inner"))))));
    }
}
