//! The part of JSONPath that printer columns use: fields, indexes, `[*]`, `[?(@.type=="Ready")]`.
//!
//! Source: https://kubernetes.io/docs/reference/kubectl/jsonpath/

use serde_json::Value;

#[derive(Clone, Debug, PartialEq)]
pub struct JsonPath(Vec<Step>);

#[derive(Clone, Debug, PartialEq)]
enum Step {
    Field(String),
    /// From the end when negative.
    Index(i64),
    All,
    /// Items where the value at the path is (or is not) the literal.
    Filter {
        path: JsonPath,
        equal: bool,
        literal: Value,
    },
}

impl JsonPath {
    /// None when the text is no such path.
    pub fn parse(text: &str) -> Option<JsonPath> {
        let mut rest = text.trim().trim_start_matches('{').trim_end_matches('}');
        let mut steps = Vec::new();
        while !rest.is_empty() {
            if let Some(after) = rest.strip_prefix('.') {
                let (name, tail) = field(after);
                match name.as_str() {
                    "*" => steps.push(Step::All),
                    "" => {}
                    _ => steps.push(Step::Field(name)),
                }
                rest = tail;
            } else if let Some(after) = rest.strip_prefix("[?(") {
                let (filter, tail) = after.split_once(")]")?;
                steps.push(parse_filter(filter)?);
                rest = tail;
            } else if let Some(after) = rest.strip_prefix('[') {
                let (inside, tail) = after.split_once(']')?;
                let quoted =
                    inside.trim().strip_prefix(['\'', '"']).and_then(|it| it.strip_suffix(['\'', '"']));
                steps.push(match (quoted, inside.trim()) {
                    (Some(name), _) => Step::Field(name.replace("\\.", ".")),
                    (None, "*") => Step::All,
                    (None, number) => Step::Index(number.parse().ok()?),
                });
                rest = tail;
            } else if steps.is_empty() {
                let (name, tail) = field(rest);
                if name.is_empty() {
                    return None;
                }
                steps.push(Step::Field(name));
                rest = tail;
            } else {
                return None;
            }
        }
        Some(JsonPath(steps))
    }

    pub fn find<'a>(&self, value: &'a Value) -> Vec<&'a Value> {
        let mut found = vec![value];
        for step in &self.0 {
            found = found.into_iter().flat_map(|value| step.take(value)).collect();
        }
        found
    }
}

/// A field name and what follows; `\.` is a dot in the name.
fn field(text: &str) -> (String, &str) {
    let mut name = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => name.extend(chars.next().map(|(_, c)| c)),
            '.' | '[' => return (name, &text[at..]),
            _ => name.push(c),
        }
    }
    (name, "")
}

fn parse_filter(text: &str) -> Option<Step> {
    let (equal, (left, right)) = match text.split_once("==") {
        Some(sides) => (true, sides),
        None => (false, text.split_once("!=")?),
    };
    let right = right.trim();
    let quoted = right.strip_prefix(['\'', '"']).and_then(|it| it.strip_suffix(['\'', '"']));
    let literal = match quoted {
        Some(text) => text.into(),
        None => serde_json::from_str(right).ok()?,
    };
    let path = JsonPath::parse(left.trim().strip_prefix('@')?)?;
    Some(Step::Filter { path, equal, literal })
}

impl Step {
    fn take<'a>(&self, value: &'a Value) -> Vec<&'a Value> {
        match (self, value) {
            (Step::Field(name), Value::Object(fields)) => fields.get(name).into_iter().collect(),
            (Step::Index(at), Value::Array(items)) => {
                let at = if *at < 0 { items.len() as i64 + at } else { *at };
                usize::try_from(at).ok().and_then(|at| items.get(at)).into_iter().collect()
            }
            (Step::All, Value::Array(items)) => items.iter().collect(),
            (Step::All, Value::Object(fields)) => fields.values().collect(),
            (Step::Filter { path, equal, literal }, Value::Array(items)) => {
                items.iter().filter(|item| path.find(item).contains(&literal) == *equal).collect()
            }
            _ => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn paths_of_printer_columns_find_what_they_name() {
        let object = json!({
            "spec": {"replicas": 3, "a.b": "dotted"},
            "status": {"conditions": [{"type": "Ready", "status": "True"}, {"type": "Old", "status": "False"}]},
        });
        for (path, expected) in [
            (".spec.replicas", json!([3])),
            ("spec.replicas", json!([3])),
            (".spec.a\\.b", json!(["dotted"])),
            (".spec['a.b']", json!(["dotted"])),
            (".status.conditions[?(@.type==\"Ready\")].status", json!(["True"])),
            (".status.conditions[?(@.type=='Old')].status", json!(["False"])),
            (".status.conditions[*].type", json!(["Ready", "Old"])),
            (".status.conditions[-1].type", json!(["Old"])),
            (".status.nothing", json!([])),
        ] {
            let parsed = JsonPath::parse(path).unwrap_or_else(|| panic!("{path}"));
            assert_eq!(json!(parsed.find(&object)), expected, "{path}");
        }
        assert_eq!(JsonPath::parse(".a[b"), None);
        assert_eq!(JsonPath::parse(".a[?(x)]"), None);
    }
}
