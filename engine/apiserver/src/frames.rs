//! The frames of long answers: small pieces are gathered, large ones go out as they are, uncopied.
//!
//! Kept true: an answer holds at most about [`FULL_BYTES`] of copies, however long it is. Each frame costs a chunk of
//! HTTP, a record of TLS and a way through the connection's task: for objects of a kilobyte, more than the copy.

use std::collections::VecDeque;

use bytes::Bytes;

/// Two full records of TLS.
const FULL_BYTES: usize = 32 * 1024;
/// From here on a piece is a frame of its own.
const LARGE_BYTES: usize = 16 * 1024;

#[derive(Default)]
pub struct Frames {
    /// In front of what is gathered.
    closed: VecDeque<Bytes>,
    gathered: Vec<u8>,
    /// How long the last frame was: about as long as the next one.
    expected_bytes: usize,
}

impl Frames {
    pub fn push(&mut self, piece: &[u8]) {
        if self.gathered.capacity() == 0 {
            self.gathered.reserve(self.expected_bytes);
        }
        self.gathered.extend_from_slice(piece);
    }

    /// `bytes` from a place on.
    pub fn push_shared(&mut self, bytes: &Bytes, from: usize) {
        let piece = &bytes[from..];
        if piece.len() < LARGE_BYTES {
            return self.push(piece);
        }
        self.close();
        self.closed.push_back(bytes.slice(from..));
    }

    fn close(&mut self) {
        if !self.gathered.is_empty() {
            self.expected_bytes = self.gathered.len();
            self.closed.push_back(std::mem::take(&mut self.gathered).into());
        }
    }

    /// Whether there is a frame that should not wait for more.
    pub fn is_full(&self) -> bool {
        !self.closed.is_empty() || self.gathered.len() >= FULL_BYTES
    }

    /// The next frame, full or not.
    pub fn take(&mut self) -> Option<Bytes> {
        if self.closed.is_empty() {
            self.close();
        }
        self.closed.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_pieces_are_gathered_in_order_and_large_ones_are_not_copied() {
        let mut frames = Frames::default();
        let large = Bytes::from(vec![b'x'; LARGE_BYTES]);
        frames.push(b"a");
        frames.push_shared(&Bytes::from_static(b"-b"), 1);
        assert!(!frames.is_full());
        frames.push_shared(&large, 0);
        frames.push(b"c");
        assert!(frames.is_full());
        assert_eq!(frames.take().unwrap(), "ab");
        assert_eq!(frames.take().unwrap().as_ptr(), large.as_ptr());
        assert_eq!(frames.take().unwrap(), "c");
        assert_eq!(frames.take(), None);
    }

    #[test]
    fn what_is_gathered_is_bounded() {
        let mut frames = Frames::default();
        while !frames.is_full() {
            frames.push(&[b'x'; 1000]);
        }
        assert!(frames.take().unwrap().len() < FULL_BYTES + LARGE_BYTES);
    }
}
