//! The tar inside a file: plain, gzip or zstd, told apart by the first bytes. Both may come in several parts behind each
//! other, as parallel compressors and zstd:chunked layers have them.
//! Source: RFC 1952, section 2.2; RFC 8878, section 3.1

use std::{
    fs::File,
    io::{self, BufRead, BufReader, ErrorKind, Read},
};

use flate2::read::MultiGzDecoder;
use ruzstd::decoding::{
    BlockDecodingStrategy, FrameDecoder,
    errors::{FrameDecoderError, ReadFrameHeaderError},
};

/// Where frames of zstd begin that hold no content; the first byte's lower half is anything.
const SKIPPABLE: [u8; 4] = [0x50, 0x2a, 0x4d, 0x18];

pub fn decompress(file: File) -> io::Result<Box<dyn Read>> {
    let mut reader = BufReader::with_capacity(1 << 16, file);
    let head = reader.fill_buf()?;
    if head.starts_with(&[0x1f, 0x8b]) {
        return Ok(Box::new(MultiGzDecoder::new(reader)));
    }
    let skippable = head.len() >= 4 && head[0] & 0xf0 == SKIPPABLE[0] && head[1..4] == SKIPPABLE[1..];
    if skippable || head.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        return Ok(Box::new(Zstd::new(reader)));
    }
    Ok(Box::new(reader))
}

struct Zstd<R> {
    source: R,
    frame: FrameDecoder,
    in_frame: bool,
}

impl<R: BufRead> Zstd<R> {
    fn new(source: R) -> Zstd<R> {
        Zstd { source, frame: FrameDecoder::new(), in_frame: false }
    }

    /// Enters the next frame; frames that hold no content are passed over. False at the end of the file.
    fn next_frame(&mut self) -> io::Result<bool> {
        while !self.source.fill_buf()?.is_empty() {
            match self.frame.reset(&mut self.source) {
                Ok(()) => return Ok(true),
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                    length,
                    ..
                })) => {
                    io::copy(&mut (&mut self.source).take(u64::from(length)), &mut io::sink())?;
                }
                Err(error) => return Err(self.broken(error)),
            }
        }
        Ok(false)
    }

    /// The decoder's own words speak of buffers that could not be filled.
    fn broken(&mut self, error: FrameDecoderError) -> io::Error {
        match self.source.fill_buf() {
            Ok([]) => io::Error::new(ErrorKind::UnexpectedEof, "the zstd data end too early"),
            Ok(_) => io::Error::new(ErrorKind::InvalidData, error),
            Err(error) => error,
        }
    }
}

impl<R: BufRead> Read for Zstd<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.frame.can_collect() == 0 {
            if !self.in_frame || self.frame.is_finished() {
                self.in_frame = self.next_frame()?;
                if !self.in_frame {
                    return Ok(0);
                }
            }
            let decoded = self.frame.decode_blocks(&mut self.source, BlockDecodingStrategy::UptoBlocks(1));
            if let Err(error) = decoded {
                return Err(self.broken(error));
            }
        }
        self.frame.read(buffer)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Seek, Write};

    use ruzstd::encoding::{CompressionLevel, compress_to_vec};

    use super::*;

    fn read(compressed: &[u8]) -> Result<Vec<u8>, String> {
        let mut content = Vec::new();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(compressed).unwrap();
        file.rewind().unwrap();
        let read = decompress(file).unwrap().read_to_end(&mut content);
        read.map(|_| content).map_err(|error| error.to_string())
    }

    #[test]
    fn zstd_comes_in_frames_and_its_end_is_known() {
        let part = |byte: u8| compress_to_vec(&[byte; 300_000][..], CompressionLevel::Fastest);
        let skipped = [&[0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"xyz"].concat();
        let all = [part(1), skipped.clone(), part(2), skipped.clone()].concat();
        assert_eq!(read(&all).unwrap(), [[1; 300_000], [2; 300_000]].concat());
        let first = [&[0x5f], &skipped[1..], &all].concat();
        assert_eq!(read(&first), read(&all), "frames without content come first");
        for cut in [part(1).len() - 1, 7] {
            assert_eq!(read(&all[..cut]).unwrap_err(), "the zstd data end too early");
        }
        assert!(read(&[part(1), b"more".to_vec()].concat()).is_err());
    }
}
