//! Runs programs on values, within limits.
//!
//! Kept true: every step costs, so that no evaluation takes longer than its limit allows; an error is absorbed by `||`,
//! `&&` and the quantifiers where another operand decides, but never one that ends the evaluation.
//! Source: https://github.com/google/cel-spec/blob/master/doc/langdef.md#logical-operators and, for the limits,
//! https://github.com/kubernetes/apiserver/blob/master/pkg/apis/cel/config.go

use std::cell::{Cell, RefCell};

use crate::{
    compile::Program,
    error::{Error, failed},
    node::{Loop, LoopKind, Node},
    operators::{equal, size},
    signature::{Meter, Overload},
    value::{Map, Value},
};

/// Of one expression.
pub const PER_CALL_LIMIT: u64 = 1_000_000;
/// Of all expressions about one object.
pub const BUDGET: u64 = 10_000_000;
/// Of all match conditions of a webhook or policy.
pub const MATCH_CONDITIONS_BUDGET: u64 = 2_500_000;

/// What expressions are evaluated with: the values of an environment's variables, and what is left to spend.
pub struct Activation<'a> {
    /// In the environment's order.
    values: Vec<Value<'a>>,
    composed: &'a [Program],
    /// Of composed expressions: evaluated when first used, once.
    results: RefCell<Vec<Option<Result<Value<'a>, Error>>>>,
    budget: Cell<u64>,
}

impl<'a> Activation<'a> {
    pub fn new(values: Vec<Value<'a>>, composed: &'a [Program], budget: u64) -> Activation<'a> {
        let results = RefCell::new(vec![None; composed.len()]);
        Activation { values, composed, results, budget: Cell::new(budget) }
    }

    /// What may still be spent.
    pub fn budget(&self) -> u64 {
        self.budget.get()
    }

    pub fn set(&mut self, variable: usize, value: Value<'a>) {
        self.values[variable] = value;
        self.results.get_mut().fill(None);
    }

    pub fn evaluate(&self, program: &'a Program) -> Result<Value<'a>, Error> {
        let mut run = Run {
            activation: self,
            meter: Meter { left: PER_CALL_LIMIT, regexes: &program.regexes },
            locals: Vec::new(),
        };
        let result = run.node(&program.root);
        let spent = PER_CALL_LIMIT - run.meter.left;
        match self.budget.get().checked_sub(spent) {
            Some(left) => {
                self.budget.set(left);
                result
            }
            None => {
                self.budget.set(0);
                Err(Error::OutOfBudget)
            }
        }
    }
}

struct Run<'r, 'a> {
    activation: &'r Activation<'a>,
    meter: Meter<'a>,
    locals: Vec<Value<'a>>,
}

type Outcome<'a> = Result<Value<'a>, Error>;

