//! Strategic merge patch: lists are merged by key where the table says so.
//!
//! Source: https://github.com/kubernetes/community/blob/master/contributors/devel/sig-api-machinery/strategic-merge-patch.md

use crate::error::PatchError;
use crate::go_type::go_print;
use crate::node::{FieldRef, Node, Shape, Struct};
use serde_json::{Map, Value};

const DIRECTIVE: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const DELETE_PRIMITIVES: &str = "$deleteFromPrimitiveList/";
const ELEMENT_ORDER: &str = "$setElementOrder/";

type Object = Map<String, Value>;

pub(crate) fn merge(shape: Struct<'_>, target: &mut Value, patch: &Value) -> Result<(), PatchError> {
    let Value::Object(patch) = patch else {
        return Err(PatchError::Invalid(
            "strategic merge patch format is invalid: not an object".to_string(),
        ));
    };
    if !target.is_object() {
        *target = Value::Object(Object::new());
    }
    let Value::Object(target) = target else { return Ok(()) };
    merge_object(Some(shape), target, patch)
}

fn invalid<T>(text: impl Into<String>) -> Result<T, PatchError> {
    Err(PatchError::Invalid(text.into()))
}

fn directive(patch: &Object) -> Result<Option<&str>, PatchError> {
    match patch.get(DIRECTIVE) {
        None => Ok(None),
        Some(Value::String(name)) if matches!(name.as_str(), "replace" | "delete" | "merge") => {
            Ok(Some(name))
        }
        Some(other) => {
            invalid(format!("Unknown patch type found: {}", other.as_str().unwrap_or(&other.to_string())))
        }
    }
}

fn is_directive(key: &str) -> bool {
    key == DIRECTIVE
        || key == RETAIN_KEYS
        || key.starts_with(DELETE_PRIMITIVES)
        || key.starts_with(ELEMENT_ORDER)
}

/// `shape` is missing below a map or raw JSON: plain merging then.
fn merge_object(shape: Option<Struct<'_>>, target: &mut Object, patch: &Object) -> Result<(), PatchError> {
    match directive(patch)? {
        Some("replace") => {
            *target = cleaned_object(patch);
            return Ok(());
        }
        Some("delete") => {
            target.clear();
            return Ok(());
        }
        _ => {}
    }
    if let Some(retained) = patch.get(RETAIN_KEYS) {
        retain_keys(target, patch, retained)?;
    }
    delete_primitives(target, patch)?;
    for (key, value) in patch.iter().filter(|(key, _)| !is_directive(key)) {
        let field = shape.and_then(|shape| shape.field(key));
        let order = patch.get(&format!("{ELEMENT_ORDER}{key}"));
        merge_field(field, target, key, value, order)?;
    }
    // An order without a list: elements were only moved.
    for (key, order) in patch {
        if let Some(name) = key.strip_prefix(ELEMENT_ORDER)
            && !patch.contains_key(name)
            && let Some(Value::Array(items)) = target.get_mut(name)
        {
            let merge_key = shape.and_then(|shape| shape.field(name)).and_then(FieldRef::patch_merge_key);
            let known: Vec<Value> = items.iter().map(|item| key_of(item, merge_key).clone()).collect();
            set_order(items, &known, element_order(order)?, merge_key);
        }
    }
    Ok(())
}

fn merge_field(
    field: Option<FieldRef<'_>>,
    target: &mut Object,
    key: &str,
    patch: &Value,
    order: Option<&Value>,
) -> Result<(), PatchError> {
    if patch.is_null() {
        target.shift_remove(key);
        return Ok(());
    }
    let Some(existing) = target.get_mut(key).filter(|value| !value.is_null()) else {
        if let Some(value) = cleaned(patch) {
            target.insert(key.to_string(), value);
        }
        return Ok(());
    };
    match (existing, patch) {
        (Value::Object(existing), Value::Object(patch)) => {
            if field.is_some_and(FieldRef::patch_replace) {
                *existing = cleaned_object(patch);
                return Ok(());
            }
            let deleted = directive(patch)? == Some("delete");
            merge_node(field.map(FieldRef::node), existing, patch)?;
            if deleted {
                target.shift_remove(key);
            }
            Ok(())
        }
        (Value::Array(existing), Value::Array(patch)) => match field {
            Some(field) if field.patch_merge() => merge_list(field, existing, patch, order),
            _ => {
                *existing = cleaned_items(patch);
                Ok(())
            }
        },
        (existing, patch) => {
            *existing = cleaned(patch).unwrap_or(Value::Null);
            Ok(())
        }
    }
}

/// Values of a map are merged by the map's element type.
fn merge_node(node: Option<Node<'_>>, target: &mut Object, patch: &Object) -> Result<(), PatchError> {
    match node.map(Node::shape) {
        Some(Shape::Struct(shape)) => merge_object(Some(shape), target, patch),
        Some(Shape::Map(element)) if element.as_struct().is_some() => {
            for (key, value) in patch.iter().filter(|(key, _)| !is_directive(key)) {
                match (target.get_mut(key), value) {
                    (_, Value::Null) => drop(target.shift_remove(key)),
                    (Some(Value::Object(existing)), Value::Object(value)) => {
                        merge_object(element.as_struct(), existing, value)?
                    }
                    (_, value) => drop(target.insert(key.clone(), value.clone())),
                }
            }
            Ok(())
        }
        _ => merge_object(None, target, patch),
    }
}

