//! `'%s has %d'.format([...])`.
//!
//! Source: https://github.com/google/cel-go/blob/master/ext/README.md#format

use crate::{
    error::{Error, failed},
    signature::Meter,
    time,
    value::Value,
};

pub(super) fn format<'a>(meter: &mut Meter<'_>, args: &[Value<'a>]) -> Result<Value<'a>, Error> {
    let (Some(pattern), Value::List(values)) = (args[0].as_str(), &args[1]) else {
        return Err(Error::NoOverload);
    };
    meter.traverse(pattern.len())?;
    let mut values = values.iter();
    let (mut out, mut used) = (String::new(), 0);
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut precision = None;
        if chars.next_if_eq(&'.').is_some() {
            let mut digits = String::new();
            while let Some(digit) = chars.next_if(char::is_ascii_digit) {
                digits.push(digit);
            }
            match digits.parse::<usize>() {
                Ok(digits) if digits <= 1000 => precision = Some(digits),
                _ => return failed("could not parse formatting clause: error while parsing precision"),
            }
        }
        let Some(clause) = chars.next() else {
            return failed("could not parse formatting clause: unexpected end of string");
        };
        if clause == '%' {
            out.push('%');
            continue;
        }
        let Some(value) = values.next() else { return failed(format!("index {used} out of range")) };
        used += 1;
        let before = out.len();
        write(&mut out, clause, precision, &value)?;
        meter.traverse(out.len() - before)?;
    }
    Ok(out.into())
}

fn write(out: &mut String, clause: char, precision: Option<usize>, value: &Value<'_>) -> Result<(), Error> {
    let refuse = |what: &str| {
        failed(format!(
            "error during formatting: {what} clause can only be used on {}, was given {}",
            match what {
                "decimal" => "integers",
                "binary" => "integers and bools",
                "octal" => "integers",
                "hex" => "integers, byte buffers, and strings",
                _ => "doubles",
            },
            value.type_name()
        ))
    };
    let text = match (clause, value) {
        ('s', value) => plain(value),
        ('d', Value::Int(number)) => number.to_string(),
        ('d', Value::Uint(number)) => number.to_string(),
        ('d', Value::Double(number)) if !number.is_finite() => plain(value),
        ('d', _) => return refuse("decimal"),
        ('f', value) => match float(value) {
            Some(number) if number.is_finite() => format!("{number:.*}", precision.unwrap_or(6)),
            Some(_) => plain(value),
            None => return refuse("fixed-point"),
        },
        ('e', value) => match float(value) {
            Some(number) if number.is_finite() => scientific(number, precision.unwrap_or(6)),
            Some(_) => plain(value),
            None => return refuse("scientific"),
        },
        ('b', Value::Bool(yes)) => u8::from(*yes).to_string(),
        ('b', Value::Int(number)) => signed(*number, |number| format!("{number:b}")),
        ('b', Value::Uint(number)) => format!("{number:b}"),
        ('b', _) => return refuse("binary"),
        ('o', Value::Int(number)) => signed(*number, |number| format!("{number:o}")),
        ('o', Value::Uint(number)) => format!("{number:o}"),
        ('o', _) => return refuse("octal"),
        ('x' | 'X', value) => {
            let text = match value {
                Value::Int(number) => signed(*number, |number| format!("{number:x}")),
                Value::Uint(number) => format!("{number:x}"),
                Value::String(text) => hex(text.as_str().as_bytes()),
                Value::Bytes(bytes) => hex(bytes),
                _ => return refuse("hex"),
            };
            if clause == 'X' { text.to_uppercase() } else { text }
        }
        (other, _) => {
            return failed(format!(
                "could not parse formatting clause: unrecognized formatting clause \"{other}\""
            ));
        }
    };
    out.push_str(&text);
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn signed(number: i64, print: impl Fn(u64) -> String) -> String {
    let digits = print(number.unsigned_abs());
    if number < 0 { format!("-{digits}") } else { digits }
}

fn float(value: &Value<'_>) -> Option<f64> {
    match value {
        Value::Double(number) => Some(*number),
        Value::Int(number) => Some(*number as f64),
        Value::Uint(number) => Some(*number as f64),
        _ => None,
    }
}

/// With at least two digits of exponent.
fn scientific(number: f64, precision: usize) -> String {
    let text = format!("{number:.precision$e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, digits) = exponent.strip_prefix('-').map_or(('+', exponent), |digits| ('-', digits));
    format!("{mantissa}e{sign}{digits:0>2}")
}

/// What `%s` prints.
pub(crate) fn plain(value: &Value<'_>) -> String {
    match value {
        Value::Null => "null".into(),
        Value::Bool(yes) => yes.to_string(),
        Value::Int(number) => number.to_string(),
        Value::Uint(number) => number.to_string(),
        Value::Double(number) if number.is_nan() => "NaN".into(),
        Value::Double(number) if number.is_infinite() => {
            if *number > 0.0 {
                "Infinity".into()
            } else {
                "-Infinity".into()
            }
        }
        Value::Double(number) => number.to_string(),
        Value::String(text) => text.as_str().to_owned(),
        Value::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Value::Duration(nanos) => time::print_duration(*nanos),
        Value::Timestamp(time) => time.to_string(),
        Value::Type(name) => name.to_string(),
        Value::List(list) => {
            let items: Vec<String> = list.iter().map(|item| plain(&item)).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Map(map) => {
            let mut entries: Vec<String> = map
                .entries()
                .iter()
                .map(|(key, value)| format!("{}: {}", plain(key), plain(value)))
                .collect();
            entries.sort();
            format!("{{{}}}", entries.join(", "))
        }
        Value::Optional(Some(inner)) => format!("optional.of({})", plain(inner)),
        Value::Optional(None) => "optional.none()".into(),
        Value::Library(value) => value.to_string(),
    }
}