impl<'a> Run<'_, 'a> {
    fn node(&mut self, node: &'a Node) -> Outcome<'a> {
        match node {
            Node::Literal(value) => Ok(value.clone()),
            Node::Variable(at) => {
                self.meter.charge(1)?;
                self.activation.values.get(*at).cloned().ok_or_else(no_attribute)
            }
            Node::Local(at) => {
                self.meter.charge(1)?;
                self.locals.get(*at).cloned().ok_or_else(no_attribute)
            }
            Node::Composed(at) => self.composed(*at),
            Node::Select(operand, field) => {
                let operand = self.node(operand)?;
                self.meter.charge(1)?;
                select(&operand, field)
            }
            Node::Has(operand, field) => {
                let operand = self.node(operand)?;
                self.meter.charge(1)?;
                has(&operand, field).map(Value::Bool)
            }
            Node::OptionalSelect(operand, field) => {
                let operand = self.node(operand)?;
                self.meter.charge(1)?;
                optional(&operand, |inner| match inner {
                    Value::Map(map) => Ok(map.field(field)),
                    _ => Err(Error::NoOverload),
                })
            }
            Node::Index(operand, key) => {
                let (operand, key) = (self.node(operand)?, self.node(key)?);
                self.meter.charge(1)?;
                index(&operand, &key)
            }
            Node::OptionalIndex(operand, key) => {
                let (operand, key) = (self.node(operand)?, self.node(key)?);
                self.meter.charge(1)?;
                optional(&operand, |inner| find(inner, &key))
            }
            Node::And(a, b) => self.logic(a, b, false),
            Node::Or(a, b) => self.logic(a, b, true),
            Node::Condition(test, yes, no) => match self.node(test)? {
                Value::Bool(true) => self.node(yes),
                Value::Bool(false) => self.node(no),
                _ => Err(Error::NoOverload),
            },
            Node::Equal(a, b) => self.equal(a, b).map(Value::Bool),
            Node::NotEqual(a, b) => self.equal(a, b).map(|same| Value::Bool(!same)),
            Node::Call { overloads, args } => self.call(overloads, args),
            Node::List(items) => self.list(items),
            Node::Map(entries) => self.map(entries),
            Node::Loop(repeated) => self.repeat(repeated),
            Node::Bind { value, body } => {
                let value = self.node(value)?;
                self.locals.push(value);
                let result = self.node(body);
                self.locals.pop();
                result
            }
            Node::OptionalMap { value, body, flat } => match self.node(value)? {
                Value::Optional(None) => Ok(Value::Optional(None)),
                Value::Optional(Some(inner)) => {
                    self.locals.push(Value::clone(&inner));
                    let result = self.node(body);
                    self.locals.pop();
                    if *flat { result } else { result.map(Value::some) }
                }
                _ => Err(Error::NoOverload),
            },
        }
    }

    /// Its cost counts once, where it is used first.
    fn composed(&mut self, at: usize) -> Outcome<'a> {
        self.meter.charge(1)?;
        if let Some(Some(known)) = self.activation.results.borrow().get(at) {
            return known.clone();
        }
        let program = self.activation.composed.get(at).ok_or_else(no_attribute)?;
        let mut run = Run {
            activation: self.activation,
            meter: Meter { left: self.meter.left, regexes: &program.regexes },
            locals: Vec::new(),
        };
        let result = run.node(&program.root);
        self.meter.left = run.meter.left;
        if let Some(slot) = self.activation.results.borrow_mut().get_mut(at) {
            *slot = Some(result.clone());
        }
        result
    }

    /// `decisive` decides alone, whatever the other operand is.
    fn logic(&mut self, a: &'a Node, b: &'a Node, decisive: bool) -> Outcome<'a> {
        let left = self.node(a);
        match left {
            Ok(Value::Bool(value)) if value == decisive => return Ok(Value::Bool(decisive)),
            Err(error) if error.is_final() => return Err(error),
            _ => {}
        }
        let right = self.node(b);
        match (left, right) {
            (_, Ok(Value::Bool(value))) if value == decisive => Ok(Value::Bool(decisive)),
            (_, Err(error)) if error.is_final() => Err(error),
            (Err(error), _) | (Ok(Value::Bool(_)), Err(error)) => Err(error),
            (Ok(Value::Bool(_)), Ok(Value::Bool(value))) => Ok(Value::Bool(value)),
            _ => Err(Error::NoOverload),
        }
    }

    fn equal(&mut self, a: &'a Node, b: &'a Node) -> Result<bool, Error> {
        let (a, b) = (self.node(a)?, self.node(b)?);
        self.meter.charge(1 + size(&a).min(size(&b)) as u64)?;
        Ok(equal(&a, &b))
    }

    fn call(&mut self, overloads: &[&'static Overload], args: &'a [Node]) -> Outcome<'a> {
        let mut values = Vec::with_capacity(args.len());
        for arg in args {
            values.push(self.node(arg)?);
        }
        self.meter.charge(1)?;
        let fits =
            |overload: &&&Overload| overload.params.iter().zip(&values).all(|(param, value)| value.is(param));
        let overload = overloads.iter().find(fits).ok_or(Error::NoOverload)?;
        (overload.function)(&mut self.meter, &values)
    }

    fn list(&mut self, items: &'a [(Node, bool)]) -> Outcome<'a> {
        self.meter.charge(10)?;
        let mut list = Vec::with_capacity(items.len());
        for (item, is_optional) in items {
            match (self.node(item)?, is_optional) {
                (value, false) => list.push(value),
                (Value::Optional(Some(inner)), true) => list.push(Value::clone(&inner)),
                (Value::Optional(None), true) => {}
                _ => return Err(Error::NoOverload),
            }
        }
        Ok(Value::list(list))
    }

    fn map(&mut self, entries: &'a [(Node, Node, bool)]) -> Outcome<'a> {
        self.meter.charge(30)?;
        let mut map: Vec<(Value<'a>, Value<'a>)> = Vec::with_capacity(entries.len());
        for (key, value, is_optional) in entries {
            let key = self.node(key)?;
            let value = match (self.node(value)?, is_optional) {
                (value, false) => value,
                (Value::Optional(Some(inner)), true) => Value::clone(&inner),
                (Value::Optional(None), true) => continue,
                _ => return Err(Error::NoOverload),
            };
            self.insert(&mut map, key, value)?;
        }
        Ok(Value::map(map))
    }

    /// Looking for the key costs: maps that expressions make are lists.
    fn insert(
        &mut self,
        map: &mut Vec<(Value<'a>, Value<'a>)>,
        key: Value<'a>,
        value: Value<'a>,
    ) -> Result<(), Error> {
        if !matches!(key, Value::Bool(_) | Value::Int(_) | Value::Uint(_) | Value::String(_)) {
            return failed(format!("unsupported key type: {}", key.type_name()));
        }
        self.meter.charge(map.len() as u64 / 10)?;
        if map.iter().any(|(own, _)| equal(own, &key)) {
            return failed(format!("insert failed: key {} already exists", crate::functions::plain(&key)));
        }
        map.push((key, value));
        Ok(())
    }

    fn repeat(&mut self, repeated: &'a Loop) -> Outcome<'a> {
        let range = self.node(&repeated.range)?;
        let depth = self.locals.len();
        let result = match &range {
            Value::List(list) => {
                let two = repeated.two;
                let items = list.iter().enumerate().map(|(at, item)| (Value::Int(at as i64), item));
                let items: Box<dyn Iterator<Item = (Value<'a>, Value<'a>)> + '_> =
                    if two { Box::new(items) } else { Box::new(items.map(|(_, item)| (item, Value::Null))) };
                self.each(repeated, items)
            }
            Value::Map(map) => self.each(repeated, entries(map).into_iter()),
            _ => Err(Error::NoOverload),
        };
        self.locals.truncate(depth);
        result
    }

    fn each(
        &mut self,
        repeated: &'a Loop,
        items: impl Iterator<Item = (Value<'a>, Value<'a>)>,
    ) -> Outcome<'a> {
        let (mut list, mut map) = (Vec::new(), Vec::new());
        let (mut error, mut found) = (None, 0);
        let depth = self.locals.len();
        for (key, value) in items {
            // What the accumulator and the condition of the loop cost.
            self.meter.charge(3)?;
            self.locals.truncate(depth);
            let first = key.clone();
            self.locals.push(key);
            if repeated.two {
                self.locals.push(value);
            }
            if let Some(filter) = &repeated.filter {
                match self.node(filter)? {
                    Value::Bool(true) => {}
                    Value::Bool(false) => continue,
                    _ => return Err(Error::NoOverload),
                }
            }
            let result = self.node(&repeated.body);
            match (repeated.kind, result) {
                (LoopKind::All | LoopKind::Exists, Ok(Value::Bool(yes))) => {
                    if yes == (repeated.kind == LoopKind::Exists) {
                        return Ok(Value::Bool(yes));
                    }
                }
                (LoopKind::All | LoopKind::Exists, Err(why)) if !why.is_final() => {
                    error.get_or_insert(why);
                }
                (_, Err(why)) => return Err(why),
                (LoopKind::ExistsOne, Ok(Value::Bool(yes))) => found += usize::from(yes),
                (LoopKind::List, Ok(item)) => list.push(item),
                (LoopKind::Map, Ok(value)) => self.insert(&mut map, first, value)?,
                (LoopKind::Entries, Ok(Value::Map(made))) => {
                    for (key, value) in made.entries() {
                        self.insert(&mut map, key, value)?;
                    }
                }
                _ => return Err(Error::NoOverload),
            }
        }
        match (repeated.kind, error) {
            (_, Some(error)) => Err(error),
            (LoopKind::All, None) => Ok(Value::Bool(true)),
            (LoopKind::Exists, None) => Ok(Value::Bool(false)),
            (LoopKind::ExistsOne, None) => Ok(Value::Bool(found == 1)),
            (LoopKind::List, None) => Ok(Value::list(list)),
            (LoopKind::Map | LoopKind::Entries, None) => Ok(Value::map(map)),
        }
    }
}

fn no_attribute() -> Error {
    Error::Failed("no such attribute(s)".into())
}

fn entries<'a>(map: &Map<'a>) -> Vec<(Value<'a>, Value<'a>)> {
    map.entries()
}

