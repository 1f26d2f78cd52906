//! The lines of a backup, written and read. See the crate's header for what they look like.
//!
//! Kept true: a reader gives no end before the checksum and the counts were found to be right, so whoever waits for
//!            the end before acting acts on a whole backup.

use std::io::{self, BufRead, Read, Write};

use coracle_store::Object;
use ring::digest;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::ReadError;

/// The format of the lines.
pub const VERSION: u64 = 1;

/// No line is longer; a longer one is damage. The API takes objects of 3 MiB.
const MAX_LINE_LEN: u64 = 64 << 20;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Header {
    pub version: u64,
    /// The one revision that all objects were read at.
    pub revision: u64,
    /// RFC 3339.
    pub time: String,
    pub writer: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct FileLine {
    /// Relative to the data directory.
    pub path: String,
    pub content: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct ObjectLine<'a> {
    pub resource: &'a str,
    pub namespace: &'a str,
    pub name: &'a str,
    pub revision: u64,
    /// The object's bytes as they are stored.
    #[serde(borrow)]
    pub json: &'a RawValue,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct End {
    files: u64,
    objects: u64,
    sha256: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Line<'a> {
    Backup(Header),
    File(FileLine),
    #[serde(borrow)]
    Object(ObjectLine<'a>),
    End(End),
}

impl End {
    fn check(&self, sha256: &str, files: u64, objects: u64) -> Result<(), ReadError> {
        if sha256 != self.sha256 {
            return Err(ReadError::Checksum { found: sha256.into(), expected: self.sha256.clone() });
        }
        for (what, found, expected) in [("files", files, self.files), ("objects", objects, self.objects)] {
            if found != expected {
                return Err(ReadError::Count { what, found, expected });
            }
        }
        Ok(())
    }
}

/// Writes a backup: its header at once, then files, then objects, then its end.
pub struct Encoder<W> {
    out: W,
    digest: digest::Context,
    files: u64,
    objects: u64,
}

impl<W: Write> Encoder<W> {
    /// The header of a backup that is made now.
    pub fn start(out: W, revision: u64) -> io::Result<Encoder<W>> {
        let time = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let writer = concat!("coracle ", env!("CARGO_PKG_VERSION")).to_owned();
        Encoder::with_header(out, Header { version: VERSION, revision, time, writer })
    }

    pub fn with_header(out: W, header: Header) -> io::Result<Encoder<W>> {
        let mut encoder =
            Encoder { out, digest: digest::Context::new(&digest::SHA256), files: 0, objects: 0 };
        encoder.line(&Line::Backup(header))?;
        Ok(encoder)
    }

    pub fn file(&mut self, path: &str, content: &str) -> io::Result<()> {
        self.files += 1;
        self.line(&Line::File(FileLine { path: path.into(), content: content.into() }))
    }

    pub fn object(&mut self, object: &Object) -> io::Result<()> {
        let json = std::str::from_utf8(&object.json).map_err(io::Error::other)?;
        let key = &object.key;
        self.line_of_object(ObjectLine {
            resource: key.resource.as_str(),
            namespace: &key.namespace,
            name: &key.name,
            revision: object.revision.0,
            json: serde_json::from_str(json)?,
        })
    }

    pub fn line_of_object(&mut self, line: ObjectLine<'_>) -> io::Result<()> {
        self.objects += 1;
        self.line(&Line::Object(line))
    }

    pub fn finish(mut self) -> io::Result<W> {
        let sha256 = hex(self.digest.clone().finish().as_ref());
        self.line(&Line::End(End { files: self.files, objects: self.objects, sha256 }))?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn line(&mut self, line: &Line<'_>) -> io::Result<()> {
        let mut bytes = serde_json::to_vec(line)?;
        bytes.push(b'\n');
        self.digest.update(&bytes);
        self.out.write_all(&bytes)
    }
}

/// Reads a backup line by line.
pub struct Reader<R> {
    from: R,
    digest: digest::Context,
    header: Header,
    buffer: Vec<u8>,
    lines: u64,
    files: u64,
    objects: u64,
}

impl<R: BufRead> Reader<R> {
    /// Reads the header.
    pub fn open(from: R) -> Result<Reader<R>, ReadError> {
        let header = Header { version: VERSION, revision: 0, time: String::new(), writer: String::new() };
        let digest = digest::Context::new(&digest::SHA256);
        let mut reader = Reader { from, digest, header, buffer: Vec::new(), lines: 0, files: 0, objects: 0 };
        if !reader.read_line()? {
            return Err(ReadError::NotABackup);
        }
        // The version is read before the rest: another version may say other things.
        let version = version_of(&reader.buffer).ok_or(ReadError::NotABackup)?;
        if version != VERSION {
            return Err(ReadError::Version { found: version, expected: VERSION });
        }
        let Ok(Line::Backup(header)) = serde_json::from_slice(&reader.buffer) else {
            return Err(ReadError::NotABackup);
        };
        reader.header = header;
        reader.digest.update(&reader.buffer);
        Ok(reader)
    }

    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The number of the line that was read last.
    pub fn line(&self) -> u64 {
        self.lines
    }

    pub fn objects(&self) -> u64 {
        self.objects
    }

    /// The next file or object; `None` at the end of a backup that is whole.
    pub fn next_line(&mut self) -> Result<Option<Line<'_>>, ReadError> {
        if !self.read_line()? {
            return Err(ReadError::CutOff { lines: self.lines });
        }
        let before = self.digest.clone();
        self.digest.update(&self.buffer);
        let number = self.lines;
        // Of a file without its end, the last line may be cut as well.
        let whole = self.buffer.ends_with(b"\n");
        let line = match serde_json::from_slice(&self.buffer) {
            Ok(line) => line,
            Err(_) if !whole => return Err(ReadError::CutOff { lines: number - 1 }),
            Err(source) => return Err(ReadError::Malformed { line: number, source }),
        };
        match &line {
            Line::File(_) if self.objects == 0 => self.files += 1,
            Line::Backup(_) | Line::File(_) => return Err(ReadError::Misplaced { line: number }),
            Line::Object(_) => self.objects += 1,
            Line::End(end) => {
                end.check(&hex(before.finish().as_ref()), self.files, self.objects)?;
                let rest = self.from.fill_buf().map_err(|source| ReadError::Io { line: number, source })?;
                return if rest.is_empty() { Ok(None) } else { Err(ReadError::Trailing) };
            }
        }
        Ok(Some(line))
    }

    /// The next line into the buffer, its newline included; false at the end.
    fn read_line(&mut self) -> Result<bool, ReadError> {
        self.buffer.clear();
        self.lines += 1;
        let line = self.lines;
        let read = (&mut self.from).take(MAX_LINE_LEN).read_until(b'\n', &mut self.buffer);
        let len = read.map_err(|source| ReadError::Io { line, source })?;
        if len as u64 == MAX_LINE_LEN {
            let source = io::Error::other(format!("it is longer than {MAX_LINE_LEN} bytes"));
            return Err(ReadError::Io { line, source });
        }
        if len == 0 {
            self.lines -= 1;
        }
        Ok(len > 0)
    }
}

fn version_of(line: &[u8]) -> Option<u64> {
    #[derive(Deserialize)]
    struct Versioned {
        version: u64,
    }
    #[derive(Deserialize)]
    struct First {
        backup: Versioned,
    }
    serde_json::from_slice::<First>(line).ok().map(|first| first.backup.version)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
