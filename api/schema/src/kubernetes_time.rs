//! Times as the API prints them: RFC 3339 in UTC, to the second (`Time`) or the microsecond (`MicroTime`).

/// The latest and the earliest time that are kept, in seconds: typed forms of objects hold no later ones (9999-12-30T22:00Z),
/// and the text has no room for earlier ones. What lies beyond becomes these.
const LATEST: i64 = 253_402_207_200;
const EARLIEST: i64 = -62_167_219_200;

/// The canonical text, or what Go's `time.Parse` says about it.
pub fn canonical(text: &str, micro: bool) -> Result<String, String> {
    let fail = || {
        format!(
            "parsing time \"{text}\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \"{text}\" as \"2006\""
        )
    };
    parse(text).map(|(seconds, nanos)| print(seconds, nanos, micro)).ok_or_else(fail)
}

/// True if nothing is to be done: the usual case.
pub fn is_canonical(text: &str, micro: bool) -> bool {
    let bytes = text.as_bytes();
    let len = if micro { 27 } else { 20 };
    bytes.len() == len
        && bytes[len - 1] == b'Z'
        && (!micro || bytes[19] == b'.')
        && parse(text).is_some_and(|(seconds, _)| seconds <= LATEST)
}

/// Seconds since 1970 and nanoseconds.
pub fn parse(text: &str) -> Option<(i64, u32)> {
    let bytes = text.as_bytes();
    let number = |from: usize, to: usize| -> Option<i64> {
        let part = bytes.get(from..to)?;
        part.iter()
            .all(u8::is_ascii_digit)
            .then(|| part.iter().fold(0, |all, digit| all * 10 + i64::from(digit - b'0')))
    };
    let separator = |at: usize, byte: u8| (bytes.get(at) == Some(&byte)).then_some(());
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    for (at, byte) in [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')] {
        separator(at, byte)?;
    }
    let mut rest = &text[19..];
    let mut nanos = 0;
    if let Some(fraction) = rest.strip_prefix('.') {
        let digits = fraction.len() - fraction.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        if digits == 0 {
            return None;
        }
        nanos = format!("{:0<9}", &fraction[..digits.min(9)]).parse().ok()?;
        rest = &fraction[digits..];
    }
    let offset = match rest.as_bytes() {
        b"Z" => 0,
        [sign @ (b'+' | b'-'), ..] if rest.len() == 6 && rest.as_bytes()[3] == b':' => {
            let seconds = rest[1..3].parse::<i64>().ok()? * 3600 + rest[4..6].parse::<i64>().ok()? * 60;
            if *sign == b'+' { seconds } else { -seconds }
        }
        _ => return None,
    };
    let valid = (1..=12).contains(&month) && (1..=month_days(year, month)).contains(&day);
    (valid && hour < 24 && minute < 60 && second < 60)
        .then(|| (days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second - offset, nanos))
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
            ("2024-01-01T00:00:00.5Z", true, "2024-01-01T00:00:00.500000Z"),
            ("1969-12-31T23:59:59Z", false, "1969-12-31T23:59:59Z"),
            ("9999-12-31T23:59:59Z", false, "9999-12-30T22:00:00Z"),
            ("0000-01-01T00:00:00+01:00", false, "0000-01-01T00:00:00Z"),
        ] {
            assert_eq!(canonical(text, micro).unwrap(), expected);
        }
        assert!(is_canonical("2024-01-01T00:00:00Z", false) && !is_canonical("9999-12-31T23:59:59Z", false));
        for text in ["", "yesterday", "2024-13-01T00:00:00Z", "2024-02-30T00:00:00Z", "2024-01-01"] {
            assert!(canonical(text, false).is_err(), "{text}");
        }
    }
}
