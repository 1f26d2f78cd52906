//! `format.dns1123Label().validate('x')`: what is wrong with a text, if anything.
//!
//! Source: https://kubernetes.io/docs/reference/using-api/cel/#kubernetes-format-library and
//! https://github.com/kubernetes/apimachinery/blob/master/pkg/util/validation/validation.go

use std::sync::LazyLock;

use regex::Regex;

use super::{Library, text};
use crate::{
    error::Error,
    signature::{Function, Meter},
    time,
    value::Value,
};

#[derive(Debug)]
pub struct Format {
    pub name: &'static str,
    check: fn(&str) -> Vec<String>,
}

const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL_1035: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
const NAME_PART: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";

fn is_label(text: &str) -> bool {
    let word = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    let bytes = text.as_bytes();
    bytes.first().is_some_and(|c| word(*c))
        && bytes.last().is_some_and(|c| word(*c))
        && bytes.iter().all(|c| word(*c) || *c == b'-')
}

/// Names of DNS are counted in characters, values of labels in bytes.
fn limited(text: &str, max: usize, of: &str, good: bool, message: &str) -> Vec<String> {
    let mut problems = Vec::new();
    if text.len() > max {
        problems.push(format!("must be no more than {max} {of}"));
    }
    if !good {
        problems.push(message.to_owned());
    }
    problems
}

fn label(text: &str) -> Vec<String> {
    limited(text, 63, "characters", is_label(text), LABEL)
}

fn subdomain(text: &str) -> Vec<String> {
    limited(text, 253, "characters", text.split('.').all(is_label), SUBDOMAIN)
}

fn label_1035(text: &str) -> Vec<String> {
    let good = is_label(text) && text.starts_with(|c: char| c.is_ascii_lowercase());
    limited(text, 63, "characters", good, LABEL_1035)
}

/// A prefix that a generated end follows: its last character may be a dash.
fn prefix(text: &str, check: fn(&str) -> Vec<String>) -> Vec<String> {
    match text.strip_suffix('-') {
        Some(rest) => check(&format!("{rest}a")),
        None => check(text),
    }
}

fn is_name_part(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.first().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.last().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.iter().all(|c| c.is_ascii_alphanumeric() || b"-_.".contains(c))
}

fn qualified_name(text: &str) -> Vec<String> {
    let mut problems = Vec::new();
    let name = match text.split('/').collect::<Vec<_>>()[..] {
        [name] => name,
        [domain, name] => {
            if domain.is_empty() {
                problems.push("prefix part must be non-empty".to_owned());
            } else {
                problems.extend(subdomain(domain).iter().map(|problem| format!("prefix part {problem}")));
            }
            name
        }
        _ => {
            return vec![
                "a qualified name must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')".to_owned(),
            ];
        }
    };
    if name.is_empty() {
        problems.push("name part must be non-empty".to_owned());
    } else if name.len() > 63 {
        problems.push("name part must be no more than 63 bytes".to_owned());
    }
    if !is_name_part(name) {
        problems.push(NAME_PART.to_owned());
    }
    problems
}

fn label_value(text: &str) -> Vec<String> {
    limited(text, 63, "bytes", text.is_empty() || is_name_part(text), VALUE)
}

fn one(good: bool, message: &str) -> Vec<String> {
    if good { Vec::new() } else { vec![message.to_owned()] }
}

fn uri(text: &str) -> Vec<String> {
    static URI: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"^([A-Za-z][A-Za-z0-9+.-]*:|/)[^\s]*$").expect("a constant"));
    one(URI.is_match(text), "invalid URI")
}

fn uuid(text: &str) -> Vec<String> {
    let good = text.len() == 36
        && text
            .bytes()
            .enumerate()
            .all(|(at, c)| if matches!(at, 8 | 13 | 18 | 23) { c == b'-' } else { c.is_ascii_hexdigit() });
    one(good, "does not match the UUID format")
}

fn byte(text: &str) -> Vec<String> {
    one(crate::functions::convert::decode_base64(text).is_some(), "invalid base64")
}

fn date(text: &str) -> Vec<String> {
    one(text.len() == 10 && text.parse::<jiff::civil::Date>().is_ok(), "invalid date")
}

fn datetime(text: &str) -> Vec<String> {
    one(text.len() > 10 && time::parse_timestamp(text).is_some(), "invalid datetime")
}

static ALL: [Format; 13] = [
    Format { name: "dns1123Label", check: label },
    Format { name: "dns1123Subdomain", check: subdomain },
    Format { name: "dns1035Label", check: label_1035 },
    Format { name: "qualifiedName", check: qualified_name },
    Format { name: "dns1123LabelPrefix", check: |text| prefix(text, label) },
    Format { name: "dns1123SubdomainPrefix", check: |text| prefix(text, subdomain) },
    Format { name: "dns1035LabelPrefix", check: |text| prefix(text, label_1035) },
    Format { name: "labelValue", check: label_value },
    Format { name: "uri", check: uri },
    Format { name: "uuid", check: uuid },
    Format { name: "byte", check: byte },
    Format { name: "date", check: date },
    Format { name: "datetime", check: datetime },
];

fn named<'a>(_: &mut Meter<'_>, args: &[Value<'a>]) -> Result<Value<'a>, Error> {
    let name = text(&args[0])?;
    let found = ALL.iter().find(|format| format.name == name);
    Ok(found.map_or(Value::Optional(None), |format| Value::some(Value::Library(Library::Format(format)))))
}

fn validate<'a>(meter: &mut Meter<'_>, args: &[Value<'a>]) -> Result<Value<'a>, Error> {
    let (Value::Library(Library::Format(format)), own) = (&args[0], text(&args[1])?) else {
        return Err(Error::NoOverload);
    };
    meter.traverse(own.len())?;
    let problems: Vec<Value<'a>> = (format.check)(own).into_iter().map(Value::from).collect();
    Ok(if problems.is_empty() { Value::Optional(None) } else { Value::some(Value::list(problems)) })
}

macro_rules! constants {
    ($($name:literal $at:literal),*) => {
        &[
            ("format::named(string) optional<format>", named),
            ("format.validate(string) optional<list<string>>", validate),
            $((concat!("format::", $name, "() format"), |_, _| Ok(Value::Library(Library::Format(&ALL[$at]))))),*
        ]
    };
}

pub(super) const TABLE: &[(&str, Function)] = constants![
    "dns1123Label" 0, "dns1123Subdomain" 1, "dns1035Label" 2, "qualifiedName" 3, "dns1123LabelPrefix" 4,
    "dns1123SubdomainPrefix" 5, "dns1035LabelPrefix" 6, "labelValue" 7, "uri" 8, "uuid" 9, "byte" 10, "date" 11,
    "datetime" 12
];
