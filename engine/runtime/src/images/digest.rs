//! SHA-256 digests, counted while bytes pass by.

use std::io::{self, Read, Write};

use ring::digest::{Context, SHA256};

/// `sha256:…` of some bytes.
pub fn of(bytes: &[u8]) -> String {
    text(ring::digest::digest(&SHA256, bytes).as_ref())
}

fn text(hash: &[u8]) -> String {
    let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// Hashes and counts what is read or written through it.
pub struct Hashing<T> {
    pub inner: T,
    context: Context,
    pub bytes: u64,
}

impl<T> Hashing<T> {
    pub fn new(inner: T) -> Hashing<T> {
        Hashing { inner, context: Context::new(&SHA256), bytes: 0 }
    }

    pub fn update(&mut self, bytes: &[u8]) {
        self.context.update(bytes);
        self.bytes += bytes.len() as u64;
    }

    pub fn digest(&self) -> String {
        text(self.context.clone().finish().as_ref())
    }
}

impl<T: Read> Read for Hashing<T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.update(&buffer[..count]);
        Ok(count)
    }
}

impl<T: Write> Write for Hashing<T> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(buffer)?;
        self.update(&buffer[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
