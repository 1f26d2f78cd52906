//! Reads the rules of a schema, refusing those that make no sense.
//!
//! Source: https://github.com/kubernetes/apiextensions-apiserver/blob/master/pkg/apis/apiextensions/validation/validation.go

use coracle_expressions::{CompileError, Environment, Program, Type};
use serde_json::Value;

use super::{
    Children, Node, Rule,
    declare::{declare, is_embedded, list_keys},
};
use crate::{crd::rules::field_path::normalize, status::Cause};

const REASONS: [&str; 4] =
    ["FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired"];

/// Where in a schema the reading is.
#[derive(Clone)]
struct Place {
    path: String,
    /// The list whose items have no counterpart in the object before.
    uncorrelatable: Option<String>,
    is_resource: bool,
}

/// The rules of a schema that stands at `path`, and what is wrong with them. None: there are none.
pub fn compile(schema: &Value, path: &str) -> (Option<Node>, Vec<Cause>) {
    let mut causes = Vec::new();
    let place = Place { path: path.to_owned(), uncorrelatable: None, is_resource: true };
    let node = read(schema, &place, &mut causes);
    (node, causes)
}

fn read(schema: &Value, place: &Place, causes: &mut Vec<Cause>) -> Option<Node> {
    let within = |path: String, schema: &Value, uncorrelatable: Option<String>| Place {
        path,
        uncorrelatable: uncorrelatable.or_else(|| place.uncorrelatable.clone()),
        is_resource: is_embedded(schema),
    };
    let mut children = Children::default();
    for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
        let at = within(format!("{}.properties[{name}]", place.path), inner, None);
        children.properties.extend(read(inner, &at, causes).map(|node| (name.clone(), node)));
    }
    let others = &schema["additionalProperties"];
    if others.is_object() {
        let at = within(format!("{}.additionalProperties", place.path), others, None);
        children.others = read(others, &at, causes).map(Box::new);
    }
    let items = &schema["items"];
    if items.is_object() {
        if schema["x-kubernetes-list-type"] == "map" {
            children.keys = list_keys(schema);
        }
        let loses = children.keys.is_empty().then(|| place.path.clone());
        let at = within(format!("{}.items", place.path), items, loses);
        children.items = read(items, &at, causes).map(Box::new);
    }
    let rules = schema["x-kubernetes-validations"].as_array().map_or(&[][..], Vec::as_slice);
    if rules.is_empty() && children.is_empty() {
        return None;
    }
    let ty = declare(schema, place.is_resource);
    let kind = schema["type"].as_str().unwrap_or_default();
    let mut read_rules = Vec::new();
    for (at, rule) in rules.iter().enumerate() {
        let path = format!("{}.x-kubernetes-validations[{at}]", place.path);
        match &ty {
            Some(ty) => read_rules.extend(read_rule(rule, &path, schema, ty, place, causes)),
            None => {
                let keeps = schema["x-kubernetes-preserve-unknown-fields"] == true;
                let why = format!(
                    "rule declared on schema that does not support validation rules type: '{kind}' x-kubernetes-preserve-unknown-fields: '{keeps}'"
                );
                causes.push(Cause::invalid(path, rule["rule"].clone(), &why));
            }
        }
    }
    Some(Node { kind: kind.to_owned(), ty: ty.unwrap_or(Type::Dyn), rules: read_rules, children })
}

