//! What is to be known of issuers: from an AuthenticationConfiguration, or from the settings `oidc-*`.
//!
//! Source: https://kubernetes.io/docs/reference/access-authn-authz/authentication/#using-authentication-configuration and
//!         https://github.com/kubernetes/apiserver/blob/master/pkg/apis/apiserver/validation/validation.go

use std::{collections::BTreeSet, path::Path};

use rustls::pki_types::{CertificateDer, pem::PemObject};
use serde_json::Value;

use super::{IssuerError, claims::Mapper, reload::File};
use crate::{
    kinds::checks::{self, items, text},
    status::Cause,
};

/// One of the list `jwt`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IssuerConfig {
    /// `https://…`, exactly as the claim `iss`.
    pub url: String,
    /// Where the discovery document is; empty: below the issuer.
    pub discovery_url: String,
    /// PEM; empty: the authorities of the world, and those of this machine.
    pub authorities: String,
    /// A token is for one of them.
    pub audiences: Vec<String>,
    /// `MatchAny`, when there are several.
    pub audience_match_policy: String,
    pub username: Mapping,
    pub groups: Mapping,
    pub uid: Mapping,
    /// Keys and expressions.
    pub extra: Vec<(String, String)>,
    pub claim_rules: Vec<Rule>,
    pub user_rules: Vec<Rule>,
    /// Empty: all that are known.
    pub signing_algs: Vec<String>,
}

/// From a claim, with a prefix, or by an expression.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mapping {
    pub claim: String,
    pub prefix: Option<String>,
    pub expression: String,
}

/// A claim that must have a value, or an expression that must be true.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    pub claim: String,
    pub required_value: String,
    pub expression: String,
    pub message: String,
}

/// Who may ask without credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Anonymous {
    Everywhere,
    /// Only for these paths; none: nowhere.
    At(Vec<String>),
}

impl Anonymous {
    pub fn may_ask(&self, path: &str) -> bool {
        match self {
            Anonymous::Everywhere => true,
            Anonymous::At(paths) => paths.iter().any(|own| own == path),
        }
    }
}

/// Every field that holds a text.
const TEXTS: &str = "apiVersion kind anonymous.conditions[].path \
    jwt[].issuer.url jwt[].issuer.discoveryURL jwt[].issuer.certificateAuthority jwt[].issuer.audiences[] \
    jwt[].issuer.audienceMatchPolicy jwt[].issuer.egressSelectorType \
    jwt[].claimValidationRules[].claim jwt[].claimValidationRules[].requiredValue \
    jwt[].claimValidationRules[].expression jwt[].claimValidationRules[].message \
    jwt[].claimMappings.username.claim jwt[].claimMappings.username.prefix jwt[].claimMappings.username.expression \
    jwt[].claimMappings.groups.claim jwt[].claimMappings.groups.prefix jwt[].claimMappings.groups.expression \
    jwt[].claimMappings.uid.claim jwt[].claimMappings.uid.expression \
    jwt[].claimMappings.extra[].key jwt[].claimMappings.extra[].valueExpression \
    jwt[].userValidationRules[].expression jwt[].userValidationRules[].message";

/// Reads an AuthenticationConfiguration.
pub fn read(path: &Path) -> Result<(Vec<IssuerConfig>, File), IssuerError> {
    let shown = path.display().to_string();
    let seen = std::fs::read(path).map_err(|source| IssuerError::Read { path: shown.clone(), source })?;
    let (issuers, anonymous) = parse(&seen).map_err(|why| IssuerError::Malformed { path: shown, why })?;
    Ok((issuers, File { path: path.to_owned(), seen, anonymous }))
}

pub(super) fn parse(bytes: &[u8]) -> Result<(Vec<IssuerConfig>, Anonymous), String> {
    let (file, _) = coracle_schema::parse_yaml(bytes).map_err(|error| error.to_string())?;
    let versions = ["apiserver.config.k8s.io/v1", "apiserver.config.k8s.io/v1beta1"];
    if file["kind"] != "AuthenticationConfiguration" || !versions.contains(&text(&file["apiVersion"])) {
        return Err(format!("expected an AuthenticationConfiguration of {}", versions[0]));
    }
    if let Some(field) = misplaced(&file, "") {
        return Err(format!("unknown field or wrong type: \"{field}\""));
    }
    let enabled = file["anonymous"]["enabled"] == true;
    let paths = items(&file["anonymous"]["conditions"]).iter().map(|one| text(&one["path"]).to_owned());
    let paths: Vec<String> = paths.collect();
    let anonymous = match (file["anonymous"].is_object(), enabled) {
        (false, _) => Anonymous::Everywhere,
        (true, true) if paths.is_empty() => Anonymous::Everywhere,
        (true, false) if !paths.is_empty() => {
            return Err(
                "anonymous.conditions: enabled should be set to true when conditions are defined".into()
            );
        }
        (true, _) => Anonymous::At(paths),
    };
    Ok((items(&file["jwt"]).iter().map(issuer).collect(), anonymous))
}

