//! Sizes, lists and sets.
//!
//! Source: https://kubernetes.io/docs/reference/using-api/cel/#kubernetes-list-library and
//! https://github.com/google/cel-go/blob/master/ext/README.md#sets

use std::cmp::Ordering;

use crate::{
    error::{Error, failed},
    operators::{compare, equal},
    signature::{Function, Meter},
    value::{List, Value},
};

fn list<'v, 'a>(value: &'v Value<'a>) -> Result<&'v List<'a>, Error> {
    match value {
        Value::List(list) => Ok(list),
        _ => Err(Error::NoOverload),
    }
}

fn size<'a>(_: &mut Meter<'_>, args: &[Value<'a>]) -> Result<Value<'a>, Error> {
    let size = match &args[0] {
        Value::String(text) => text.as_str().chars().count(),
        Value::Bytes(bytes) => bytes.len(),
        Value::List(list) => list.len(),
        Value::Map(map) => map.len(),
        _ => return Err(Error::NoOverload),
    };
    Ok(Value::Int(size as i64))
}

fn is_sorted<'a>(meter: &mut Meter<'_>, args: &[Value<'a>]) -> Result<Value<'a>, Error> {
    let list = list(&args[0])?;
    meter.charge(list.len() as u64)?;
    let items: Vec<Value<'a>> = list.iter().collect();
    for pair in items.windows(2) {
        if compare(&pair[0], &pair[1]).ok_or(Error::NoOverload)?.is_gt() {
            return Ok(Value::Bool(false));
        }
    }
    Ok(Value::Bool(true))
}

fn sum<'a>(meter: &mut Meter<'_>, args: &[Value<'a>]) -> Result<Value<'a>, Error> {
    let list = list(&args[0])?;
    meter.charge(list.len() as u64)?;
    let add =
        crate::signature::find("_+_").map(|overloads| overloads[0].function).ok_or(Error::NoOverload)?;
    let mut items = list.iter();
    let Some(mut total) = items.next() else { return Ok(Value::Int(0)) };
    for item in items {
        total = add(meter, &[total, item])?;
    }
    Ok(total)
}

fn extreme<'a>(
    meter: &mut Meter<'_>,
    args: &[Value<'a>],
    wanted: Ordering,
    name: &str,
) -> Result<Value<'a>, Error> {
    let list = list(&args[0])?;
    meter.charge(list.len() as u64)?;
    let mut items = list.iter();
    let Some(mut best) = items.next() else { return failed(format!("{name} called on empty list")) };
    for item in items {
        if compare(&item, &best).ok_or(Error::NoOverload)? == wanted {
            best = item;
        }
    }
    Ok(best)
}

fn min<'a>(meter: &mut Meter<'_>, args: &[Value<'a>]) -> Result<Value<'a>, Error> {
    extreme(meter, args, Ordering::Less, "min")
}

fn max<'a>(meter: &mut Meter<'_>, args: &[Value<'a>]) -> Result<Value<'a>, Error> {
    extreme(meter, args, Ordering::Greater, "max")
}

fn place<'a>(at: Option<usize>) -> Result<Value<'a>, Error> {
    Ok(Value::Int(at.map_or(-1, |at| at as i64)))
}

fn index_of<'a>(meter: &mut Meter<'_>, args: &[Value<'a>]) -> Result<Value<'a>, Error> {
    let list = list(&args[0])?;
    meter.charge(list.len() as u64)?;
    place(list.iter().position(|item| equal(&item, &args[1])))
}

fn last_index_of<'a>(meter: &mut Meter<'_>, args: &[Value<'a>]) -> Result<Value<'a>, Error> {
    let list = list(&args[0])?;
    meter.charge(list.len() as u64)?;
    place(list.iter().enumerate().filter(|(_, item)| equal(item, &args[1])).map(|(at, _)| at).last())
}

/// Whether every item of the second is in the first.
fn holds<'a>(meter: &mut Meter<'_>, all: &Value<'a>, some: &Value<'a>) -> Result<bool, Error> {
    let (all, some) = (list(all)?, list(some)?);
    meter.charge(all.len() as u64 * some.len() as u64)?;
    Ok(some.iter().all(|item| all.iter().any(|own| equal(&own, &item))))
}

fn sets_contains<'a>(meter: &mut Meter<'_>, args: &[Value<'a>]) -> Result<Value<'a>, Error> {
    holds(meter, &args[0], &args[1]).map(Value::Bool)
}

fn sets_equivalent<'a>(meter: &mut Meter<'_>, args: &[Value<'a>]) -> Result<Value<'a>, Error> {
    Ok(Value::Bool(holds(meter, &args[0], &args[1])? && holds(meter, &args[1], &args[0])?))
}

fn sets_intersects<'a>(meter: &mut Meter<'_>, args: &[Value<'a>]) -> Result<Value<'a>, Error> {
    let (a, b) = (list(&args[0])?, list(&args[1])?);
    meter.charge(a.len() as u64 * b.len() as u64)?;
    Ok(Value::Bool(a.iter().any(|item| b.iter().any(|other| equal(&item, &other)))))
}

pub(super) const TABLE: &[(&str, Function)] = &[
    ("size(string) int", size),
    ("size(bytes) int", size),
    ("size(list<A>) int", size),
    ("size(map<A, B>) int", size),
    ("string.size() int", size),
    ("bytes.size() int", size),
    ("list<A>.size() int", size),
    ("map<A, B>.size() int", size),
    ("list<A>.isSorted() bool", is_sorted),
    ("list<int>.sum() int", sum),
    ("list<uint>.sum() uint", sum),
    ("list<double>.sum() double", sum),
    ("list<duration>.sum() duration", sum),
    ("list<A>.min() A", min),
    ("list<A>.max() A", max),
    ("list<A>.indexOf(A) int", index_of),
    ("list<A>.lastIndexOf(A) int", last_index_of),
    ("sets::contains(list<A>, list<A>) bool", sets_contains),
    ("sets::equivalent(list<A>, list<A>) bool", sets_equivalent),
    ("sets::intersects(list<A>, list<A>) bool", sets_intersects),
];
