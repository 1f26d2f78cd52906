//! From one type to another.
//!
//! Source: https://github.com/google/cel-spec/blob/master/doc/langdef.md#list-of-standard-definitions

use base64::{Engine, engine::general_purpose::STANDARD};

use crate::{
    error::{Error, failed},
    signature::{Function, Meter},
    time,
    value::Value,
};

pub(crate) fn decode_base64(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

pub(crate) fn encode_base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

fn conversion<'a>(value: &Value<'_>, to: &str) -> Result<Value<'a>, Error> {
    failed(format!("type conversion error from '{}' to '{to}'", value.type_name()))
}

fn to_int<'a>(_: &mut Meter<'_>, args: &[Value<'a>]) -> Result<Value<'a>, Error> {
    let number = match &args[0] {
        Value::Int(number) => Some(*number),
        Value::Uint(number) => i64::try_from(*number).ok(),
        // The limits themselves do not fit either, as in Go.
        Value::Double(number) => (number.abs() < i64::MAX as f64).then_some(*number as i64),
        Value::Timestamp(time) => Some(time.as_second()),
        Value::String(text) => match text.as_str().parse() {
            Ok(number) => Some(number),
            Err(_) => return conversion(&args[0], "int"),
        },
        _ => return Err(Error::NoOverload),
    };
    number.map_or_else(|| failed("integer overflow"), |number| Ok(Value::Int(number)))
}

fn to_uint<'a>(_: &mut Meter<'_>, args: &[Value<'a>]) -> Result<Value<'a>, Error> {
    let number = match &args[0] {
        Value::Uint(number) => Some(*number),
        Value::Int(number) => u64::try_from(*number).ok(),
        Value::Double(number) => (*number >= 0.0 && *number < u64::MAX as f64).then_some(*number as u64),
        Value::String(text) => match text.as_str().parse() {
            Ok(number) => Some(number),
            Err(_) => return conversion(&args[0], "uint"),
        },
        _ => return Err(Error::NoOverload),
    };
    number.map_or_else(|| failed("unsigned integer overflow"), |number| Ok(Value::Uint(number)))
}

fn to_double<'a>(_: &mut Meter<'_>, args: &[Value<'a>]) -> Result<Value<'a>, Error> {
    Ok(Value::Double(match &args[0] {
        Value::Double(number) => *number,
        Value::Int(number) => *number as f64,
        Value::Uint(number) => *number as f64,
        Value::String(text) => match text.as_str().parse() {
            Ok(number) => number,
            Err(_) => return conversion(&args[0], "double"),
        },
        _ => return Err(Error::NoOverload),
    }))
}

fn to_string<'a>(meter: &mut Meter<'_>, args: &[Value<'a>]) -> Result<Value<'a>, Error> {
    let text = match &args[0] {
        Value::String(_) => return Ok(args[0].clone()),
        Value::Bool(yes) => yes.to_string(),
        Value::Int(number) => number.to_string(),
        Value::Uint(number) => number.to_string(),
        Value::Double(number) => number.to_string(),
        Value::Duration(nanos) => time::print_duration(*nanos),
        Value::Timestamp(time) => time.to_string(),
        Value::Bytes(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => text.to_owned(),
            Err(_) => return failed("invalid UTF-8 in bytes, cannot convert to string"),
        },
        Value::Library(value) => value.to_string(),
        _ => return Err(Error::NoOverload),
    };
    meter.traverse(text.len())?;
    Ok(text.into())
}

fn to_bytes<'a>(meter: &mut Meter<'_>, args: &[Value<'a>]) -> Result<Value<'a>, Error> {
    match &args[0] {
        Value::String(text) => {
            meter.traverse(text.as_str().len())?;
            Ok(Value::Bytes(text.as_str().as_bytes().into()))
        }
        Value::Bytes(_) => Ok(args[0].clone()),
        _ => Err(Error::NoOverload),
    }
}

fn to_bool<'a>(_: &mut Meter<'_>, args: &[Value<'a>]) -> Result<Value<'a>, Error> {
    match &args[0] {
        Value::Bool(yes) => Ok(Value::Bool(*yes)),
        Value::String(text) => match text.as_str() {
            "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(Value::Bool(true)),
            "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(Value::Bool(false)),
            _ => conversion(&args[0], "bool"),
        },
        _ => Err(Error::NoOverload),
    }
}

fn to_duration<'a>(_: &mut Meter<'_>, args: &[Value<'a>]) -> Result<Value<'a>, Error> {
    match &args[0] {
        Value::Duration(_) => Ok(args[0].clone()),
        Value::Int(nanos) => Ok(Value::Duration(*nanos)),
        Value::String(text) => match time::parse_duration(text.as_str()) {
            Some(nanos) => Ok(Value::Duration(nanos)),
            None => failed(format!("time: invalid duration {:?}", text.as_str())),
        },
        _ => Err(Error::NoOverload),
    }
}

fn to_timestamp<'a>(_: &mut Meter<'_>, args: &[Value<'a>]) -> Result<Value<'a>, Error> {
    let time = match &args[0] {
        Value::Timestamp(time) => Some(*time),
        Value::Int(seconds) => jiff::Timestamp::from_second(*seconds).ok(),
        Value::String(text) => time::parse_timestamp(text.as_str()),
        _ => return Err(Error::NoOverload),
    };
    match time {
        Some(time) => Ok(Value::Timestamp(time)),
        None => conversion(&args[0], "google.protobuf.Timestamp"),
    }
}

fn same<'a>(_: &mut Meter<'_>, args: &[Value<'a>]) -> Result<Value<'a>, Error> {
    Ok(args[0].clone())
}

fn type_of<'a>(_: &mut Meter<'_>, args: &[Value<'a>]) -> Result<Value<'a>, Error> {
    Ok(Value::Type(args[0].type_name().into()))
}

pub(super) const TABLE: &[(&str, Function)] = &[
    ("int(int) int", to_int),
    ("int(uint) int", to_int),
    ("int(double) int", to_int),
    ("int(string) int", to_int),
    ("int(timestamp) int", to_int),
    ("uint(uint) uint", to_uint),
    ("uint(int) uint", to_uint),
    ("uint(double) uint", to_uint),
    ("uint(string) uint", to_uint),
    ("double(double) double", to_double),
    ("double(int) double", to_double),
    ("double(uint) double", to_double),
    ("double(string) double", to_double),
    ("string(string) string", to_string),
    ("string(bool) string", to_string),
    ("string(int) string", to_string),
    ("string(uint) string", to_string),
    ("string(double) string", to_string),
    ("string(bytes) string", to_string),
    ("string(timestamp) string", to_string),
    ("string(duration) string", to_string),
    ("string(ip) string", to_string),
    ("string(cidr) string", to_string),
    ("bytes(bytes) bytes", to_bytes),
    ("bytes(string) bytes", to_bytes),
    ("bool(bool) bool", to_bool),
    ("bool(string) bool", to_bool),
    ("duration(duration) duration", to_duration),
    ("duration(int) duration", to_duration),
    ("duration(string) duration", to_duration),
    ("timestamp(timestamp) timestamp", to_timestamp),
    ("timestamp(int) timestamp", to_timestamp),
    ("timestamp(string) timestamp", to_timestamp),
    ("dyn(A) dyn", same),
    ("type(A) type", type_of),
];
