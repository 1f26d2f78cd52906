//! Functions and operators: a table of signatures in words, each with what it does.
//!
//! `string.contains(string) bool` is called on its first argument, `size(string) int` is not; `A` and `B` stand for any
//! type. A name with a namespace is written with `::`: `ip::isCanonical(string) bool`.

use std::{collections::HashMap, sync::LazyLock};

use regex::Regex;

use crate::{error::Error, functions, library, types::Type, value::Value};

/// Counts the cost of an evaluation, and keeps what is compiled on the way.
pub struct Meter<'p> {
    pub(crate) left: u64,
    pub(crate) regexes: &'p HashMap<String, Regex>,
}

impl Meter<'_> {
    pub(crate) fn charge(&mut self, cost: u64) -> Result<(), Error> {
        match self.left.checked_sub(cost) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => {
                self.left = 0;
                Err(Error::CostLimit)
            }
        }
    }

    /// Going through text costs a tenth of its length.
    pub(crate) fn traverse(&mut self, length: usize) -> Result<(), Error> {
        self.charge(length.div_ceil(10) as u64)
    }
}

pub type Function = for<'a> fn(&mut Meter<'_>, &[Value<'a>]) -> Result<Value<'a>, Error>;

pub struct Overload {
    pub name: &'static str,
    pub member: bool,
    pub params: Vec<Type>,
    pub result: Type,
    pub function: Function,
}

static ALL: LazyLock<HashMap<&'static str, Vec<Overload>>> = LazyLock::new(|| {
    let mut all: HashMap<&'static str, Vec<Overload>> = HashMap::new();
    for (text, function) in functions::tables().chain(library::tables()).flatten() {
        let (name, overload) = parse(text, *function);
        all.entry(name).or_default().push(overload);
    }
    all
});

/// All overloads of a name.
pub(crate) fn find(name: &str) -> Option<&'static [Overload]> {
    ALL.get(name).map(Vec::as_slice)
}

/// Whether functions have names that start with this.
pub(crate) fn is_namespace(name: &str) -> bool {
    ALL.keys().any(|own| own.strip_prefix(name).is_some_and(|rest| rest.starts_with("::")))
}

fn parse(text: &'static str, function: Function) -> (&'static str, Overload) {
    let (head, rest) = text.split_once('(').unwrap_or((text, ") dyn"));
    // The last parenthesis before the result closes the parameters.
    let (params, result) = rest.rsplit_once(") ").unwrap_or((rest, "dyn"));
    let (receiver, name) = match head.split_once('.') {
        Some((receiver, name)) => (Some(receiver), name),
        None => (None, head),
    };
    // A receiver with parameters, `list<A>`, has its brackets in the head.
    let params = receiver.into_iter().chain(split(params)).map(ty).collect();
    (name, Overload { name, member: receiver.is_some(), params, result: ty(result), function })
}

/// At commas outside of brackets.
fn split(text: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0, 0);
    for (at, c) in text.char_indices() {
        match c {
            '<' => depth += 1,
            '>' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(text[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    if !text[start..].trim().is_empty() {
        parts.push(text[start..].trim());
    }
    parts
}

fn ty(text: &str) -> Type {
    let inner = |prefix: &str| {
        text.strip_prefix(prefix)
            .and_then(|rest| rest.strip_prefix('<'))
            .and_then(|rest| rest.strip_suffix('>'))
    };
    if let Some(item) = inner("list") {
        return Type::list(ty(item));
    }
    if let Some(item) = inner("optional") {
        return Type::optional(ty(item));
    }
    if let Some(entry) = inner("map") {
        let parts = split(entry);
        return Type::map(ty(parts[0]), ty(parts[1]));
    }
    match text {
        "dyn" => Type::Dyn,
        "null" => Type::Null,
        "bool" => Type::Bool,
        "int" => Type::Int,
        "uint" => Type::Uint,
        "double" => Type::Double,
        "string" => Type::String,
        "bytes" => Type::Bytes,
        "duration" => Type::Duration,
        "timestamp" => Type::Timestamp,
        "type" => Type::Type,
        "A" => Type::Param(0),
        "B" => Type::Param(1),
        opaque => Type::Opaque(library::type_name(opaque)),
    }
}

#[cfg(test)]
pub(crate) fn describe(text: &'static str) -> String {
    let (name, overload) = parse(text, |_, _| Err(Error::NoOverload));
    let params: Vec<String> = overload.params.iter().map(Type::to_string).collect();
    format!("{name}({}) {}", params.join(", "), overload.result)
}
