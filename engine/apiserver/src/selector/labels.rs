//! Label selectors: `a=b,c!=d,e in (f,g),h notin (i),j,!k,l>1`.
//!
//! Source: https://github.com/kubernetes/apimachinery/blob/master/pkg/labels/selector.go

use std::collections::BTreeSet;

use serde_json::Value;

use crate::status::{Status, quote};

#[derive(Clone, Debug, Default, PartialEq)]
pub struct LabelSelector(Vec<Requirement>);

#[derive(Clone, Debug, PartialEq)]
struct Requirement {
    key: String,
    test: Test,
}

#[derive(Clone, Debug, PartialEq)]
enum Test {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    Absent,
    Greater(i64),
    Less(i64),
}

impl LabelSelector {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn matches(&self, labels: &[(Box<str>, Box<str>)]) -> bool {
        self.0.iter().all(|requirement| {
            let value = labels.iter().find(|(key, _)| **key == *requirement.key).map(|(_, value)| &**value);
            requirement.test.accepts(value)
        })
    }

    /// Over the labels of a decoded object.
    pub fn matches_map(&self, labels: &Value) -> bool {
        self.0.iter().all(|requirement| requirement.test.accepts(labels[&requirement.key].as_str()))
    }

    pub fn parse(text: &str) -> Result<LabelSelector, Status> {
        Parser { tokens: lex(text), at: 0 }.selector().map(LabelSelector).map_err(Status::bad_request)
    }

    /// A `metav1.LabelSelector` object; absent selects nothing, empty everything.
    pub fn from_object(selector: &Value) -> Option<LabelSelector> {
        let fields = selector.as_object()?;
        let mut requirements = Vec::new();
        for (key, value) in fields.get("matchLabels").and_then(Value::as_object).into_iter().flatten() {
            let value = value.as_str().unwrap_or_default().to_owned();
            requirements.push(Requirement { key: key.clone(), test: Test::In(vec![value]) });
        }
        for expression in fields.get("matchExpressions").and_then(Value::as_array).into_iter().flatten() {
            let values =
                crate::object::strings(&expression["values"]).into_iter().map(String::from).collect();
            let test = match expression["operator"].as_str()? {
                "In" => Test::In(values),
                "NotIn" => Test::NotIn(values),
                "Exists" => Test::Exists,
                "DoesNotExist" => Test::Absent,
                _ => return None,
            };
            requirements.push(Requirement { key: expression["key"].as_str()?.into(), test });
        }
        Some(LabelSelector(requirements))
    }
}

impl Test {
    fn accepts(&self, value: Option<&str>) -> bool {
        let number = || value.and_then(|value| value.parse::<i64>().ok());
        match self {
            Test::In(values) => value.is_some_and(|value| values.iter().any(|own| own == value)),
            Test::NotIn(values) => !value.is_some_and(|value| values.iter().any(|own| own == value)),
            Test::Exists => value.is_some(),
            Test::Absent => value.is_none(),
            Test::Greater(bound) => number().is_some_and(|number| number > *bound),
            Test::Less(bound) => number().is_some_and(|number| number < *bound),
        }
    }
}

fn lex(text: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(&c) = chars.peek() {
        if c.is_whitespace() {
            chars.next();
        } else if "=!<>".contains(c) {
            let mut operator = String::new();
            while let Some(&c) = chars.peek().filter(|c| "=!<>".contains(**c)) {
                let longer = format!("{operator}{c}");
                if !["=", "==", "!", "!=", "<", ">"].contains(&&*longer) {
                    break;
                }
                operator = longer;
                chars.next();
            }
            tokens.push(operator);
        } else if "(),".contains(c) {
            tokens.push(c.to_string());
            chars.next();
        } else {
            let mut word = String::new();
            while let Some(&c) = chars.peek().filter(|c| !c.is_whitespace() && !"=!<>(),".contains(**c)) {
                word.push(c);
                chars.next();
            }
            tokens.push(word);
        }
    }
    tokens
}

struct Parser {
    tokens: Vec<String>,
    at: usize,
}

fn is_word(token: &str) -> bool {
    !token.is_empty() && !token.starts_with(['=', '!', '<', '>', '(', ')', ','])
}

impl Parser {
    fn peek(&self) -> &str {
        self.tokens.get(self.at).map(String::as_str).unwrap_or_default()
    }

    fn next(&mut self) -> String {
        let token = self.peek().to_owned();
        self.at += 1;
        token
    }

    fn selector(&mut self) -> Result<Vec<Requirement>, String> {
        let mut requirements = Vec::new();
        loop {
            match self.peek() {
                "" => return Ok(requirements),
                token if is_word(token) || token == "!" => {}
                other => return Err(format!("found '{other}', expected: !, identifier, or 'end of string'")),
            }
            let own = self.requirement();
            requirements.push(own.map_err(|why| format!("unable to parse requirement: {why}"))?);
            match self.next().as_str() {
                "" => return Ok(requirements),
                "," if is_word(self.peek()) || self.peek() == "!" => {}
                "," => return Err(format!("found '{}', expected: identifier after ','", self.peek())),
                other => return Err(format!("found '{other}', expected: ',' or 'end of string'")),
            }
        }
    }

