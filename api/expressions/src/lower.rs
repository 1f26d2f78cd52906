//! Checks a parsed expression and makes it ready to run.
//!
//! Kept true: whatever is lowered without an issue can be evaluated; nothing is deeper than [`MAX_DEPTH`].
//! Source: https://github.com/google/cel-spec/blob/master/doc/langdef.md#gradual-type-checking

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use cel::common::ast::{
    CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedExpr, ListExpr, LiteralValue, MapExpr, SelectExpr,
    StructExpr, operators,
};
use regex::Regex;

use crate::{
    compile::Environment,
    functions,
    node::{Loop, LoopKind, Node},
    signature::{self, Overload},
    types::Type,
    value::{Text, Value},
};

/// Of nested parts. Stock servers limit the recursion of their parser to 250.
const MAX_DEPTH: usize = 200;

const TYPE_NAMES: [&str; 10] =
    ["bool", "int", "uint", "double", "string", "bytes", "list", "map", "null_type", "type"];

pub(crate) struct Lowering<'e> {
    environment: &'e Environment,
    /// Variables of the loops around, outermost first.
    locals: Vec<(String, Type)>,
    depth: usize,
    /// Within the arguments of `format`, literals may mix types.
    mixed: bool,
    pub issues: Vec<(u64, String)>,
    pub regexes: HashMap<String, Regex>,
    pub used: BTreeSet<String>,
}

type Lowered = (Node, Type);

fn nothing() -> Lowered {
    (Node::Literal(Value::Null), Type::Dyn)
}

