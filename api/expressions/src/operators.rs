//! Equality, order and arithmetic.
//!
//! Source: https://github.com/google/cel-spec/blob/master/doc/langdef.md#equality, `#ordering`, `#overflow`

use std::{cmp::Ordering, sync::Arc};

use crate::{
    error::{Error, failed},
    signature::{Function, Meter},
    time::shift,
    types::Order,
    value::{List, Map, Text, Value},
};

const OVERFLOW: &str = "integer overflow";

/// Numbers are equal whatever their type; values of other types differ.
pub(crate) fn equal(a: &Value<'_>, b: &Value<'_>) -> bool {
    match (a, b) {
        (Value::Null, Value::Null) => true,
        (Value::Bool(a), Value::Bool(b)) => a == b,
        (Value::String(a), Value::String(b)) => a.as_str() == b.as_str(),
        (Value::Bytes(a), Value::Bytes(b)) => a == b,
        (Value::Duration(a), Value::Duration(b)) => a == b,
        (Value::Timestamp(a), Value::Timestamp(b)) => a == b,
        (Value::Type(a), Value::Type(b)) => a == b,
        (Value::List(a), Value::List(b)) => equal_lists(a, b),
        (Value::Map(a), Value::Map(b)) => {
            a.len() == b.len()
                && a.entries().iter().all(|(key, value)| b.get(key).is_some_and(|other| equal(value, &other)))
        }
        (Value::Optional(a), Value::Optional(b)) => match (a, b) {
            (Some(a), Some(b)) => equal(a, b),
            (a, b) => a.is_none() && b.is_none(),
        },
        (Value::Library(a), Value::Library(b)) => a.equal(b),
        (a, b) if is_number(a) && is_number(b) => compare(a, b) == Some(Ordering::Equal),
        _ => false,
    }
}

/// Sets, and lists by keys, are equal in any order.
fn equal_lists(a: &List<'_>, b: &List<'_>) -> bool {
    if a.len() != b.len() {
        return false;
    }
    match a.order() {
        Order::Atomic => a.iter().zip(b.iter()).all(|(a, b)| equal(&a, &b)),
        Order::Set | Order::Keys(_) => a.iter().all(|a| b.iter().any(|b| equal(&a, &b))),
    }
}

fn is_number(value: &Value<'_>) -> bool {
    matches!(value, Value::Int(_) | Value::Uint(_) | Value::Double(_))
}

pub(crate) fn compare(a: &Value<'_>, b: &Value<'_>) -> Option<Ordering> {
    match (a, b) {
        (Value::Int(a), Value::Int(b)) => Some(a.cmp(b)),
        (Value::Uint(a), Value::Uint(b)) => Some(a.cmp(b)),
        (Value::Double(a), Value::Double(b)) => a.partial_cmp(b),
        (Value::Int(a), Value::Uint(b)) => Some(i128::from(*a).cmp(&i128::from(*b))),
        (Value::Uint(a), Value::Int(b)) => Some(i128::from(*a).cmp(&i128::from(*b))),
        (Value::Int(a), Value::Double(b)) => (*a as f64).partial_cmp(b),
        (Value::Double(a), Value::Int(b)) => a.partial_cmp(&(*b as f64)),
        (Value::Uint(a), Value::Double(b)) => (*a as f64).partial_cmp(b),
        (Value::Double(a), Value::Uint(b)) => a.partial_cmp(&(*b as f64)),
        (Value::Bool(a), Value::Bool(b)) => Some(a.cmp(b)),
        (Value::String(a), Value::String(b)) => Some(a.as_str().cmp(b.as_str())),
        (Value::Bytes(a), Value::Bytes(b)) => Some(a.cmp(b)),
        (Value::Duration(a), Value::Duration(b)) => Some(a.cmp(b)),
        (Value::Timestamp(a), Value::Timestamp(b)) => Some(a.cmp(b)),
        _ => None,
    }
}

