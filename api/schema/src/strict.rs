//! What strict decoding says of a text beside its value: keys that come again, and where unknown fields stand.
//!
//! Kept true: JSON's fields are reported in the order of the text, each once, and what is below an unknown field not at
//! all. YAML's doubled keys are reported by their lines, its unknown fields in the order of their names.
//! Source: https://github.com/kubernetes/kubernetes/blob/master/test/integration/apiserver/field_validation_test.go

use std::collections::BTreeSet;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use std::fmt::{self, Write};

use crate::error::FieldIssue;
use serde_json::Value;

/// As many as the stock server keeps.
const ISSUES_MAX: usize = 100;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Syntax {
    form: Form,
    /// Every key in the order of the text, where one comes again. Empty for YAML.
    keys: Vec<Key>,
    lines: Vec<String>,
    /// What is odd about the operations of a JSON patch.
    operations: Vec<FieldIssue>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Form {
    #[default]
    Json,
    Yaml,
    /// JSON of which another object is made.
    Patch,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Key {
    path: String,
    again: bool,
}

impl Syntax {
    pub(crate) fn json(bytes: &[u8], again: bool) -> Syntax {
        let (mut keys, mut path) = (Vec::new(), String::new());
        if again {
            let mut text = serde_json::Deserializer::from_slice(bytes);
            // It was read before.
            let _ = KeyWalk { keys: &mut keys, path: &mut path }.deserialize(&mut text);
        }
        Syntax { keys, ..Syntax::default() }
    }

    pub(crate) fn yaml(bytes: &[u8], again: bool) -> Syntax {
        let lines = if again { doubled_lines(bytes) } else { Vec::new() };
        Syntax { form: Form::Yaml, lines, ..Syntax::default() }
    }

    /// Nothing comes again.
    pub fn is_clean(&self) -> bool {
        self.keys.is_empty() && self.lines.is_empty()
    }

    /// Of JSON that is read as the YAML that it also is.
    pub fn as_yaml(self, bytes: &[u8]) -> Syntax {
        if self.form == Form::Yaml { self } else { Syntax::yaml(bytes, !self.is_clean()) }
    }

    /// Of a text that is a patch.
    pub fn of_patch(self) -> Syntax {
        Syntax { form: Form::Patch, ..self }
    }

    /// Of a text that is a JSON patch: what its operations say beside what is understood is told, the patched object's
    /// own oddities after it.
    pub fn of_json_patch(self, patch: &Value) -> Syntax {
        let operations = patch.as_array().into_iter().flatten().enumerate();
        let unknown = operations.flat_map(|(at, operation)| {
            let keys = operation.as_object().into_iter().flat_map(serde_json::Map::keys);
            let unknown = keys.filter(|key| !matches!(key.as_str(), "op" | "path" | "from" | "value"));
            unknown.map(move |key| FieldIssue::Unknown { path: format!("[{at}].{key}") })
        });
        let issues = self.issues(unknown.collect(), false);
        let operations = issues.into_iter().map(|issue| FieldIssue::OfPatch(Box::new(issue))).collect();
        Syntax { form: Form::Patch, operations, ..Syntax::default() }
    }

    /// `line 3: key "a" already set in map`
    pub fn lines(&self) -> &[String] {
        &self.lines
    }

    /// All that is odd about fields, in the stock server's order. `unknown`: what pruning removed.
    pub fn issues(&self, mut unknown: Vec<FieldIssue>, is_custom: bool) -> Vec<FieldIssue> {
        if !is_custom && self.form != Form::Json {
            unknown.sort_by(|a, b| steps(a.path()).cmp(&steps(b.path())));
        }
        let mut out = self.operations.clone();
        let is_typed = !is_custom && self.form == Form::Json;
        let paths: BTreeSet<&str> = unknown.iter().filter(|_| is_typed).map(FieldIssue::path).collect();
        let (mut said, mut hidden) = (BTreeSet::new(), None::<&str>);
        for Key { path, again } in &self.keys {
            let rest = hidden.and_then(|above| path.strip_prefix(above));
            if rest.is_some_and(|rest| rest.starts_with(['.', '['])) {
                continue;
            }
            let is_unknown = paths.contains(&**path);
            if is_unknown {
                hidden = Some(path);
            }
            if (is_unknown || *again) && said.insert(&**path) {
                let path = path.clone();
                out.push(if is_unknown {
                    FieldIssue::Unknown { path }
                } else {
                    FieldIssue::Duplicate { path }
                });
            }
        }
        out.extend(unknown.iter().filter(|issue| !is_typed || !said.contains(issue.path())).cloned());
        out.truncate(ISSUES_MAX);
        out
    }
}

/// One step of a path, ordered as the keys of sorted maps and the items of lists are met.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Step<'a> {
    Item(usize),
    Key(&'a str),
}

fn steps(path: &str) -> Vec<Step<'_>> {
    path.split(['.', '['])
        .filter(|part| !part.is_empty())
        .map(|part| match part.strip_suffix(']').and_then(|index| index.parse().ok()) {
            Some(index) => Step::Item(index),
            None => Step::Key(part),
        })
        .collect()
}

/// The doubled keys of a YAML text, each at the line of its later value, as goyaml finds them.
fn doubled_lines(bytes: &[u8]) -> Vec<String> {
    serde_saphyr::from_slice_with_options::<Lines>(bytes, crate::parse::yaml_options())
        .map(|lines| lines.0)
        .unwrap_or_default()
}

struct Lines(Vec<String>);

impl<'de> Deserialize<'de> for Lines {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Lines, D::Error> {
        deserializer.deserialize_any(LineVisitor).map(Lines)
    }
}

/// What holds no keys, for visitors that look for keys alone.
macro_rules! leaves {
    ($value:expr) => {
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("any value")
        }

        fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
            Ok($value)
        }

        fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
            Ok($value)
        }

        fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
            Ok($value)
        }

        fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
            Ok($value)
        }

        fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
            Ok($value)
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok($value)
        }

        fn visit_none<E>(self) -> Result<Self::Value, E> {
            Ok($value)
        }
    };
}