/// The path of a field that should not be there.
fn misplaced(value: &Value, path: &str) -> Option<String> {
    let is_text = TEXTS.split_whitespace().any(|known| known == path);
    match value {
        Value::Null => None,
        _ if is_text && value.is_string() || path == "anonymous.enabled" && value.is_boolean() => None,
        Value::Object(fields) if !is_text => fields.iter().find_map(|(key, inner)| {
            misplaced(inner, &if path.is_empty() { key.clone() } else { format!("{path}.{key}") })
        }),
        Value::Array(list) if !is_text => {
            list.iter().find_map(|inner| misplaced(inner, &format!("{path}[]")))
        }
        _ => Some(path.to_owned()),
    }
}

fn issuer(jwt: &Value) -> IssuerConfig {
    let own = |value: &Value| text(value).to_owned();
    let mapping = |value: &Value| Mapping {
        claim: own(&value["claim"]),
        prefix: value["prefix"].as_str().map(str::to_owned),
        expression: own(&value["expression"]),
    };
    let rules = |value: &Value| -> Vec<Rule> {
        let rule = |rule: &Value| Rule {
            claim: own(&rule["claim"]),
            required_value: own(&rule["requiredValue"]),
            expression: own(&rule["expression"]),
            message: own(&rule["message"]),
        };
        items(value).iter().map(rule).collect()
    };
    let (of, mappings) = (&jwt["issuer"], &jwt["claimMappings"]);
    let extra = items(&mappings["extra"]).iter();
    IssuerConfig {
        url: own(&of["url"]),
        discovery_url: own(&of["discoveryURL"]),
        authorities: own(&of["certificateAuthority"]),
        audiences: items(&of["audiences"]).iter().map(own).collect(),
        audience_match_policy: own(&of["audienceMatchPolicy"]),
        username: mapping(&mappings["username"]),
        groups: mapping(&mappings["groups"]),
        uid: mapping(&mappings["uid"]),
        extra: extra.map(|one| (own(&one["key"]), own(&one["valueExpression"]))).collect(),
        claim_rules: rules(&jwt["claimValidationRules"]),
        user_rules: rules(&jwt["userValidationRules"]),
        signing_algs: Vec::new(),
    }
}

impl IssuerConfig {
    /// What makes users of claims; or everything that is wrong. `own` is who issues our service accounts' tokens.
    pub(super) fn check(&self, path: &str, own: &str) -> Result<Mapper, Vec<Cause>> {
        let mut out = Vec::new();
        let at = |field: &str| format!("{path}.issuer.{field}");
        if self.url.is_empty() {
            out.push(Cause::required(at("url"), ""));
        } else {
            url(&mut out, &self.url, &at("url"));
        }
        if self.url == own {
            let why = format!("URL must not overlap with disallowed issuers: [{own}]");
            out.push(Cause::invalid(at("url"), &*self.url, &why));
        }
        if !self.discovery_url.is_empty() {
            if self.discovery_url.trim_end_matches('/') == self.url.trim_end_matches('/') {
                let why = "discoveryURL must be different from URL";
                out.push(Cause::invalid(at("discoveryURL"), &*self.discovery_url, why));
            }
            url(&mut out, &self.discovery_url, &at("discoveryURL"));
        }
        self.check_audiences(&mut out, &at("audiences"), at("audienceMatchPolicy"));
        let mut pem = CertificateDer::pem_slice_iter(self.authorities.as_bytes()).peekable();
        if !self.authorities.is_empty() && (pem.peek().is_none() || pem.any(|one| one.is_err())) {
            let why = "data does not contain any valid RSA or ECDSA certificates";
            out.push(Cause::invalid(at("certificateAuthority"), "<omitted>", why));
        }
        rules(&mut out, &self.claim_rules, &format!("{path}.claimValidationRules"));
        mapping(&mut out, &self.username, &format!("{path}.claimMappings.username"), true);
        mapping(&mut out, &self.groups, &format!("{path}.claimMappings.groups"), false);
        self.check_extra(&mut out, &format!("{path}.claimMappings.extra"));
        let (by_email, verified) = (self.reads("email"), self.reads("email_verified"));
        if by_email.0 && !verified.0 && !verified.1 {
            let why = "claims.email_verified must be used in claimMappings.username.expression or claimMappings.extra[*].valueExpression or claimValidationRules[*].expression when claims.email is used in claimMappings.username.expression";
            let at = format!("{path}.claimMappings.username.expression");
            out.push(Cause::invalid(at, &*self.username.expression, why));
        }
        rules(&mut out, &self.user_rules, &format!("{path}.userValidationRules"));
        let mapper = Mapper::compile(self, path, &mut out);
        if out.is_empty() { Ok(mapper) } else { Err(out) }
    }

