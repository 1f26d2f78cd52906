//! Text: the strings extension (version 2) and regular expressions. Places in text count code points.
//!
//! Source: https://github.com/google/cel-go/blob/master/ext/README.md#strings and
//! https://kubernetes.io/docs/reference/using-api/cel/#kubernetes-regex-library

use regex::Regex;

use super::format::format;
use crate::{
    error::{Error, failed},
    signature::{Function, Meter},
    value::{List, Value},
};

fn text<'v>(value: &'v Value<'_>) -> Result<&'v str, Error> {
    value.as_str().ok_or(Error::NoOverload)
}

fn number(value: Option<&Value<'_>>) -> Result<i64, Error> {
    match value {
        Some(Value::Int(number)) => Ok(*number),
        _ => Err(Error::NoOverload),
    }
}

fn test<'a>(
    meter: &mut Meter<'_>,
    args: &[Value<'a>],
    holds: fn(&str, &str) -> bool,
) -> Result<Value<'a>, Error> {
    let (own, other) = (text(&args[0])?, text(&args[1])?);
    meter.traverse(own.len())?;
    Ok(Value::Bool(holds(own, other)))
}

fn contains<'a>(meter: &mut Meter<'_>, args: &[Value<'a>]) -> Result<Value<'a>, Error> {
    test(meter, args, |own, other| own.contains(other))
}

fn starts_with<'a>(meter: &mut Meter<'_>, args: &[Value<'a>]) -> Result<Value<'a>, Error> {
    test(meter, args, |own, other| own.starts_with(other))
}

fn ends_with<'a>(meter: &mut Meter<'_>, args: &[Value<'a>]) -> Result<Value<'a>, Error> {
    test(meter, args, |own, other| own.ends_with(other))
}

/// Runs something on the compiled pattern in the second argument.
fn with_regex<'a, T>(
    meter: &mut Meter<'_>,
    args: &[Value<'a>],
    run: impl FnOnce(&Regex, &str) -> T,
) -> Result<T, Error> {
    let (own, pattern) = (text(&args[0])?, text(&args[1])?);
    let cost = (own.len() as u64 + 1).div_ceil(10) * (pattern.len() as u64).div_ceil(4).max(1);
    meter.charge(cost)?;
    match meter.regexes.get(pattern) {
        Some(regex) => Ok(run(regex, own)),
        None => compile(pattern).map(|regex| run(&regex, own)),
    }
}

pub(crate) fn compile(pattern: &str) -> Result<Regex, Error> {
    regex::RegexBuilder::new(pattern)
        .size_limit(1 << 20)
        .build()
        .or_else(|error| failed(format!("error parsing regexp: {}", reason(&error))))
}

/// The last line of the crate's picture.
fn reason(error: &regex::Error) -> String {
    let text = error.to_string();
    text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
}

fn matches<'a>(meter: &mut Meter<'_>, args: &[Value<'a>]) -> Result<Value<'a>, Error> {
    with_regex(meter, args, |regex, own| Value::Bool(regex.is_match(own)))
}

fn find<'a>(meter: &mut Meter<'_>, args: &[Value<'a>]) -> Result<Value<'a>, Error> {
    with_regex(meter, args, |regex, own| {
        regex.find(own).map_or_else(String::new, |found| found.as_str().to_owned()).into()
    })
}

fn find_all<'a>(meter: &mut Meter<'_>, args: &[Value<'a>]) -> Result<Value<'a>, Error> {
    let limit = if args.len() > 2 { number(args.get(2))? } else { -1 };
    let limit = if limit < 0 { usize::MAX } else { limit as usize };
    with_regex(meter, args, |regex, own| {
        Value::list(regex.find_iter(own).take(limit).map(|found| found.as_str().to_owned().into()).collect())
    })
}

fn lower<'a>(meter: &mut Meter<'_>, args: &[Value<'a>]) -> Result<Value<'a>, Error> {
    meter.traverse(text(&args[0])?.len())?;
    Ok(text(&args[0])?.to_ascii_lowercase().into())
}

fn upper<'a>(meter: &mut Meter<'_>, args: &[Value<'a>]) -> Result<Value<'a>, Error> {
    meter.traverse(text(&args[0])?.len())?;
    Ok(text(&args[0])?.to_ascii_uppercase().into())
}

fn trim<'a>(meter: &mut Meter<'_>, args: &[Value<'a>]) -> Result<Value<'a>, Error> {
    meter.traverse(text(&args[0])?.len())?;
    Ok(text(&args[0])?.trim().to_owned().into())
}

fn char_at<'a>(meter: &mut Meter<'_>, args: &[Value<'a>]) -> Result<Value<'a>, Error> {
    let (own, at) = (text(&args[0])?, number(args.get(1))?);
    meter.traverse(own.len())?;
    let count = own.chars().count() as i64;
    if at < 0 || at > count {
        return failed(format!("index out of range: {at}"));
    }
    Ok(own.chars().nth(at as usize).map_or_else(String::new, String::from).into())
}

fn substring<'a>(meter: &mut Meter<'_>, args: &[Value<'a>]) -> Result<Value<'a>, Error> {
    let (own, start) = (text(&args[0])?, number(args.get(1))?);
    meter.traverse(own.len())?;
    let count = own.chars().count() as i64;
    let end = if args.len() > 2 { number(args.get(2))? } else { count };
    if args.len() > 2 && start > end {
        return failed(format!("invalid substring range. start: {start}, end: {end}"));
    }
    for at in [start, end] {
        if at < 0 || at > count {
            return failed(format!("index out of range: {at}"));
        }
    }
    Ok(own.chars().skip(start as usize).take((end - start) as usize).collect::<String>().into())
}

/// The place of `other` from code point `from` on, or up to it, backwards.
fn index<'a>(meter: &mut Meter<'_>, args: &[Value<'a>], last: bool) -> Result<Value<'a>, Error> {
    let (own, other) = (text(&args[0])?, text(&args[1])?);
    meter.traverse(own.len() + other.len())?;
    let count = own.chars().count();
    let offset = |at: usize| own.char_indices().nth(at).map_or(own.len(), |(offset, _)| offset);
    let from = if args.len() > 2 { number(args.get(2))? } else { if last { count as i64 } else { 0 } };
    if from < 0 || from > count as i64 {
        return failed(format!("index out of range: {from}"));
    }
    let found = if last {
        let end = (offset(from as usize) + other.len()).min(own.len());
        let end = (end..=own.len()).find(|end| own.is_char_boundary(*end)).unwrap_or(own.len());
        own[..end].rfind(other)
    } else {
        let start = offset(from as usize);
        own[start..].find(other).map(|found| found + start)
    };
    Ok(Value::Int(found.map_or(-1, |found| own[..found].chars().count() as i64)))
}

fn index_of<'a>(meter: &mut Meter<'_>, args: &[Value<'a>]) -> Result<Value<'a>, Error> {
    index(meter, args, false)
}

fn last_index_of<'a>(meter: &mut Meter<'_>, args: &[Value<'a>]) -> Result<Value<'a>, Error> {
    index(meter, args, true)
}

fn replace<'a>(meter: &mut Meter<'_>, args: &[Value<'a>]) -> Result<Value<'a>, Error> {
    let (own, old, new) = (text(&args[0])?, text(&args[1])?, text(&args[2])?);
    let limit = if args.len() > 3 { number(args.get(3))? } else { -1 };
    // Before anything grows: as often as there is place for.
    let times = own.len() / old.len().max(1) + 1;
    meter.traverse(own.len() + times.saturating_mul(new.len()))?;
    let replaced = if limit < 0 { own.replace(old, new) } else { own.replacen(old, new, limit as usize) };
    Ok(replaced.into())
}

fn split<'a>(meter: &mut Meter<'_>, args: &[Value<'a>]) -> Result<Value<'a>, Error> {
    let (own, by) = (text(&args[0])?, text(&args[1])?);
    meter.traverse(own.len())?;
    let limit = if args.len() > 2 { number(args.get(2))? } else { -1 };
    let limit = if limit < 0 { usize::MAX } else { limit as usize };
    let part = |part: &str| Value::from(part.to_owned());
    if limit == 0 {
        return Ok(Value::list(Vec::new()));
    }
    if by.is_empty() {
        let mut parts: Vec<Value<'a>> = Vec::new();
        let mut rest = own;
        while let Some(c) = rest.chars().next().filter(|_| parts.len() + 1 < limit) {
            parts.push(part(&rest[..c.len_utf8()]));
            rest = &rest[c.len_utf8()..];
        }
        if !rest.is_empty() {
            parts.push(part(rest));
        }
        return Ok(Value::list(parts));
    }
    Ok(Value::list(own.splitn(limit, by).map(part).collect()))
}

fn join<'a>(meter: &mut Meter<'_>, args: &[Value<'a>]) -> Result<Value<'a>, Error> {
    let Value::List(list) = &args[0] else { return Err(Error::NoOverload) };
    let by = args.get(1).map_or(Ok(""), text)?;
    join_list(meter, list, by)
}

fn join_list<'a>(meter: &mut Meter<'_>, list: &List<'a>, by: &str) -> Result<Value<'a>, Error> {
    let mut out = String::new();
    for (at, item) in list.iter().enumerate() {
        let item = text(&item)?.to_owned();
        meter.traverse(item.len() + by.len())?;
        if at > 0 {
            out.push_str(by);
        }
        out.push_str(&item);
    }
    Ok(out.into())
}

fn quote<'a>(meter: &mut Meter<'_>, args: &[Value<'a>]) -> Result<Value<'a>, Error> {
    let own = text(&args[0])?;
    meter.traverse(own.len())?;
    let mut out = String::from("\"");
    for c in own.chars() {
        match c {
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{b}' => out.push_str("\\v"),
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            c => out.push(c),
        }
    }
    out.push('"');
    Ok(out.into())
}

/// Of a JSON pointer's part.
fn escape_key<'a>(meter: &mut Meter<'_>, args: &[Value<'a>]) -> Result<Value<'a>, Error> {
    meter.traverse(text(&args[0])?.len())?;
    Ok(text(&args[0])?.replace('~', "~0").replace('/', "~1").into())
}

pub(super) const TABLE: &[(&str, Function)] = &[
    ("string.contains(string) bool", contains),
    ("string.startsWith(string) bool", starts_with),
    ("string.endsWith(string) bool", ends_with),
    ("string.matches(string) bool", matches),
    ("matches(string, string) bool", matches),
    ("string.find(string) string", find),
    ("string.findAll(string) list<string>", find_all),
    ("string.findAll(string, int) list<string>", find_all),
    ("string.lowerAscii() string", lower),
    ("string.upperAscii() string", upper),
    ("string.trim() string", trim),
    ("string.charAt(int) string", char_at),
    ("string.substring(int) string", substring),
    ("string.substring(int, int) string", substring),
    ("string.indexOf(string) int", index_of),
    ("string.indexOf(string, int) int", index_of),
    ("string.lastIndexOf(string) int", last_index_of),
    ("string.lastIndexOf(string, int) int", last_index_of),
    ("string.replace(string, string) string", replace),
    ("string.replace(string, string, int) string", replace),
    ("string.split(string) list<string>", split),
    ("string.split(string, int) list<string>", split),
    ("list<string>.join() string", join),
    ("list<string>.join(string) string", join),
    ("string.format(list<dyn>) string", format),
    ("strings::quote(string) string", quote),
    ("jsonpatch::escapeKey(string) string", escape_key),
];