struct LineVisitor;

impl<'de> Visitor<'de> for LineVisitor {
    type Value = Vec<String>;

    leaves!(Vec::new());

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<String>, D::Error> {
        deserializer.deserialize_any(LineVisitor)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Vec<String>, A::Error> {
        let mut lines = Vec::new();
        while let Some(item) = sequence.next_element::<Lines>()? {
            lines.extend(item.0);
        }
        Ok(lines)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Vec<String>, A::Error> {
        let (mut lines, mut seen) = (Vec::new(), BTreeSet::new());
        while let Some(key) = access.next_key::<String>()? {
            let value = access.next_value::<serde_saphyr::Spanned<Lines>>()?;
            lines.extend(value.value.0);
            if seen.contains(&key) {
                lines.push(format!("line {}: key {key:?} already set in map", value.referenced.line()));
            }
            seen.insert(key);
        }
        Ok(lines)
    }
}

/// Writes down the path of every key.
struct KeyWalk<'a> {
    keys: &'a mut Vec<Key>,
    path: &'a mut String,
}

impl<'de> DeserializeSeed<'de> for KeyWalk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for KeyWalk<'_> {
    type Value = ();

    leaves!(());

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<(), A::Error> {
        let before = self.path.len();
        for index in 0.. {
            let _ = write!(self.path, "[{index}]");
            let item =
                sequence.next_element_seed(KeyWalk { keys: &mut *self.keys, path: &mut *self.path })?;
            self.path.truncate(before);
            if item.is_none() {
                break;
            }
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<(), A::Error> {
        let (before, mut seen) = (self.path.len(), BTreeSet::new());
        while let Some(key) = access.next_key::<String>()? {
            if before > 0 {
                self.path.push('.');
            }
            self.path.push_str(&key);
            self.keys.push(Key { path: self.path.clone(), again: !seen.insert(key) });
            access.next_value_seed(KeyWalk { keys: &mut *self.keys, path: &mut *self.path })?;
            self.path.truncate(before);
        }
        Ok(())
    }
}
