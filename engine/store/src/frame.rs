//! Files as the store writes them: a header, then frames, each with a checksum.
//!
//! A header names the format, the store and the file's number; the checksum of a frame covers these too, so that
//! a frame is valid only in its own file. Frames begin at multiples of eight with a tag that differs from file to
//! file: valid frames behind a damaged one can be found, and no content of an object looks like one.
//!
//! Header: magic 8, store id 16, file number 8, checksum 4, zeros to 64.
//! Frame:  tag 4, payload length 4, sequence 8, checksum 4, zero 4, payload, zeros to a multiple of eight.
//! All numbers are little-endian.

use std::ops::Range;

pub(crate) const HEADER_LEN: usize = 64;
pub(crate) const FRAME_HEADER_LEN: usize = 24;
const ALIGN: usize = 8;

/// What a log segment starts with.
pub(crate) const LOG_MAGIC: &[u8; 8] = b"CRCLLOG1";
/// What a checkpoint starts with.
pub(crate) const CHECKPOINT_MAGIC: &[u8; 8] = b"CRCLCHK1";

pub(crate) type StoreId = [u8; 16];

/// Tells the frames of one file from those of all others.
#[derive(Clone)]
pub(crate) struct Framing {
    tag: [u8; 4],
    seed: crc32fast::Hasher,
}

pub(crate) struct Frame {
    pub sequence: u64,
    pub payload: Range<usize>,
}

impl Frame {
    /// Where the next frame begins.
    pub fn end(&self) -> usize {
        self.payload.end.next_multiple_of(ALIGN)
    }
}

impl Framing {
    pub fn new(magic: &[u8; 8], store: &StoreId, number: u64) -> Self {
        let mut seed = crc32fast::Hasher::new();
        seed.update(magic);
        seed.update(store);
        seed.update(&number.to_le_bytes());
        let tag = seed.clone().finalize() | 1; // never zero, as unused space is
        Framing { tag: tag.to_le_bytes(), seed }
    }

    /// Fills in the header of a frame whose payload follows the first [`FRAME_HEADER_LEN`] bytes, and pads it.
    pub fn seal(&self, frame: &mut Vec<u8>, sequence: u64) {
        let len = (frame.len() - FRAME_HEADER_LEN) as u32;
        frame[..4].copy_from_slice(&self.tag);
        frame[4..8].copy_from_slice(&len.to_le_bytes());
        frame[8..16].copy_from_slice(&sequence.to_le_bytes());
        let checksum = self.checksum(&frame[4..16], &frame[FRAME_HEADER_LEN..]);
        frame[16..20].copy_from_slice(&checksum.to_le_bytes());
        frame[20..24].fill(0);
        frame.resize(frame.len().next_multiple_of(ALIGN), 0);
    }

    fn checksum(&self, header: &[u8], payload: &[u8]) -> u32 {
        let mut hasher = self.seed.clone();
        hasher.update(header);
        hasher.update(payload);
        hasher.finalize()
    }

    /// The payload length that a frame header at the start of `bytes` claims.
    pub fn claimed_len(&self, bytes: &[u8]) -> Option<usize> {
        let header = bytes.get(..FRAME_HEADER_LEN)?;
        (header[..4] == self.tag).then(|| u32_at(header, 4) as usize)
    }

    /// The valid frame at `offset`, if there is one.
    pub fn frame_at(&self, bytes: &[u8], offset: usize) -> Option<Frame> {
        let len = self.claimed_len(bytes.get(offset..)?)?;
        let start = offset + FRAME_HEADER_LEN;
        let payload = start..start.checked_add(len)?;
        let checksum = self.checksum(&bytes[offset + 4..offset + 16], bytes.get(payload.clone())?);
        (checksum == u32_at(bytes, offset + 16))
            .then(|| Frame { sequence: u64_at(bytes, offset + 8), payload })
    }

    /// Where the first valid frame after `offset` begins.
    pub fn find_frame_after(&self, bytes: &[u8], offset: usize) -> Option<usize> {
        let first = (offset + 1).next_multiple_of(ALIGN);
        (first..bytes.len()).step_by(ALIGN).find(|&at| self.frame_at(bytes, at).is_some())
    }
}

pub(crate) fn encode_header(magic: &[u8; 8], store: &StoreId, number: u64) -> [u8; HEADER_LEN] {
    let mut header = [0; HEADER_LEN];
    header[..8].copy_from_slice(magic);
    header[8..24].copy_from_slice(store);
    header[24..32].copy_from_slice(&number.to_le_bytes());
    let checksum = crc32fast::hash(&header[..32]);
    header[32..36].copy_from_slice(&checksum.to_le_bytes());
    header
}

/// The store and the number that a header names; `None` when it is damaged.
pub(crate) fn decode_header(bytes: &[u8]) -> Option<(StoreId, u64)> {
    let header = bytes.get(..HEADER_LEN)?;
    (crc32fast::hash(&header[..32]) == u32_at(header, 32)).then(|| {
        let mut store = [0; 16];
        store.copy_from_slice(&header[8..24]);
        (store, u64_at(header, 24))
    })
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut value = [0; 4];
    value.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(value)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut value = [0; 8];
    value.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framing(number: u64) -> Framing {
        Framing::new(LOG_MAGIC, &[7; 16], number)
    }

    fn frame(number: u64, sequence: u64, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![0; FRAME_HEADER_LEN];
        frame.extend_from_slice(payload);
        framing(number).seal(&mut frame, sequence);
        frame
    }

    #[test]
    fn a_frame_is_valid_only_as_written_and_in_its_own_file() {
        let bytes = frame(3, 9, b"hello");
        let read = framing(3).frame_at(&bytes, 0).unwrap();
        assert_eq!(
            (read.sequence, &bytes[read.payload.clone()], read.end()),
            (9, &b"hello"[..], bytes.len())
        );
        assert!(framing(4).frame_at(&bytes, 0).is_none());
        for at in 0..FRAME_HEADER_LEN - 4 + 5 {
            let at = if at < 20 { at } else { at + 4 };
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x10;
            assert!(framing(3).frame_at(&damaged, 0).is_none(), "byte {at}");
        }
        assert!((0..FRAME_HEADER_LEN + 5).all(|len| framing(3).frame_at(&bytes[..len], 0).is_none()));
    }

    #[test]
    fn a_valid_frame_behind_a_damaged_one_is_found() {
        let mut bytes = frame(1, 1, b"first");
        let second = bytes.len();
        bytes.extend(frame(1, 2, b"second"));
        assert_eq!(framing(1).find_frame_after(&bytes, 0), Some(second));
        assert_eq!(framing(1).find_frame_after(&bytes, second), None);
    }

    #[test]
    fn a_header_is_read_back_and_damage_is_seen() {
        let header = encode_header(CHECKPOINT_MAGIC, &[9; 16], 77);
        assert_eq!(decode_header(&header), Some(([9; 16], 77)));
        for at in 0..36 {
            let mut damaged = header;
            damaged[at] ^= 1;
            assert_eq!(decode_header(&damaged), None);
        }
    }
}