fn read_rule(
    rule: &Value,
    path: &str,
    schema: &Value,
    ty: &Type,
    place: &Place,
    causes: &mut Vec<Cause>,
) -> Option<Rule> {
    let text = |field: &str| rule[field].as_str().unwrap_or_default();
    let at = |field: &str| format!("{path}.{field}");
    let before = causes.len();
    let source = text("rule");
    texts(rule, path, causes);
    if source.trim().is_empty() {
        causes.push(Cause::required(at("rule"), "rule is not specified"));
        return None;
    }
    let field_path = rule["fieldPath"].as_str().and_then(|given| match normalize(given, schema) {
        Ok(path) => Some(path),
        Err(why) => {
            let why = format!("fieldPath must be a valid path: {why}");
            causes.push(Cause::invalid(at("fieldPath"), given, &why));
            None
        }
    });
    let optional = rule["optionalOldSelf"] == true;
    let old = if optional { Type::optional(ty.clone()) } else { ty.clone() };
    let environment = Environment::new([("self", ty.clone()), ("oldSelf", old)]);
    let program = match check(environment.compile(source), &Type::Bool) {
        Ok(program) => program,
        Err(why) => {
            let why = why.unwrap_or_else(|| "cel expression must evaluate to a bool".into());
            causes.push(Cause::invalid(at("rule"), source, &why));
            return None;
        }
    };
    let transition = program.uses("oldSelf");
    if let (true, Some(list)) = (transition, &place.uncorrelatable) {
        let why = format!("oldSelf cannot be used on the uncorrelatable portion of the schema within {list}");
        causes.push(Cause::invalid(at("rule"), source, &why));
    }
    if rule["optionalOldSelf"].is_boolean() && !transition {
        let why = "may not be set if oldSelf is not used in rule";
        causes.push(Cause::invalid(at("optionalOldSelf"), rule["optionalOldSelf"].clone(), why));
    }
    let message = rule["messageExpression"].as_str().filter(|source| !source.trim().is_empty());
    let message = message.and_then(|source| match check(environment.compile(source), &Type::String) {
        Ok(program) => Some(program),
        Err(why) => {
            let why = match why {
                Some(why) => format!("messageExpression {why}"),
                None => "messageExpression must evaluate to a string".to_owned(),
            };
            causes.push(Cause::invalid(at("messageExpression"), source, &why));
            None
        }
    });
    (causes.len() == before).then(|| Rule {
        program,
        message_expression: message,
        source: source.trim().to_owned(),
        message: text("message").trim().to_owned(),
        reason: rule["reason"].as_str().map(String::from),
        field_path,
        transition,
        optional,
    })
}

/// Err: the reason, or none when it gives something else.
fn check(compiled: Result<Program, CompileError>, wanted: &Type) -> Result<Program, Option<String>> {
    let program = compiled.map_err(|error| Some(format!("compilation failed: {error}")))?;
    let fits = matches!(
        (program.result(), wanted),
        (Type::Bool, Type::Bool) | (Type::String, Type::String) | (Type::Dyn, _)
    );
    if fits { Ok(program) } else { Err(None) }
}

/// What the other fields may be.
fn texts(rule: &Value, path: &str, causes: &mut Vec<Cause>) {
    let at = |field: &str| format!("{path}.{field}");
    let message = rule["message"].as_str();
    if let Some(message) = message {
        if message.trim().is_empty() && !message.is_empty() {
            causes.push(Cause::invalid(at("message"), message, "message must be non-empty if specified"));
        } else if message.trim().contains('\n') {
            causes.push(Cause::invalid(at("message"), message, "message must not contain line breaks"));
        }
    }
    let expression = rule["messageExpression"].as_str();
    if let Some(expression) = expression
        && expression.trim().is_empty()
        && !expression.is_empty()
    {
        causes.push(Cause::required(
            at("messageExpression"),
            "messageExpression must be non-empty if specified",
        ));
    }
    let bare = message.is_none_or(str::is_empty) && expression.is_none_or(str::is_empty);
    if bare && rule["rule"].as_str().is_some_and(|rule| rule.trim().contains('\n')) {
        causes.push(Cause::required(at("message"), "message must be specified if rule contains line breaks"));
    }
    if let Some(reason) = rule["reason"].as_str().filter(|reason| !REASONS.contains(reason)) {
        causes.push(Cause::not_supported(at("reason"), reason, &REASONS));
    }
    if let Some(given) = rule["fieldPath"].as_str()
        && given.contains('\n')
    {
        causes.push(Cause::invalid(at("fieldPath"), given, "fieldPath must not contain line breaks"));
    }
}
