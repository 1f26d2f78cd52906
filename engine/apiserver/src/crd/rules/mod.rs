//! `x-kubernetes-validations`: rules in CEL on the objects of a custom resource.
//!
//! Kept true: rules are compiled once a definition; all rules on one object share one budget; what an update leaves as
//! it was fails no rule but transition rules (ratcheting); what could cost too much is refused when the definition is
//! written.
//! Source: https://github.com/kubernetes/apiextensions-apiserver/blob/master/pkg/apiserver/schema/cel/validation.go

mod budget;
mod compile;
mod declare;
mod field_path;
mod sizes;

use coracle_expressions::{Activation, BUDGET, Error, Program, Type, Value};
use serde_json::Value as Json;

use crate::status::Cause;
pub use compile::compile;
pub use declare::{declare, escape};

/// Longer messages are not shown.
const MAX_MESSAGE_BYTES: usize = 5 * 1024;

/// A schema that has rules, or holds one that has.
pub struct Node {
    /// `type` of the schema: what errors show as the value.
    kind: String,
    ty: Type,
    rules: Vec<Rule>,
    children: Children,
}

#[derive(Default)]
struct Children {
    properties: Vec<(String, Node)>,
    others: Option<Box<Node>>,
    items: Option<Box<Node>>,
    /// Of a list by keys.
    keys: Vec<String>,
}

struct Rule {
    program: Program,
    message_expression: Option<Program>,
    source: String,
    message: String,
    reason: Option<String>,
    field_path: Option<String>,
    /// Reads `oldSelf`.
    transition: bool,
    /// `oldSelf` may be absent.
    optional: bool,
}

impl Children {
    fn is_empty(&self) -> bool {
        self.properties.is_empty() && self.others.is_none() && self.items.is_none()
    }
}

impl Node {
    /// What rules say of an object; `old` is the one before, of an update.
    pub fn check(&self, object: &Json, old: Option<&Json>) -> Vec<Cause> {
        let mut run = Run { budget: BUDGET, ended: false, causes: Vec::new() };
        let seen = Seen { value: object, old, unchanged: old == Some(object) };
        run.node(self, seen, "");
        run.causes
    }
}

/// Not run because the object does not even fit its schema.
pub fn unchecked() -> Cause {
    let why = "some validation rules were not checked because the object was invalid; correct the existing errors to complete validation";
    Cause::invalid("<nil>", Json::Null, why)
}

#[derive(Clone, Copy)]
struct Seen<'a> {
    value: &'a Json,
    old: Option<&'a Json>,
    /// It, or the nearest thing around it that can be compared, is as before.
    unchanged: bool,
}

impl<'a> Seen<'a> {
    fn inner(self, value: &'a Json, old: Option<&'a Json>, comparable: bool) -> Seen<'a> {
        let unchanged = if comparable && self.old.is_some() { old == Some(value) } else { self.unchanged };
        Seen { value, old, unchanged }
    }
}

struct Run {
    budget: u64,
    ended: bool,
    causes: Vec<Cause>,
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

impl Run {
    fn node(&mut self, node: &Node, seen: Seen<'_>, path: &str) {
        if seen.value.is_null() {
            return;
        }
        for rule in &node.rules {
            if self.ended {
                return;
            }
            self.rule(node, rule, seen, path);
        }
        let children = &node.children;
        match seen.value {
            Json::Object(fields) => {
                let old = |name: &str| seen.old.and_then(|old| old.get(name));
                for (name, inner) in &children.properties {
                    if let Some(value) = fields.get(name) {
                        self.node(inner, seen.inner(value, old(name), true), &join(path, name));
                    }
                }
                if let Some(inner) = &children.others {
                    for (name, value) in fields {
                        self.node(inner, seen.inner(value, old(name), true), &format!("{path}[{name}]"));
                    }
                }
            }
            Json::Array(items) => {
                let Some(inner) = &children.items else { return };
                for (at, item) in items.iter().enumerate() {
                    let old = seen.old.and_then(|old| counterpart(&children.keys, item, old));
                    let comparable = !children.keys.is_empty();
                    self.node(inner, seen.inner(item, old, comparable), &format!("{path}[{at}]"));
                }
            }
            _ => {}
        }
    }

