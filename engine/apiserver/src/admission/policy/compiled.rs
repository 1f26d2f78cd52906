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
    status::Cause,
};

const REASONS: [&str; 4] = ["Forbidden", "Invalid", "RequestEntityTooLarge", "Unauthorized"];

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
        // Messages and annotations may not ask the authorizer.
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
            annotations: reading.annotations(&spec["auditAnnotations"], &plain),
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
        source: &Value,
        wanted: &[Type],
        path: &str,
    ) -> Option<Program> {
        compile(environment, source, wanted, path).map_err(|cause| self.causes.push(cause)).ok()
    }

    fn variables(&mut self, list: &Value, environment: &mut Environment) -> Vec<Program> {
        let mut programs = Vec::new();
        for (at, variable) in indexed(list, "spec.variables") {
            let name = text(variable, "name");
            let path = format!("{at}.name");
            if name.is_empty() {
                self.causes.push(Cause::required(path, "name is not specified"));
            } else if !is_identifier(name) {
                self.causes.push(Cause::invalid(path, name, "name is not a valid CEL identifier"));
            } else if environment.composed.iter().any(|(own, _)| own == name) {
                self.causes.push(Cause::duplicate(path, name));
            }
            let path = format!("{at}.expression");
            if let Some(program) = self.compile(environment, &variable["expression"], &[], &path) {
                environment.composed.push((name.to_owned(), program.result().clone()));
                programs.push(program);
            }
        }
        programs
    }

    fn validations(&mut self, list: &Value, full: &Environment, plain: &Environment) -> Vec<Validation> {
        let mut all = Vec::new();
        for (at, validation) in indexed(list, "spec.validations") {
            let program =
                self.compile(full, &validation["expression"], &[Type::Bool], &format!("{at}.expression"));
            let message = text(validation, "message");
            if !message.is_empty() && message.trim().is_empty() {
                let why = "message must be non-empty if specified";
                self.causes.push(Cause::invalid(format!("{at}.message"), message, why));
            } else if message.trim().contains('\n') {
                let why = "message must not contain line breaks";
                self.causes.push(Cause::invalid(format!("{at}.message"), message, why));
            } else if message.is_empty()
                && text(validation, "messageExpression").is_empty()
                && text(validation, "expression").trim().contains('\n')
            {
                let why = "message must be specified if expression contains line breaks";
                self.causes.push(Cause::required(format!("{at}.message"), why));
            }
            let expression = &validation["messageExpression"];
            let message_expression = if text(validation, "messageExpression").is_empty() {
                None
            } else {
                self.compile(plain, expression, &[Type::String], &format!("{at}.messageExpression"))
            };
            let reason = validation["reason"].as_str();
            if let Some(reason) = reason.filter(|reason| !REASONS.contains(reason)) {
                self.causes.push(Cause::not_supported(format!("{at}.reason"), reason, &REASONS));
            }
            all.extend(program.map(|program| Validation {
                source: text(validation, "expression").trim().to_owned(),
                program,
                message: message.trim().to_owned(),
                message_expression,
                reason: reason.map(String::from),
            }));
        }
        all
    }

    fn annotations(&mut self, list: &Value, plain: &Environment) -> Vec<Annotation> {
        let (mut all, mut keys): (Vec<Annotation>, Vec<&str>) = (Vec::new(), Vec::new());
        for (at, annotation) in indexed(list, "spec.auditAnnotations") {
            let key = text(annotation, "key");
            if key.is_empty() {
                self.causes.push(Cause::required(format!("{at}.key"), ""));
            } else if keys.contains(&key) {
                self.causes.push(Cause::duplicate(format!("{at}.key"), key));
            }
            keys.push(key);
            let path = format!("{at}.valueExpression");
            let wanted = [Type::String, Type::Null];
            let program = self.compile(plain, &annotation["valueExpression"], &wanted, &path);
            all.extend(program.map(|program| Annotation {
                key: key.to_owned(),
                source: text(annotation, "valueExpression").to_owned(),
                program,
            }));
        }
        all
    }

    fn mutations(&mut self, list: &Value, full: &Environment) -> Vec<Mutation> {
        let mut all = Vec::new();
        for (at, mutation) in indexed(list, "spec.mutations") {
            let (field, is_patch) = match text(mutation, "patchType") {
                "ApplyConfiguration" => ("applyConfiguration", false),
                "JSONPatch" => ("jsonPatch", true),
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
            if !mutation[field].is_object() {
                let why = format!("must be specified when patchType is {}", text(mutation, "patchType"));
                self.causes.push(Cause::required(format!("{at}.{field}"), &why));
                continue;
            }
            let wanted = if is_patch {
                Type::list(Type::Struct("JSONPatch".into()))
            } else {
                Type::Struct("Object".into())
            };
            let path = format!("{at}.{field}.expression");
            let program = self.compile(full, &mutation[field]["expression"], &[wanted], &path);
            let source = text(&mutation[field], "expression").trim().to_owned();
            all.extend(program.map(|program| Mutation { source, program, is_patch }));
        }
        all
    }
}

fn is_identifier(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|c| c.is_ascii_alphabetic() || c == b'_')
        && bytes.all(|c| c.is_ascii_alphanumeric() || c == b'_')
}
