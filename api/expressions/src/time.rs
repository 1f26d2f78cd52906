//! Times and durations: their text as Go and RFC 3339 have it, and the parts of a time.
//!
//! Source: https://github.com/google/cel-spec/blob/master/doc/langdef.md#timestamps-and-durations

use jiff::{Timestamp, ToSpan, civil::DateTime, tz::TimeZone};

use crate::{
    error::{Error, failed},
    signature::{Function, Meter},
    value::Value,
};

const UNITS: [(&str, f64); 8] =
    [("ns", 1.0), ("us", 1e3), ("µs", 1e3), ("μs", 1e3), ("ms", 1e6), ("s", 1e9), ("m", 60e9), ("h", 3600e9)];

/// `1h30m`, `-1.5s`, in nanoseconds.
pub fn parse_duration(text: &str) -> Option<i64> {
    let (negative, mut rest) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Some(0);
    }
    let mut total: i128 = 0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').filter(|end| *end > 0)?;
        let (number, tail) = rest.split_at(end);
        let unit_end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_end);
        let (_, size) = UNITS.iter().find(|(name, _)| *name == unit)?;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
        total = total.checked_add(whole.checked_mul(*size as i128)?)?;
        if !fraction.is_empty() {
            total += (format!("0.{fraction}").parse::<f64>().ok()? * size) as i128;
        }
        rest = tail;
    }
    i64::try_from(if negative { -total } else { total }).ok()
}

/// In seconds, as `string(duration)` has it: `5400s`.
pub fn print_duration(nanos: i64) -> String {
    let (sign, nanos) = (if nanos < 0 { "-" } else { "" }, nanos.unsigned_abs());
    let (seconds, rest) = (nanos / 1_000_000_000, nanos % 1_000_000_000);
    if rest == 0 {
        return format!("{sign}{seconds}s");
    }
    let fraction = format!("{rest:09}");
    format!("{sign}{seconds}.{}s", fraction.trim_end_matches('0'))
}

/// RFC 3339; a date alone is midnight.
pub fn parse_timestamp(text: &str) -> Option<Timestamp> {
    if let Ok(time) = text.parse::<Timestamp>() {
        let strict = text.as_bytes().get(10).is_some_and(|c| matches!(c, b'T' | b't'));
        return strict.then_some(time);
    }
    if let Some(late) = at_the_end(text) {
        return Some(late);
    }
    let date: jiff::civil::Date = (text.len() == 10).then(|| text.parse().ok()).flatten()?;
    date.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
}

/// The last hours of the year 9999, which CEL has and [`Timestamp`] has not, are its last moment.
fn at_the_end(text: &str) -> Option<Timestamp> {
    let pieces = jiff::fmt::temporal::Pieces::parse(text).ok()?;
    let strict = matches!(text.as_bytes().get(10), Some(b'T' | b't'));
    let whole =
        strict && pieces.time().is_some() && pieces.offset().is_some() && pieces.date().year() == 9999;
    whole.then_some(Timestamp::MAX)
}

fn zone(name: &str) -> Result<TimeZone, Error> {
    let (sign, rest) = match name.as_bytes().first() {
        Some(b'-') => (-1, &name[1..]),
        Some(b'+') => (1, &name[1..]),
        _ => (1, name),
    };
    let offset = rest.split_once(':').and_then(|(hours, minutes)| {
        let seconds = hours.parse::<i32>().ok()? * 3600 + minutes.parse::<i32>().ok()? * 60;
        jiff::tz::Offset::from_seconds(sign * seconds).ok()
    });
    match offset {
        Some(offset) => Ok(TimeZone::fixed(offset)),
        None => crate::time_zone::named(name).or_else(failed),
    }
}

/// The civil time that a getter is about; the second argument is a time zone.
fn civil(args: &[Value<'_>]) -> Result<DateTime, Error> {
    let Some(Value::Timestamp(time)) = args.first() else { return Err(Error::NoOverload) };
    let zone = zone(args.get(1).and_then(Value::as_str).unwrap_or_default())?;
    Ok(zone.to_datetime(*time))
}

fn part<'a>(args: &[Value<'a>], read: fn(DateTime) -> i64) -> Result<Value<'a>, Error> {
    civil(args).map(|time| Value::Int(read(time)))
}

/// A getter that durations have too: there it gives all of it in that unit.
fn unit<'a>(args: &[Value<'a>], nanos: i64, read: fn(DateTime) -> i64) -> Result<Value<'a>, Error> {
    match args {
        [Value::Duration(own)] => Ok(Value::Int(own / nanos)),
        _ => part(args, read),
    }
}

macro_rules! getter {
    ($name:ident, $body:expr) => {
        fn $name<'a>(_: &mut Meter<'_>, args: &[Value<'a>]) -> Result<Value<'a>, Error> {
            let body: fn(&[Value<'a>]) -> Result<Value<'a>, Error> = $body;
            body(args)
        }
    };
}

getter!(year, |args| part(args, |time| time.year().into()));
getter!(month, |args| part(args, |time| i64::from(time.month()) - 1));
getter!(day_of_year, |args| part(args, |time| i64::from(time.day_of_year()) - 1));
getter!(day_of_month, |args| part(args, |time| i64::from(time.day()) - 1));
getter!(date, |args| part(args, |time| time.day().into()));
getter!(day_of_week, |args| part(args, |time| time.weekday().to_sunday_zero_offset().into()));
getter!(hours, |args| unit(args, 3_600_000_000_000, |time| time.hour().into()));
getter!(minutes, |args| unit(args, 60_000_000_000, |time| time.minute().into()));
getter!(seconds, |args| unit(args, 1_000_000_000, |time| time.second().into()));
getter!(milliseconds, |args| match args {
    [Value::Duration(own)] => Ok(Value::Int(own / 1_000_000 % 1000)),
    _ => part(args, |time| (time.subsec_nanosecond() / 1_000_000).into()),
});

/// Time arithmetic; out of range is an error.
pub(crate) fn shift(time: Timestamp, nanos: i64) -> Option<Timestamp> {
    time.checked_add(nanos.nanoseconds()).ok()
}

pub(crate) const TABLE: &[(&str, Function)] = &[
    ("timestamp.getFullYear() int", year),
    ("timestamp.getFullYear(string) int", year),
    ("timestamp.getMonth() int", month),
    ("timestamp.getMonth(string) int", month),
    ("timestamp.getDayOfYear() int", day_of_year),
    ("timestamp.getDayOfYear(string) int", day_of_year),
    ("timestamp.getDayOfMonth() int", day_of_month),
    ("timestamp.getDayOfMonth(string) int", day_of_month),
    ("timestamp.getDate() int", date),
    ("timestamp.getDate(string) int", date),
    ("timestamp.getDayOfWeek() int", day_of_week),
    ("timestamp.getDayOfWeek(string) int", day_of_week),
    ("timestamp.getHours() int", hours),
    ("timestamp.getHours(string) int", hours),
    ("duration.getHours() int", hours),
    ("timestamp.getMinutes() int", minutes),
    ("timestamp.getMinutes(string) int", minutes),
    ("duration.getMinutes() int", minutes),
    ("timestamp.getSeconds() int", seconds),
    ("timestamp.getSeconds(string) int", seconds),
    ("duration.getSeconds() int", seconds),
    ("timestamp.getMilliseconds() int", milliseconds),
    ("timestamp.getMilliseconds(string) int", milliseconds),
    ("duration.getMilliseconds() int", milliseconds),
];
