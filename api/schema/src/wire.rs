//! Protobuf's wire format, read forwards: tags, varints and length-delimited bytes.
//!
//! Source: https://protobuf.dev/programming-guides/encoding/

pub enum Wire<'a> {
    Varint(u64),
    Fixed64(u64),
    Fixed32(u32),
    Bytes(&'a [u8]),
    /// A group, which no message of Kubernetes has, with all that is in it.
    Group,
}

/// Deeper groups than this are refused.
const MAX_GROUPS: usize = 64;
/// The highest number that a field can have.
const MAX_NUMBER: u64 = (1 << 29) - 1;

pub struct Field<'a> {
    pub number: u32,
    pub wire: Wire<'a>,
    /// Tag and payload.
    pub bytes: &'a [u8],
}

/// The fields of a message, in order.
pub struct Fields<'a>(pub &'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u32, Wire<'a>), String>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_field().map(|field| field.map(|field| (field.number, field.wire)))
    }
}

impl<'a> Fields<'a> {
    pub fn next_field(&mut self) -> Option<Result<Field<'a>, String>> {
        let before = self.0;
        if before.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.0 = &[];
        }
        let bytes = &before[..before.len() - self.0.len()];
        Some(field.map(|(number, wire)| Field { number, wire, bytes }))
    }

    fn field(&mut self) -> Result<(u32, Wire<'a>), String> {
        let (number, kind) = self.tag()?;
        if kind == 3 {
            self.skip_group(number, 1)?;
            return Ok((number, Wire::Group));
        }
        Ok((number, self.wire(kind)?))
    }

    fn tag(&mut self) -> Result<(u32, u64), String> {
        let tag = self.varint()?;
        let number = tag >> 3;
        if number == 0 || number > MAX_NUMBER {
            return Err(format!("proto: illegal tag {number} (wire type {})", tag & 7));
        }
        Ok((number as u32, tag & 7))
    }

    /// Up to the end of a group whose start was read.
    fn skip_group(&mut self, number: u32, depth: usize) -> Result<(), String> {
        if depth > MAX_GROUPS {
            return Err("proto: nested too deeply".into());
        }
        loop {
            match self.tag()? {
                (end, 4) if end == number => return Ok(()),
                (inner, 3) => self.skip_group(inner, depth + 1)?,
                (_, kind) => _ = self.wire(kind)?,
            }
        }
    }

    fn wire(&mut self, kind: u64) -> Result<Wire<'a>, String> {
        let wire = match kind {
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