/// What comparing two values costs: the size of the smaller.
pub(crate) fn size(value: &Value<'_>) -> usize {
    match value {
        Value::String(text) => text.as_str().len().div_ceil(10),
        Value::Bytes(bytes) => bytes.len().div_ceil(10),
        Value::List(List::Json(items, _)) => items.iter().map(json_size).sum(),
        Value::List(list) => list.iter().map(|item| size(&item)).sum(),
        Value::Map(Map::Json(fields, _)) => fields.values().map(json_size).sum(),
        Value::Map(Map::Made(entries)) => entries.iter().map(|(_, value)| size(value)).sum(),
        _ => 1,
    }
}

fn json_size(value: &serde_json::Value) -> usize {
    match value {
        serde_json::Value::String(text) => text.len().div_ceil(10),
        serde_json::Value::Array(items) => items.iter().map(json_size).sum(),
        serde_json::Value::Object(fields) => fields.values().map(json_size).sum(),
        _ => 1,
    }
}

fn order(
    meter: &mut Meter<'_>,
    args: &[Value<'_>],
    holds: fn(Ordering) -> bool,
) -> Result<Value<'static>, Error> {
    meter.charge(size(&args[0]).min(size(&args[1])) as u64)?;
    match compare(&args[0], &args[1]) {
        Some(ordering) => Ok(Value::Bool(holds(ordering))),
        None if matches!((&args[0], &args[1]), (Value::Double(_), _) | (_, Value::Double(_))) => {
            Ok(Value::Bool(false))
        }
        None => Err(Error::NoOverload),
    }
}

