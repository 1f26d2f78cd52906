//! The wire format, written: tags, varints and length-delimited bytes. `coracle_schema::wire` reads it.
//!
//! Backwards, as the stock server does: a message's length is known when its bytes are there, and nothing is
//! measured beforehand or moved afterwards.
//! Source: https://protobuf.dev/programming-guides/encoding/

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
    use coracle_schema::wire::{Fields, Wire};

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
