//! Values as expressions see them. JSON is looked at where it lies: only what an expression reads is converted.
//!
//! Source: https://github.com/google/cel-spec/blob/master/doc/langdef.md#values

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Map as JsonMap, Value as Json};

use crate::{
    library::Library,
    types::{DYN, ListType, Order, Type},
};

#[derive(Clone, Debug)]
pub enum Value<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    String(Text<'a>),
    Bytes(Arc<[u8]>),
    /// Nanoseconds.
    Duration(i64),
    Timestamp(Timestamp),
    List(List<'a>),
    Map(Map<'a>),
    Optional(Option<Arc<Value<'a>>>),
    Type(Arc<str>),
    Library(Library<'a>),
}

#[derive(Clone, Debug)]
pub enum Text<'a> {
    Borrowed(&'a str),
    Owned(Arc<str>),
}

#[derive(Clone, Debug)]
pub enum List<'a> {
    Json(&'a [Json], &'a ListType),
    Made(Arc<Vec<Value<'a>>>),
}

#[derive(Clone, Debug)]
pub enum Map<'a> {
    /// Of an object or map type, or of none.
    Json(&'a JsonMap<String, Json>, &'a Type),
    Made(Arc<Vec<(Value<'a>, Value<'a>)>>),
}

static ANY_LIST: ListType = ListType { item: Type::Dyn, order: Order::Atomic };

impl Text<'_> {
    pub fn as_str(&self) -> &str {
        match self {
            Text::Borrowed(text) => text,
            Text::Owned(text) => text,
        }
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Value<'a> {
        Value::String(Text::Borrowed(text))
    }
}

impl From<String> for Value<'_> {
    fn from(text: String) -> Self {
        Value::String(Text::Owned(text.into()))
    }
}

impl<'a> Value<'a> {
    /// JSON of no known type.
    pub fn json(json: &'a Json) -> Value<'a> {
        Value::typed(json, &DYN)
    }

    /// JSON that a schema describes.
    pub fn typed(json: &'a Json, ty: &'a Type) -> Value<'a> {
        match (json, ty) {
            (Json::Null, _) => Value::Null,
            (Json::Bool(yes), _) => Value::Bool(*yes),
            (Json::Number(number), Type::Double) => Value::Double(number.as_f64().unwrap_or_default()),
            (Json::Number(number), _) => match (number.as_i64(), number.as_f64()) {
                (Some(number), _) => Value::Int(number),
                (None, Some(number)) if matches!(ty, Type::Int) && number.fract() == 0.0 => {
                    Value::Int(number as i64)
                }
                (None, number) => Value::Double(number.unwrap_or_default()),
            },
            (Json::String(text), Type::Timestamp) => {
                crate::time::parse_timestamp(text).map_or(Value::from(text.as_str()), Value::Timestamp)
            }
            (Json::String(text), Type::Duration) => {
                crate::time::parse_duration(text).map_or(Value::from(text.as_str()), Value::Duration)
            }
            (Json::String(text), Type::Bytes) => match crate::functions::convert::decode_base64(text) {
                Some(bytes) => Value::Bytes(bytes.into()),
                None => text.as_str().into(),
            },
            (Json::String(text), _) => text.as_str().into(),
            (Json::Array(items), Type::List(list)) => Value::List(List::Json(items, list)),
            (Json::Array(items), _) => Value::List(List::Json(items, &ANY_LIST)),
            (Json::Object(fields), ty) => Value::Map(Map::Json(fields, ty)),
        }
    }

    pub fn list(items: Vec<Value<'a>>) -> Value<'a> {
        Value::List(List::Made(Arc::new(items)))
    }

    pub fn map(entries: Vec<(Value<'a>, Value<'a>)>) -> Value<'a> {
        Value::Map(Map::Made(Arc::new(entries)))
    }

    pub fn some(value: Value<'a>) -> Value<'a> {
        Value::Optional(Some(Arc::new(value)))
    }

    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::String(text) => Some(text.as_str()),
            _ => None,
        }
    }

    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Value::Bool(yes) => Some(*yes),
            _ => None,
        }
    }

    /// The name of its type at run time.
    pub fn type_name(&self) -> &str {
        match self {
            Value::Null => "null_type",
            Value::Bool(_) => "bool",
            Value::Int(_) => "int",
            Value::Uint(_) => "uint",
            Value::Double(_) => "double",
            Value::String(_) => "string",
            Value::Bytes(_) => "bytes",
            Value::Duration(_) => "google.protobuf.Duration",
            Value::Timestamp(_) => "google.protobuf.Timestamp",
            Value::List(_) => "list",
            Value::Map(Map::Json(_, Type::Object(object))) => &object.name,
            Value::Map(_) => "map",
            Value::Optional(_) => "optional_type",
            Value::Type(_) => "type",
            Value::Library(value) => value.type_name(),
        }
    }

    /// Whether it is of a type that a signature names.
    pub(crate) fn is(&self, ty: &Type) -> bool {
        match (self, ty) {
            (_, Type::Dyn | Type::Param(_))
            | (Value::Null, Type::Null)
            | (Value::Bool(_), Type::Bool)
            | (Value::Int(_), Type::Int)
            | (Value::Uint(_), Type::Uint)
            | (Value::Double(_), Type::Double)
            | (Value::String(_), Type::String)
            | (Value::Bytes(_), Type::Bytes)
            | (Value::Duration(_), Type::Duration)
            | (Value::Timestamp(_), Type::Timestamp)
            | (Value::Map(_), Type::Map(_) | Type::Object(_) | Type::Struct(_))
            | (Value::Optional(_), Type::Optional(_))
            | (Value::Type(_), Type::Type) => true,
            (Value::List(list), Type::List(wanted)) => {
                list.is_empty() || list.get(0).is_some_and(|first| first.is(&wanted.item))
            }
            (Value::Library(value), Type::Opaque(name)) => value.type_name() == *name,
            _ => false,
        }
    }

    /// As JSON; None when it has no such form.
    pub fn to_json(&self) -> Option<Json> {
        Some(match self {
            Value::Null => Json::Null,
            Value::Bool(yes) => (*yes).into(),
            Value::Int(number) => (*number).into(),
            Value::Uint(number) => (*number).into(),
            Value::Double(number) => serde_json::Number::from_f64(*number)?.into(),
            Value::String(text) => text.as_str().into(),
            Value::Bytes(bytes) => crate::functions::convert::encode_base64(bytes).into(),
            Value::Duration(nanos) => crate::time::print_duration(*nanos).into(),
            Value::Timestamp(time) => time.to_string().into(),
            Value::List(List::Json(items, _)) => Json::Array(items.to_vec()),
            Value::List(list) => list.iter().map(|item| item.to_json()).collect::<Option<_>>()?,
            Value::Map(Map::Json(fields, _)) => Json::Object((*fields).clone()),
            Value::Map(Map::Made(entries)) => {
                let mut fields = JsonMap::new();
                for (key, value) in entries.iter() {
                    fields.insert(key.as_str()?.to_owned(), value.to_json()?);
                }
                Json::Object(fields)
            }
            Value::Optional(Some(inner)) => inner.to_json()?,
            Value::Library(value) => Json::String(value.to_string()),
            Value::Optional(None) | Value::Type(_) => return None,
        })
    }
}

