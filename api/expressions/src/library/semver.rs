//! `semver('1.2.3-rc.1')`
//!
//! Source: https://semver.org/ and
//! https://github.com/kubernetes/apiserver/blob/master/pkg/cel/library/semverlib.go

use std::{cmp::Ordering, fmt, sync::Arc};

use super::{Library, text};
use crate::{
    error::{Error, failed},
    signature::{Function, Meter},
    value::Value,
};

#[derive(Debug)]
pub struct Semver {
    numbers: [u64; 3],
    pre: Vec<String>,
    build: String,
}

fn identifiers(text: &str) -> Option<Vec<String>> {
    let good = |part: &str| !part.is_empty() && part.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-');
    text.split('.').all(good).then(|| text.split('.').map(String::from).collect())
}

impl Semver {
    fn parse(text: &str, normalize: bool) -> Option<Semver> {
        let text = if normalize { text.strip_prefix('v').unwrap_or(text) } else { text };
        let (rest, build) = match text.split_once('+') {
            Some((rest, build)) => (rest, identifiers(build)?.join(".")),
            None => (text, String::new()),
        };
        let (core, pre) = match rest.split_once('-') {
            Some((core, pre)) => (core, identifiers(pre)?),
            None => (rest, Vec::new()),
        };
        let padded =
            |part: &str| part.len() > 1 && part.starts_with('0') && part.bytes().all(|c| c.is_ascii_digit());
        if pre.iter().any(|part| padded(part)) {
            return None;
        }
        let parts: Vec<&str> = core.split('.').collect();
        if parts.len() > 3 || parts.len() < 3 && !normalize {
            return None;
        }
        let mut numbers = [0; 3];
        for (at, part) in parts.iter().enumerate() {
            let digits = !part.is_empty() && part.bytes().all(|c| c.is_ascii_digit());
            if !digits || padded(part) && !normalize {
                return None;
            }
            numbers[at] = part.parse().ok()?;
        }
        Some(Semver { numbers, pre, build })
    }

    fn compare(&self, other: &Semver) -> Ordering {
        let by_parts = || {
            for (a, b) in self.pre.iter().zip(&other.pre) {
                let ordering = match (a.parse::<u64>(), b.parse::<u64>()) {
                    (Ok(a), Ok(b)) => a.cmp(&b),
                    (Ok(_), Err(_)) => Ordering::Less,
                    (Err(_), Ok(_)) => Ordering::Greater,
                    (Err(_), Err(_)) => a.cmp(b),
                };
                if ordering.is_ne() {
                    return ordering;
                }
            }
            self.pre.len().cmp(&other.pre.len())
        };
        self.numbers.cmp(&other.numbers).then_with(|| match (self.pre.is_empty(), other.pre.is_empty()) {
            (true, true) => Ordering::Equal,
            (true, false) => Ordering::Greater,
            (false, true) => Ordering::Less,
            (false, false) => by_parts(),
        })
    }
}

impl PartialEq for Semver {
    fn eq(&self, other: &Semver) -> bool {
        self.compare(other).is_eq()
    }
}

impl fmt::Display for Semver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [major, minor, patch] = self.numbers;
        write!(f, "{major}.{minor}.{patch}")?;
        if !self.pre.is_empty() {
            write!(f, "-{}", self.pre.join("."))?;
        }
        if !self.build.is_empty() {
            write!(f, "+{}", self.build)?;
        }
        Ok(())
    }
}

fn parse(meter: &mut Meter<'_>, args: &[Value<'_>]) -> Result<Option<Semver>, Error> {
    let own = text(&args[0])?;
    meter.traverse(own.len())?;
    Ok(Semver::parse(own, args.get(1).and_then(Value::as_bool).unwrap_or_default()))
}

fn semver<'a>(meter: &mut Meter<'_>, args: &[Value<'a>]) -> Result<Value<'a>, Error> {
    match parse(meter, args)? {
        Some(version) => Ok(Value::Library(Library::Semver(Arc::new(version)))),
        None => failed(format!("semver parse error: {:?} is not a semantic version", text(&args[0])?)),
    }
}

fn is_semver<'a>(meter: &mut Meter<'_>, args: &[Value<'a>]) -> Result<Value<'a>, Error> {
    Ok(Value::Bool(parse(meter, args)?.is_some()))
}

fn own<'v>(value: &'v Value<'_>) -> Result<&'v Semver, Error> {
    match value {
        Value::Library(Library::Semver(version)) => Ok(version),
        _ => Err(Error::NoOverload),
    }
}

fn major<'a>(_: &mut Meter<'_>, args: &[Value<'a>]) -> Result<Value<'a>, Error> {
    Ok(Value::Int(own(&args[0])?.numbers[0] as i64))
}

fn minor<'a>(_: &mut Meter<'_>, args: &[Value<'a>]) -> Result<Value<'a>, Error> {
    Ok(Value::Int(own(&args[0])?.numbers[1] as i64))
}

fn patch<'a>(_: &mut Meter<'_>, args: &[Value<'a>]) -> Result<Value<'a>, Error> {
    Ok(Value::Int(own(&args[0])?.numbers[2] as i64))
}

fn is_greater<'a>(_: &mut Meter<'_>, args: &[Value<'a>]) -> Result<Value<'a>, Error> {
    Ok(Value::Bool(own(&args[0])?.compare(own(&args[1])?).is_gt()))
}

fn is_less<'a>(_: &mut Meter<'_>, args: &[Value<'a>]) -> Result<Value<'a>, Error> {
    Ok(Value::Bool(own(&args[0])?.compare(own(&args[1])?).is_lt()))
}

fn compare_to<'a>(_: &mut Meter<'_>, args: &[Value<'a>]) -> Result<Value<'a>, Error> {
    Ok(Value::Int(own(&args[0])?.compare(own(&args[1])?) as i64))
}

pub(super) const TABLE: &[(&str, Function)] = &[
    ("semver(string) semver", semver),
    ("semver(string, bool) semver", semver),
    ("isSemver(string) bool", is_semver),
    ("isSemver(string, bool) bool", is_semver),
    ("semver.major() int", major),
    ("semver.minor() int", minor),
    ("semver.patch() int", patch),
    ("semver.isGreaterThan(semver) bool", is_greater),
    ("semver.isLessThan(semver) bool", is_less),
    ("semver.compareTo(semver) int", compare_to),
];
