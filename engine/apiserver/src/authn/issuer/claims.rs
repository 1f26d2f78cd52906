//! From the claims of a good token to a user: by the names of claims, or by expressions.
//!
//! Source: https://github.com/kubernetes/apiserver/blob/master/plugin/pkg/authenticator/token/oidc/oidc.go

use std::collections::BTreeMap;

use coracle_expressions::{Activation, BUDGET, Environment, Program, Type, Value as Cel};
use serde_json::{Value, json};

use super::{
    IssuerError,
    config::{IssuerConfig, Mapping, Rule},
};
use crate::{admission::conditions, authn::AUTHENTICATED, status::Cause, types::UserInfo};

enum Source {
    Nothing,
    /// Name and prefix.
    Claim(String, String),
    Expression(Program),
}

struct Checked {
    rule: Rule,
    /// Absent when a claim has to have a value.
    program: Option<Program>,
}

pub struct Mapper {
    username: Source,
    groups: Source,
    uid: Source,
    extra: Vec<(String, String, Program)>,
    claim_rules: Vec<Checked>,
    user_rules: Vec<Checked>,
}

impl Mapper {
    /// `path` is where the configuration stands; what does not compile is added to `causes`.
    pub fn compile(config: &IssuerConfig, path: &str, causes: &mut Vec<Cause>) -> Mapper {
        let claims = Environment::new([("claims", Type::map(Type::String, Type::Dyn))]);
        let user = Environment::new([("user", user_type())]);
        let mut compile =
            |environment: &Environment, text: &str, wanted: &[Type], path: String| match conditions::compile(
                environment,
                text,
                wanted,
                &path,
                "",
            ) {
                Ok(program) => Some(program),
                Err(cause) => {
                    causes.push(cause);
                    None
                }
            };
        let mut source = |mapping: &Mapping, of: &str| {
            let path = format!("{path}.claimMappings.{of}.expression");
            match mapping.expression.as_str() {
                "" if mapping.claim.is_empty() => Source::Nothing,
                "" => Source::Claim(mapping.claim.clone(), mapping.prefix.clone().unwrap_or_default()),
                text => compile(&claims, text, &[], path).map_or(Source::Nothing, Source::Expression),
            }
        };
        let (username, groups) = (source(&config.username, "username"), source(&config.groups, "groups"));
        let uid = source(&config.uid, "uid");
        let extra = config.extra.iter().enumerate().filter_map(|(at, (key, text))| {
            let path = format!("{path}.claimMappings.extra[{at}].valueExpression");
            Some((key.clone(), text.clone(), compile(&claims, text, &[], path)?))
        });
        let extra = extra.collect();
        let mut rules = |rules: &[Rule], environment: &Environment, of: &str| {
            let mut all = Vec::with_capacity(rules.len());
            for (at, rule) in rules.iter().enumerate() {
                let path = format!("{path}.{of}[{at}].expression");
                let program = match rule.claim.as_str() {
                    "" => compile(environment, &rule.expression, &[Type::Bool], path),
                    _ => None,
                };
                all.push(Checked { rule: rule.clone(), program });
            }
            all
        };
        let claim_rules = rules(&config.claim_rules, &claims, "claimValidationRules");
        let user_rules = rules(&config.user_rules, &user, "userValidationRules");
        Mapper { username, groups, uid, extra, claim_rules, user_rules }
    }

    pub fn user(&self, claims: &Value) -> Result<UserInfo, IssuerError> {
        let failed = |why: String| IssuerError::Token(why);
        let activation = Activation::new(vec![Cel::json(claims)], &[], BUDGET);
        let mut user = UserInfo { name: self.name(claims, &activation)?, ..UserInfo::default() };
        user.groups = match &self.groups {
            Source::Nothing => Vec::new(),
            Source::Claim(claim, prefix) => {
                let listed = list_claim(claims, claim);
                let listed = listed.map_err(|why| failed(format!("parse groups claim {claim:?}: {why}")))?;
                listed.into_iter().map(|group| format!("{prefix}{group}")).collect()
            }
            Source::Expression(program) => evaluate(&activation, program)
                .and_then(list)
                .map_err(|why| failed(format!("error evaluating group claim expression: {why}")))?,
        };
        user.uid = match &self.uid {
            Source::Nothing => String::new(),
            Source::Claim(claim, _) => text_claim(claims, claim)
                .map_err(|why| failed(format!("parse uid claim {claim:?}: {why}")))?
                .to_owned(),
            Source::Expression(program) => evaluate(&activation, program)
                .and_then(|value| text(value, "uid"))
                .map_err(|why| failed(format!("error evaluating uid claim expression: {why}")))?,
        };
        user.extra = self.extra(claims, &activation)?;
        for checked in &self.claim_rules {
            checked.of_claims(claims, &activation).map_err(failed)?;
        }
        let described = json!({
            "username": user.name, "uid": user.uid, "groups": user.groups, "extra": user.extra,
        });
        let about_user = Activation::new(vec![Cel::json(&described)], &[], BUDGET);
        for checked in &self.user_rules {
            checked
                .holds(&about_user)
                .map_err(|why| failed(format!("error evaluating user info validation rule: {why}")))?;
        }
        user.groups.push(AUTHENTICATED.into());
        Ok(user)
    }