impl<'a> List<'a> {
    pub fn len(&self) -> usize {
        match self {
            List::Json(items, _) => items.len(),
            List::Made(items) => items.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn get(&self, at: usize) -> Option<Value<'a>> {
        match self {
            List::Json(items, ty) => items.get(at).map(|item| Value::typed(item, &ty.item)),
            List::Made(items) => items.get(at).cloned(),
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = Value<'a>> + '_ {
        (0..self.len()).filter_map(|at| self.get(at))
    }

    pub(crate) fn order(&self) -> &Order {
        match self {
            List::Json(_, ty) => &ty.order,
            List::Made(_) => &Order::Atomic,
        }
    }
}

impl<'a> Map<'a> {
    pub fn len(&self) -> usize {
        match self {
            Map::Json(fields, Type::Object(ty)) => {
                ty.fields.values().filter(|field| fields.contains_key(&field.json)).count()
            }
            Map::Json(fields, _) => fields.len(),
            Map::Made(entries) => entries.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A field: of an object by its name in expressions, null being absent.
    pub fn field(&self, name: &str) -> Option<Value<'a>> {
        match self {
            Map::Json(fields, Type::Object(ty)) => {
                let field = ty.fields.get(name)?;
                let value = fields.get(&field.json).filter(|value| !value.is_null())?;
                Some(Value::typed(value, &field.ty))
            }
            Map::Json(fields, Type::Map(ty)) => fields.get(name).map(|value| Value::typed(value, &ty.1)),
            Map::Json(fields, _) => fields.get(name).map(Value::json),
            Map::Made(entries) => {
                entries.iter().find(|(key, _)| key.as_str() == Some(name)).map(|(_, value)| value.clone())
            }
        }
    }

    pub fn get(&self, key: &Value<'_>) -> Option<Value<'a>> {
        match (self, key) {
            (_, Value::String(name)) => self.field(name.as_str()),
            (Map::Json(..), _) => None,
            (Map::Made(entries), key) => entries
                .iter()
                .find(|(own, _)| crate::operators::equal(own, key))
                .map(|(_, value)| value.clone()),
        }
    }

    pub fn entries(&self) -> Vec<(Value<'a>, Value<'a>)> {
        match self {
            Map::Json(fields, Type::Object(ty)) => {
                let known = |(name, field): (&String, &'a crate::types::Field)| {
                    let value = fields.get(&field.json).filter(|value| !value.is_null())?;
                    Some((Value::from(name.clone()), Value::typed(value, &field.ty)))
                };
                ty.fields.iter().filter_map(known).collect()
            }
            Map::Json(fields, ty) => {
                let inner = match ty {
                    Type::Map(ty) => &ty.1,
                    _ => &DYN,
                };
                let fields = fields.iter();
                fields.map(|(name, value)| (name.as_str().into(), Value::typed(value, inner))).collect()
            }
            Map::Made(entries) => entries.to_vec(),
        }
    }
}
