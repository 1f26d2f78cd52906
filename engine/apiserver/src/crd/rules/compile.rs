//! Reads the rules of a schema, refusing those that make no sense.
//!
//! Source: https://github.com/kubernetes/apiextensions-apiserver/blob/master/pkg/apis/apiextensions/validation/validation.go

use coracle_expressions::{CompileError, Environment, Program, Type};
use serde_json::{Value, json};

use super::{
    Children, Node, Rule,
    budget::{Repeated, Total},
    declare::{declare, is_embedded, list_keys},
    sizes::{Measured, cardinality, measure},
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
    repeated: Repeated,
}

/// What is found on the way.
struct Found {
    causes: Vec<Cause>,
    total: Total,
}

/// The rules of a schema that stands at `path`, and what is wrong with them. None: there are none.
pub fn compile(schema: &Value, path: &str) -> (Option<Node>, Vec<Cause>) {
    let mut found = Found { causes: Vec::new(), total: Total::default() };
    let place =
        Place { path: path.to_owned(), uncorrelatable: None, is_resource: true, repeated: Repeated::ONCE };
    let node = read(schema, &place, &mut found);
    found.total.check(&mut found.causes, path);
    (node, found.causes)
}

fn read(schema: &Value, place: &Place, found: &mut Found) -> Option<Node> {
    let within = |path: String, schema: &Value, uncorrelatable: Option<String>, repeated: Repeated| Place {
        path,
        uncorrelatable: uncorrelatable.or_else(|| place.uncorrelatable.clone()),
        is_resource: is_embedded(schema),
        repeated,
    };
    let many = |limit: &str| place.repeated.within(schema[limit].as_u64());
    let mut children = Children::default();
    for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
        let at = within(format!("{}.properties[{name}]", place.path), inner, None, place.repeated);
        children.properties.extend(read(inner, &at, found).map(|node| (name.clone(), node)));
    }
    let others = &schema["additionalProperties"];
    if others.is_object() {
        let at = within(format!("{}.additionalProperties", place.path), others, None, many("maxProperties"));
        children.others = read(others, &at, found).map(Box::new);
    }
    let items = &schema["items"];
    if items.is_object() {
        if schema["x-kubernetes-list-type"] == "map" {
            children.keys = list_keys(schema);
        }
        let loses = children.keys.is_empty().then(|| place.path.clone());
        let at = within(format!("{}.items", place.path), items, loses, many("maxItems"));
        children.items = read(items, &at, found).map(Box::new);
    }
    let rules = schema["x-kubernetes-validations"].as_array().map_or(&[][..], Vec::as_slice);
    if rules.is_empty() && children.is_empty() {
        return None;
    }
    let ty = declare(schema, place.is_resource);
    let kind = schema["type"].as_str().unwrap_or_default();
    let measured = measure(schema, place.is_resource);
    let mut read_rules = Vec::new();
    for (at, rule) in rules.iter().enumerate() {
        let path = format!("{}.x-kubernetes-validations[{at}]", place.path);
        match &ty {
            Some(ty) => {
                let read = read_rule(rule, &path, schema, ty, place, &mut found.causes);
                if let (Some(read), Some(measured)) = (&read, &measured) {
                    estimate(read, &path, measured, place.repeated, found);
                }
                read_rules.extend(read);
            }
            None => {
                let keeps = schema["x-kubernetes-preserve-unknown-fields"] == true;
                let why = format!(
                    "rule declared on schema that does not support validation rules type: '{kind}' x-kubernetes-preserve-unknown-fields: '{keeps}'"
                );
                found.causes.push(Cause::invalid(path, rule["rule"].clone(), &why));
            }
        }
    }
    Some(Node { kind: kind.to_owned(), ty: ty.unwrap_or(Type::Dyn), rules: read_rules, children })
}

