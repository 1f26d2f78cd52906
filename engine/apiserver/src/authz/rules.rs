//! One rule: whether it allows a request, and whether rules cover another rule.
//!
//! Source: https://github.com/kubernetes/kubernetes/blob/master/pkg/apis/rbac/v1/evaluation_helpers.go and
//! https://github.com/kubernetes/component-helpers/blob/master/auth/rbac/validation/policy_comparator.go

use k8s_openapi::api::rbac::v1::PolicyRule;

use super::Attributes;

fn list(field: &Option<Vec<String>>) -> &[String] {
    field.as_deref().unwrap_or_default()
}

fn has(list: &[String], wanted: &str) -> bool {
    list.iter().any(|own| own == "*" || own == wanted)
}

/// What `system:masters` may do.
pub fn everything() -> [PolicyRule; 2] {
    let any = || Some(vec!["*".to_owned()]);
    let verbs = vec!["*".to_owned()];
    [
        PolicyRule { api_groups: any(), resources: any(), verbs: verbs.clone(), ..PolicyRule::default() },
        PolicyRule { non_resource_urls: any(), verbs, ..PolicyRule::default() },
    ]
}

pub fn allows(rule: &PolicyRule, attributes: &Attributes) -> bool {
    if !has(&rule.verbs, &attributes.verb) {
        return false;
    }
    if let Some(path) = &attributes.path {
        return list(&rule.non_resource_urls).iter().any(|pattern| url_matches(pattern, path));
    }
    let names = list(&rule.resource_names);
    has(list(&rule.api_groups), &attributes.group)
        && list(&rule.resources)
            .iter()
            .any(|pattern| resource_matches(pattern, &attributes.resource, &attributes.subresource))
        && (names.is_empty() || names.contains(&attributes.name))
}

fn resource_matches(pattern: &str, resource: &str, subresource: &str) -> bool {
    if pattern == "*" {
        return true;
    }
    match pattern.split_once('/') {
        Some((of, sub)) => !subresource.is_empty() && sub == subresource && (of == "*" || of == resource),
        None => subresource.is_empty() && pattern == resource,
    }
}

fn url_matches(pattern: &str, path: &str) -> bool {
    pattern == "*"
        || pattern == path
        || pattern.strip_suffix('*').is_some_and(|prefix| path.starts_with(prefix))
}

/// The parts of `rule` that `have` does not cover, put together again per resource. Empty when all is covered.
pub fn uncovered(have: &[PolicyRule], rule: &PolicyRule) -> Vec<PolicyRule> {
    let mut missing: Vec<PolicyRule> = Vec::new();
    for part in parts(rule) {
        if have.iter().any(|own| covers_part(own, &part)) {
            continue;
        }
        let same = |other: &&mut PolicyRule| {
            PolicyRule { verbs: Vec::new(), ..(**other).clone() }
                == PolicyRule { verbs: Vec::new(), ..part.clone() }
        };
        match missing.iter_mut().find(same) {
            Some(other) => other.verbs.extend(part.verbs),
            None => missing.push(part),
        }
    }
    missing
}

/// Every combination of one verb, one group, one resource, one name (or one verb and one path).
fn parts(rule: &PolicyRule) -> Vec<PolicyRule> {
    let mut parts = Vec::new();
    let names: Vec<Option<Vec<String>>> = match list(&rule.resource_names) {
        [] => vec![None],
        names => names.iter().map(|name| Some(vec![name.clone()])).collect(),
    };
    for group in list(&rule.api_groups) {
        for resource in list(&rule.resources) {
            for verb in &rule.verbs {
                for name in &names {
                    parts.push(PolicyRule {
                        api_groups: Some(vec![group.clone()]),
                        resources: Some(vec![resource.clone()]),
                        resource_names: name.clone(),
                        verbs: vec![verb.clone()],
                        non_resource_urls: None,
                    });
                }
            }
        }
    }
    for url in list(&rule.non_resource_urls) {
        for verb in &rule.verbs {
            let verbs = vec![verb.clone()];
            parts.push(PolicyRule {
                non_resource_urls: Some(vec![url.clone()]),
                verbs,
                ..PolicyRule::default()
            });
        }
    }
    parts
}

fn covers_part(own: &PolicyRule, part: &PolicyRule) -> bool {
    let verbs = part.verbs.iter().all(|verb| has(&own.verbs, verb));
    let groups = list(&part.api_groups).iter().all(|group| has(list(&own.api_groups), group));
    let resources =
        list(&part.resources).iter().all(|resource| covers_resource(list(&own.resources), resource));
    let urls = list(&part.non_resource_urls)
        .iter()
        .all(|url| list(&own.non_resource_urls).iter().any(|pattern| url_matches(pattern, url)));
    let names = match (list(&own.resource_names), list(&part.resource_names)) {
        ([], _) => true,
        (_, []) => false,
        (own, wanted) => wanted.iter().all(|name| own.contains(name)),
    };
    let resourceful = list(&part.resources).is_empty() || !list(&own.resources).is_empty();
    verbs && groups && resources && urls && (list(&part.resources).is_empty() || names && resourceful)
}

fn covers_resource(own: &[String], resource: &str) -> bool {
    has(own, resource)
        || resource.split_once('/').is_some_and(|(_, sub)| {
            own.iter().any(|pattern| pattern.strip_prefix("*/").is_some_and(|covered| covered == sub))
        })
}

/// As the stock server writes a rule in messages: `{APIGroups:[""], Resources:["pods"], Verbs:["get"]}`.
pub fn compact(rule: &PolicyRule) -> String {
    let fields = [
        ("APIGroups", list(&rule.api_groups)),
        ("Resources", list(&rule.resources)),
        ("NonResourceURLs", list(&rule.non_resource_urls)),
        ("ResourceNames", list(&rule.resource_names)),
        ("Verbs", &rule.verbs),
    ];
    let shown: Vec<String> = fields
        .iter()
        .filter(|(_, values)| !values.is_empty())
        .map(|(name, values)| format!("{name}:{}", quoted(values)))
        .collect();
    format!("{{{}}}", shown.join(", "))
}

/// Go's `%q` of a list of strings.
pub fn quoted(values: &[String]) -> String {
    let values: Vec<String> = values.iter().map(|value| format!("{value:?}")).collect();
    format!("[{}]", values.join(" "))
}