fn no_key<'a>(key: &str) -> Outcome<'a> {
    failed(format!("no such key: {key}"))
}

fn select<'a>(operand: &Value<'a>, field: &str) -> Outcome<'a> {
    match operand {
        Value::Map(map) => map.field(field).map_or_else(|| no_key(field), Ok),
        // Absence goes on.
        Value::Optional(_) => optional(operand, |inner| match inner {
            Value::Map(map) => Ok(map.field(field)),
            _ => Err(Error::NoOverload),
        }),
        _ => Err(Error::NoOverload),
    }
}

fn has(operand: &Value<'_>, field: &str) -> Result<bool, Error> {
    match operand {
        Value::Map(map) => Ok(map.field(field).is_some()),
        Value::Optional(Some(inner)) => has(inner, field),
        Value::Optional(None) => Ok(false),
        _ => Err(Error::NoOverload),
    }
}

/// Looks into a value, or into what an optional holds.
fn optional<'a>(
    operand: &Value<'a>,
    look: impl FnOnce(&Value<'a>) -> Result<Option<Value<'a>>, Error>,
) -> Outcome<'a> {
    let found = match operand {
        Value::Optional(None) => None,
        Value::Optional(Some(inner)) => look(inner)?,
        other => look(other)?,
    };
    Ok(found.map_or(Value::Optional(None), Value::some))
}

