//! Which requests a webhook or an admission policy is about: rules, scope, selectors, equivalent versions.
//!
//! Kept true: the objects that configure admission are never subject to it, so that a broken configuration can be
//! mended. Reads: the labels of the request's namespace.
//! Source: https://github.com/kubernetes/apiserver/tree/master/pkg/admission/plugin/webhook/predicates and
//! https://github.com/kubernetes/apiserver/blob/master/pkg/admission/plugin/policy/matching/matching.go

use std::sync::Arc;

use coracle_store::{Key, Resource};
use serde_json::Value;

use super::{Operation, Request};
use crate::{
    object::{self, strings},
    registry::Served,
    selector::LabelSelector,
    status::{GroupResource, Status},
};

/// The resources of `admissionregistration.k8s.io`.
const EXEMPT: [&str; 6] = [
    "mutatingadmissionpolicies",
    "mutatingadmissionpolicybindings",
    "mutatingwebhookconfigurations",
    "validatingadmissionpolicies",
    "validatingadmissionpolicybindings",
    "validatingwebhookconfigurations",
];

/// `rules`, `namespaceSelector`, `objectSelector` and `matchPolicy` of a webhook, or a policy's `matchConstraints`, or
/// a binding's `matchResources`. Read once a revision.
#[derive(Clone, Debug, Default)]
pub struct Matcher {
    rules: Vec<Rule>,
    excluded: Vec<Rule>,
    namespaces: LabelSelector,
    objects: LabelSelector,
    /// `matchPolicy: Exact`
    exact: bool,
}

/// One of `rules` or `resourceRules`.
#[derive(Clone, Debug, Default, PartialEq)]
struct Rule {
    operations: Vec<String>,
    groups: Vec<String>,
    versions: Vec<String>,
    /// Resource and subresource.
    resources: Vec<(String, String)>,
    names: Vec<String>,
    scope: Scope,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Scope {
    #[default]
    All,
    Cluster,
    Namespaced,
}

impl Matcher {
    /// From one entry of `webhooks`.
    pub fn of_webhook(webhook: &Value) -> Matcher {
        Matcher::new(webhook, "rules")
    }

    /// From `matchConstraints` of a policy or `matchResources` of a binding.
    pub fn of_resources(resources: &Value) -> Matcher {
        Matcher::new(resources, "resourceRules")
    }

    fn new(from: &Value, rules: &str) -> Matcher {
        let all = |field: &str| from[field].as_array().into_iter().flatten().map(Rule::new).collect();
        let selector = |field: &str| LabelSelector::from_object(&from[field]).unwrap_or_default();
        Matcher {
            rules: all(rules),
            excluded: all("excludeResourceRules"),
            namespaces: selector("namespaceSelector"),
            objects: selector("objectSelector"),
            exact: from["matchPolicy"] == "Exact",
        }
    }

    /// The resource in the version that a rule names, when this is about the request: the request's own, or, unless
    /// `matchPolicy` is `Exact`, another version of it. `object` is absent for deletions.
    pub fn matches(
        &self,
        request: &Request<'_>,
        object: Option<&Value>,
    ) -> Result<Option<Arc<Served>>, Status> {
        if self.is_exempt(request) {
            return Ok(None);
        }
        let Some(served) = self.version(request, object, &self.rules) else { return Ok(None) };
        let selected = !self.excludes(request, object)
            && self.selects_object(request, object)
            && self.selects_namespace(request, object)?;
        Ok(selected.then_some(served))
    }

    /// As [`Matcher::matches`], for a binding: no rules are no restriction.
    pub fn narrows(&self, request: &Request<'_>, object: Option<&Value>) -> Result<bool, Status> {
        Ok((self.rules.is_empty() || self.version(request, object, &self.rules).is_some())
            && !self.excludes(request, object)
            && self.selects_object(request, object)
            && self.selects_namespace(request, object)?)
    }

    fn is_exempt(&self, request: &Request<'_>) -> bool {
        let api = &request.target.served.api;
        &*api.gvk.group == "admissionregistration.k8s.io" && EXEMPT.contains(&&*api.plural)
    }

    /// Of several rules for other versions than the request's, the first one decides.
    fn version(&self, request: &Request<'_>, object: Option<&Value>, rules: &[Rule]) -> Option<Arc<Served>> {
        let own = &request.target.served;
        if rules.iter().any(|rule| rule.matches(request, object, own)) {
            return Some(own.clone());
        }
        if self.exact || rules.is_empty() {
            return None;
        }
        let subresource = request.target.subresource.as_str();
        let others = request.state.resources.all();
        let is_other = |other: &&Arc<Served>| {
            other.resource == own.resource
                && other.api.gvk != own.api.gvk
                && (subresource.is_empty() || other.subresource(subresource).is_some())
        };
        let others: Vec<_> = others.iter().filter(is_other).collect();
        let fitting = |rule: &Rule| others.iter().find(|other| rule.matches(request, object, other));
        rules.iter().find_map(fitting).map(|other| Arc::clone(other))
    }