    fn name<'a>(&'a self, claims: &'a Value, activation: &Activation<'a>) -> Result<String, IssuerError> {
        let failed = |why: String| Err(IssuerError::Token(why));
        match &self.username {
            Source::Nothing => failed("no username claim".into()),
            Source::Expression(program) => {
                match evaluate(activation, program).and_then(|value| text(value, "username")) {
                    Ok(name) if name.is_empty() => {
                        failed("empty username via CEL expression is not allowed".into())
                    }
                    Ok(name) => Ok(name),
                    Err(why) => failed(format!("error evaluating username claim expression: {why}")),
                }
            }
            Source::Claim(claim, prefix) => {
                let name = match text_claim(claims, claim) {
                    Ok("") => return failed(format!("parse username claims {claim:?}: claim not present")),
                    Ok(name) => name,
                    Err(why) => return failed(format!("parse username claims {claim:?}: {why}")),
                };
                match claims.get("email_verified").filter(|_| claim == "email") {
                    None | Some(Value::Bool(true)) => Ok(format!("{prefix}{name}")),
                    Some(Value::Bool(false)) => failed("email not verified".into()),
                    Some(other) => {
                        failed(format!("parse 'email_verified' claim: {}", unmarshal(other, "bool")))
                    }
                }
            }
        }
    }

    fn extra<'a>(
        &'a self,
        claims: &'a Value,
        activation: &Activation<'a>,
    ) -> Result<BTreeMap<String, Vec<String>>, IssuerError> {
        let mut extra = BTreeMap::new();
        if let Some(id) = claims["jti"].as_str().filter(|id| !id.is_empty()) {
            extra.insert("authentication.kubernetes.io/credential-id".into(), vec![format!("JTI={id}")]);
        }
        for (key, source, program) in &self.extra {
            let values = evaluate(activation, program).and_then(list).map_err(|why| {
                IssuerError::Token(format!("error evaluating extra claim expression: {source}: {why}"))
            })?;
            if !values.is_empty() {
                extra.insert(key.clone(), values);
            }
        }
        Ok(extra)
    }
}

impl Checked {
    fn of_claims<'a>(&'a self, claims: &'a Value, activation: &Activation<'a>) -> Result<(), String> {
        let Rule { claim, required_value, .. } = &self.rule;
        if claim.is_empty() {
            let held = self.holds(activation);
            return held.map_err(|why| format!("error evaluating claim validation expression: {why}"));
        }
        if claims.get(claim).is_none() {
            return Err(format!("required claim {claim} not present in ID token"));
        }
        let value = text_claim(claims, claim).map_err(|why| format!("parse claim {claim}: {why}"))?;
        if value != required_value {
            return Err(format!(
                "required claim {claim} value does not match. Got = {value}, want = {required_value}"
            ));
        }
        Ok(())
    }

    fn holds<'a>(&'a self, activation: &Activation<'a>) -> Result<(), String> {
        let Some(program) = &self.program else { return Ok(()) };
        match evaluate(activation, program)?.as_bool() {
            Some(true) => Ok(()),
            Some(false) => {
                let Rule { expression, message, .. } = &self.rule;
                Err(format!("validation expression '{expression}' failed: {message}"))
            }
            None => Err("validation expression must return a boolean".into()),
        }
    }
}

fn user_type() -> Type {
    let texts = || Type::list(Type::String);
    Type::object(
        "kubernetes.UserInfo",
        [
            ("username", Type::String),
            ("uid", Type::String),
            ("groups", texts()),
            ("extra", Type::map(Type::String, texts())),
        ],
    )
}

fn evaluate<'a>(activation: &Activation<'a>, program: &'a Program) -> Result<Cel<'a>, String> {
    activation.evaluate(program).map_err(|error| error.to_string())
}

fn text(value: Cel<'_>, of: &str) -> Result<String, String> {
    let text = value.as_str().map(str::to_owned);
    text.ok_or_else(|| format!("{of} claim expression must return a string"))
}

/// What is empty is left out.
fn list(value: Cel<'_>) -> Result<Vec<String>, String> {
    let wrong = || "expression must return a string or a list of strings".to_owned();
    let texts: Vec<String> = match &value {
        Cel::Null => Vec::new(),
        Cel::List(list) => list
            .iter()
            .map(|item| item.as_str().map(str::to_owned))
            .collect::<Option<_>>()
            .ok_or_else(wrong)?,
        one => vec![one.as_str().ok_or_else(wrong)?.to_owned()],
    };
    Ok(texts.into_iter().filter(|text| !text.is_empty()).collect())
}

fn text_claim<'a>(claims: &'a Value, claim: &str) -> Result<&'a str, String> {
    match claims.get(claim) {
        None => Err("claim not present".into()),
        Some(Value::Null) => Ok(""),
        Some(Value::String(text)) => Ok(text),
        Some(other) => Err(unmarshal(other, "string")),
    }
}

/// A list, or one for which there is no list.
fn list_claim<'a>(claims: &'a Value, claim: &str) -> Result<Vec<&'a str>, String> {
    match claims.get(claim) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::String(text)) => Ok(vec![text]),
        Some(Value::Array(items)) if items.iter().all(Value::is_string) => {
            Ok(items.iter().filter_map(Value::as_str).collect())
        }
        Some(other) => Err(unmarshal(other, "string")),
    }
}

/// As Go's JSON says it.
fn unmarshal(value: &Value, wanted: &str) -> String {
    let have = coracle_schema::json_type(value);
    format!("json: cannot unmarshal {have} into Go value of type {wanted}")
}
