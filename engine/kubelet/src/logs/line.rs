//! One line of a CRI log: `<RFC 3339 time> <stdout|stderr> <P|F> <text>`.

use jiff::Timestamp;

pub struct Line<'a> {
    time: &'a [u8],
    /// The line goes on in the next entry.
    partial: bool,
    text: &'a [u8],
}

/// `None` for what is no log line (a crash of the node can leave one torn).
pub fn parse(entry: &[u8]) -> Option<Line<'_>> {
    let entry = entry.strip_suffix(b"\n").unwrap_or(entry);
    let mut fields = entry.splitn(4, |b| *b == b' ');
    let (time, _stream, tag) = (fields.next()?, fields.next()?, fields.next()?);
    let text = fields.next().unwrap_or_default();
    let tag = tag.split(|b| *b == b':').next()?;
    Some(Line { time, partial: tag == b"P", text })
}

impl Line<'_> {
    pub fn is_since(&self, since: Option<Timestamp>) -> bool {
        let Some(since) = since else { return true };
        let time = std::str::from_utf8(self.time).ok().and_then(|t| t.parse::<Timestamp>().ok());
        time.is_none_or(|t| t >= since)
    }

    pub fn write(&self, timestamps: bool, out: &mut Vec<u8>) {
        if timestamps {
            out.extend_from_slice(self.time);
            out.push(b' ');
        }
        out.extend_from_slice(self.text);
        if !self.partial {
            out.push(b'\n');
        }
    }
}