fn less<'a>(meter: &mut Meter<'_>, args: &[Value<'a>]) -> Result<Value<'a>, Error> {
    order(meter, args, Ordering::is_lt)
}

fn less_equal<'a>(meter: &mut Meter<'_>, args: &[Value<'a>]) -> Result<Value<'a>, Error> {
    order(meter, args, Ordering::is_le)
}

fn greater<'a>(meter: &mut Meter<'_>, args: &[Value<'a>]) -> Result<Value<'a>, Error> {
    order(meter, args, Ordering::is_gt)
}

fn greater_equal<'a>(meter: &mut Meter<'_>, args: &[Value<'a>]) -> Result<Value<'a>, Error> {
    order(meter, args, Ordering::is_ge)
}

fn int<'a>(result: Option<i64>) -> Result<Value<'a>, Error> {
    result.map_or_else(|| failed(OVERFLOW), |number| Ok(Value::Int(number)))
}

fn uint<'a>(result: Option<u64>) -> Result<Value<'a>, Error> {
    result.map_or_else(|| failed("unsigned integer overflow"), |number| Ok(Value::Uint(number)))
}

fn add<'a>(meter: &mut Meter<'_>, args: &[Value<'a>]) -> Result<Value<'a>, Error> {
    let duration =
        |sum: Option<i64>| sum.map_or_else(|| failed("duration overflow"), |sum| Ok(Value::Duration(sum)));
    match (&args[0], &args[1]) {
        (Value::Int(a), Value::Int(b)) => int(a.checked_add(*b)),
        (Value::Uint(a), Value::Uint(b)) => uint(a.checked_add(*b)),
        (Value::Double(a), Value::Double(b)) => Ok(Value::Double(a + b)),
        (Value::String(a), Value::String(b)) => {
            meter.traverse(a.as_str().len() + b.as_str().len())?;
            let sum: Arc<str> = [a.as_str(), b.as_str()].concat().into();
            Ok(Value::String(Text::Owned(sum)))
        }
        (Value::Bytes(a), Value::Bytes(b)) => {
            meter.traverse(a.len() + b.len())?;
            Ok(Value::Bytes([&a[..], &b[..]].concat().into()))
        }
        (Value::Duration(a), Value::Duration(b)) => duration(a.checked_add(*b)),
        (Value::Timestamp(time), Value::Duration(nanos))
        | (Value::Duration(nanos), Value::Timestamp(time)) => shift(*time, *nanos)
            .map_or_else(|| failed("timestamp overflow"), |time| Ok(Value::Timestamp(time))),
        (Value::List(a), Value::List(b)) => {
            meter.charge((a.len() + b.len()) as u64)?;
            Ok(join(a, b))
        }
        _ => Err(Error::NoOverload),
    }
}

/// Lists one after the other; sets without what is there already; lists by keys with what is of the same key replaced.
fn join<'a>(a: &List<'a>, b: &List<'a>) -> Value<'a> {
    let mut all: Vec<Value<'a>> = a.iter().collect();
    for item in b.iter() {
        match a.order() {
            Order::Atomic => all.push(item),
            Order::Set if all.iter().any(|own| equal(own, &item)) => {}
            Order::Set => all.push(item),
            Order::Keys(keys) => match all.iter_mut().find(|own| same_keys(own, &item, keys)) {
                Some(own) => *own = item,
                None => all.push(item),
            },
        }
    }
    Value::list(all)
}

fn same_keys(a: &Value<'_>, b: &Value<'_>, keys: &[String]) -> bool {
    let (Value::Map(a), Value::Map(b)) = (a, b) else { return false };
    keys.iter().all(|key| match (a.field(key), b.field(key)) {
        (Some(a), Some(b)) => equal(&a, &b),
        (a, b) => a.is_none() && b.is_none(),
    })
}

fn subtract<'a>(_: &mut Meter<'_>, args: &[Value<'a>]) -> Result<Value<'a>, Error> {
    let duration = |left: Option<i64>| {
        left.map_or_else(|| failed("duration overflow"), |left| Ok(Value::Duration(left)))
    };
    match (&args[0], &args[1]) {
        (Value::Int(a), Value::Int(b)) => int(a.checked_sub(*b)),
        (Value::Uint(a), Value::Uint(b)) => uint(a.checked_sub(*b)),
        (Value::Double(a), Value::Double(b)) => Ok(Value::Double(a - b)),
        (Value::Duration(a), Value::Duration(b)) => duration(a.checked_sub(*b)),
        (Value::Timestamp(time), Value::Duration(nanos)) => nanos
            .checked_neg()
            .and_then(|nanos| shift(*time, nanos))
            .map_or_else(|| failed("timestamp overflow"), |time| Ok(Value::Timestamp(time))),
        (Value::Timestamp(a), Value::Timestamp(b)) => {
            duration(i64::try_from(a.as_nanosecond() - b.as_nanosecond()).ok())
        }
        _ => Err(Error::NoOverload),
    }
}

fn multiply<'a>(_: &mut Meter<'_>, args: &[Value<'a>]) -> Result<Value<'a>, Error> {
    match (&args[0], &args[1]) {
        (Value::Int(a), Value::Int(b)) => int(a.checked_mul(*b)),
        (Value::Uint(a), Value::Uint(b)) => uint(a.checked_mul(*b)),
        (Value::Double(a), Value::Double(b)) => Ok(Value::Double(a * b)),
        _ => Err(Error::NoOverload),
    }
}

fn divide<'a>(_: &mut Meter<'_>, args: &[Value<'a>]) -> Result<Value<'a>, Error> {
    match (&args[0], &args[1]) {
        (Value::Int(_), Value::Int(0)) | (Value::Uint(_), Value::Uint(0)) => failed("division by zero"),
        (Value::Int(a), Value::Int(b)) => int(a.checked_div(*b)),
        (Value::Uint(a), Value::Uint(b)) => Ok(Value::Uint(a / b)),
        (Value::Double(a), Value::Double(b)) => Ok(Value::Double(a / b)),
        _ => Err(Error::NoOverload),
    }
}

fn modulo<'a>(_: &mut Meter<'_>, args: &[Value<'a>]) -> Result<Value<'a>, Error> {
    match (&args[0], &args[1]) {
        (Value::Int(_), Value::Int(0)) | (Value::Uint(_), Value::Uint(0)) => failed("modulus by zero"),
        (Value::Int(a), Value::Int(b)) => int(a.checked_rem(*b)),
        (Value::Uint(a), Value::Uint(b)) => Ok(Value::Uint(a % b)),
        _ => Err(Error::NoOverload),
    }
}

fn negate<'a>(_: &mut Meter<'_>, args: &[Value<'a>]) -> Result<Value<'a>, Error> {
    match &args[0] {
        Value::Int(number) => int(number.checked_neg()),
        Value::Double(number) => Ok(Value::Double(-number)),
        _ => Err(Error::NoOverload),
    }
}

fn not<'a>(_: &mut Meter<'_>, args: &[Value<'a>]) -> Result<Value<'a>, Error> {
    args[0].as_bool().map(|yes| Value::Bool(!yes)).ok_or(Error::NoOverload)
}

fn contains<'a>(meter: &mut Meter<'_>, args: &[Value<'a>]) -> Result<Value<'a>, Error> {
    match &args[1] {
        Value::List(list) => {
            meter.charge(list.len() as u64)?;
            Ok(Value::Bool(list.iter().any(|item| equal(&item, &args[0]))))
        }
        Value::Map(map) => Ok(Value::Bool(map.get(&args[0]).is_some())),
        _ => Err(Error::NoOverload),
    }
}

macro_rules! ordered {
    ($($name:literal $function:ident),*) => {
        &[$(
            (concat!($name, "(bool, bool) bool"), $function),
            (concat!($name, "(int, int) bool"), $function),
            (concat!($name, "(int, double) bool"), $function),
            (concat!($name, "(int, uint) bool"), $function),
            (concat!($name, "(uint, uint) bool"), $function),
            (concat!($name, "(uint, double) bool"), $function),
            (concat!($name, "(uint, int) bool"), $function),
            (concat!($name, "(double, double) bool"), $function),
            (concat!($name, "(double, int) bool"), $function),
            (concat!($name, "(double, uint) bool"), $function),
            (concat!($name, "(string, string) bool"), $function),
            (concat!($name, "(bytes, bytes) bool"), $function),
            (concat!($name, "(timestamp, timestamp) bool"), $function),
            (concat!($name, "(duration, duration) bool"), $function),
        )*]
    };
}

pub(crate) const ORDER: &[(&str, Function)] =
    ordered!["_<_" less, "_<=_" less_equal, "_>_" greater, "_>=_" greater_equal];

pub(crate) const ARITHMETIC: &[(&str, Function)] = &[
    ("_+_(int, int) int", add),
    ("_+_(uint, uint) uint", add),
    ("_+_(double, double) double", add),
    ("_+_(string, string) string", add),
    ("_+_(bytes, bytes) bytes", add),
    ("_+_(list<A>, list<A>) list<A>", add),
    ("_+_(duration, duration) duration", add),
    ("_+_(timestamp, duration) timestamp", add),
    ("_+_(duration, timestamp) timestamp", add),
    ("_-_(int, int) int", subtract),
    ("_-_(uint, uint) uint", subtract),
    ("_-_(double, double) double", subtract),
    ("_-_(duration, duration) duration", subtract),
    ("_-_(timestamp, duration) timestamp", subtract),
    ("_-_(timestamp, timestamp) duration", subtract),
    ("_*_(int, int) int", multiply),
    ("_*_(uint, uint) uint", multiply),
    ("_*_(double, double) double", multiply),
    ("_/_(int, int) int", divide),
    ("_/_(uint, uint) uint", divide),
    ("_/_(double, double) double", divide),
    ("_%_(int, int) int", modulo),
    ("_%_(uint, uint) uint", modulo),
    ("-_(int) int", negate),
    ("-_(double) double", negate),
    ("!_(bool) bool", not),
    ("@in(A, list<A>) bool", contains),
    ("@in(A, map<A, B>) bool", contains),
];