/// What a rule may cost, wherever the schema's data is in an object.
fn estimate(rule: &Rule, path: &str, measured: &Measured, repeated: Repeated, found: &mut Found) {
    let own = Some(&measured.sizes);
    // What an optional holds, upstream does not measure.
    let variables = [own, own.filter(|_| !rule.optional)];
    let cost = repeated.cost(rule.program.cost_limit(&variables), cardinality(measured.least_bytes));
    found.total.observe(&mut found.causes, "rule", cost, &format!("{path}.rule"));
    // A message is needed once.
    if let Some(message) = &rule.message_expression {
        let cost = message.cost_limit(&variables);
        let at = format!("{path}.messageExpression");
        found.total.observe(&mut found.causes, "messageExpression", cost, &at);
    }
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
    let given = rule["fieldPath"].as_str().filter(|given| !given.is_empty());
    let field_path = given.and_then(|given| {
        let path = normalize(given, schema).ok();
        if path.is_none() {
            causes.push(Cause::invalid(at("fieldPath"), given, "must be a valid path"));
        }
        path
    });
    if causes.len() > before {
        return None;
    }
    let optional = rule["optionalOldSelf"] == true;
    let old = if optional { Type::optional(ty.clone()) } else { ty.clone() };
    let environment = Environment::new([("self", ty.clone()), ("oldSelf", old)]);
    let program = match check(environment.compile(source), &Type::Bool) {
        Ok(program) => program,
        Err(why) => {
            let why = why.unwrap_or_else(|| "cel expression must evaluate to a bool".into());
            causes.push(Cause::invalid(at("rule"), shown(rule), &why));
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
            causes.push(Cause::invalid(at("messageExpression"), shown(rule), &why));
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

/// A rule as upstream's own form of it is shown.
fn shown(rule: &Value) -> Value {
    let text = |field: &str| rule[field].as_str().unwrap_or_default();
    json!({"Rule": text("rule"), "Message": text("message"), "MessageExpression": text("messageExpression"),
        "Reason": rule["reason"], "FieldPath": text("fieldPath"), "OptionalOldSelf": rule["optionalOldSelf"]})
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

/// What the fields of a rule may be, before any of them is read as an expression.
fn texts(rule: &Value, path: &str, causes: &mut Vec<Cause>) {
    const NOT_BLANK: &str = "must be non-empty if specified";
    const ONE_LINE: &str = "must not contain line breaks";
    let text = |field: &str| rule[field].as_str().unwrap_or_default();
    let at = |field: &str| format!("{path}.{field}");
    let is_blank = |given: &str| !given.is_empty() && given.trim().is_empty();
    let has_lines = |given: &str| given.contains(['\n', '\r']);
    let (source, message) = (text("rule").trim(), text("message"));
    if source.is_empty() {
        causes.push(Cause::required(at("rule"), "rule is not specified"));
    } else if is_blank(message) {
        causes.push(Cause::invalid(at("message"), message, NOT_BLANK));
    } else if has_lines(message.trim()) {
        causes.push(Cause::invalid(at("message"), message, ONE_LINE));
    } else if has_lines(source) && message.is_empty() {
        causes.push(Cause::required(at("message"), "message must be specified if rule contains line breaks"));
    }
    if is_blank(text("messageExpression")) {
        let why = format!("messageExpression {NOT_BLANK}");
        causes.push(Cause::required(at("messageExpression"), &why));
    }
    if let Some(reason) = rule["reason"].as_str().filter(|reason| !REASONS.contains(reason)) {
        causes.push(Cause::not_supported(at("reason"), reason, &REASONS));
    }
    let given = text("fieldPath");
    if is_blank(given) {
        causes.push(Cause::invalid(at("fieldPath"), given, NOT_BLANK));
    }
    if has_lines(given) {
        causes.push(Cause::invalid(at("fieldPath"), given, ONE_LINE));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_that_may_cost_too_much_are_refused() {
        let tip = "(try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)";
        let of = |list: Value, rule: &str| {
            let mut list = list;
            list["x-kubernetes-validations"] = json!([{"rule": rule}]);
            let schema = json!({"type": "object", "properties": {"l": list}});
            let causes = compile(&schema, "s").1;
            causes.iter().map(Cause::to_string).collect::<Vec<_>>()
        };
        let at = "s.properties[l].x-kubernetes-validations[0].rule: Forbidden: estimated rule cost exceeds budget by factor of";
        let total = "s: Forbidden: x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema exceeds budget by factor of";
        let part = "s.properties[l].x-kubernetes-validations[0].rule: Forbidden: contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema";
        let texts = |most: Option<u64>, length: Option<u64>| json!({"type": "array", "maxItems": most, "items": {"type": "string", "maxLength": length}});
        let pairs = "self.all(x, self.exists_one(y, x == y))";
        assert_eq!(of(texts(Some(10), Some(10)), pairs), Vec::<String>::new());
        assert_eq!(of(texts(None, Some(10)), "self.all(x, x.size() > 0)"), Vec::<String>::new());
        assert_eq!(
            of(texts(None, None), pairs),
            [format!("{at} more than 100x {tip}"), part.to_owned(), format!("{total} more than 100x {tip}")]
        );
        let labels = json!({"type": "object", "maxProperties": 4096, "additionalProperties": {"type": "string", "maxLength": 63}});
        assert_eq!(of(labels, "self.all(key, !key.contains('*'))"), Vec::<String>::new());
        // Of n texts of 40 bytes, 8n² + 6n + 2.
        assert_eq!(of(texts(Some(1000), Some(10)), pairs), Vec::<String>::new());
        assert_eq!(of(texts(Some(1500), Some(10)), pairs), [format!("{at} 1.8x {tip}")]);
        assert_eq!(of(texts(Some(1200), Some(10)), pairs), [format!("{at} 1.152720x {tip}")]);
    }
}
