//! Fills in defaults: the rows of `data/defaults.txt`, wherever a value of their type occurs, and `{}` for each struct that
//! Go holds by value: `omitempty` never leaves one out.
//!
//! Kept true: an object that has all its defaults is not changed. Subtrees whose types have no defaults are not visited.

use crate::default_rules::{self, Rule};
use crate::table::{Table, Type, TypeId, flag};
use serde_json::{Map, Value};

const DEFAULTS: &str = include_str!("../data/defaults.txt");

enum Row {
    Set {
        path: Vec<&'static str>,
        value: Value,
        zero: bool,
    },
    Rule(Rule),
    /// The position of the field in its type.
    Struct(usize),
}

/// The rows by type, found once for a table.
#[derive(Default)]
pub(crate) struct Defaults {
    rows: Vec<(TypeId, Row)>,
    /// Whether a type or one inside it has rows.
    reaches: Vec<bool>,
}

impl Defaults {
    pub(crate) fn of(table: &Table) -> Defaults {
        let mut rows = Vec::new();
        let mut id = None;
        for line in DEFAULTS.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            if let Some((package, name)) = line.strip_prefix("T ").and_then(|rest| rest.split_once(' ')) {
                id = table.find(&format!("io.k8s.{package}"), name);
            } else if let Some(id) = id
                && let Some(row) = read_row(line)
            {
                rows.push((id, row));
            }
        }
        for id in 0..table.types.len() as TypeId {
            rows.extend(structs_by_value(table, id).map(|field| (id, Row::Struct(field))));
        }
        rows.sort_by_key(|(id, _)| *id);
        let mut reaches = vec![false; table.types.len()];
        let target = |ty: Type| innermost(table, ty);
        for (id, row) in &rows {
            reaches[usize::from(*id)] = true;
            // A rule may write into the objects right below: they are visited for their order.
            if matches!(row, Row::Rule(_)) {
                for inner in table.fields_of(*id).iter().filter_map(|field| target(field.ty)) {
                    reaches[usize::from(inner)] = true;
                }
            }
        }
        loop {
            let mut changed = false;
            for id in 0..reaches.len() {
                let inner = table.fields_of(id as TypeId).iter().filter_map(|field| target(field.ty));
                if !reaches[id] && inner.into_iter().any(|inner| reaches[usize::from(inner)]) {
                    reaches[id] = true;
                    changed = true;
                }
            }
            if !changed {
                break Defaults { rows, reaches };
            }
        }
    }

    fn rows(&self, id: TypeId) -> impl Iterator<Item = &Row> {
        let start = self.rows.partition_point(|(at, _)| *at < id);
        self.rows[start..].iter().take_while(move |(at, _)| *at == id).map(|(_, row)| row)
    }
}

/// Not the metadata of whole objects: they all have it.
fn structs_by_value(table: &Table, id: TypeId) -> impl Iterator<Item = usize> {
    let is_kind = !table.str(table.ty(id).gvk).is_empty();
    let fields = table.fields_of(id).iter().enumerate();
    fields
        .filter(move |(_, field)| {
            matches!(field.ty, Type::Ref(_))
                && field.flags & (flag::POINTER | flag::REQUIRED) == 0
                && !(is_kind && table.str(field.name) == "metadata")
        })
        .map(|(position, _)| position)
}

fn innermost(table: &Table, ty: Type) -> Option<TypeId> {
    match ty {
        Type::Scalar(_) => None,
        Type::Ref(id) => Some(id),
        Type::List(element) | Type::Map(element) => innermost(table, table.element(element)),
    }
}

fn read_row(line: &'static str) -> Option<Row> {
    if let Some(name) = line.strip_prefix('!') {
        return default_rules::find(name).map(Row::Rule);
    }
    let (path, value) = line.split_once(' ')?;
    let (value, zero) = value.strip_suffix(" zero").map_or((value, false), |value| (value, true));
    Some(Row::Set { path: path.split('.').collect(), value: serde_json::from_str(value).ok()?, zero })
}

