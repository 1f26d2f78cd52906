//! Header blocks: name and value pairs, in one zlib stream per direction with a dictionary that both sides know.
//!
//! Source: https://www.chromium.org/spdy/spdy-protocol/spdy-protocol-draft3-1/#2610-namevalue-header-block

use bytes::{Buf, Bytes};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

/// Words of the dictionary, each written with its length before it.
const WORDS: &str = "options head post put delete trace accept accept-charset accept-encoding accept-language accept-ranges \
age allow authorization cache-control connection content-base content-encoding content-language content-length \
content-location content-md5 content-range content-type date etag expect expires from host if-match if-modified-since \
if-none-match if-range if-unmodified-since last-modified location max-forwards pragma proxy-authenticate \
proxy-authorization range referer retry-after server te trailer transfer-encoding upgrade user-agent vary via warning \
www-authenticate method get status 200_OK version HTTP/1.1 url public set-cookie keep-alive origin";
/// What follows them.
const TAIL: &str = "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505\
203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden\
404 Not Found500 Internal Server Error501 Not Implemented503 Service UnavailableJan Feb Mar Apr May Jun Jul Aug Sept \
Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,image/png,image/jpg,image/gif,\
application/xml,application/xhtml+xml,text/plain,text/javascript,publicprivatemax-age=gzip,deflate,\
sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0.";

/// What a block may expand to: a handful of short headers.
const MAX_BLOCK_BYTES: usize = 64 * 1024;

#[derive(Debug, thiserror::Error)]
pub enum HeaderError {
    #[error("is not compressed as SPDY has it")]
    Compression,
    #[error("is longer than {MAX_BLOCK_BYTES} bytes")]
    TooLong,
    #[error("is cut short")]
    Short,
}

pub fn dictionary() -> Vec<u8> {
    let mut dictionary = Vec::with_capacity(1423);
    for word in WORDS.split(' ') {
        let word = word.replace('_', " ");
        dictionary.extend((word.len() as u32).to_be_bytes());
        dictionary.extend(word.as_bytes());
    }
    dictionary.extend(TAIL.as_bytes());
    dictionary
}

/// Names in lower case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(pub Vec<(String, String)>);

impl Headers {
    pub fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(own, _)| own == name).map_or("", |(_, value)| value)
    }

    pub fn decode(mut block: Bytes) -> Result<Headers, HeaderError> {
        let pairs = number(&mut block)?;
        let mut headers = Vec::new();
        for _ in 0..pairs {
            headers.push((text(&mut block)?.to_ascii_lowercase(), text(&mut block)?));
        }
        Ok(Headers(headers))
    }

    #[cfg(test)]
    pub fn encode(&self) -> Vec<u8> {
        let mut block = (self.0.len() as u32).to_be_bytes().to_vec();
        for text in self.0.iter().flat_map(|(name, value)| [name, value]) {
            block.extend((text.len() as u32).to_be_bytes());
            block.extend(text.as_bytes());
        }
        block
    }
}

fn number(block: &mut Bytes) -> Result<u32, HeaderError> {
    block.try_get_u32().map_err(|_| HeaderError::Short)
}

fn text(block: &mut Bytes) -> Result<String, HeaderError> {
    let length = number(block)? as usize;
    if block.len() < length {
        return Err(HeaderError::Short);
    }
    Ok(String::from_utf8_lossy(&block.split_to(length)).into_owned())
}

pub struct Inflater(Decompress);

impl Inflater {
    pub fn new() -> Inflater {
        Inflater(Decompress::new(true))
    }

    pub fn headers(&mut self, block: &[u8]) -> Result<Headers, HeaderError> {
        Headers::decode(self.expand(block)?.into())
    }

    fn expand(&mut self, block: &[u8]) -> Result<Vec<u8>, HeaderError> {
        let begin = self.0.total_in();
        let mut out = Vec::with_capacity(1024);
        loop {
            let rest = &block[(self.0.total_in() - begin) as usize..];
            match self.0.decompress_vec(rest, &mut out, FlushDecompress::Sync) {
                Ok(Status::StreamEnd) => return Ok(out),
                Ok(_) if out.len() < out.capacity() => {
                    let whole = self.0.total_in() - begin == block.len() as u64;
                    return if whole { Ok(out) } else { Err(HeaderError::Compression) };
                }
                Ok(_) if out.len() > MAX_BLOCK_BYTES => return Err(HeaderError::TooLong),
                Ok(_) => out.reserve(out.len()),
                Err(error) if error.needs_dictionary().is_some() => {
                    self.0.set_dictionary(&dictionary()).map_err(|_| HeaderError::Compression)?;
                }
                Err(_) => return Err(HeaderError::Compression),
            }
        }
    }
}

pub struct Deflater(Compress);

impl Deflater {
    pub fn new() -> Deflater {
        let mut compress = Compress::new(Compression::fast(), true);
        // Refused only after data was compressed.
        let _ = compress.set_dictionary(&dictionary());
        Deflater(compress)
    }

    /// The block of no headers: all that our answers say.
    pub fn empty(&mut self) -> Vec<u8> {
        self.block(&0u32.to_be_bytes())
    }

    pub fn block(&mut self, plain: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(plain.len() + 64);
        let begin = self.0.total_in();
        loop {
            let rest = &plain[(self.0.total_in() - begin) as usize..];
            let done = self.0.compress_vec(rest, &mut out, FlushCompress::Sync);
            if done.is_err() || out.len() < out.capacity() {
                return out;
            }
            out.reserve(out.len());
        }
    }
}
