//! JSONPath as printer columns use it: fields, indexes, slices, unions, `*`, `..`, `[?(@.type=="Ready")]`.
//!
//! Source: https://kubernetes.io/docs/reference/kubectl/jsonpath/ and
//! https://github.com/kubernetes/client-go/blob/master/util/jsonpath/jsonpath.go

use std::cmp::Ordering;

use serde_json::Value;

#[derive(Clone, Debug, PartialEq)]
pub struct JsonPath(Vec<Step>);

#[derive(Clone, Debug, PartialEq)]
enum Step {
    Field(String),
    /// From the end when negative.
    Index(i64),
    /// `[start:end:step]`; negative bounds count from the end.
    Slice([Option<i64>; 3]),
    Union(Vec<Step>),
    All,
    /// The value and all below it that hold others.
    Below,
    /// Items with one value at the path that compares so with the side; without a side, with any.
    Filter {
        path: JsonPath,
        side: Option<(&'static str, Side)>,
    },
}

#[derive(Clone, Debug, PartialEq)]
enum Side {
    Literal(Value),
    Path(JsonPath),
}

/// What is read first is what is there: `<=` is no `<`.
const OPERATORS: [&str; 6] = ["==", "!=", "<=", ">=", "<", ">"];

impl JsonPath {
    /// None when the text is no such path.
    pub fn parse(text: &str) -> Option<JsonPath> {
        let mut rest = text.trim().trim_start_matches('{').trim_end_matches('}');
        let mut steps = Vec::new();
        while !rest.is_empty() {
            if let Some(after) = rest.strip_prefix("..") {
                steps.push(Step::Below);
                let (name, tail) = field(after);
                steps.push(if name == "*" { Step::All } else { Step::Field(name) });
                rest = tail;
            } else if let Some(after) = rest.strip_prefix('.') {
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
                let mut parts: Vec<Step> = inside.split(',').map(part).collect::<Option<_>>()?;
                let one = if parts.len() == 1 { parts.pop() } else { None };
                steps.push(one.unwrap_or(Step::Union(parts)));
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

fn quoted(text: &str) -> Option<&str> {
    text.strip_prefix(['\'', '"']).and_then(|text| text.strip_suffix(['\'', '"']))
}

/// Of what stands in brackets, between commas.
fn part(text: &str) -> Option<Step> {
    let text = text.trim();
    if let Some(name) = quoted(text) {
        return Some(Step::Field(name.replace("\\.", ".")));
    }
    match text {
        "*" => return Some(Step::All),
        "" => return Some(Step::Index(0)),
        _ => {}
    }
    if !text.contains(':') {
        return text.parse().ok().map(Step::Index);
    }
    let mut bounds = [None; 3];
    for (at, bound) in text.split(':').enumerate() {
        let place = bounds.get_mut(at)?;
        *place = if bound.is_empty() { None } else { Some(bound.parse().ok()?) };
    }
    Some(Step::Slice(bounds))
}

fn parse_filter(text: &str) -> Option<Step> {
    let of_item = |text: &str| JsonPath::parse(text.trim().strip_prefix('@')?);
    let Some(at) = text.find(['=', '!', '<', '>']) else {
        return Some(Step::Filter { path: of_item(text)?, side: None });
    };
    let (left, rest) = text.split_at(at);
    let operator = OPERATORS.into_iter().find(|operator| rest.starts_with(operator))?;
    let right = rest[operator.len()..].trim();
    let side = match (quoted(right), right.starts_with('@')) {
        (Some(text), _) => Side::Literal(text.into()),
        (None, true) => Side::Path(of_item(right)?),
        (None, false) => Side::Literal(serde_json::from_str(right).ok()?),
    };
    Some(Step::Filter { path: of_item(left)?, side: Some((operator, side)) })
}

fn compares(left: &Value, operator: &str, right: &Value) -> bool {
    let order = match (left, right) {
        (Value::Number(left), Value::Number(right)) => {
            left.as_f64().zip(right.as_f64()).and_then(|(left, right)| left.partial_cmp(&right))
        }
        (Value::String(left), Value::String(right)) => Some(left.cmp(right)),
        (left, right) if left == right => Some(Ordering::Equal),
        _ => None,
    };
    match operator {
        "==" => order == Some(Ordering::Equal),
        "!=" => order != Some(Ordering::Equal),
        "<" => order == Some(Ordering::Less),
        ">" => order == Some(Ordering::Greater),
        "<=" => matches!(order, Some(Ordering::Less | Ordering::Equal)),
        _ => matches!(order, Some(Ordering::Greater | Ordering::Equal)),
    }
}

/// Nothing when a bound is outside.
fn slice<'a>(items: &'a [Value], bounds: &[Option<i64>; 3]) -> Vec<&'a Value> {
    let length = items.len() as i64;
    let place = |bound: Option<i64>, absent: i64| {
        usize::try_from(bound.map_or(absent, |at| if at < 0 { at + length } else { at })).ok()
    };
    let (start, end) = (place(bounds[0], 0), place(bounds[1], length));
    let step = bounds[2].map_or(Some(1), |step| usize::try_from(step).ok().filter(|step| *step > 0));
    let range = start.zip(end).and_then(|(start, end)| items.get(start..end));
    range.zip(step).map(|(range, step)| range.iter().step_by(step).collect()).unwrap_or_default()
}

/// The value and what is below it, as far as it holds others.
fn below(value: &Value) -> Vec<&Value> {
    let inner: Vec<&Value> = Step::All.take(value);
    if inner.is_empty() {
        return inner;
    }
    [value].into_iter().chain(inner.into_iter().flat_map(below)).collect()
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
            (Step::Slice(bounds), Value::Array(items)) => slice(items, bounds),
            (Step::Union(steps), value) => steps.iter().flat_map(|step| step.take(value)).collect(),
            (Step::Below, value) => below(value),
            (Step::Filter { path, side }, Value::Array(items)) => {
                let fits = |item: &&Value| match (path.find(item).as_slice(), side) {
                    ([], _) => false,
                    (_, None) => true,
                    ([left], Some((operator, Side::Literal(right)))) => compares(left, operator, right),
                    ([left], Some((operator, Side::Path(right)))) => {
                        matches!(right.find(item).as_slice(), [right] if compares(left, operator, right))
                    }
                    _ => false,
                };
                items.iter().filter(fits).collect()
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
            "status": {"conditions": [
                {"type": "Ready", "status": "True", "weight": 1},
                {"type": "Old", "status": "False", "weight": 2, "note": "x"},
            ]},
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
            (".status.conditions[].type", json!(["Ready"])),
            (".status.conditions[-1:].type", json!(["Old"])),
            (".status.conditions[0:1].type", json!(["Ready"])),
            (".status.conditions[::2].type", json!(["Ready"])),
            (".status.conditions[5:].type", json!([])),
            (".status.conditions[0,1].status", json!(["True", "False"])),
            (".spec['replicas','a.b']", json!([3, "dotted"])),
            (".status.conditions[?(@.weight>1)].type", json!(["Old"])),
            (".status.conditions[?(@.weight<=1)].type", json!(["Ready"])),
            (".status.conditions[?(@.note)].type", json!(["Old"])),
            (".status.conditions[?(@.note!='x')].type", json!([])),
            (".status.conditions[?(@.type==@.note)].type", json!([])),
            ("..status", json!([{"conditions": object["status"]["conditions"]}, "True", "False"])),
            (".status.nothing", json!([])),
        ] {
            let parsed = JsonPath::parse(path).unwrap_or_else(|| panic!("{path}"));
            assert_eq!(json!(parsed.find(&object)), expected, "{path}");
        }
        assert_eq!(JsonPath::parse(".a[b"), None);
        assert_eq!(JsonPath::parse(".a[?(x)]"), None);
    }
}
