//! What an expression may cost at most, before it has seen a value.
//!
//! Kept true: the estimate follows the checker's of stock servers step by step (a value of unknown size costs without
//! end where its size counts), so that both refuse the same rules when they are written.
//! Source: https://github.com/google/cel-go/blob/master/checker/cost.go and
//! https://github.com/kubernetes/apiserver/blob/master/pkg/cel/library/cost.go

use std::collections::HashMap;

use crate::{
    compile::Program,
    node::{Loop, LoopKind, Node},
    signature::Overload,
    types::Type,
    value::Value,
};

/// How large the values of a schema can become.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sizes {
    /// Bytes of a text, items of a list, entries of a map; 0 of all else.
    pub most: u64,
    /// Items of a list, values of a map.
    pub items: Option<Box<Sizes>>,
    /// Of a map.
    pub keys: Option<Box<Sizes>>,
    /// By the name that expressions use.
    pub fields: HashMap<String, Sizes>,
}

const UNKNOWN: u64 = u64::MAX;
const LIST: u64 = 10;
const MAP: u64 = 30;
const AUTHORIZATION: u64 = 350_000;

/// Going through text costs a tenth of its length.
fn tenth(size: u64) -> u64 {
    if size == UNKNOWN { UNKNOWN } else { size.div_ceil(10) }
}

fn sum(parts: impl IntoIterator<Item = u64>) -> u64 {
    parts.into_iter().fold(0, u64::saturating_add)
}

#[derive(Clone, Copy)]
struct Estimate<'s> {
    cost: u64,
    size: u64,
    sizes: Option<&'s Sizes>,
    /// The size is known, not only its limit.
    is_literal: bool,
}

impl<'s> Estimate<'s> {
    fn of(cost: u64, size: u64) -> Estimate<'s> {
        Estimate { cost, size, sizes: None, is_literal: false }
    }

    fn at(cost: u64, sizes: Option<&'s Sizes>) -> Estimate<'s> {
        Estimate { sizes, ..Estimate::of(cost, sizes.map_or(UNKNOWN, |sizes| sizes.most)) }
    }

    fn items(&self) -> Option<&'s Sizes> {
        self.sizes?.items.as_deref()
    }
}

impl Program {
    /// `variables` are what is known of the environment's variables, in their order.
    pub fn cost_limit(&self, variables: &[Option<&Sizes>]) -> u64 {
        Estimator { variables, locals: Vec::new() }.node(&self.root).cost
    }
}

struct Estimator<'s> {
    variables: &'s [Option<&'s Sizes>],
    locals: Vec<Option<&'s Sizes>>,
}

