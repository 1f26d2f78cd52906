//! A ValidatingAdmissionPolicy or MutatingAdmissionPolicy, compiled. The same reading checks it when it is written and
//! makes it ready to run, once a revision.
//!
//! Source: https://github.com/kubernetes/kubernetes/blob/master/pkg/apis/admissionregistration/validation/validation.go

use coracle_expressions::{Environment, Program, Type};
use coracle_kinds::Kind;
use serde_json::Value;

use crate::{
    admission::{
        conditions::{Conditions, compile},
        facts::{Known, environment},
        rules::Matcher,
    },
    metadata::qualified_name_problems,
    status::Cause,
};

const REASONS: [&str; 3] = ["Forbidden", "Invalid", "RequestEntityTooLarge"];
const MISSING: &str = "expression is not specified";
const MAX_ANNOTATIONS: usize = 20;
const MAX_ANNOTATION_BYTES: usize = 5 * 1024;
/// Words of CEL that name nothing.
const RESERVED: [&str; 21] = [
    "as",
    "break",
    "const",
    "continue",
    "else",
    "false",
    "for",
    "function",
    "if",
    "import",
    "in",
    "let",
    "loop",
    "namespace",
    "null",
    "package",
    "return",
    "true",
    "var",
    "void",
    "while",
];

pub struct Policy {
    pub name: String,
    pub matcher: Matcher,
    pub ignores_failure: bool,
    pub conditions: Conditions,
    /// `variables`, in their order.
    pub variables: Vec<Program>,
    pub validations: Vec<Validation>,
    pub annotations: Vec<Annotation>,
    pub mutations: Vec<Mutation>,
    /// `reinvocationPolicy: IfNeeded`
    pub reinvoked: bool,
    /// `apiVersion` and `kind`
    pub param_kind: Option<(String, String)>,
    /// Why it cannot run. Only policies from before a change of the language can have one.
    pub broken: Option<String>,
}

pub struct Validation {
    pub source: String,
    pub program: Program,
    pub message: String,
    pub message_expression: Option<Program>,
    pub reason: Option<String>,
}

pub struct Annotation {
    pub key: String,
    pub source: String,
    pub program: Program,
}

pub struct Mutation {
    pub source: String,
    pub program: Program,
    pub is_patch: bool,
}

/// Kept with the object in the store, as long as it is current.
impl Kind for Policy {
    fn read(json: &[u8]) -> Result<Policy, serde_json::Error> {
        let (mut policy, causes) = Policy::compile(&serde_json::from_slice(json)?);
        policy.broken = causes.first().map(ToString::to_string);
        Ok(policy)
    }

    fn write(&self) -> Result<Vec<u8>, serde_json::Error> {
        Err(serde::ser::Error::custom("a compiled policy is not written"))
    }
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

fn indexed<'a>(list: &'a Value, path: &str) -> impl Iterator<Item = (String, &'a Value)> {
    let path = path.to_owned();
    list.as_array().into_iter().flatten().enumerate().map(move |(at, item)| (format!("{path}[{at}]"), item))
}

impl Policy {
    /// The policy as far as it makes sense, and what does not.
    pub fn compile(policy: &Value) -> (Policy, Vec<Cause>) {
        let spec = &policy["spec"];
        let mutates = policy["kind"] == "MutatingAdmissionPolicy";
        let mut reading = Reading { causes: Vec::new() };
        let has_params = spec["paramKind"].is_object();
        let known = Known { params: has_params, namespace: true, authorizer: true };
        let conditions_known = environment(known);
        let mut full = conditions_known.clone();
        full.mutations = mutates;
        // Messages may not ask the authorizer.
        let mut plain = environment(Known { authorizer: false, ..known });
        let (conditions, causes) = Conditions::read(spec, &conditions_known, "spec");
        reading.causes.extend(causes);
        let variables = reading.variables(&spec["variables"], &mut full);
        plain.composed = full.composed.clone();
        let out = Policy {
            name: text(&policy["metadata"], "name").to_owned(),
            matcher: Matcher::of_resources(&spec["matchConstraints"]),
            ignores_failure: spec["failurePolicy"] == "Ignore",
            conditions,
            variables,
            validations: reading.validations(&spec["validations"], &full, &plain),
            annotations: reading.annotations(
                &spec["auditAnnotations"],
                &full,
                text(&policy["metadata"], "name"),
            ),
            mutations: reading.mutations(&spec["mutations"], &full),
            reinvoked: spec["reinvocationPolicy"] == "IfNeeded",
            param_kind: has_params.then(|| {
                (
                    text(&spec["paramKind"], "apiVersion").to_owned(),
                    text(&spec["paramKind"], "kind").to_owned(),
                )
            }),
            broken: None,
        };
        (out, reading.causes)
    }
}

struct Reading {
    causes: Vec<Cause>,
}

impl Reading {
    fn compile(
        &mut self,
        environment: &Environment,
        source: &str,
        wanted: &[Type],
        path: &str,
        missing: &str,
    ) -> Option<Program> {
        compile(environment, source, wanted, path, missing).map_err(|cause| self.causes.push(cause)).ok()
    }

    fn variables(&mut self, list: &Value, environment: &mut Environment) -> Vec<Program> {
        let mut programs = Vec::new();
        for (at, variable) in indexed(list, "spec.variables") {
            let name = text(variable, "name");
            let path = format!("{at}.name");
            if name.trim().is_empty() {
                self.causes.push(Cause::required(path, "name is not specified"));
            } else if !is_identifier(name) {
                self.causes.push(Cause::invalid(path, name, "must be a valid CEL identifier"));
            } else if environment.composed.iter().any(|(own, _)| own == name) {
                self.causes.push(Cause::duplicate(path, name));
            }
            let path = format!("{at}.expression");
            let source = text(variable, "expression");
            if let Some(program) = self.compile(environment, source, &[], &path, MISSING) {
                environment.composed.push((name.to_owned(), program.result().clone()));
                programs.push(program);
            }
        }
        programs
    }

