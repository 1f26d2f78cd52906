//! Values that may be absent.
//!
//! Source: https://github.com/google/cel-go/blob/master/cel/library.go (`OptionalTypes`)

use crate::{
    error::{Error, failed},
    signature::{Function, Meter},
    value::Value,
};

fn of<'a>(_: &mut Meter<'_>, args: &[Value<'a>]) -> Result<Value<'a>, Error> {
    Ok(Value::some(args[0].clone()))
}

fn none<'a>(_: &mut Meter<'_>, _: &[Value<'a>]) -> Result<Value<'a>, Error> {
    Ok(Value::Optional(None))
}

fn of_non_zero<'a>(_: &mut Meter<'_>, args: &[Value<'a>]) -> Result<Value<'a>, Error> {
    let is_zero = match &args[0] {
        Value::Null => true,
        Value::Bool(yes) => !yes,
        Value::Int(number) => *number == 0,
        Value::Uint(number) => *number == 0,
        Value::Double(number) => *number == 0.0,
        Value::String(text) => text.as_str().is_empty(),
        Value::Bytes(bytes) => bytes.is_empty(),
        Value::Duration(nanos) => *nanos == 0,
        Value::List(list) => list.is_empty(),
        Value::Map(map) => map.is_empty(),
        Value::Optional(inner) => inner.is_none(),
        Value::Timestamp(_) | Value::Type(_) | Value::Library(_) => false,
    };
    Ok(if is_zero { Value::Optional(None) } else { Value::some(args[0].clone()) })
}

fn value<'a>(_: &mut Meter<'_>, args: &[Value<'a>]) -> Result<Value<'a>, Error> {
    match &args[0] {
        Value::Optional(Some(inner)) => Ok(Value::clone(inner)),
        Value::Optional(None) => failed("optional.none() dereference"),
        _ => Err(Error::NoOverload),
    }
}

fn has_value<'a>(_: &mut Meter<'_>, args: &[Value<'a>]) -> Result<Value<'a>, Error> {
    Ok(Value::Bool(matches!(&args[0], Value::Optional(Some(_)))))
}

fn or<'a>(_: &mut Meter<'_>, args: &[Value<'a>]) -> Result<Value<'a>, Error> {
    Ok(if matches!(&args[0], Value::Optional(Some(_))) { args[0].clone() } else { args[1].clone() })
}

fn or_value<'a>(_: &mut Meter<'_>, args: &[Value<'a>]) -> Result<Value<'a>, Error> {
    match &args[0] {
        Value::Optional(Some(inner)) => Ok(Value::clone(inner)),
        _ => Ok(args[1].clone()),
    }
}

pub(super) const TABLE: &[(&str, Function)] = &[
    ("optional::of(A) optional<A>", of),
    ("optional::none() optional<A>", none),
    ("optional::ofNonZeroValue(A) optional<A>", of_non_zero),
    ("optional<A>.value() A", value),
    ("optional<A>.hasValue() bool", has_value),
    ("optional<A>.or(optional<A>) optional<A>", or),
    ("optional<A>.orValue(A) A", or_value),
];