impl<'e> Lowering<'e> {
    pub fn new(environment: &'e Environment) -> Lowering<'e> {
        Lowering {
            environment,
            locals: Vec::new(),
            depth: 0,
            mixed: false,
            issues: Vec::new(),
            regexes: HashMap::new(),
            used: BTreeSet::new(),
        }
    }

    fn issue(&mut self, id: u64, message: impl Into<String>) -> Lowered {
        self.issues.push((id, message.into()));
        nothing()
    }

    pub fn lower(&mut self, expression: &IdedExpr) -> Lowered {
        if self.depth >= MAX_DEPTH {
            return self.issue(expression.id, "expression recursion limit exceeded: 200");
        }
        self.depth += 1;
        let lowered = self.lower_expr(expression.id, &expression.expr);
        self.depth -= 1;
        lowered
    }

    fn boxed(&mut self, expression: &IdedExpr) -> (Box<Node>, Type) {
        let (node, ty) = self.lower(expression);
        (Box::new(node), ty)
    }

    fn lower_expr(&mut self, id: u64, expr: &Expr) -> Lowered {
        match expr {
            Expr::Unspecified => self.issue(id, "unexpected expression"),
            Expr::Literal(literal) => lower_literal(literal),
            Expr::Ident(name) => self.name(id, name),
            Expr::Select(select) => self.select(id, select),
            Expr::Call(call) => self.call(id, call),
            Expr::Comprehension(comprehension) => self.comprehension(id, comprehension),
            Expr::List(list) => self.list(list),
            Expr::Map(map) => self.map(map),
            Expr::Struct(literal) => self.literal_object(id, literal),
        }
    }

    fn find(&mut self, name: &str) -> Option<Lowered> {
        let absolute = name.strip_prefix('.');
        if absolute.is_none()
            && let Some(at) = self.locals.iter().rposition(|(own, _)| own == name)
        {
            return Some((Node::Local(at), self.locals[at].1.clone()));
        }
        let name = absolute.unwrap_or(name);
        let at = self.environment.variables.iter().position(|(own, _)| own == name)?;
        self.used.insert(name.to_owned());
        Some((Node::Variable(at), self.environment.variables[at].1.clone()))
    }

    fn name(&mut self, id: u64, name: &str) -> Lowered {
        if let Some(found) = self.find(name) {
            return found;
        }
        if TYPE_NAMES.contains(&name) {
            return (Node::Literal(Value::Type(name.into())), Type::Type);
        }
        self.issue(id, format!("undeclared reference to '{name}' (in container '')"))
    }

    fn select(&mut self, id: u64, select: &SelectExpr) -> Lowered {
        if let Some(name) = qualified(&select.operand.expr, &select.field)
            && !select.test
        {
            if let Some(found) = self.find(&name) {
                return found;
            }
            if matches!(&*name, "google.protobuf.Timestamp" | "google.protobuf.Duration") {
                return (Node::Literal(Value::Type(name.into())), Type::Type);
            }
        }
        if let Expr::Ident(name) = &select.operand.expr
            && name == "variables"
            && !self.locals.iter().any(|(own, _)| own == name)
        {
            return self.composed(id, &select.field, select.test);
        }
        let (operand, ty) = self.boxed(&select.operand);
        let field: Arc<str> = select.field.as_str().into();
        let result = self.field_type(id, &ty, &field);
        if select.test {
            (Node::Has(operand, field), Type::Bool)
        } else {
            (Node::Select(operand, field), result)
        }
    }

    fn composed(&mut self, id: u64, field: &str, test: bool) -> Lowered {
        let all = &self.environment.composed;
        match all.iter().position(|(own, _)| own == field) {
            Some(_) if test => (Node::Literal(Value::Bool(true)), Type::Bool),
            Some(at) => (Node::Composed(at), all[at].1.clone()),
            None if all.is_empty() && !self.environment.variables.iter().any(|(own, _)| own == "object") => {
                self.issue(id, "undeclared reference to 'variables' (in container '')")
            }
            None => self.issue(id, format!("undefined field '{field}'")),
        }
    }

    fn field_type(&mut self, id: u64, ty: &Type, field: &str) -> Type {
        match ty {
            Type::Dyn | Type::Struct(_) | Type::Param(_) => Type::Dyn,
            Type::Map(map) => map.1.clone(),
            Type::Object(object) => match object.fields.get(field) {
                Some(field) => field.ty.clone(),
                None => self.issue(id, format!("undefined field '{field}'")).1,
            },
            Type::Optional(inner) => Type::optional(self.field_type(id, inner, field)),
            other => self.issue(id, format!("type '{other}' does not support field selection")).1,
        }
    }

    fn call(&mut self, id: u64, call: &CallExpr) -> Lowered {
        match (call.func_name.as_str(), &call.target, call.args.as_slice()) {
            (operators::LOGICAL_AND, None, [a, b]) => self.logic(id, operators::LOGICAL_AND, a, b, Node::And),
            (operators::LOGICAL_OR, None, [a, b]) => self.logic(id, operators::LOGICAL_OR, a, b, Node::Or),
            (operators::CONDITIONAL, None, [test, yes, no]) => self.condition(id, test, yes, no),
            (operators::EQUALS, None, [a, b]) => self.equality(id, operators::EQUALS, a, b, Node::Equal),
            (operators::NOT_EQUALS, None, [a, b]) => {
                self.equality(id, operators::NOT_EQUALS, a, b, Node::NotEqual)
            }
            (operators::INDEX, None, [operand, key]) => self.index(id, operand, key, false),
            (operators::OPT_INDEX, None, [operand, key]) => self.index(id, operand, key, true),
            (operators::OPT_SELECT, None, [operand, field]) => self.optional_select(id, operand, field),
            ("bind", Some(target), [variable, value, body])
                if self.environment.binds && matches!(&target.expr, Expr::Ident(name) if name == "cel") =>
            {
                self.bind(variable, value, body)
            }
            (name, Some(target), args) => match (name, args) {
                ("optMap" | "optFlatMap", [variable, body]) => {
                    self.optional_map(id, target, variable, body, name == "optFlatMap")
                }
                ("all" | "exists" | "existsOne" | "exists_one", [key, value, body]) => {
                    let kind = match name {
                        "all" => LoopKind::All,
                        "exists" => LoopKind::Exists,
                        _ => LoopKind::ExistsOne,
                    };
                    self.loop_over(id, target, &[key, value], kind, None, body)
                }
                ("transformList" | "transformMap" | "transformMapEntry", [key, value, rest @ ..])
                    if matches!(rest.len(), 1 | 2) =>
                {
                    let kind = match name {
                        "transformList" => LoopKind::List,
                        "transformMap" => LoopKind::Map,
                        _ => LoopKind::Entries,
                    };
                    let (filter, body) = match rest {
                        [filter, body] => (Some(filter), body),
                        _ => (None, &rest[0]),
                    };
                    self.loop_over(id, target, &[key, value], kind, filter, body)
                }
                _ => self.method(id, name, target, args),
            },
            (name, None, args) => self.function(id, name.trim_start_matches('.'), None, args),
        }
    }

    /// `ip.isCanonical(x)` is a function of a namespace unless `ip` is a variable.
    fn method(&mut self, id: u64, name: &str, target: &IdedExpr, args: &[IdedExpr]) -> Lowered {
        if let Expr::Ident(namespace) = &target.expr
            && signature::is_namespace(namespace)
            && self.find(namespace).is_none()
        {
            return self.function(id, &format!("{namespace}::{name}"), None, args);
        }
        self.function(id, name, Some(target), args)
    }

    fn function(&mut self, id: u64, name: &str, target: Option<&IdedExpr>, args: &[IdedExpr]) -> Lowered {
        let outer = self.mixed;
        self.mixed |= name == "format" && target.is_some();
        let lowered: Vec<Lowered> = target.into_iter().chain(args).map(|arg| self.lower(arg)).collect();
        self.mixed = outer;
        let Some(all) = signature::find(name) else {
            let name = name.replace("::", ".");
            return self.issue(id, format!("undeclared reference to '{name}' (in container '')"));
        };
        let (nodes, types): (Vec<Node>, Vec<Type>) = lowered.into_iter().unzip();
        let mut found: Vec<(&'static Overload, Type)> = Vec::new();
        for overload in all {
            if overload.member != target.is_some() || overload.params.len() != types.len() {
                continue;
            }
            let mut bound = [None, None];
            let fits = overload.params.iter().zip(&types).all(|(param, ty)| param.unify(ty, &mut bound));
            if fits {
                found.push((overload, overload.result.resolved(&bound)));
            }
        }
        let Some((_, first)) = found.first() else {
            let name = name.replace("::", ".");
            let signature = signature_of(&types, target.is_some());
            return self
                .issue(id, format!("found no matching overload for '{name}' applied to '{signature}'"));
        };
        let result = found[1..].iter().fold(first.clone(), |result, (_, other)| result.join(other));
        self.check_literals(id, name, &nodes);
        (
            Node::Call { overloads: found.into_iter().map(|(overload, _)| overload).collect(), args: nodes },
            result,
        )
    }

    /// What can be known to fail: broken patterns, times and durations.
    fn check_literals(&mut self, id: u64, name: &str, args: &[Node]) {
        let literal = |at: usize| match args.get(at) {
            Some(Node::Literal(Value::String(text))) => Some(text.as_str().to_owned()),
            _ => None,
        };
        match name {
            "matches" | "find" | "findAll" => {
                let Some(pattern) = literal(1).filter(|pattern| !self.regexes.contains_key(pattern)) else {
                    return;
                };
                match functions::compile_regex(&pattern) {
                    Ok(regex) => drop(self.regexes.insert(pattern, regex)),
                    Err(error) => drop(self.issue(id, format!("invalid matches argument: {error}"))),
                }
            }
            "duration" if literal(0).is_some_and(|text| crate::time::parse_duration(&text).is_none()) => {
                self.issue(id, "invalid duration argument");
            }
            "timestamp" if literal(0).is_some_and(|text| crate::time::parse_timestamp(&text).is_none()) => {
                self.issue(id, "invalid timestamp argument");
            }
            _ => {}
        }
    }

    fn no_overload(&mut self, id: u64, name: &str, types: &[Type]) -> Lowered {
        let signature = signature_of(types, false);
        self.issue(id, format!("found no matching overload for '{name}' applied to '{signature}'"))
    }

    fn logic(
        &mut self,
        id: u64,
        name: &str,
        a: &IdedExpr,
        b: &IdedExpr,
        make: fn(Box<Node>, Box<Node>) -> Node,
    ) -> Lowered {
        let ((a, left), (b, right)) = (self.boxed(a), self.boxed(b));
        if left.fits(&Type::Bool) && right.fits(&Type::Bool) {
            (make(a, b), Type::Bool)
        } else {
            self.no_overload(id, name, &[left, right])
        }
    }

    fn condition(&mut self, id: u64, test: &IdedExpr, yes: &IdedExpr, no: &IdedExpr) -> Lowered {
        let ((test, asked), (yes, one), (no, other)) = (self.boxed(test), self.boxed(yes), self.boxed(no));
        if asked.fits(&Type::Bool) && (one.fits(&other) || other.fits(&one)) {
            (Node::Condition(test, yes, no), one.join(&other))
        } else {
            self.no_overload(id, operators::CONDITIONAL, &[asked, one, other])
        }
    }

    fn equality(
        &mut self,
        id: u64,
        name: &str,
        a: &IdedExpr,
        b: &IdedExpr,
        make: fn(Box<Node>, Box<Node>) -> Node,
    ) -> Lowered {
        let ((a, left), (b, right)) = (self.boxed(a), self.boxed(b));
        let nullable = |ty: &Type| {
            matches!(
                ty,
                Type::Null
                    | Type::Object(_)
                    | Type::Struct(_)
                    | Type::Opaque(_)
                    | Type::Timestamp
                    | Type::Duration
            )
        };
        let with_null =
            matches!(left, Type::Null) && nullable(&right) || matches!(right, Type::Null) && nullable(&left);
        if left.fits(&right) || right.fits(&left) || with_null {
            (make(a, b), Type::Bool)
        } else {
            self.no_overload(id, name, &[left, right])
        }
    }

    fn index(&mut self, id: u64, operand: &IdedExpr, key: &IdedExpr, optional: bool) -> Lowered {
        let ((operand, ty), (key, key_type)) = (self.boxed(operand), self.boxed(key));
        let name = if optional { operators::OPT_INDEX } else { operators::INDEX };
        let inner = match &ty {
            Type::Optional(inner) => (**inner).clone(),
            other => other.clone(),
        };
        let result = match &inner {
            Type::List(list) if key_type.fits(&Type::Int) => list.item.clone(),
            Type::Map(map) if key_type.fits(&map.0) => map.1.clone(),
            Type::Dyn | Type::Struct(_) => Type::Dyn,
            _ => return self.no_overload(id, name, &[ty, key_type]),
        };
        let is_optional = optional || matches!(ty, Type::Optional(_));
        let result = if is_optional { Type::optional(result) } else { result };
        let node = if optional { Node::OptionalIndex(operand, key) } else { Node::Index(operand, key) };
        (node, result)
    }

    fn optional_select(&mut self, id: u64, operand: &IdedExpr, field: &IdedExpr) -> Lowered {
        let Expr::Literal(LiteralValue::String(name)) = &field.expr else {
            return self.issue(id, "unsupported optional field selection");
        };
        let (operand, ty) = self.boxed(operand);
        let result = match self.field_type(id, &ty, name.inner()) {
            Type::Optional(inner) => Type::Optional(inner),
            other => Type::optional(other),
        };
        (Node::OptionalSelect(operand, name.inner().into()), result)
    }

    fn bind(&mut self, variable: &IdedExpr, value: &IdedExpr, body: &IdedExpr) -> Lowered {
        let Expr::Ident(name) = &variable.expr else {
            return self.issue(variable.id, "cel.bind() variable names must be simple identifiers");
        };
        let (value, ty) = self.boxed(value);
        self.locals.push((name.clone(), ty));
        let (body, result) = self.boxed(body);
        self.locals.pop();
        (Node::Bind { value, body }, result)
    }

    fn optional_map(
        &mut self,
        id: u64,
        target: &IdedExpr,
        variable: &IdedExpr,
        body: &IdedExpr,
        flat: bool,
    ) -> Lowered {
        let Expr::Ident(name) = &variable.expr else {
            return self.issue(variable.id, "optMap() variable name must be a simple identifier");
        };
        let (value, ty) = self.boxed(target);
        let inner = match ty {
            Type::Optional(inner) => (*inner).clone(),
            Type::Dyn => Type::Dyn,
            other => return self.no_overload(id, if flat { "optFlatMap" } else { "optMap" }, &[other]),
        };
        self.locals.push((name.clone(), inner));
        let (body, result) = self.boxed(body);
        self.locals.pop();
        let result = if flat { result } else { Type::optional(result) };
        (Node::OptionalMap { value, body, flat }, result)
    }

    /// Recognizes what the parser made of a macro.
    fn comprehension(&mut self, id: u64, it: &ComprehensionExpr) -> Lowered {
        let variable = IdedExpr { id, expr: Expr::Ident(it.iter_var.clone()) };
        let Expr::Call(step) = &it.loop_step.expr else {
            return self.issue(id, "unsupported comprehension");
        };
        let item = |call: &CallExpr| match call.args.as_slice() {
            [_, IdedExpr { expr: Expr::List(list), .. }] if call.func_name == operators::ADD => {
                list.elements.first().cloned()
            }
            _ => None,
        };
        let vars = [&variable];
        match (step.func_name.as_str(), step.args.as_slice(), &it.accu_init.expr) {
            (operators::LOGICAL_AND, [_, body], _) => {
                self.loop_over(id, &it.iter_range, &vars, LoopKind::All, None, body)
            }
            (operators::LOGICAL_OR, [_, body], _) => {
                self.loop_over(id, &it.iter_range, &vars, LoopKind::Exists, None, body)
            }
            (operators::CONDITIONAL, [body, ..], Expr::Literal(_)) => {
                self.loop_over(id, &it.iter_range, &vars, LoopKind::ExistsOne, None, body)
            }
            (operators::CONDITIONAL, [filter, IdedExpr { expr: Expr::Call(add), .. }, _], _) => {
                match item(add) {
                    Some(body) => {
                        self.loop_over(id, &it.iter_range, &vars, LoopKind::List, Some(filter), &body)
                    }
                    None => self.issue(id, "unsupported comprehension"),
                }
            }
            _ => match item(step) {
                Some(body) => self.loop_over(id, &it.iter_range, &vars, LoopKind::List, None, &body),
                None => self.issue(id, "unsupported comprehension"),
            },
        }
    }

    fn loop_over(
        &mut self,
        id: u64,
        range: &IdedExpr,
        variables: &[&IdedExpr],
        kind: LoopKind,
        filter: Option<&IdedExpr>,
        body: &IdedExpr,
    ) -> Lowered {
        let place = range.id;
        let (range, ty) = self.lower(range);
        let two = variables.len() == 2;
        let (key, value) = match &ty {
            Type::List(list) => (Type::Int, list.item.clone()),
            Type::Map(map) => (map.0.clone(), map.1.clone()),
            Type::Dyn => (Type::Dyn, Type::Dyn),
            other => {
                let why = format!(
                    "expression of type '{other}' cannot be range of a comprehension (must be list, map, or dynamic)"
                );
                return self.issue(place, why);
            }
        };
        let first = if two || matches!(ty, Type::Map(_)) { key.clone() } else { value.clone() };
        let types = if two { vec![first, value] } else { vec![first] };
        for (variable, ty) in variables.iter().zip(types) {
            let Expr::Ident(name) = &variable.expr else {
                return self.issue(variable.id, "argument must be a simple name");
            };
            self.locals.push((name.clone(), ty));
        }
        let filter_node = filter.map(|filter| {
            let (node, ty) = self.lower(filter);
            if !ty.fits(&Type::Bool) {
                self.no_overload(filter.id, operators::CONDITIONAL, &[ty, Type::Dyn, Type::Dyn]);
            }
            node
        });
        let (body_node, result) = self.lower(body);
        self.locals.truncate(self.locals.len() - variables.len());
        let tests = matches!(kind, LoopKind::All | LoopKind::Exists | LoopKind::ExistsOne);
        if tests && !result.fits(&Type::Bool) {
            let name = match kind {
                LoopKind::All => operators::LOGICAL_AND,
                LoopKind::Exists => operators::LOGICAL_OR,
                _ => operators::CONDITIONAL,
            };
            return self.no_overload(id, name, &[Type::Bool, result]);
        }
        let result = match (kind, result) {
            _ if tests => Type::Bool,
            (LoopKind::List, result) => Type::list(result),
            (LoopKind::Map, result) => {
                Type::map(if matches!(key, Type::Dyn) { Type::Dyn } else { key }, result)
            }
            (_, result @ (Type::Map(_) | Type::Dyn)) => result,
            (_, other) => return self.no_overload(id, "cel.@mapInsert", &[Type::Dyn, other]),
        };
        let repeated = Loop { range, two, kind, filter: filter_node, body: body_node };
        (Node::Loop(Box::new(repeated)), result)
    }

    fn list(&mut self, list: &ListExpr) -> Lowered {
        let mut item: Option<Type> = None;
        let mut nodes = Vec::new();
        for (at, element) in list.elements.iter().enumerate() {
            let is_optional = list.optional_indices.contains(&at);
            let (node, ty) = self.lower(element);
            let ty = self.unwrapped(element.id, ty, is_optional);
            nodes.push((node, is_optional));
            item = Some(self.same(element.id, item, ty));
        }
        (Node::List(nodes), Type::list(item.unwrap_or(Type::Dyn)))
    }

    /// What is in an optional element of a literal.
    fn unwrapped(&mut self, id: u64, ty: Type, is_optional: bool) -> Type {
        match ty {
            ty if !is_optional => ty,
            Type::Optional(inner) => (*inner).clone(),
            Type::Dyn => Type::Dyn,
            other => self.issue(id, format!("expected type 'optional_type({other})' but found '{other}'")).1,
        }
    }

    /// Stock servers want all elements of a literal to be of one type.
    fn same(&mut self, id: u64, before: Option<Type>, ty: Type) -> Type {
        match before {
            None => ty,
            Some(before) if ty.fits(&before) || before.fits(&ty) => before.join(&ty),
            // Parts of an object that mutations make may differ.
            Some(_) if self.environment.mutations || self.mixed => Type::Dyn,
            Some(before) => self.issue(id, format!("expected type '{before}' but found '{ty}'")).1,
        }
    }

    fn map(&mut self, map: &MapExpr) -> Lowered {
        let (mut keys, mut values): (Option<Type>, Option<Type>) = (None, None);
        let mut nodes = Vec::new();
        for entry in &map.entries {
            let EntryExpr::MapEntry(own) = &entry.expr else { continue };
            let (key, key_type) = self.lower(&own.key);
            let (value, value_type) = self.lower(&own.value);
            let value_type = self.unwrapped(own.value.id, value_type, own.optional);
            keys = Some(self.same(own.key.id, keys, key_type));
            values = Some(self.same(own.value.id, values, value_type));
            nodes.push((key, value, own.optional));
        }
        (Node::Map(nodes), Type::map(keys.unwrap_or(Type::Dyn), values.unwrap_or(Type::Dyn)))
    }

    /// `Object.spec{replicas: 3}`, `JSONPatch{op: "add", path: "/spec", value: 1}`
    fn literal_object(&mut self, id: u64, literal: &StructExpr) -> Lowered {
        let name = literal.type_name.trim_start_matches('.');
        let is_patch = name == "JSONPatch";
        let is_object = name == "Object" || name.starts_with("Object.");
        if !self.environment.mutations || !is_patch && !is_object {
            return self.issue(id, format!("undeclared reference to '{name}' (in container '')"));
        }
        let mut nodes = Vec::new();
        for entry in &literal.entries {
            let EntryExpr::StructField(own) = &entry.expr else { continue };
            if is_patch && !["op", "path", "from", "value"].contains(&own.field.as_str()) {
                self.issue(entry.id, format!("undefined field '{}'", own.field));
                continue;
            }
            let (value, ty) = self.lower(&own.value);
            let ty = self.unwrapped(own.value.id, ty, own.optional);
            if is_patch && own.field != "value" && !ty.fits(&Type::String) {
                let why =
                    format!("expected type of field '{}' is 'string' but provided type is '{ty}'", own.field);
                self.issue(entry.id, why);
            }
            if is_object {
                self.check_path(entry.id, name, &own.field, &ty);
            }
            nodes.push((
                Node::Literal(Value::String(Text::Owned(own.field.as_str().into()))),
                value,
                own.optional,
            ));
        }
        (Node::Map(nodes), Type::Struct(name.into()))
    }

    /// A part is named after its place.
    fn check_path(&mut self, id: u64, name: &str, field: &str, ty: &Type) {
        let wanted = format!("{name}.{field}");
        let part = match ty {
            Type::List(list) => &list.item,
            other => other,
        };
        if let Type::Struct(own) = part
            && **own != *wanted
            && !(wanted.ends_with(".item") && wanted.trim_end_matches(".item") == &**own)
        {
            self.issue(
                id,
                format!("expected type of field '{field}' is '{wanted}' but provided type is '{own}'"),
            );
        }
    }
}

/// `authorizer.requestResource` of its parts.
fn qualified(operand: &Expr, field: &str) -> Option<String> {
    match operand {
        Expr::Ident(name) => Some(format!("{name}.{field}")),
        Expr::Select(select) if !select.test => {
            Some(format!("{}.{field}", qualified(&select.operand.expr, &select.field)?))
        }
        _ => None,
    }
}

fn signature_of(types: &[Type], member: bool) -> String {
    let text = |types: &[Type]| types.iter().map(Type::to_string).collect::<Vec<_>>().join(", ");
    match types {
        [receiver, rest @ ..] if member => format!("{receiver}.({})", text(rest)),
        all => format!("({})", text(all)),
    }
}

fn lower_literal(literal: &LiteralValue) -> Lowered {
    let (value, ty) = match literal {
        LiteralValue::Boolean(yes) => (Value::Bool(**yes), Type::Bool),
        LiteralValue::Bytes(bytes) => (Value::Bytes(bytes.inner().into()), Type::Bytes),
        LiteralValue::Double(number) => (Value::Double(*number.inner()), Type::Double),
        LiteralValue::Int(number) => (Value::Int(*number.inner()), Type::Int),
        LiteralValue::Null => (Value::Null, Type::Null),
        LiteralValue::String(text) => (Value::String(Text::Owned(text.inner().into())), Type::String),
        LiteralValue::UInt(number) => (Value::Uint(*number.inner()), Type::Uint),
    };
    (Node::Literal(value), ty)
}