    fn check_audiences(&self, out: &mut Vec<Cause>, path: &str, policy: String) {
        if self.audiences.is_empty() {
            out.push(Cause::required(path, &format!("at least one {path} is required")));
        }
        let mut seen = BTreeSet::new();
        for (at, audience) in self.audiences.iter().enumerate() {
            let path = format!("{path}[{at}]");
            if audience.is_empty() {
                out.push(Cause::required(path, ""));
            } else if !seen.insert(audience) {
                out.push(Cause::duplicate(path, &**audience));
            }
        }
        let given = self.audience_match_policy.as_str();
        match (self.audiences.len(), given) {
            (_, "MatchAny") | (0 | 1, "") => {}
            (1, _) => {
                let why = "audienceMatchPolicy must be empty or MatchAny for single audience";
                out.push(Cause::invalid(policy, given, why));
            }
            _ => {
                let why = "audienceMatchPolicy must be MatchAny for multiple audiences";
                out.push(Cause::invalid(policy, given, why));
            }
        }
    }

    fn check_extra(&self, out: &mut Vec<Cause>, path: &str) {
        let mut seen = BTreeSet::new();
        for (at, (key, _)) in self.extra.iter().enumerate() {
            let path = format!("{path}[{at}].key");
            checks::domain_prefixed_path(out, key, &path);
            if *key != key.to_lowercase() {
                out.push(Cause::invalid(&*path, &**key, "must be lowercase"));
            }
            let domain = key.split('/').next().unwrap_or_default();
            let within =
                |of: &str| domain.strip_suffix(of).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
            if within("kubernetes.io") || within("k8s.io") {
                let why = "k8s.io, kubernetes.io and their subdomains are reserved for Kubernetes use";
                out.push(Cause::invalid(&*path, &**key, why));
            }
            if !seen.insert(key) {
                out.push(Cause::duplicate(path, &**key));
            }
        }
    }

    /// Whether the expression of the user's name reads a claim, and whether others do.
    fn reads(&self, claim: &str) -> (bool, bool) {
        let reads = |text: &str| {
            ["claims.", "claims.?"].iter().any(|start| {
                text.match_indices(&format!("{start}{claim}")).any(|(at, found)| {
                    !text[at + found.len()..].starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
                })
            })
        };
        let mut others = self
            .extra
            .iter()
            .map(|(_, text)| text)
            .chain(self.claim_rules.iter().map(|rule| &rule.expression));
        (reads(&self.username.expression), others.any(|text| reads(text)))
    }
}

fn url(out: &mut Vec<Cause>, given: &str, path: &str) {
    let rest = given.strip_prefix("https://");
    let host = rest.unwrap_or(given).split(['/', '?', '#']).next().unwrap_or_default();
    for (wrong, why) in [
        (rest.is_none(), "URL scheme must be https"),
        (host.contains('@'), "URL must not contain a username or password"),
        (given.contains('?'), "URL must not contain a query"),
        (given.contains('#'), "URL must not contain a fragment"),
    ] {
        if wrong {
            out.push(Cause::invalid(path, given, why));
        }
    }
}

fn mapping(out: &mut Vec<Cause>, mapping: &Mapping, path: &str, required: bool) {
    match (mapping.claim.is_empty(), mapping.expression.is_empty()) {
        (false, false) => out.push(Cause::invalid(path, "", "claim and expression can't both be set")),
        (true, true) if required => out.push(Cause::required(path, "claim or expression is required")),
        (false, true) if mapping.prefix.is_none() => {
            let why =
                "prefix is required when claim is set. It can be set to an empty string to disable prefixing";
            out.push(Cause::required(format!("{path}.prefix"), why));
        }
        (true, false) => {
            if let Some(prefix) = &mapping.prefix {
                let why = "may not be specified when expression is set";
                out.push(Cause::invalid(format!("{path}.prefix"), &**prefix, why));
            }
        }
        _ => {}
    }
}

fn rules(out: &mut Vec<Cause>, rules: &[Rule], path: &str) {
    let mut seen = BTreeSet::new();
    for (at, rule) in rules.iter().enumerate() {
        let Rule { claim, required_value, expression, message } = rule;
        let path = format!("{path}[{at}]");
        let (kind, what) = if claim.is_empty() { ("expression", expression) } else { ("claim", claim) };
        if !claim.is_empty() && !expression.is_empty() {
            out.push(Cause::invalid(&*path, &**claim, "claim and expression can't both be set"));
        } else if !claim.is_empty() && !message.is_empty() {
            let why = "may not be specified when claim is set";
            out.push(Cause::invalid(format!("{path}.message"), &**message, why));
        } else if claim.is_empty() && !required_value.is_empty() {
            let why = "may not be specified when expression is set";
            out.push(Cause::invalid(format!("{path}.requiredValue"), &**required_value, why));
        }
        if !seen.insert((kind, what)) {
            out.push(Cause::duplicate(format!("{path}.{kind}"), &**what));
        }
    }
}