    fn excludes(&self, request: &Request<'_>, object: Option<&Value>) -> bool {
        self.version(request, object, &self.excluded).is_some()
    }

    fn selects_object(&self, request: &Request<'_>, object: Option<&Value>) -> bool {
        let selected = |object: &Value| self.objects.matches_map(&object["metadata"]["labels"]);
        self.objects.is_empty() || object.is_some_and(selected) || request.old.is_some_and(selected)
    }

    /// A cluster-scoped object other than a Namespace is always selected.
    fn selects_namespace(&self, request: &Request<'_>, object: Option<&Value>) -> Result<bool, Status> {
        let namespace = namespace(request, object);
        if namespace.is_empty() || self.namespaces.is_empty() {
            return Ok(true);
        }
        if let (true, Some(object)) = (request.is("", "namespaces"), object) {
            return Ok(self.namespaces.matches_map(&object["metadata"]["labels"]));
        }
        let key =
            Key { resource: Resource("namespaces".into()), namespace: "".into(), name: namespace.into() };
        match request.state.reader.get(&key) {
            Some(object) => Ok(self.namespaces.matches(&object.meta.labels)),
            None => Err(Status::not_found(GroupResource::new("", "namespaces"), namespace)),
        }
    }
}

/// The request's namespace; that of a Namespace is itself.
pub fn namespace<'a>(request: &'a Request<'_>, object: Option<&'a Value>) -> &'a str {
    let api = &request.target.served.api;
    if api.gvk.group.is_empty() && &*api.plural == "namespaces" {
        name(request, object)
    } else {
        &request.target.namespace
    }
}

/// The name in the path, else of the object; empty while it is to be generated.
pub fn name<'a>(request: &'a Request<'_>, object: Option<&'a Value>) -> &'a str {
    match request.target.name.as_str() {
        "" => object.map(object::name).unwrap_or_default(),
        name => name,
    }
}

impl Operation {
    pub fn as_str(self) -> &'static str {
        match self {
            Operation::Create => "CREATE",
            Operation::Update => "UPDATE",
            Operation::Delete => "DELETE",
            Operation::Connect => "CONNECT",
        }
    }
}

fn has(list: &[String], wanted: &str) -> bool {
    list.iter().any(|one| one == "*" || one == wanted)
}

impl Rule {
    fn new(rule: &Value) -> Rule {
        let words = |field: &str| strings(&rule[field]).into_iter().map(String::from).collect();
        let split = |resource: &str| {
            let (resource, part) = resource.split_once('/').unwrap_or((resource, ""));
            (resource.to_owned(), part.to_owned())
        };
        Rule {
            operations: words("operations"),
            groups: words("apiGroups"),
            versions: words("apiVersions"),
            resources: strings(&rule["resources"]).into_iter().map(split).collect(),
            names: words("resourceNames"),
            scope: match rule["scope"].as_str() {
                Some("Cluster") => Scope::Cluster,
                Some("Namespaced") => Scope::Namespaced,
                _ => Scope::All,
            },
        }
    }

    fn matches(&self, request: &Request<'_>, object: Option<&Value>, served: &Served) -> bool {
        let api = &served.api;
        has(&self.operations, request.operation.as_str())
            && has(&self.groups, &api.gvk.group)
            && has(&self.versions, &api.gvk.version)
            && self.names_resource(&api.plural, &request.target.subresource)
            && self.scope.includes(api.namespaced)
            && (self.names.is_empty() || self.names.iter().any(|one| one == name(request, object)))
    }

    /// `pods`, `pods/status`, `pods/*`, `*`, `*/scale`, `*/*`.
    fn names_resource(&self, plural: &str, subresource: &str) -> bool {
        self.resources.iter().any(|(resource, part)| {
            (resource == "*" || resource == plural) && (part == "*" || part == subresource)
        })
    }
}

impl Scope {
    fn includes(self, namespaced: bool) -> bool {
        match self {
            Scope::All => true,
            Scope::Cluster => !namespaced,
            Scope::Namespaced => namespaced,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn resources_are_named_with_their_subresources() {
        for (rule, plural, part, expected) in [
            ("pods", "pods", "", true),
            ("pods", "pods", "status", false),
            ("pods/status", "pods", "status", true),
            ("pods/status", "pods", "", false),
            ("pods/*", "pods", "", true),
            ("pods/*", "pods", "exec", true),
            ("*", "pods", "", true),
            ("*", "pods", "exec", false),
            ("*/exec", "pods", "exec", true),
            ("*/*", "pods", "exec", true),
            ("services", "pods", "", false),
        ] {
            let parsed = Rule::new(&json!({"resources": [rule]}));
            assert_eq!(parsed.names_resource(plural, part), expected, "{rule} {plural} {part}");
        }
    }
}