fn find<'a>(operand: &Value<'a>, key: &Value<'a>) -> Result<Option<Value<'a>>, Error> {
    match (operand, key) {
        (Value::List(list), key) => Ok(place(key)?.ok().and_then(|at| list.get(at))),
        (Value::Map(map), key) => Ok(map.get(key)),
        _ => Err(Error::NoOverload),
    }
}

/// A place in a list; whole numbers of any type are.
fn place(key: &Value<'_>) -> Result<Result<usize, i64>, Error> {
    match key {
        Value::Int(at) => Ok(usize::try_from(*at).map_err(|_| *at)),
        Value::Uint(at) => Ok(usize::try_from(*at).map_err(|_| i64::MAX)),
        Value::Double(at) if at.fract() == 0.0 && *at >= 0.0 => Ok(Ok(*at as usize)),
        _ => Err(Error::NoOverload),
    }
}

fn index<'a>(operand: &Value<'a>, key: &Value<'a>) -> Outcome<'a> {
    match operand {
        Value::List(list) => {
            let at = place(key)?;
            let shown = at.map_or_else(|at| at, |at| at as i64);
            let item = at.ok().and_then(|at| list.get(at));
            item.map_or_else(|| failed(format!("index out of bounds: {shown}")), Ok)
        }
        Value::Map(map) => map.get(key).map_or_else(|| no_key(&crate::functions::plain(key)), Ok),
        Value::Optional(_) => optional(operand, |inner| find(inner, key)),
        _ => Err(Error::NoOverload),
    }
}
