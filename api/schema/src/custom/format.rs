//! The formats of strings that a stock server checks. Others are accepted unseen.
//!
//! Source: https://github.com/kubernetes/kube-openapi/blob/master/pkg/validation/strfmt/default.go

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub(super) fn fits(format: &str, text: &str) -> bool {
    match format.replace('-', "").as_str() {
        "datetime" => is_date_time(text),
        "date" => is_date(text),
        "uuid" => is_uuid(text, None),
        "uuid3" => is_uuid(text, Some('3')),
        "uuid4" => is_uuid(text, Some('4')),
        "uuid5" => is_uuid(text, Some('5')),
        "ipv4" => text.parse::<Ipv4Addr>().is_ok(),
        "ipv6" => text.parse::<Ipv6Addr>().is_ok(),
        "cidr" => is_cidr(text),
        "mac" => is_mac(text),
        "byte" => is_base64(text),
        "email" => text.split_once('@').is_some_and(|(user, host)| !user.is_empty() && !host.is_empty()),
        "hostname" => is_hostname(text),
        "uri" => text.split_once(':').is_some_and(|(scheme, _)| !scheme.is_empty()) || text.starts_with('/'),
        "duration" => is_duration(text),
        "bsonobjectid" => hex(text, &[24]),
        "hexcolor" => hex(text.strip_prefix('#').unwrap_or(text), &[3, 6]),
        "rgbcolor" => is_rgb(text),
        "ssn" => is_ssn(text),
        "isbn" => is_isbn10(text) || is_isbn13(text),
        "isbn10" => is_isbn10(text),
        "isbn13" => is_isbn13(text),
        "creditcard" => is_card(text),
        "k8sshortname" => text.len() <= 63 && is_label(text),
        "k8slongname" => text.len() <= 253 && text.split('.').all(is_label),
        _ => true,
    }
}

fn digits(text: &str, count: usize) -> bool {
    text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_date(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let [year, month, day] = parts[..] else { return false };
    if !digits(year, 4) || !digits(month, 2) || !digits(day, 2) {
        return false;
    }
    let [year, month, day] = [year, month, day].map(|text| text.parse::<u32>().unwrap_or_default());
    let leap = year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400);
    let days = match month {
        2 => 28 + u32::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => 0,
    };
    (1..=days).contains(&day)
}

fn is_date_time(text: &str) -> bool {
    let Some((date, time)) = text.split_once(['T', 't', ' ']) else { return false };
    let Some(zone) = time.find(['Z', 'z', '+', '-']) else { return false };
    let (time, zone) = time.split_at(zone);
    let time = time.split_once('.').map_or(time, |(whole, _)| whole);
    let clock = |text: &str, limits: &[u32]| {
        let parts: Vec<&str> = text.split(':').collect();
        parts.len() == limits.len()
            && parts.iter().zip(limits).all(|(part, limit)| {
                digits(part, 2) && part.parse().is_ok_and(|number: u32| number <= *limit)
            })
    };
    let zone_fits = matches!(zone, "Z" | "z") || clock(&zone[1..], &[23, 59]);
    is_date(date) && clock(time, &[23, 59, 60]) && zone_fits
}

fn hex(text: &str, lengths: &[usize]) -> bool {
    lengths.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn is_uuid(text: &str, version: Option<char>) -> bool {
    let bare: String = text.chars().filter(|c| *c != '-').collect();
    hex(&bare, &[32]) && version.is_none_or(|version| bare[12..].starts_with(version))
}

/// `rgb(0, 128, 255)`
fn is_rgb(text: &str) -> bool {
    let inside = text.strip_prefix("rgb(").and_then(|text| text.strip_suffix(')'));
    let part = |text: &str| {
        let text = text.trim();
        text.parse::<u8>().is_ok_and(|number| number.to_string() == text)
    };
    inside.is_some_and(|inside| inside.split(',').count() == 3 && inside.split(',').all(part))
}

/// Three, two and four digits, with a hyphen or a space between them or nothing.
fn is_ssn(text: &str) -> bool {
    let after = |text: &'_ str, count: usize| {
        let (part, rest) = text.split_at_checked(count)?;
        digits(part, count).then(|| rest.strip_prefix(['-', ' ']).unwrap_or(rest).to_owned())
    };
    let last = after(text, 3).and_then(|rest| after(&rest, 2));
    last.is_some_and(|last| digits(&last, 4))
}

fn without_separators(text: &str) -> String {
    text.chars().filter(|c| !matches!(c, ' ' | '-')).collect()
}

