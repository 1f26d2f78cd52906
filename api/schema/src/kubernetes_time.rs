//! Times as the API prints them: RFC 3339 in UTC, to the second (`Time`) or the microsecond (`MicroTime`).
//!
//! They are read as Go's `time.Parse` reads them: a `Time` may have any fraction, a `MicroTime` has six digits.
//! Source: https://pkg.go.dev/time#Parse

use std::fmt::Write;

const TIME: &str = "2006-01-02T15:04:05Z07:00";
const MICRO_TIME: &str = "2006-01-02T15:04:05.000000Z07:00";

/// The latest and the earliest time that are kept, in seconds: typed forms of objects hold no later ones (9999-12-30T22:00Z),
/// and the text has no room for earlier ones. What lies beyond becomes these.
const LATEST: i64 = 253_402_207_200;
const EARLIEST: i64 = -62_167_219_200;

/// The canonical text, or what Go's `time.Parse` says about it.
pub fn canonical(text: &str, micro: bool) -> Result<String, String> {
    let (seconds, nanos) = read(text, micro).map_err(|wrong| match wrong {
        Wrong::Element(rest, element) => {
            let layout = if micro { MICRO_TIME } else { TIME };
            let [text, rest] = [text, rest].map(quote);
            format!("parsing time {text} as \"{layout}\": cannot parse {rest} as \"{element}\"")
        }
        Wrong::Range(what) => format!("parsing time {}: {what} out of range", quote(text)),
        Wrong::Extra(rest) => format!("parsing time {}: extra text: {}", quote(text), quote(rest)),
    })?;
    Ok(print(seconds, nanos, micro))
}

/// True if nothing is to be done: the usual case.
pub fn is_canonical(text: &str, micro: bool) -> bool {
    let bytes = text.as_bytes();
    let len = if micro { 27 } else { 20 };
    bytes.len() == len
        && bytes[len - 1] == b'Z'
        && (!micro || bytes[19] == b'.')
        && read(text, micro).is_ok_and(|(seconds, _)| seconds <= LATEST)
}

/// Seconds since 1970 and nanoseconds.
pub fn parse(text: &str) -> Option<(i64, u32)> {
    read(text, false).ok()
}

enum Wrong<'a> {
    /// What is left of the text does not begin with this element of the layout.
    Element(&'a str, &'static str),
    Range(&'static str),
    Extra(&'a str),
}

/// Takes the first `len` digits off the text.
fn digits<'a>(rest: &mut &'a str, len: usize, element: &'static str) -> Result<i64, Wrong<'a>> {
    let part = rest.get(..len).filter(|part| part.bytes().all(|byte| byte.is_ascii_digit()));
    let number = part.and_then(|part| part.parse().ok()).ok_or(Wrong::Element(rest, element))?;
    *rest = &rest[len..];
    Ok(number)
}

fn skip<'a>(rest: &mut &'a str, prefix: &'static str) -> Result<(), Wrong<'a>> {
    *rest = rest.strip_prefix(prefix).ok_or(Wrong::Element(rest, prefix))?;
    Ok(())
}

fn within<'a>(number: i64, range: std::ops::Range<i64>, what: &'static str) -> Result<i64, Wrong<'a>> {
    if range.contains(&number) { Ok(number) } else { Err(Wrong::Range(what)) }
}

fn read(text: &str, micro: bool) -> Result<(i64, u32), Wrong<'_>> {
    let mut rest = text;
    let year = digits(&mut rest, 4, "2006")?;
    skip(&mut rest, "-")?;
    let month = within(digits(&mut rest, 2, "01")?, 1..13, "month")?;
    skip(&mut rest, "-")?;
    let day = digits(&mut rest, 2, "02")?;
    skip(&mut rest, "T")?;
    // Of the hour alone, one digit is enough.
    let len = if rest.as_bytes().get(1).is_some_and(u8::is_ascii_digit) { 2 } else { 1 };
    let hour = within(digits(&mut rest, len, "15")?, 0..24, "hour")?;
    skip(&mut rest, ":")?;
    let minute = within(digits(&mut rest, 2, "04")?, 0..60, "minute")?;
    skip(&mut rest, ":")?;
    let second = within(digits(&mut rest, 2, "05")?, 0..60, "second")?;
    let nanos = fraction(&mut rest, micro)?;
    let offset = zone(&mut rest)?;
    if !rest.is_empty() {
        return Err(Wrong::Extra(rest));
    }
    within(day, 1..month_days(year, month) + 1, "day")?;
    Ok((days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second - offset, nanos))
}

/// Nanoseconds. A comma is as good as a point.
fn fraction<'a>(rest: &mut &'a str, micro: bool) -> Result<u32, Wrong<'a>> {
    let given = rest.strip_prefix(['.', ',']).unwrap_or_default();
    let len = given.bytes().take_while(u8::is_ascii_digit).count();
    let len = match micro {
        true if len < 6 => return Err(Wrong::Element(rest, ".000000")),
        true => 6,
        false if len == 0 => return Ok(0),
        false => len,
    };
    *rest = &given[len..];
    let nanos = given[..len.min(9)].bytes().fold(0, |all, digit| all * 10 + u32::from(digit - b'0'));
    Ok(nanos * 10_u32.pow(9 - len.min(9) as u32))
}