impl<'s> Estimator<'s> {
    fn node(&mut self, node: &Node) -> Estimate<'s> {
        match node {
            Node::Literal(value) => Estimate { is_literal: true, ..Estimate::of(0, literal(value)) },
            Node::Variable(at) => Estimate::at(1, self.variables.get(*at).copied().flatten()),
            Node::Local(at) => Estimate::at(1, self.locals.get(*at).copied().flatten()),
            Node::Composed(_) => Estimate::of(1, UNKNOWN),
            Node::Select(operand, field) => {
                let operand = self.node(operand);
                let inner = operand.sizes.and_then(|own| own.fields.get(&**field).or(own.items.as_deref()));
                Estimate::at(operand.cost.saturating_add(1), inner)
            }
            Node::Has(operand, _) => Estimate::of(self.node(operand).cost, 1),
            Node::OptionalSelect(operand, _) => {
                Estimate::of(self.node(operand).cost.saturating_add(1), UNKNOWN)
            }
            Node::Index(operand, key) => {
                let (operand, key) = (self.node(operand), self.node(key));
                Estimate::at(sum([operand.cost, key.cost, 1]), operand.items())
            }
            Node::OptionalIndex(operand, key) => {
                Estimate::of(sum([self.node(operand).cost, self.node(key).cost, 1]), UNKNOWN)
            }
            Node::And(a, b) | Node::Or(a, b) => Estimate::of(sum([self.node(a).cost, self.node(b).cost]), 1),
            Node::Equal(a, b) | Node::NotEqual(a, b) => {
                let (a, b) = (self.node(a), self.node(b));
                Estimate::of(sum([a.cost, b.cost, tenth(a.size.min(b.size))]), 1)
            }
            Node::Condition(test, yes, no) => {
                let (test, yes, no) = (self.node(test), self.node(yes), self.node(no));
                Estimate::of(test.cost.saturating_add(yes.cost.max(no.cost)), yes.size.max(no.size))
            }
            Node::List(items) => {
                let cost = sum(items.iter().map(|(item, _)| self.node(item).cost).chain([LIST]));
                Estimate::of(cost, items.len() as u64)
            }
            Node::Map(entries) => {
                let entry =
                    |(key, value, _): &(Node, Node, bool)| sum([self.node(key).cost, self.node(value).cost]);
                let cost = sum(entries.iter().map(entry).chain([MAP]).collect::<Vec<u64>>());
                Estimate::of(cost, entries.len() as u64)
            }
            Node::Call { overloads, args } => {
                let args: Vec<Estimate<'s>> = args.iter().map(|arg| self.node(arg)).collect();
                let all = sum(args.iter().map(|arg| arg.cost));
                let each = overloads.iter().map(|own| call(own, &args));
                let (cost, size) = each.fold((0, 0), |(cost, size), own| (own.0.max(cost), own.1.max(size)));
                Estimate::of(all.saturating_add(cost), size)
            }
            Node::Loop(own) => self.repeated(own),
            // A condition around a bound variable, with the value in both.
            Node::Bind { value, body } => {
                let value = self.node(value);
                self.locals.push(value.sizes);
                let body = self.node(body);
                self.locals.pop();
                // A loop over nothing, as stock servers expand it.
                Estimate { cost: sum([value.cost, body.cost, LIST]), ..body }
            }
            Node::OptionalMap { value, body, .. } => {
                let value = self.node(value);
                self.locals.push(None);
                let body = self.node(body).cost;
                self.locals.pop();
                Estimate::of(sum([value.cost, value.cost, body, LIST, 3]), UNKNOWN)
            }
        }
    }

    /// The macros as stock servers expand them: a start, a condition and a step for each item, a result.
    fn repeated(&mut self, own: &Loop) -> Estimate<'s> {
        let range = self.node(&own.range);
        let (keys, values) = (range.sizes.and_then(|own| own.keys.as_deref()), range.items());
        let depth = self.locals.len();
        if own.two {
            self.locals.push(keys);
            self.locals.push(values);
        } else {
            self.locals.push(keys.or(values));
        }
        let filter = own.filter.as_ref().map_or(0, |filter| self.node(filter).cost);
        let body = self.node(&own.body).cost;
        self.locals.truncate(depth);
        let (start, each, end) = match own.kind {
            LoopKind::All => (0, sum([2, 1, body]), 1),
            LoopKind::Exists => (0, sum([3, 1, body]), 1),
            LoopKind::ExistsOne => (0, sum([body, 2]), 2),
            LoopKind::List => (LIST, sum([filter, body, LIST, 2]), 1),
            LoopKind::Map | LoopKind::Entries => (MAP, sum([filter, body, 3]), 1),
        };
        let cost = sum([range.cost, start, range.size.saturating_mul(each), end]);
        let makes = matches!(own.kind, LoopKind::List | LoopKind::Map | LoopKind::Entries);
        Estimate::of(cost, if makes { range.size } else { 1 })
    }
}

fn literal(value: &Value<'_>) -> u64 {
    match value {
        Value::String(text) => text.as_str().len() as u64,
        Value::Bytes(bytes) => bytes.len() as u64,
        _ => 1,
    }
}