pub(crate) fn apply(table: &Table, id: TypeId, object: &mut Value) {
    visit(table, table.defaults(), Type::Ref(id), object);
}

fn visit(table: &Table, defaults: &Defaults, ty: Type, value: &mut Value) {
    match (ty, value) {
        (Type::Ref(id), Value::Object(map)) if defaults.reaches[usize::from(id)] => {
            for row in defaults.rows(id) {
                match row {
                    Row::Set { path, value, zero } => set(map, path, value, *zero),
                    Row::Rule(rule) => rule(map),
                    Row::Struct(field) => {
                        let name = table.str(table.fields_of(id)[*field].name);
                        set(map, &[name], &Value::Object(Map::new()), false);
                    }
                }
            }
            let mut ordered = true;
            let fields = table.fields_of(id);
            let mut next = 0;
            for (key, value) in map.iter_mut() {
                if let Some(at) = table.position(id, key, next) {
                    ordered &= at >= next;
                    next = at + 1;
                    visit(table, defaults, fields[at].ty, value);
                } else {
                    // What the table does not know comes last.
                    next = fields.len();
                }
            }
            if !ordered {
                order(table, id, map);
            }
        }
        (Type::List(element), Value::Array(items)) => {
            let element = table.element(element);
            if innermost(table, element).is_some_and(|id| defaults.reaches[usize::from(id)]) {
                items.iter_mut().for_each(|item| visit(table, defaults, element, item));
            }
        }
        (Type::Map(element), Value::Object(map)) => {
            let element = table.element(element);
            if innermost(table, element).is_some_and(|id| defaults.reaches[usize::from(id)]) {
                map.values_mut().for_each(|item| visit(table, defaults, element, item));
            }
        }
        _ => {}
    }
}

/// Defaults were added at the end: puts the fields back into the table's order.
fn order(table: &Table, id: TypeId, map: &mut Map<String, Value>) {
    let rank = |key: &str| table.position(id, key, 0).unwrap_or(usize::MAX);
    let mut entries: Vec<(usize, String, Value)> =
        std::mem::take(map).into_iter().map(|(key, value)| (rank(&key), key, value)).collect();
    entries.sort_by_key(|(rank, _, _)| *rank);
    map.extend(entries.into_iter().map(|(_, key, value)| (key, value)));
}

fn set(map: &mut Map<String, Value>, path: &[&str], value: &Value, zero: bool) {
    let Some((last, parents)) = path.split_last() else { return };
    let mut map = map;
    for part in parents {
        let child = map.entry(*part).or_insert(Value::Null);
        if child.is_null() {
            *child = Value::Object(Map::new());
        }
        let Value::Object(child) = child else { return };
        map = child;
    }
    let unset = match map.get(*last) {
        None | Some(Value::Null) => true,
        Some(Value::String(text)) => text.is_empty(),
        Some(Value::Number(number)) => zero && number.as_i64() == Some(0),
        Some(_) => false,
    };
    if unset {
        map.insert(last.to_string(), value.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::Registry;

    #[test]
    fn every_row_names_a_known_type_field_and_rule() {
        let table = Registry::builtin().table();
        let mut id = None;
        for line in DEFAULTS.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            if let Some((package, name)) = line.strip_prefix("T ").and_then(|rest| rest.split_once(' ')) {
                id = table.find(&format!("io.k8s.{package}"), name);
                assert!(id.is_some(), "{line}");
            } else if let Some(Row::Set { path, .. }) = read_row(line) {
                let mut at = id;
                for part in path {
                    let ty = at.unwrap_or_else(|| panic!("{line}"));
                    let position =
                        table.position(ty, part, 0).unwrap_or_else(|| panic!("{line}: no field `{part}`"));
                    at = innermost(table, table.fields_of(ty)[position].ty);
                }
            } else {
                assert!(read_row(line).is_some(), "{line}");
            }
        }
    }
}
