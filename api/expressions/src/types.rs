//! What is known of a value before an expression is evaluated.
//!
//! Source: https://github.com/google/cel-spec/blob/master/doc/langdef.md#gradual-type-checking and, for the types that
//! schemas declare, https://github.com/kubernetes/apiserver/blob/master/pkg/cel/types.go

use std::{collections::HashMap, fmt, sync::Arc};

#[derive(Clone, Debug)]
pub enum Type {
    /// Known only at run time.
    Dyn,
    Null,
    Bool,
    Int,
    Uint,
    Double,
    String,
    Bytes,
    Duration,
    Timestamp,
    /// Of types themselves.
    Type,
    List(Arc<ListType>),
    Map(Arc<(Type, Type)>),
    Object(Arc<ObjectType>),
    Optional(Arc<Type>),
    /// A value of a library, by the name that messages print.
    Opaque(&'static str),
    /// Made by a literal such as `Object.spec{...}`.
    Struct(Arc<str>),
    /// `A`, `B` in signatures.
    Param(u8),
}

#[derive(Debug)]
pub struct ListType {
    pub item: Type,
    pub order: Order,
}

/// What makes two lists equal, and what their sum is.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Order {
    #[default]
    Atomic,
    Set,
    /// By the values of these fields.
    Keys(Vec<String>),
}

#[derive(Debug)]
pub struct ObjectType {
    pub name: String,
    /// By the name that expressions use.
    pub fields: HashMap<String, Field>,
}

#[derive(Debug)]
pub struct Field {
    /// Its name in JSON.
    pub json: String,
    pub ty: Type,
}

pub(crate) static DYN: Type = Type::Dyn;

impl Type {
    pub fn list(item: Type) -> Type {
        Type::List(Arc::new(ListType { item, order: Order::Atomic }))
    }

    pub fn map(key: Type, value: Type) -> Type {
        Type::Map(Arc::new((key, value)))
    }

    pub fn optional(inner: Type) -> Type {
        Type::Optional(Arc::new(inner))
    }

    /// An object whose fields have the same names in JSON.
    pub fn object(name: &str, fields: impl IntoIterator<Item = (&'static str, Type)>) -> Type {
        let fields = fields.into_iter();
        let fields =
            fields.map(|(name, ty)| (name.to_owned(), Field { json: name.to_owned(), ty })).collect();
        Type::Object(Arc::new(ObjectType { name: name.to_owned(), fields }))
    }

    pub fn is_dyn(&self) -> bool {
        matches!(self, Type::Dyn)
    }

    /// Whether a value of this type may turn out to be of the other.
    pub fn fits(&self, wanted: &Type) -> bool {
        match (self, wanted) {
            (Type::Dyn, _) | (_, Type::Dyn | Type::Param(_)) => true,
            (Type::List(own), Type::List(other)) => own.item.fits(&other.item),
            (Type::Map(own), Type::Map(other)) => own.0.fits(&other.0) && own.1.fits(&other.1),
            (Type::Optional(own), Type::Optional(other)) => own.fits(other),
            (Type::Object(own), Type::Object(other)) => own.name == other.name,
            (Type::Opaque(own), Type::Opaque(other)) => own == other,
            (Type::Struct(own), Type::Struct(other)) => own == other,
            _ => std::mem::discriminant(self) == std::mem::discriminant(wanted),
        }
    }

    /// What both are: of the branches of a condition, of the elements of a list.
    pub(crate) fn join(self, other: &Type) -> Type {
        if self.fits(other) && other.fits(&self) { self } else { Type::Dyn }
    }

    /// Binds the parameters of a signature's type; false when the type does not fit.
    pub(crate) fn unify(&self, actual: &Type, bound: &mut [Option<Type>; 2]) -> bool {
        match (self, actual) {
            (Type::Param(at), _) => match &bound[*at as usize] {
                Some(before) => {
                    let fits = actual.fits(before) || before.fits(actual);
                    if fits && before.is_dyn() {
                        bound[*at as usize] = Some(actual.clone());
                    }
                    fits
                }
                None => {
                    bound[*at as usize] = Some(actual.clone());
                    true
                }
            },
            (Type::List(own), Type::List(other)) => own.item.unify(&other.item, bound),
            (Type::Map(own), Type::Map(other)) => {
                own.0.unify(&other.0, bound) && own.1.unify(&other.1, bound)
            }
            (Type::Optional(own), Type::Optional(other)) => own.unify(other, bound),
            _ => actual.fits(self),
        }
    }

    /// With parameters replaced by what they are bound to.
    pub(crate) fn resolved(&self, bound: &[Option<Type>; 2]) -> Type {
        match self {
            Type::Param(at) => bound[*at as usize].clone().unwrap_or(Type::Dyn),
            Type::List(list) => Type::list(list.item.resolved(bound)),
            Type::Map(map) => Type::map(map.0.resolved(bound), map.1.resolved(bound)),
            Type::Optional(inner) => Type::optional(inner.resolved(bound)),
            other => other.clone(),
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Type::Dyn => f.write_str("dyn"),
            Type::Null => f.write_str("null"),
            Type::Bool => f.write_str("bool"),
            Type::Int => f.write_str("int"),
            Type::Uint => f.write_str("uint"),
            Type::Double => f.write_str("double"),
            Type::String => f.write_str("string"),
            Type::Bytes => f.write_str("bytes"),
            Type::Duration => f.write_str("google.protobuf.Duration"),
            Type::Timestamp => f.write_str("google.protobuf.Timestamp"),
            Type::Type => f.write_str("type"),
            Type::List(list) => write!(f, "list({})", list.item),
            Type::Map(map) => write!(f, "map({}, {})", map.0, map.1),
            Type::Object(object) => f.write_str(&object.name),
            Type::Optional(inner) => write!(f, "optional_type({inner})"),
            Type::Opaque(name) => f.write_str(name),
            Type::Struct(name) => f.write_str(name),
            Type::Param(at) => f.write_str(["A", "B"][*at as usize]),
        }
    }
}