fn merge_list(
    field: FieldRef<'_>,
    target: &mut Vec<Value>,
    patch: &[Value],
    order: Option<&Value>,
) -> Result<(), PatchError> {
    let known: Vec<Value> = target.iter().map(|item| key_of(item, field.patch_merge_key()).clone()).collect();
    let order = order.map_or(Ok(patch), |order| element_order(order).map(Vec::as_slice))?;
    let Some(merge_key) = field.patch_merge_key() else {
        for value in patch {
            if !target.contains(value) {
                target.push(value.clone());
            }
        }
        set_order(target, &known, order, None);
        return Ok(());
    };
    let element = match field.node().shape() {
        Shape::List(element) => element.as_struct(),
        _ => None,
    };
    if patch.iter().any(|item| item.get(DIRECTIVE).and_then(Value::as_str) == Some("replace")) {
        let kept = patch.iter().filter(|item| item.get(DIRECTIVE).is_none());
        *target = kept.filter_map(cleaned).collect();
        return Ok(());
    }
    for item in patch {
        let (Value::Object(item), Some(key)) = (item, item.get(merge_key)) else {
            let item = go_print(item);
            let text = format!("map: {item} does not contain declared merge key: {merge_key}");
            return Err(PatchError::NoMergeKey(text));
        };
        let matches = |candidate: &Value| candidate.get(merge_key) == Some(key);
        if directive(item)? == Some("delete") {
            target.retain(|candidate| !matches(candidate));
            continue;
        }
        match target.iter_mut().find(|candidate| matches(candidate)) {
            Some(Value::Object(existing)) => merge_object(element, existing, item)?,
            _ => target.push(Value::Object(cleaned_object(item))),
        }
    }
    set_order(target, &known, order, Some(merge_key));
    Ok(())
}

/// Items that `order` names come in its order; the server's other items keep their place behind the item they followed.
/// What the server did not have (`known`: the keys of what it had) comes before others of the server.
/// Source: https://github.com/kubernetes/apimachinery/blob/master/pkg/util/strategicpatch/patch.go (`normalizeElementOrder`)
fn set_order(target: &mut Vec<Value>, known: &[Value], order: &[Value], merge_key: Option<&str>) {
    let place = |item: &Value| known.iter().position(|own| own == key_of(item, merge_key));
    let rank = |item: &Value| order.iter().position(|own| key_of(own, merge_key) == key_of(item, merge_key));
    let (mut ordered, others): (Vec<_>, Vec<_>) =
        std::mem::take(target).into_iter().partition(|item| rank(item).is_some());
    ordered.sort_by_key(rank);
    let mut others = others.into_iter().peekable();
    for item in ordered {
        while let Some(other) = others.next_if(|other| place(other) < place(&item)) {
            target.push(other);
        }
        target.push(item);
    }
    target.extend(others);
}

fn key_of<'a>(item: &'a Value, merge_key: Option<&str>) -> &'a Value {
    merge_key.map_or(item, |key| &item[key])
}

fn element_order(order: &Value) -> Result<&Vec<Value>, PatchError> {
    order.as_array().map_or_else(|| invalid("setElementOrder must be a list"), Ok)
}

fn retain_keys(target: &mut Object, patch: &Object, retained: &Value) -> Result<(), PatchError> {
    let Value::Array(names) = retained else { return invalid("invalid patch format of retainKeys") };
    let kept = |key: &str| names.iter().any(|name| name.as_str() == Some(key));
    if patch.iter().any(|(key, value)| !is_directive(key) && !value.is_null() && !kept(key)) {
        return invalid("all fields in patch that are not in the $retainKeys list must be null");
    }
    target.retain(|key, _| kept(key));
    Ok(())
}

fn delete_primitives(target: &mut Object, patch: &Object) -> Result<(), PatchError> {
    for (key, value) in patch {
        let Some(name) = key.strip_prefix(DELETE_PRIMITIVES) else { continue };
        let Value::Array(gone) = value else { return invalid(format!("invalid patch format of {key}")) };
        if let Some(Value::Array(items)) = target.get_mut(name) {
            items.retain(|item| !gone.contains(item));
        }
    }
    Ok(())
}

/// A value that is new to the target: nulls and directives have done their work.
fn cleaned(patch: &Value) -> Option<Value> {
    match patch {
        Value::Null => None,
        Value::Object(map) if map.get(DIRECTIVE).and_then(Value::as_str) == Some("delete") => None,
        Value::Object(map) => Some(Value::Object(cleaned_object(map))),
        Value::Array(items) => Some(Value::Array(cleaned_items(items))),
        other => Some(other.clone()),
    }
}

fn cleaned_object(patch: &Object) -> Object {
    let kept = patch.iter().filter(|(key, _)| !is_directive(key));
    kept.filter_map(|(key, value)| Some((key.clone(), cleaned(value)?))).collect()
}

fn cleaned_items(patch: &[Value]) -> Vec<Value> {
    let is_mark =
        |item: &&Value| !item.as_object().is_some_and(|map| map.len() == 1 && map.contains_key(DIRECTIVE));
    patch.iter().filter(is_mark).filter_map(cleaned).collect()
}