    fn requirement(&mut self) -> Result<Requirement, String> {
        let negated = self.peek() == "!";
        if negated {
            self.at += 1;
        }
        let key = self.next();
        if !is_word(&key) {
            return Err(format!("found '{key}', expected: identifier"));
        }
        // The stock server has no name for the place of a key.
        let problems = crate::metadata::qualified_name_problems(&key);
        if !problems.is_empty() {
            return Err(format!("<nil>: Invalid value: {}: {}", quote(&key), problems.join("; ")));
        }
        if negated {
            return Ok(Requirement { key, test: Test::Absent });
        }
        let test = match self.peek() {
            "" | "," => Test::Exists,
            _ => self.comparison(&key)?,
        };
        Ok(Requirement { key, test })
    }

    fn comparison(&mut self, key: &str) -> Result<Test, String> {
        let operator = self.next();
        let values = match operator.as_str() {
            "in" | "notin" => self.values()?,
            "=" | "==" | "!=" | "<" | ">" => BTreeSet::from([self.value()?]),
            other => return Err(format!("found '{other}', expected: in, notin, =, ==, !=, gt, lt")),
        };
        let (values, mut wrong) = (Vec::from_iter(values), Vec::new());
        let number = values[0].parse();
        if matches!(&*operator, "<" | ">") && number.is_err() {
            let why = "for 'Gt', 'Lt' operators, the value must be an integer";
            wrong.push(format!("values[0]: Invalid value: {}: {why}", quote(&values[0])));
        }
        for (at, value) in values.iter().enumerate() {
            let problems = crate::metadata::label_value_problems(value);
            if !problems.is_empty() {
                let why = problems.join("; ");
                wrong.push(format!("values[{at}][{key}]: Invalid value: {}: {why}", quote(value)));
            }
        }
        match &wrong[..] {
            [] => {}
            [one] => return Err(one.clone()),
            many => return Err(format!("[{}]", many.join(", "))),
        }
        Ok(match &*operator {
            "!=" | "notin" => Test::NotIn(values),
            "<" => Test::Less(number.unwrap_or_default()),
            ">" => Test::Greater(number.unwrap_or_default()),
            _ => Test::In(values),
        })
    }

    fn value(&mut self) -> Result<String, String> {
        match self.peek() {
            "" | "," => Ok(String::new()),
            token if is_word(token) => Ok(self.next()),
            other => Err(format!("found '{other}', expected: identifier")),
        }
    }

    /// Sorted, each once.
    fn values(&mut self) -> Result<BTreeSet<String>, String> {
        let first = self.next();
        if first != "(" {
            return Err(format!("found '{first}' expected: '('"));
        }
        let mut values = BTreeSet::new();
        if !is_word(self.peek()) && !matches!(self.peek(), "," | ")") {
            return Err(format!("found '{}', expected: ',', ')' or identifier", self.peek()));
        }
        // Whether a value may come now; where none comes, the empty one is meant.
        let mut open = true;
        loop {
            match self.next().as_str() {
                ")" | "," if open => drop(values.insert(String::new())),
                ")" | "," => {}
                word if is_word(word) && open => drop(values.insert(word.to_owned())),
                other if open => return Err(format!("found '{other}', expected: ',', or identifier")),
                other => return Err(format!("found '{other}', expected: ',' or ')'")),
            }
            match self.tokens[self.at - 1].as_str() {
                ")" => return Ok(values),
                last => open = last == ",",
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_choose_by_every_operator() {
        let labels: Vec<(Box<str>, Box<str>)> = vec![
            ("app".into(), "web".into()),
            ("n".into(), "5".into()),
            ("kubernetes.io/os".into(), "linux".into()),
        ];
        let rows = [
            ("", true),
            ("app=web", true),
            ("app==web,n=5", true),
            ("app!=web", false),
            ("other!=web", true),
            ("app in (db, web)", true),
            ("app notin (db,web)", false),
            ("app", true),
            ("!app", false),
            ("!other", true),
            ("n>4", true),
            ("n<5", false),
            ("kubernetes.io/os=linux", true),
            ("app=", false),
            ("app in (,web)", true),
            ("other notin (a,)", true),
            ("app in ()", false),
        ];
        for (text, expected) in rows {
            assert_eq!(LabelSelector::parse(text).expect(text).matches(&labels), expected, "{text}");
        }
    }

    #[test]
    fn broken_selectors_are_refused_with_what_was_expected() {
        for (text, expected) in [
            ("a===b", "unable to parse requirement: found '=', expected: identifier"),
            ("a in b", "unable to parse requirement: found 'b' expected: '('"),
            ("a,", "found '', expected: identifier after ','"),
            ("=b", "found '=', expected: !, identifier, or 'end of string'"),
            ("!a=b", "found '=', expected: ',' or 'end of string'"),
            ("!=b", "found '!=', expected: !, identifier, or 'end of string'"),
            ("a in (b", "unable to parse requirement: found '', expected: ',' or ')'"),
            ("a in (b,", "unable to parse requirement: found '', expected: ',', or identifier"),
            ("a in (=", "unable to parse requirement: found '=', expected: ',', ')' or identifier"),
            ("a b", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"),
            (
                "a>b",
                "unable to parse requirement: values[0]: Invalid value: \"b\": for 'Gt', 'Lt' operators, the value must be an integer",
            ),
            (
                "a/=b",
                "unable to parse requirement: <nil>: Invalid value: \"a/\": name part must be non-empty; name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')",
            ),
            (
                "a in (z,-)",
                "unable to parse requirement: values[0][a]: Invalid value: \"-\": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')",
            ),
        ] {
            assert_eq!(LabelSelector::parse(text).expect_err(text).message, expected);
        }
    }
}
