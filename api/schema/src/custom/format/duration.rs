//! Durations: Go's (`1h30m`), and any text that names a number of a known unit (`2 days`, `P1D`).
//!
//! Source: https://github.com/kubernetes/kube-openapi/blob/master/pkg/validation/strfmt/duration.go

/// The last of a row stands for every word that begins so.
const UNITS: [&[&str]; 8] = [
    &["ns", "nano"],
    &["us", "µs", "micro"],
    &["ms", "milli"],
    &["s", "sec"],
    &["m", "min"],
    &["h", "hr", "hour"],
    &["d", "day"],
    &["w", "wk", "week"],
];

pub(super) fn fits(text: &str) -> bool {
    is_go(text) || names_a_unit(text)
}

fn is_go(text: &str) -> bool {
    let mut rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    if rest == "0" {
        return true;
    }
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, after) = rest.split_at(end);
        let has_digits = number.bytes().any(|byte| byte.is_ascii_digit());
        let end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        let known = matches!(unit, "ns" | "us" | "µs" | "μs" | "ms" | "s" | "m" | "h");
        if !has_digits || number.matches('.').count() > 1 || !known {
            return false;
        }
        rest = after;
    }
    !text.is_empty() && !matches!(text, "-" | "+")
}

fn names_a_unit(text: &str) -> bool {
    let mut rest = text;
    let mut any = false;
    while let Some(at) = rest.find(|c: char| c.is_ascii_digit()) {
        rest = &rest[at..];
        let (number, after) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len()));
        rest = after.trim_start();
        let end = rest.find(|c: char| !c.is_ascii_alphabetic() && c != 'µ').unwrap_or(rest.len());
        let (unit, after) = rest.split_at(end);
        rest = after;
        if unit.is_empty() {
            continue;
        }
        if number.parse::<i64>().is_err() {
            return false;
        }
        any |= is_unit(&unit.to_lowercase());
    }
    any
}

fn is_unit(word: &str) -> bool {
    UNITS.iter().any(|names| names.contains(&word) || names.last().is_some_and(|last| word.starts_with(last)))
}