fn is_isbn10(text: &str) -> bool {
    let bare = without_separators(text);
    let Some((body, check)) = bare.split_at_checked(9).filter(|(body, _)| digits(body, 9)) else {
        return false;
    };
    let sum: u32 = (1..).zip(body.bytes()).map(|(weight, digit)| weight * u32::from(digit - b'0')).sum();
    match check {
        "X" => sum % 11 == 10,
        _ => digits(check, 1) && check.parse() == Ok(sum % 11),
    }
}

fn is_isbn13(text: &str) -> bool {
    let bare = without_separators(text);
    let weighted = |(at, digit): (usize, u8)| u32::from(digit - b'0') * if at % 2 == 0 { 1 } else { 3 };
    digits(&bare, 13) && bare.bytes().enumerate().map(weighted).sum::<u32>().is_multiple_of(10)
}

/// As many digits as cards have, the last of which checks the others.
fn is_card(text: &str) -> bool {
    let bare = without_separators(text);
    let doubled = |(at, digit): (usize, u8)| match u32::from(digit - b'0') {
        digit if at % 2 == 0 => digit,
        digit => digit * 2 - if digit > 4 { 9 } else { 0 },
    };
    (13..=19).contains(&bare.len())
        && digits(&bare, bare.len())
        && bare.bytes().rev().enumerate().map(doubled).sum::<u32>().is_multiple_of(10)
}

fn is_label(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    text.bytes().all(|byte| inner(byte) || byte == b'-')
        && text.bytes().next().is_some_and(inner)
        && text.bytes().last().is_some_and(inner)
}

fn is_cidr(text: &str) -> bool {
    let Some((address, length)) = text.split_once('/') else { return false };
    let max = match address.parse::<IpAddr>() {
        Ok(IpAddr::V4(_)) => 32,
        Ok(IpAddr::V6(_)) => 128,
        Err(_) => return false,
    };
    length.parse::<u8>().is_ok_and(|length| length <= max)
}

fn is_mac(text: &str) -> bool {
    let parts: Vec<&str> = text.split([':', '-']).collect();
    matches!(parts.len(), 6 | 8 | 20)
        && parts.iter().all(|part| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

fn is_base64(text: &str) -> bool {
    let body = text.trim_end_matches('=');
    text.len().is_multiple_of(4)
        && text.len() - body.len() <= 2
        && body.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'))
}

fn is_hostname(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= 255 && text.trim_end_matches('.').split('.').all(label)
}

/// Go's form (`1h30m`), or a number of units with a name (`2 days`).
fn is_duration(text: &str) -> bool {
    const UNITS: [&str; 10] = ["ns", "us", "µs", "ms", "s", "m", "h", "d", "w", "y"];
    let mut rest = text.trim_start_matches(['-', '+']);
    if rest == "0" {
        return true;
    }
    let mut any = false;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        if end == 0 {
            return false;
        }
        rest = rest[end..].trim_start();
        let end = rest.find(|c: char| c.is_ascii_digit() || c == ' ').unwrap_or(rest.len());
        let unit = &rest[..end];
        let named = ["sec", "min", "hour", "day", "week", "hr", "nano", "micro", "milli"];
        if !UNITS.contains(&unit) && !named.iter().any(|name| unit.starts_with(name)) {
            return false;
        }
        rest = rest[end..].trim_start();
        any = true;
    }
    any
}

#[cfg(test)]
mod tests {
    use super::fits;

    #[test]
    fn formats_tell_good_from_bad() {
        for (format, good, bad) in [
            ("date", "2024-02-29", "2023-02-29"),
            ("date", "2023-12-31", "2023-13-01"),
            ("uuid", "6ba7b810-9dad-11d1-80b4-00c04fd430c8", "6ba7b810"),
            ("uuid4", "f47ac10b-58cc-4372-a567-0e02b2c3d479", "6ba7b810-9dad-11d1-80b4-00c04fd430c8"),
            ("bsonobjectid", "507f1f77bcf86cd799439011", "507f1f77"),
            ("hexcolor", "#fff", "#ffff"),
            ("rgbcolor", "rgb(0, 128,255)", "rgb(0,128,256)"),
            ("ssn", "111-22-3333", "111-22-333"),
            ("isbn", "0-306-40615-2", "0306406153"),
            ("isbn10", "080442957X", "0804429570"),
            ("isbn13", "978-3-16-148410-0", "978-3-16-148410-1"),
            ("creditcard", "4012 8888 8888 1881", "4012888888881882"),
            ("k8s-short-name", "a-1", "a.b"),
            ("k8s-long-name", "a.b-c", "A.b"),
        ] {
            assert!(fits(format, good), "{format} {good}");
            assert!(!fits(format, bad), "{format} {bad}");
            assert!(!fits(format, "z z!"), "{format}");
        }
        assert!(fits("odd", "anything"));
    }
}