/// Seconds east of Greenwich.
fn zone<'a>(rest: &mut &'a str) -> Result<i64, Wrong<'a>> {
    if let Some(after) = rest.strip_prefix('Z') {
        *rest = after;
        return Ok(0);
    }
    let whole = *rest;
    let wrong = |_| Wrong::Element(whole, "Z07:00");
    let sign = match rest.as_bytes().first() {
        Some(b'+') => 1,
        Some(b'-') => -1,
        _ => return Err(Wrong::Element(whole, "Z07:00")),
    };
    *rest = &rest[1..];
    let hours = digits(rest, 2, "").map_err(wrong)?;
    skip(rest, ":").map_err(wrong)?;
    let minutes = digits(rest, 2, "").map_err(wrong)?;
    let hours = within(hours, 0..25, "time zone offset hour")?;
    Ok(sign * (hours * 60 + within(minutes, 0..61, "time zone offset minute")?) * 60)
}

/// As Go's `time` quotes.
fn quote(text: &str) -> String {
    let mut out = String::from("\"");
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => out.extend(['\\', char::from(byte)]),
            b' '..=0x7f => out.push(char::from(byte)),
            // Writing to a text does not fail.
            _ => drop(write!(out, "\\x{byte:02x}")),
        }
    }
    out.push('"');
    out
}

fn month_days(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01 (https://howardhinnant.github.io/date_algorithms.html).
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

pub fn print(seconds: i64, nanos: u32, micro: bool) -> String {
    let seconds = seconds.clamp(EARLIEST, LATEST);
    let (day, of_day) = (seconds.div_euclid(86_400) + 719_468, seconds.rem_euclid(86_400));
    let (era, day_of_era) = (day.div_euclid(146_097), day.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let date = format!("{year:04}-{month:02}-{:02}", day_of_year - (153 * shifted + 2) / 5 + 1);
    let time = format!("{:02}:{:02}:{:02}", of_day / 3600, of_day / 60 % 60, of_day % 60);
    if micro { format!("{date}T{time}.{:06}Z", nanos / 1000) } else { format!("{date}T{time}Z") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_printed_in_utc_to_their_precision() {
        for (text, micro, expected) in [
            ("2008-01-01T01:01:01Z", false, "2008-01-01T01:01:01Z"),
            ("2024-02-29T23:59:59.999+02:00", false, "2024-02-29T21:59:59Z"),
            ("2024-03-01T00:30:00+01:00", false, "2024-02-29T23:30:00Z"),
            ("2024-01-01T00:00:00.500000Z", true, "2024-01-01T00:00:00.500000Z"),
            ("2024-01-01T1:00:00,123456+01:00", true, "2024-01-01T00:00:00.123456Z"),
            ("2024-01-01T00:00:00,1234567890Z", false, "2024-01-01T00:00:00Z"),
            ("1969-12-31T23:59:59Z", false, "1969-12-31T23:59:59Z"),
            ("9999-12-31T23:59:59Z", false, "9999-12-30T22:00:00Z"),
            ("0000-01-01T00:00:00+01:00", false, "0000-01-01T00:00:00Z"),
        ] {
            assert_eq!(canonical(text, micro).unwrap(), expected);
        }
        assert!(is_canonical("2024-01-01T00:00:00Z", false) && !is_canonical("9999-12-31T23:59:59Z", false));
    }

    #[test]
    fn what_is_no_time_is_told_as_go_tells_it() {
        for (text, micro, expected) in [
            ("", false, "\"\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \"\" as \"2006\""),
            (
                "a\"é",
                false,
                r#""a\"\xc3\xa9" as "2006-01-02T15:04:05Z07:00": cannot parse "a\"\xc3\xa9" as "2006""#,
            ),
            (
                "2024-01-01",
                false,
                "\"2024-01-01\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \"\" as \"T\"",
            ),
            ("2024-13-01T00:00:00Z", false, "\"2024-13-01T00:00:00Z\": month out of range"),
            ("2024-02-30T00:00:00Z", false, "\"2024-02-30T00:00:00Z\": day out of range"),
            ("2024-02-01T24:00:00Z", false, "\"2024-02-01T24:00:00Z\": hour out of range"),
            (
                "2024-02-01T00:00:00+25:00",
                false,
                "\"2024-02-01T00:00:00+25:00\": time zone offset hour out of range",
            ),
            ("2024-02-01T00:00:00Zulu", false, "\"2024-02-01T00:00:00Zulu\": extra text: \"ulu\""),
            (
                "2024-01-01T00:00:00.Z",
                false,
                "\"2024-01-01T00:00:00.Z\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \".Z\" as \"Z07:00\"",
            ),
            (
                "2020-01-01T00:00:00Z",
                true,
                "\"2020-01-01T00:00:00Z\" as \"2006-01-02T15:04:05.000000Z07:00\": cannot parse \"Z\" as \".000000\"",
            ),
            (
                "2020-01-01T00:00:00.5Z",
                true,
                "\"2020-01-01T00:00:00.5Z\" as \"2006-01-02T15:04:05.000000Z07:00\": cannot parse \".5Z\" as \".000000\"",
            ),
            (
                "2020-01-01T00:00:00.123456789Z",
                true,
                "\"2020-01-01T00:00:00.123456789Z\" as \"2006-01-02T15:04:05.000000Z07:00\": cannot parse \"789Z\" as \"Z07:00\"",
            ),
        ] {
            assert_eq!(canonical(text, micro).unwrap_err(), format!("parsing time {expected}"));
        }
    }
}
