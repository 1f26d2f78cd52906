//! An expression, checked: names are places, macros are loops, calls know what they may call.

use std::sync::Arc;

use crate::{signature::Overload, value::Value};

pub(crate) type Child = Box<Node>;

pub(crate) enum Node {
    Literal(Value<'static>),
    /// A variable of the environment.
    Variable(usize),
    /// A variable of a loop, counted from the outermost.
    Local(usize),
    /// An expression with a name, of those before this one.
    Composed(usize),
    Select(Child, Arc<str>),
    Has(Child, Arc<str>),
    OptionalSelect(Child, Arc<str>),
    Index(Child, Child),
    OptionalIndex(Child, Child),
    And(Child, Child),
    Or(Child, Child),
    Condition(Child, Child, Child),
    Equal(Child, Child),
    NotEqual(Child, Child),
    Call {
        overloads: Vec<&'static Overload>,
        args: Vec<Node>,
    },
    /// With whether each is optional.
    List(Vec<(Node, bool)>),
    Map(Vec<(Node, Node, bool)>),
    Loop(Box<Loop>),
    /// `cel.bind`: the value is a variable of the body.
    Bind {
        value: Child,
        body: Child,
    },
    /// `optMap` and `optFlatMap` (flat): the value is a variable of the body.
    OptionalMap {
        value: Child,
        body: Child,
        flat: bool,
    },
}

pub(crate) struct Loop {
    pub range: Node,
    /// Whether the body has two variables: place or key, and value.
    pub two: bool,
    pub kind: LoopKind,
    pub filter: Option<Node>,
    pub body: Node,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum LoopKind {
    All,
    Exists,
    ExistsOne,
    /// A list of what the body gives; of what it tests when there is only a filter, as `filter` does.
    List,
    /// The keys with other values.
    Map,
    /// Each body is a map of one entry.
    Entries,
}
