//! `authorizer.group('apps').resource('deployments').check('create').allowed()`
//!
//! Source: https://kubernetes.io/docs/reference/using-api/cel/#kubernetes-authorizer-library

use std::{fmt, sync::Arc};

use super::{Library, text};
use crate::{
    error::{Error, failed},
    signature::{Function, Meter},
    value::Value,
};

/// A check costs as much as walking a large list of rules.
const CHECK_COST: u64 = 350_000;

/// Who answers; the server's authorizer.
pub trait Authority: Sync {
    /// `service_account` is `(namespace, name)` when another identity than the request's is asked about.
    fn decide(&self, service_account: Option<&(String, String)>, question: &Question) -> Decision;
}

/// What may be done.
#[derive(Clone, Debug, Default)]
pub struct Question {
    pub verb: String,
    pub group: String,
    pub resource: String,
    pub subresource: String,
    pub namespace: String,
    pub name: String,
    /// Of what is no resource.
    pub path: Option<String>,
}

#[derive(Clone, Debug, Default)]
pub struct Decision {
    pub allowed: bool,
    pub reason: String,
    pub error: Option<String>,
}

#[derive(Clone)]
pub struct Authorizer<'a> {
    authority: &'a dyn Authority,
    service_account: Option<(String, String)>,
}

#[derive(Clone)]
pub struct Check<'a> {
    authorizer: Authorizer<'a>,
    question: Question,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Path,
    Group,
    Resource,
}

impl fmt::Debug for Authorizer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authorizer").field("service_account", &self.service_account).finish_non_exhaustive()
    }
}

impl fmt::Debug for Check<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Check").field("question", &self.question).finish_non_exhaustive()
    }
}

impl<'a> Value<'a> {
    /// The variable `authorizer`.
    pub fn authorizer(authority: &'a dyn Authority) -> Value<'a> {
        Value::Library(Library::Authorizer(Arc::new(Authorizer { authority, service_account: None })))
    }

    /// The variable `authorizer.requestResource`.
    pub fn resource_check(authority: &'a dyn Authority, question: Question) -> Value<'a> {
        let authorizer = Authorizer { authority, service_account: None };
        check(Check { authorizer, question, kind: Kind::Resource })
    }
}

impl Check<'_> {
    pub(super) fn kind(&self) -> &'static str {
        match self.kind {
            Kind::Path => "pathCheck",
            Kind::Group => "groupCheck",
            Kind::Resource => "resourceCheck",
        }
    }
}

fn check(check: Check<'_>) -> Value<'_> {
    Value::Library(Library::Check(Arc::new(check)))
}

fn begin<'a>(args: &[Value<'a>], kind: Kind, question: Question) -> Result<Value<'a>, Error> {
    let Value::Library(Library::Authorizer(own)) = &args[0] else { return Err(Error::NoOverload) };
    Ok(check(Check { authorizer: Authorizer::clone(own), question, kind }))
}

fn path<'a>(_: &mut Meter<'_>, args: &[Value<'a>]) -> Result<Value<'a>, Error> {
    let path = text(&args[1])?;
    if path.is_empty() {
        return failed("path must not be empty");
    }
    begin(args, Kind::Path, Question { path: Some(path.into()), ..Question::default() })
}

fn group<'a>(_: &mut Meter<'_>, args: &[Value<'a>]) -> Result<Value<'a>, Error> {
    begin(args, Kind::Group, Question { group: text(&args[1])?.into(), ..Question::default() })
}

fn service_account<'a>(_: &mut Meter<'_>, args: &[Value<'a>]) -> Result<Value<'a>, Error> {
    let Value::Library(Library::Authorizer(own)) = &args[0] else { return Err(Error::NoOverload) };
    let (namespace, name) = (text(&args[1])?, text(&args[2])?);
    let good = |text: &str| {
        !text.is_empty()
            && text.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || b"-.".contains(&c))
    };
    if !good(name) {
        return failed("Invalid service account name");
    }
    if !good(namespace) {
        return failed("Invalid service account namespace");
    }
    let account = Some((namespace.to_owned(), name.to_owned()));
    let authorizer = Authorizer { authority: own.authority, service_account: account };
    Ok(Value::Library(Library::Authorizer(Arc::new(authorizer))))
}

fn narrowed<'a>(args: &[Value<'a>], change: fn(&mut Question, String)) -> Result<Value<'a>, Error> {
    let Value::Library(Library::Check(own)) = &args[0] else { return Err(Error::NoOverload) };
    let mut next = Check::clone(own);
    next.kind = Kind::Resource;
    change(&mut next.question, text(&args[1])?.to_owned());
    Ok(check(next))
}

