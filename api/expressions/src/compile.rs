//! From text to a program: parsed, checked against what is declared, with every problem at its place.
//!
//! Source: https://github.com/google/cel-go/blob/master/checker/checker.go for the texts

use std::collections::{BTreeSet, HashMap};

use cel::{
    common::ast::SourceInfo,
    parser::{Expression, ParseErrors, PrattParser},
};
use regex::Regex;

use crate::{
    error::{CompileError, issue},
    lower::Lowering,
    node::Node,
    types::Type,
};

/// The names that expressions may use.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// In the order in which an activation has their values. A name may be qualified: `authorizer.requestResource`.
    pub variables: Vec<(String, Type)>,
    /// Named expressions: `variables.NAME`, in the order in which an activation has their programs.
    pub composed: Vec<(String, Type)>,
    /// Whether literals such as `Object.spec{...}` and `JSONPatch{...}` are known.
    pub mutations: bool,
    /// Whether `cel.bind(name, value, body)` is known.
    pub binds: bool,
}

/// A compiled expression.
pub struct Program {
    pub(crate) root: Node,
    pub(crate) regexes: HashMap<String, Regex>,
    result: Type,
    used: BTreeSet<String>,
}

impl std::fmt::Debug for Program {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Program").field("result", &self.result).finish_non_exhaustive()
    }
}

impl Program {
    /// What it gives.
    pub fn result(&self) -> &Type {
        &self.result
    }

    /// Whether it reads a variable of the environment.
    pub fn uses(&self, variable: &str) -> bool {
        self.used.contains(variable)
    }
}

/// Longer texts are not parsed at all.
const MAX_BYTES: usize = 64 * 1024;
/// Longer texts may nest deeper than this stack is good for.
const LONG: usize = 1024;
const STACK_BYTES: usize = 64 * 1024 * 1024;

impl Environment {
    pub fn new(variables: impl IntoIterator<Item = (&'static str, Type)>) -> Environment {
        let variables = variables.into_iter().map(|(name, ty)| (name.to_owned(), ty)).collect();
        Environment { variables, ..Environment::default() }
    }

    /// Compiles an expression. The errors are those that a stock server prints after `compilation failed: `.
    pub fn compile(&self, source: &str) -> Result<Program, CompileError> {
        if source.len() > MAX_BYTES {
            return Err(CompileError { text: issue("", 1, 0, "expression code point size exceeds limit") });
        }
        if source.len() <= LONG {
            return self.parse_and_check(source);
        }
        // The parsed form of `a.b.c…` is as deep as it is long, and is walked and dropped by recursion.
        let stack = std::thread::Builder::new().stack_size(STACK_BYTES);
        std::thread::scope(|scope| {
            let text = |why: &str| CompileError { text: issue(source, 1, 0, why) };
            let worker = stack.spawn_scoped(scope, || self.parse_and_check(source));
            let worker = worker.map_err(|_| text("no thread to compile the expression"))?;
            worker.join().unwrap_or_else(|_| Err(text("the expression could not be compiled")))
        })
    }

    fn parse_and_check(&self, source: &str) -> Result<Program, CompileError> {
        let expression = parse(source).map_err(|errors| parse_issues(source, &errors))?;
        let mut lowering = Lowering::new(self);
        let (root, result) = lowering.lower(&expression);
        if lowering.issues.is_empty() {
            return Ok(Program { root, result, regexes: lowering.regexes, used: lowering.used });
        }
        let places = places(source);
        let mut issues: Vec<(usize, String)> = lowering
            .issues
            .into_iter()
            .map(|(id, message)| {
                let offset = places.as_ref().and_then(|places| places.offset_for(id));
                (offset.map_or(0, |(start, _)| start as usize), message)
            })
            .collect();
        issues.sort_by_key(|(offset, _)| *offset);
        let texts: Vec<String> =
            issues.iter().map(|(offset, message)| at_offset(source, *offset, message)).collect();
        Err(CompileError { text: texts.join("\n") })
    }
}

fn parse(source: &str) -> Result<Expression, ParseErrors> {
    PrattParser::new().enable_optional_syntax(true).enable_ident_escape_syntax(true).parse(source)
}

/// Where the parts of an expression are. The parser tells it only with an error, so it is given one at the end.
fn places(source: &str) -> Option<std::sync::Arc<SourceInfo>> {
    let errors = parse(&format!("{source}\n)")).err()?;
    errors.errors.iter().find_map(|error| error.source_info.clone())
}

fn at_offset(source: &str, offset: usize, message: &str) -> String {
    let before = source.get(..offset).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count();
    issue(source, line, column, message)
}

fn parse_issues(source: &str, errors: &ParseErrors) -> CompileError {
    let text = |error: &cel::ParseError| {
        let (line, column) = (error.pos.0.max(1) as usize, error.pos.1.max(1) as usize - 1);
        issue(source, line, column, &error.msg)
    };
    let texts: Vec<String> = errors.errors.iter().map(text).collect();
    CompileError { text: texts.join("\n") }
}
