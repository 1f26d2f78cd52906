//! JSON and YAML text to values. Duplicate keys are reported, the last one wins.

use crate::{error::DecodeError, strict::Syntax, whole_numbers::whole_numbers};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use std::fmt;

/// Parses JSON.
pub fn parse_json(bytes: &[u8]) -> Result<(Value, Syntax), DecodeError> {
    let parsed: Parsed =
        serde_json::from_slice(bytes).map_err(|error| DecodeError::Syntax(go_message(bytes, &error)))?;
    Ok((parsed.value, Syntax::json(bytes, parsed.again)))
}

pub(crate) fn yaml_options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        duplicate_keys: serde_saphyr::options::DuplicateKeyPolicy::PassThrough,
        with_snippet: false,
    }
}

/// Parses a YAML document into the JSON it stands for; those after the first are passed over, as by a stock server.
pub fn parse_yaml(bytes: &[u8]) -> Result<(Value, Syntax), DecodeError> {
    let bytes = first_document(bytes);
    let parsed: Parsed = serde_saphyr::from_slice_with_options(bytes, yaml_options()).map_err(|error| {
        let line = error.location().map_or(1, |location| location.line());
        let text = error.to_string();
        let text = text.lines().next().unwrap_or_default();
        // The place is said once, as Go's YAML library says it.
        let text = text.strip_prefix("error: ").unwrap_or(text);
        let text = match text.split_once(": ") {
            Some((place, rest)) if place.starts_with("line ") => rest,
            _ => text,
        };
        let text = text.split(" at line ").next().unwrap_or(text);
        DecodeError::Syntax(format!("error converting YAML to JSON: yaml: line {line}: {text}"))
    })?;
    // A stock server makes JSON of it first.
    let mut value = parsed.value;
    whole_numbers(&mut value);
    Ok((value, Syntax::yaml(bytes, parsed.again)))
}

fn first_document(bytes: &[u8]) -> &[u8] {
    let (mut at, mut has_content) = (0, false);
    for whole in bytes.split_inclusive(|byte| *byte == b'\n') {
        let rest = whole.strip_prefix(b"---");
        let is_marker = rest.is_some_and(|rest| rest.first().is_none_or(u8::is_ascii_whitespace));
        if is_marker && has_content {
            return &bytes[..at];
        }
        let line = if is_marker { &whole[3..] } else { whole }.trim_ascii();
        has_content |= !line.is_empty() && !line.starts_with(b"#") && !line.starts_with(b"%");
        at += whole.len();
    }
    bytes
}

struct Parsed {
    value: Value,
    /// A key comes again somewhere.
    again: bool,
}

impl<'de> Deserialize<'de> for Parsed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Parsed, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl Parsed {
    fn leaf<E>(value: impl Into<Value>) -> Result<Parsed, E> {
        Ok(Parsed { value: value.into(), again: false })
    }
}

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Parsed;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Parsed, E> {
        Parsed::leaf(value)
    }

    fn visit_i64<E>(self, value: i64) -> Result<Parsed, E> {
        Parsed::leaf(value)
    }

    fn visit_u64<E>(self, value: u64) -> Result<Parsed, E> {
        Parsed::leaf(value)
    }

    fn visit_f64<E>(self, value: f64) -> Result<Parsed, E> {
        Parsed::leaf(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Parsed, E> {
        Parsed::leaf(value)
    }

    fn visit_string<E>(self, value: String) -> Result<Parsed, E> {
        Parsed::leaf(value)
    }

    fn visit_unit<E>(self) -> Result<Parsed, E> {
        Parsed::leaf(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Parsed, E> {
        Parsed::leaf(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Parsed, D::Error> {
        Parsed::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Parsed, A::Error> {
        let mut items = Vec::new();
        let mut again = false;
        while let Some(item) = sequence.next_element::<Parsed>()? {
            again |= item.again;
            items.push(item.value);
        }
        Ok(Parsed { value: Value::Array(items), again })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Parsed, A::Error> {
        let mut map = Map::new();
        let mut again = false;
        while let Some(key) = access.next_key::<String>()? {
            let item = access.next_value::<Parsed>()?;
            again |= item.again;
            again |= map.insert(key, item.value).is_some();
        }
        Ok(Parsed { value: Value::Object(map), again })
    }
}

/// The words of Go's decoder for what serde_json found.
fn go_message(bytes: &[u8], error: &serde_json::Error) -> String {
    if error.is_eof() || bytes.iter().all(u8::is_ascii_whitespace) {
        return "unexpected end of JSON input".to_string();
    }
    let text = error.to_string();
    let place = match text.split(" at line ").next().unwrap_or_default() {
        "key must be a string" => "looking for beginning of object key string",
        "expected `:`" => "after object key",
        "expected `,` or `}`" => "after object key:value pair",
        "expected `,` or `]`" => "after array element",
        "trailing characters" => "after top-level value",
        "invalid number" => "in numeric literal",
        "invalid escape" => "in string escape code",
        "expected ident" => "in literal ",
        message if message.starts_with("control character") => "in string literal",
        "expected value" | "trailing comma" => "looking for beginning of value",
        message => return message.to_string(),
    };
    let line = bytes.split(|byte| *byte == b'\n').nth(error.line().saturating_sub(1)).unwrap_or_default();
    let rest = line.get(error.column().saturating_sub(1)..).unwrap_or_default();
    // Go quotes one byte, as a character of Latin-1.
    let shown = match rest.first().copied().unwrap_or(b'\n') {
        b'"' => "'\"'".to_string(),
        byte if byte.is_ascii_control() && !b"\t\n\r".contains(&byte) => format!("'\\x{byte:02x}'"),
        byte @ (0x80..=0xa0 | 0xad) => format!("'\\u00{byte:02x}'"),
        byte if byte.is_ascii() => format!("'{}'", byte.escape_ascii()),
        byte => format!("'{}'", char::from(byte)),
    };
    if place == "in literal " {
        let before = &line[..error.column().saturating_sub(1).min(line.len())];
        let start = before.iter().rposition(|byte| !byte.is_ascii_alphabetic()).map_or(0, |at| at + 1);
        let literal =
            ["true", "false", "null"].into_iter().find(|word| word.as_bytes().first() == before.get(start));
        let literal = literal.unwrap_or_default();
        let expected =
            literal.get(before.len() - start..).and_then(|rest| rest.chars().next()).unwrap_or_default();
        return format!("invalid character {shown} in literal {literal} (expecting '{expected}')");
    }
    format!("invalid character {shown} {place}")
}
