//! The prose of types and fields. It is large and rarely asked for: compressed in the binary, unpacked for one caller.

use crate::table::{Table, TypeId};
use std::io::Read as _;

const COMPRESSED: &[u8] = include_bytes!("../../data/descriptions.zlib");

/// The unpacked text (about 0.7 MiB). Drop it when the answer is written.
pub struct Descriptions {
    text: String,
    /// Where each description ends: types in the table's order, each followed by its fields.
    ends: Vec<u32>,
}

pub fn descriptions() -> Descriptions {
    let mut text = String::new();
    // The input is part of the binary; a test reads all of it.
    let _ = flate2::read::ZlibDecoder::new(COMPRESSED).read_to_string(&mut text);
    let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == 0).map(|(at, _)| at as u32).collect();
    Descriptions { text, ends }
}

impl Descriptions {
    pub(crate) fn of_type(&self, table: &Table, id: TypeId) -> &str {
        self.at(usize::from(id) + table.ty(id).first_field as usize)
    }

    pub(crate) fn of_field(&self, table: &Table, id: TypeId, field: usize) -> &str {
        self.at(usize::from(id) + table.ty(id).first_field as usize + 1 + field)
    }

    fn at(&self, index: usize) -> &str {
        let start =
            index.checked_sub(1).and_then(|before| self.ends.get(before)).map_or(0, |end| *end as usize + 1);
        let end = self.ends.get(index).map_or(start, |end| *end as usize);
        self.text.get(start..end).unwrap_or_default()
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }
}
