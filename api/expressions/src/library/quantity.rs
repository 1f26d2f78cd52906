//! `quantity('1Gi')`
//!
//! Source: https://kubernetes.io/docs/reference/using-api/cel/#kubernetes-quantity-library

use std::cmp::Ordering;

use coracle_schema::{canonical_quantity, quantity_nanos};

use super::{Library, text};
use crate::{
    error::{Error, failed},
    signature::{Function, Meter},
    value::Value,
};

const ONE: i128 = 1_000_000_000;
const FORMAT: &str =
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";

pub(super) fn print(nanos: i128) -> String {
    canonical_quantity(&format!("{nanos}n")).unwrap_or_else(|_| format!("{nanos}n"))
}

fn nanos(value: &Value<'_>) -> Result<i128, Error> {
    match value {
        Value::Library(Library::Quantity(nanos)) => Ok(*nanos),
        Value::Int(number) => Ok(i128::from(*number) * ONE),
        _ => Err(Error::NoOverload),
    }
}

fn made<'a>(nanos: Option<i128>) -> Result<Value<'a>, Error> {
    nanos.map_or_else(|| failed("quantity overflow"), |nanos| Ok(Value::Library(Library::Quantity(nanos))))
}

fn quantity<'a>(meter: &mut Meter<'_>, args: &[Value<'a>]) -> Result<Value<'a>, Error> {
    let own = text(&args[0])?;
    meter.traverse(own.len())?;
    quantity_nanos(own).map_or_else(|| failed(FORMAT), |nanos| made(Some(nanos)))
}

fn is_quantity<'a>(meter: &mut Meter<'_>, args: &[Value<'a>]) -> Result<Value<'a>, Error> {
    let own = text(&args[0])?;
    meter.traverse(own.len())?;
    Ok(Value::Bool(quantity_nanos(own).is_some()))
}

fn whole(nanos: i128) -> Option<i64> {
    (nanos % ONE == 0).then(|| i64::try_from(nanos / ONE).ok()).flatten()
}

fn is_integer<'a>(_: &mut Meter<'_>, args: &[Value<'a>]) -> Result<Value<'a>, Error> {
    Ok(Value::Bool(whole(nanos(&args[0])?).is_some()))
}

fn as_integer<'a>(_: &mut Meter<'_>, args: &[Value<'a>]) -> Result<Value<'a>, Error> {
    whole(nanos(&args[0])?)
        .map_or_else(|| failed("cannot convert value to integer"), |number| Ok(Value::Int(number)))
}

fn as_float<'a>(_: &mut Meter<'_>, args: &[Value<'a>]) -> Result<Value<'a>, Error> {
    Ok(Value::Double(nanos(&args[0])? as f64 / ONE as f64))
}

fn sign<'a>(_: &mut Meter<'_>, args: &[Value<'a>]) -> Result<Value<'a>, Error> {
    Ok(Value::Int(nanos(&args[0])?.signum() as i64))
}

fn add<'a>(_: &mut Meter<'_>, args: &[Value<'a>]) -> Result<Value<'a>, Error> {
    made(nanos(&args[0])?.checked_add(nanos(&args[1])?))
}

fn sub<'a>(_: &mut Meter<'_>, args: &[Value<'a>]) -> Result<Value<'a>, Error> {
    made(nanos(&args[0])?.checked_sub(nanos(&args[1])?))
}

fn ordering(args: &[Value<'_>]) -> Result<Ordering, Error> {
    Ok(nanos(&args[0])?.cmp(&nanos(&args[1])?))
}

fn is_greater<'a>(_: &mut Meter<'_>, args: &[Value<'a>]) -> Result<Value<'a>, Error> {
    Ok(Value::Bool(ordering(args)?.is_gt()))
}

fn is_less<'a>(_: &mut Meter<'_>, args: &[Value<'a>]) -> Result<Value<'a>, Error> {
    Ok(Value::Bool(ordering(args)?.is_lt()))
}

fn compare_to<'a>(_: &mut Meter<'_>, args: &[Value<'a>]) -> Result<Value<'a>, Error> {
    Ok(Value::Int(ordering(args)? as i64))
}

pub(super) const TABLE: &[(&str, Function)] = &[
    ("quantity(string) quantity", quantity),
    ("isQuantity(string) bool", is_quantity),
    ("quantity.isInteger() bool", is_integer),
    ("quantity.asInteger() int", as_integer),
    ("quantity.asApproximateFloat() double", as_float),
    ("quantity.sign() int", sign),
    ("quantity.add(quantity) quantity", add),
    ("quantity.add(int) quantity", add),
    ("quantity.sub(quantity) quantity", sub),
    ("quantity.sub(int) quantity", sub),
    ("quantity.isGreaterThan(quantity) bool", is_greater),
    ("quantity.isLessThan(quantity) bool", is_less),
    ("quantity.compareTo(quantity) int", compare_to),
];
