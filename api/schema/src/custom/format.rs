//! The formats of strings that a stock server checks. Others are accepted unseen.
//!
//! Source: https://github.com/kubernetes/kube-openapi/blob/master/pkg/validation/strfmt/default.go

mod duration;
mod uri;

use std::net::Ipv6Addr;

/// What a stock server checks; what is not among them says nothing.
const KNOWN: [&str; 26] = [
    "bsonobjectid",
    "byte",
    "cidr",
    "creditcard",
    "date",
    "datetime",
    "duration",
    "email",
    "hexcolor",
    "hostname",
    "ipv4",
    "ipv6",
    "isbn",
    "isbn10",
    "isbn13",
    "k8slongname",
    "k8sshortname",
    "mac",
    "password",
    "rgbcolor",
    "ssn",
    "uri",
    "uuid",
    "uuid3",
    "uuid4",
    "uuid5",
];

/// Hyphens in a format's name count for nothing.
fn bare(format: &str) -> String {
    format.replace('-', "")
}

pub(super) fn is_known(format: &str) -> bool {
    KNOWN.contains(&&*bare(format))
}

pub(super) fn fits(format: &str, text: &str) -> bool {
    match bare(format).as_str() {
        "datetime" => is_date_time(text),
        "date" => is_date(text),
        "uuid" => is_uuid(text, None),
        "uuid3" => is_uuid(text, Some('3')),
        "uuid4" => is_uuid(text, Some('4')),
        "uuid5" => is_uuid(text, Some('5')),
        "ipv4" => is_ipv4(text),
        "ipv6" => text.parse::<Ipv6Addr>().is_ok(),
        "cidr" => is_cidr(text),
        "mac" => is_mac(text),
        "byte" => is_base64(text),
        "email" => is_email(text),
        "hostname" => is_hostname(text),
        "uri" => uri::is_request(text),
        "duration" => duration::fits(text),
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
    let mut rest = text;
    for length in [8, 4, 4, 4] {
        let part = rest.split_at_checked(length).filter(|(part, _)| hex(part, &[length]));
        let Some((_, after)) = part else { return false };
        rest = after.strip_prefix('-').unwrap_or(after);
    }
    hex(rest, &[12]) && version.is_none_or(|version| variant_fits(text, version))
}

/// The third group says the version, the fourth of a random or a hashed one the variant.
fn variant_fits(text: &str, version: char) -> bool {
    let bare = bare(text);
    bare[12..].starts_with(version)
        && (version == '3' || bare[16..].starts_with(['8', '9', 'a', 'b', 'A', 'B']))
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
    let max = match address {
        address if is_ipv4(address) => 32,
        address if address.parse::<Ipv6Addr>().is_ok() => 128,
        _ => return false,
    };
    digits(length, length.len()) && length.parse::<u8>().is_ok_and(|length| length <= max)
}

/// Bytes with a separator between them, pairs of them with a dot, or nothing between.
fn is_mac(text: &str) -> bool {
    let parts: Vec<&str> = match text.as_bytes().get(2) {
        Some(separator @ (b':' | b'-')) => text.split(char::from(*separator)).collect(),
        _ => text.split('.').collect(),
    };
    let length = match parts[..] {
        [_] => text.len(),
        [first, ..] if first.len() == 4 => 4,
        _ => 2,
    };
    let bytes = parts.len() * length / 2;
    parts.iter().all(|part| hex(part, &[length])) && length.is_multiple_of(2) && matches!(bytes, 6 | 8 | 20)
}

fn is_base64(text: &str) -> bool {
    let body = text.trim_end_matches('=');
    text.len().is_multiple_of(4)
        && text.len() - body.len() <= 2
        && body.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'))
}

/// One name whose only hyphen may stand second, or a domain with a top level of letters.
fn is_hostname(text: &str) -> bool {
    let letter = |c: char| c.is_ascii_alphabetic() || !c.is_ascii() && c.is_alphabetic();
    let plain = |c: char| {
        let is_symbol =
            if c.is_ascii() { "$+<=>^`|~".contains(c) } else { !c.is_alphanumeric() && !c.is_whitespace() };
        letter(c) || c.is_ascii_digit() || is_symbol
    };
    let single = |text: &str| {
        let mut rest = text.chars();
        rest.next().is_some_and(plain) && {
            let rest = rest.as_str();
            rest.strip_prefix('-').unwrap_or(rest).chars().all(plain)
        }
    };
    let label = |label: &str| {
        label.chars().all(|c| plain(c) || c == '-') && label.starts_with(plain) && label.ends_with(plain)
    };
    let domain = |(labels, top): (&str, &str)| {
        labels.split('.').all(label) && top.chars().count() >= 2 && top.chars().all(letter)
    };
    let fits = single(text) || text.rsplit_once('.').is_some_and(domain);
    fits && text.len() <= 255 && text.split('.').all(|label| label.len() <= 63)
}

/// Leading zeros are decimal here.
fn is_ipv4(text: &str) -> bool {
    let part = |part: &str| digits(part, part.len()) && part.parse::<u32>().is_ok_and(|number| number <= 255);
    text.split('.').count() == 4 && text.split('.').all(part)
}

/// `user@host`, also behind a name: `Name <user@host>`.
fn is_email(text: &str) -> bool {
    let address = match text.strip_suffix('>').and_then(|text| text.rsplit_once('<')) {
        Some((_, address)) => address,
        None => text.trim(),
    };
    let atom = |c: char| c.is_ascii_alphanumeric() || !c.is_ascii() || "!#$%&'*+-/=?^_`{|}~".contains(c);
    let dotted = |text: &str| text.split('.').all(|part| !part.is_empty() && part.chars().all(atom));
    let quoted = |text: &str| text.len() > 2 && text.starts_with('"') && text.ends_with('"');
    address.rsplit_once('@').is_some_and(|(user, host)| (dotted(user) || quoted(user)) && dotted(host))
}

#[cfg(test)]
mod tests {
    use super::{fits, is_known};

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
            ("mac", "00:11:22:33:44:55", "00:11-22:33:44:55"),
            ("mac", "0011.2233.4455", "0011.2233.445"),
            ("mac", "001122334455", "0011223344556"),
            ("uuid3", "6ba7b810-9dad-31d1-10b4-00c04fd430c8", "6ba7b810-9dad-41d1-80b4-00c04fd430c8"),
            ("uuid", "6ba7b8109dad-11d1-80b4-00c04fd430c8", "6ba7-b8109dad-11d1-80b4-00c04fd430c8"),
            ("hostname", "a-bc", "ab-c"),
            ("hostname", "a-b.example.com", "127.0.0.1"),
            ("ipv4", "010.0.0.1", "1.2.3.256"),
            ("cidr", "010.0.0.1/8", "10.0.0.0/33"),
            ("email", "Joe <joe@example.com>", "joe..x@example.com"),
            ("uri", "http://host:80/a%20b?c", "http://a b"),
            ("uri", "/path", "2020-01-01T00:00:00Z"),
            ("uri", "mailto:x", "::1"),
            ("duration", "1h30m", "1x"),
            ("duration", "P1D", "-"),
            ("duration", "2 days", "1.5.5"),
            ("k8s-short-name", "a-1", "a.b"),
            ("k8s-long-name", "a.b-c", "A.b"),
        ] {
            assert!(fits(format, good), "{format} {good}");
            assert!(!fits(format, bad), "{format} {bad}");
            assert!(!fits(format, "z z!") && is_known(format), "{format}");
        }
        assert!(fits("password", "anything") && !is_known("odd"));
    }
}