    fn rule(&mut self, node: &Node, rule: &Rule, seen: Seen<'_>, path: &str) {
        if rule.transition && seen.old.is_none() && !rule.optional {
            return;
        }
        let old = seen.old.map(|old| Value::typed(old, &node.ty));
        let old = match (rule.optional, old) {
            (true, old) => old.map_or(Value::Optional(None), Value::some),
            (false, old) => old.unwrap_or(Value::Null),
        };
        let activation = Activation::new(vec![Value::typed(seen.value, &node.ty), old], &[], self.budget);
        let result = activation.evaluate(&rule.program);
        let at = if path.is_empty() { "<nil>" } else { path };
        let said = if rule.message.is_empty() { &rule.source } else { &rule.message };
        let failure = match result.as_ref().map(Value::as_bool) {
            Ok(Some(true)) => {
                self.budget = activation.budget();
                return;
            }
            Ok(Some(false)) => None,
            Ok(None) | Err(Error::NoOverload) => Some(format!(
                "'no such overload': call arguments did not match a supported operator, function or macro signature for rule: {said}"
            )),
            Err(Error::CostLimit) => Some(format!(
                "'{}': no further validation rules will be run due to call cost exceeds limit for rule: {said}",
                Error::CostLimit
            )),
            Err(Error::OutOfBudget) => Some(Error::OutOfBudget.to_string()),
            Err(error) => Some(format!("{error} evaluating rule: {said}")),
        };
        if let Some(why) = failure {
            self.ended = result.is_err_and(|error| error.is_final());
            self.causes.push(Cause::invalid(at, node.kind.as_str(), &why));
        } else if rule.transition || !seen.unchanged {
            let detail = rule.message_expression.as_ref().and_then(|program| message(&activation, program));
            let detail = detail.unwrap_or_else(|| match rule.message.as_str() {
                "" => format!("failed rule: {}", rule.source),
                message => message.to_owned(),
            });
            let at = match &rule.field_path {
                Some(below) => join(path, below),
                None => at.to_owned(),
            };
            self.causes.push(cause(rule, at, seen.value, &detail));
        }
        self.budget = activation.budget();
    }
}

/// Only scalars are shown.
fn cause(rule: &Rule, at: String, value: &Json, detail: &str) -> Cause {
    let is_omitted = value.is_object() || value.is_array();
    match rule.reason.as_deref() {
        Some("FieldValueForbidden") => Cause::forbidden(at, detail),
        Some("FieldValueRequired") => Cause::required(at, detail),
        Some("FieldValueDuplicate") if is_omitted => Cause::new("FieldValueDuplicate", at, "Duplicate value"),
        Some("FieldValueDuplicate") => Cause::duplicate(at, value.clone()),
        _ if is_omitted => Cause::invalid_unshown(at, detail),
        _ => Cause::invalid(at, value.clone(), detail),
    }
}

/// What a message expression gives, when it can be shown.
fn message<'a>(activation: &Activation<'a>, program: &'a Program) -> Option<String> {
    let value = activation.evaluate(program).ok()?;
    let text = value.as_str()?.trim();
    (!text.is_empty() && text.len() <= MAX_MESSAGE_BYTES && !text.contains('\n')).then(|| text.to_owned())
}

/// The item with the same keys in the list before.
fn counterpart<'a>(keys: &[String], item: &Json, old: &'a Json) -> Option<&'a Json> {
    let same = |other: &&Json| keys.iter().all(|key| other.get(key) == item.get(key));
    old.as_array()?.iter().find(same).filter(|_| !keys.is_empty())
}