    fn validations(&mut self, list: &Value, full: &Environment, plain: &Environment) -> Vec<Validation> {
        let mut all = Vec::new();
        for (at, validation) in indexed(list, "spec.validations") {
            let (source, path) = (text(validation, "expression"), format!("{at}.expression"));
            let program = self.compile(full, source, &[Type::Bool], &path, MISSING);
            let (given, path) = (text(validation, "messageExpression"), format!("{at}.messageExpression"));
            let message_expression = match (given, given.trim()) {
                ("", _) => None,
                (_, "") => {
                    self.causes.push(Cause::invalid(path, given, "must be non-empty if specified"));
                    None
                }
                _ => self.compile(plain, given, &[Type::String], &path, ""),
            };
            let (message, path) = (text(validation, "message"), format!("{at}.message"));
            if !message.is_empty() && message.trim().is_empty() {
                self.causes.push(Cause::invalid(path, message, "must be non-empty if specified"));
            } else if message.trim().contains(['\n', '\r']) {
                self.causes.push(Cause::invalid(path, message, "must not contain line breaks"));
            }
            let reason = validation["reason"].as_str();
            if let Some(reason) = reason.filter(|reason| !REASONS.contains(reason)) {
                self.causes.push(Cause::not_supported(format!("{at}.reason"), reason, &REASONS));
            }
            all.extend(program.map(|program| Validation {
                source: source.trim().to_owned(),
                program,
                message: message.trim().to_owned(),
                message_expression,
                reason: reason.map(String::from),
            }));
        }
        all
    }

    /// The keys come into the audit log below the policy's name.
    fn annotations(&mut self, list: &Value, full: &Environment, policy: &str) -> Vec<Annotation> {
        let (mut all, mut keys): (Vec<Annotation>, Vec<&str>) = (Vec::new(), Vec::new());
        if list.as_array().is_some_and(|list| list.len() > MAX_ANNOTATIONS) {
            let why = format!("must not have more than {MAX_ANNOTATIONS} auditAnnotations");
            self.causes.push(Cause::invalid("spec.auditAnnotations", list.clone(), &why));
        }
        for (at, annotation) in indexed(list, "spec.auditAnnotations") {
            let (key, key_at) = (text(annotation, "key"), format!("{at}.key"));
            let whole = format!("{policy}/{key}");
            let problems = qualified_name_problems(&whole);
            self.causes
                .extend(problems.iter().map(|why| Cause::invalid(key_at.as_str(), whole.as_str(), why)));
            let path = format!("{at}.valueExpression");
            let source = text(annotation, "valueExpression");
            let program = if source.trim().len() > MAX_ANNOTATION_BYTES {
                let why = format!("must not exceed {MAX_ANNOTATION_BYTES} bytes in length");
                self.causes.push(Cause::required(path, &why));
                None
            } else {
                let wanted = [Type::String, Type::Null];
                self.compile(full, source, &wanted, &path, "valueExpression is not specified")
            };
            if keys.contains(&key) {
                self.causes.push(Cause::duplicate(key_at, key));
            }
            keys.push(key);
            all.extend(program.map(|program| Annotation {
                key: key.to_owned(),
                source: source.to_owned(),
                program,
            }));
        }
        all
    }

    fn mutations(&mut self, list: &Value, full: &Environment) -> Vec<Mutation> {
        let mut all = Vec::new();
        for (at, mutation) in indexed(list, "spec.mutations") {
            let (field, other, is_patch) = match text(mutation, "patchType") {
                "ApplyConfiguration" => ("applyConfiguration", "jsonPatch", false),
                "JSONPatch" => ("jsonPatch", "applyConfiguration", true),
                "" => {
                    self.causes.push(Cause::required(format!("{at}.patchType"), ""));
                    continue;
                }
                other => {
                    let known = ["ApplyConfiguration", "JSONPatch"];
                    self.causes.push(Cause::not_supported(format!("{at}.patchType"), other, &known));
                    continue;
                }
            };
            let kind = text(mutation, "patchType");
            let refuse_other = |causes: &mut Vec<Cause>| {
                if mutation[other].is_object() {
                    let why = format!("must not be specified when patchType is {kind}");
                    causes.push(Cause::invalid(format!("{at}.{other}"), format!("{{{other}}}"), &why));
                }
            };
            if !mutation[field].is_object() {
                let why = format!("must be specified when patchType is {kind}");
                self.causes.push(Cause::required(format!("{at}.{field}"), &why));
                refuse_other(&mut self.causes);
                continue;
            }
            let wanted = if is_patch {
                Type::list(Type::Struct("JSONPatch".into()))
            } else {
                Type::Struct("Object".into())
            };
            let path = format!("{at}.{field}.expression");
            let source = text(&mutation[field], "expression").trim();
            let program = self.compile(full, source, &[wanted], &path, "");
            refuse_other(&mut self.causes);
            all.extend(program.map(|program| Mutation { source: source.to_owned(), program, is_patch }));
        }
        all
    }
}

fn is_identifier(name: &str) -> bool {
    let mut bytes = name.bytes();
    !RESERVED.contains(&name)
        && bytes.next().is_some_and(|c| c.is_ascii_alphabetic() || c == b'_')
        && bytes.all(|c| c.is_ascii_alphanumeric() || c == b'_')
}