fn resource<'a>(_: &mut Meter<'_>, args: &[Value<'a>]) -> Result<Value<'a>, Error> {
    narrowed(args, |question, text| question.resource = text)
}

fn subresource<'a>(_: &mut Meter<'_>, args: &[Value<'a>]) -> Result<Value<'a>, Error> {
    narrowed(args, |question, text| question.subresource = text)
}

fn namespace<'a>(_: &mut Meter<'_>, args: &[Value<'a>]) -> Result<Value<'a>, Error> {
    narrowed(args, |question, text| question.namespace = text)
}

fn name<'a>(_: &mut Meter<'_>, args: &[Value<'a>]) -> Result<Value<'a>, Error> {
    narrowed(args, |question, text| question.name = text)
}

/// A selector narrows what is asked for; the rules know none, so the answer is that for all objects.
fn selector<'a>(_: &mut Meter<'_>, args: &[Value<'a>]) -> Result<Value<'a>, Error> {
    Ok(args[0].clone())
}

fn decide<'a>(meter: &mut Meter<'_>, args: &[Value<'a>]) -> Result<Value<'a>, Error> {
    let Value::Library(Library::Check(own)) = &args[0] else { return Err(Error::NoOverload) };
    meter.charge(CHECK_COST)?;
    let question = Question { verb: text(&args[1])?.into(), ..own.question.clone() };
    let account = own.authorizer.service_account.as_ref();
    let decision = own.authorizer.authority.decide(account, &question);
    Ok(Value::Library(Library::Decision(Arc::new(decision))))
}

fn decision<'v>(args: &'v [Value<'_>]) -> Result<&'v Decision, Error> {
    match &args[0] {
        Value::Library(Library::Decision(decision)) => Ok(decision),
        _ => Err(Error::NoOverload),
    }
}

fn allowed<'a>(_: &mut Meter<'_>, args: &[Value<'a>]) -> Result<Value<'a>, Error> {
    Ok(Value::Bool(decision(args)?.allowed))
}

fn reason<'a>(_: &mut Meter<'_>, args: &[Value<'a>]) -> Result<Value<'a>, Error> {
    Ok(decision(args)?.reason.clone().into())
}

fn errored<'a>(_: &mut Meter<'_>, args: &[Value<'a>]) -> Result<Value<'a>, Error> {
    Ok(Value::Bool(decision(args)?.error.is_some()))
}

fn error<'a>(_: &mut Meter<'_>, args: &[Value<'a>]) -> Result<Value<'a>, Error> {
    Ok(decision(args)?.error.clone().unwrap_or_default().into())
}

pub(super) const TABLE: &[(&str, Function)] = &[
    ("authorizer.path(string) pathCheck", path),
    ("authorizer.group(string) groupCheck", group),
    ("authorizer.serviceAccount(string, string) authorizer", service_account),
    ("groupCheck.resource(string) resourceCheck", resource),
    ("resourceCheck.subresource(string) resourceCheck", subresource),
    ("resourceCheck.namespace(string) resourceCheck", namespace),
    ("resourceCheck.name(string) resourceCheck", name),
    ("resourceCheck.fieldSelector(string) resourceCheck", selector),
    ("resourceCheck.labelSelector(string) resourceCheck", selector),
    ("pathCheck.check(string) decision", decide),
    ("resourceCheck.check(string) decision", decide),
    ("decision.allowed() bool", allowed),
    ("decision.reason() string", reason),
    ("decision.errored() bool", errored),
    ("decision.error() string", error),
];