/// What a call itself costs, and the size of what it gives.
fn call(overload: &Overload, args: &[Estimate<'_>]) -> (u64, u64) {
    let size = |at: usize| args.get(at).map_or(UNKNOWN, |arg| arg.size);
    let (first, second) = (size(0), size(1));
    let is = |at: usize, wanted: fn(&Type) -> bool| overload.params.get(at).is_some_and(wanted);
    let text = |at: usize| is(at, |ty| matches!(ty, Type::String | Type::Bytes));
    let result = match overload.result {
        Type::Bool | Type::Int | Type::Uint | Type::Double | Type::Duration | Type::Timestamp => 1,
        _ => UNKNOWN,
    };
    match overload.name {
        "format" => (tenth(first), result),
        "bytes" if text(0) => (tenth(first), first.saturating_mul(4)),
        "string" if is(0, |ty| matches!(ty, Type::Bytes)) => (tenth(first), first),
        "startsWith" | "endsWith" => (tenth(second), result),
        "@in" if is(1, |ty| matches!(ty, Type::List(_))) => (second, result),
        "matches" | "find" | "findAll" => {
            let pattern = if second == UNKNOWN { UNKNOWN } else { second.div_ceil(4) };
            (tenth(first.saturating_add(1)).saturating_mul(pattern), if result == 1 { 1 } else { first })
        }
        "contains" if text(0) => (tenth(first).saturating_mul(tenth(second)), result),
        "_+_" if text(0) => {
            let both = first.saturating_add(second);
            (tenth(both), both)
        }
        "_+_" if is(0, |ty| matches!(ty, Type::List(_))) => (1, first.saturating_add(second)),
        "_<_" | "_<=_" | "_>_" | "_>=_" if text(0) => (tenth(first.min(second)), result),
        "isSorted" | "sum" | "max" | "min" | "indexOf" | "lastIndexOf" if !text(0) => {
            let item = args.first().and_then(Estimate::items).map_or(0, |item| item.most);
            (first.saturating_mul(tenth(item).saturating_add(1)), result)
        }
        "indexOf" | "lastIndexOf" => (tenth(first), result),
        "lowerAscii" | "upperAscii" | "substring" | "trim" | "split" => (tenth(first), first),
        "replace" => (tenth(first), replaced(args)),
        "join" => {
            let item = args.first().and_then(Estimate::items).map_or(UNKNOWN, |item| item.most);
            let separator = if args.len() > 1 { second } else { 0 };
            let whole = first.saturating_mul(item.saturating_add(separator));
            (tenth(whole), whole)
        }
        "quantity" | "isQuantity" | "url" | "isURL" | "ip" | "isIP" | "ip::isCanonical" | "cidr"
        | "isCIDR" | "semver" | "isSemver" => (tenth(first), result),
        "check" => (AUTHORIZATION, result),
        _ => (1, result),
    }
}

/// The longest that a text becomes.
fn replaced(args: &[Estimate<'_>]) -> u64 {
    let [text, from, to, ..] = args else { return UNKNOWN };
    let shortest = if from.is_literal { from.size } else { 0 };
    if shortest == 0 {
        text.size.saturating_add(1).saturating_mul(to.size).saturating_add(text.size)
    } else if to.size <= shortest {
        text.size
    } else {
        text.size.div_ceil(shortest).saturating_mul(to.size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Environment;

    /// `self` is a text of at most 100 bytes, or a list of at most 10 of them.
    fn limit(expression: &str) -> u64 {
        let text = Sizes { most: 100, ..Sizes::default() };
        let list = Sizes { most: 10, items: Some(Box::new(text.clone())), ..Sizes::default() };
        let open = Sizes { most: 3_145_726, ..Sizes::default() };
        let fields = [("t", text), ("l", list), ("n", Sizes::default()), ("open", open)];
        let sizes =
            Sizes { fields: fields.map(|(name, own)| (name.to_owned(), own)).into(), ..Sizes::default() };
        let ty = Type::object(
            "object",
            [("t", Type::String), ("l", Type::list(Type::String)), ("n", Type::Int), ("open", Type::String)],
        );
        let environment = Environment::new([("self", ty)]);
        let program = environment.compile(expression).expect(expression);
        program.cost_limit(&[Some(&sizes)])
    }

    #[test]
    fn the_most_that_an_expression_costs_is_known_from_its_sizes() {
        for (expression, expected) in [
            ("true", 0),
            // A variable and a field.
            ("self.n > 0", 3),
            ("self.n == 1", 2),
            ("has(self.t)", 1),
            ("self.t == 'abc'", 3),
            ("self.t == self.t", 14),
            ("self.t.startsWith('abcdefghijk')", 4),
            ("self.t.contains('abc')", 12),
            ("self.t.matches('^[a-z]+$')", 2 + 11 * 2),
            ("size(self.t + self.t) > 1", 4 + 20 + 1 + 1),
            ("'a' in self.l", 12),
            ("self.l.all(x, x == 'abc')", 2 + 10 * (3 + 2) + 1),
            ("self.l.exists(x, self.l.exists(y, x == y))", 2 + 10 * (4 + 2 + 10 * (4 + 12) + 1) + 1),
            ("self.l.map(x, x).size() > 1", 2 + 10 + 10 * 13 + 1 + 2),
            ("self.n > 1 ? self.t == 'a' : true", 3 + 3),
            ("[1, 2].size() == 2", 10 + 1 + 1),
            ("self.open.matches('a{1,5}b')", 2 + 314_573 * 2),
        ] {
            assert_eq!(limit(expression), expected, "{expression}");
        }
        assert!(limit("self.open.find('a+').matches(self.open)") > 10_000_000_000);
    }
}
