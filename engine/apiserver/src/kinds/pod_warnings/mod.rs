//! What is accepted in pods and in templates of pods, and warned about: deprecated, doubled, or without effect.
//!
//! Kept true: nothing here refuses; each rule is one function or one row of a table, in the stock server's order.
//! Source: https://github.com/kubernetes/kubernetes/blob/master/pkg/api/pod/warnings.go

mod ports;
mod volumes;

use std::{collections::BTreeSet, fmt::Display};

use serde_json::Value;

use super::{
    checks::{indexed, nanos, text},
    ip,
    pod_spec::containers,
};
use crate::{
    metadata::{label_problems, label_value_problems},
    object,
    status::quote,
};

const DEPRECATED_LABELS: [(&str, &str); 8] = [
    ("app.kubernetes.io/created-by", "deprecated since v1.9"),
    ("beta.kubernetes.io/arch", "deprecated since v1.14; use \"kubernetes.io/arch\" instead"),
    (
        "beta.kubernetes.io/instance-type",
        "deprecated since v1.17; use \"node.kubernetes.io/instance-type\" instead",
    ),
    ("beta.kubernetes.io/os", "deprecated since v1.14; use \"kubernetes.io/os\" instead"),
    (
        "failure-domain.beta.kubernetes.io/region",
        "deprecated since v1.17; use \"topology.kubernetes.io/region\" instead",
    ),
    (
        "failure-domain.beta.kubernetes.io/zone",
        "deprecated since v1.17; use \"topology.kubernetes.io/zone\" instead",
    ),
    ("node-role.kubernetes.io/master", "use \"node-role.kubernetes.io/control-plane\" instead"),
    (
        "scheduler.alpha.kubernetes.io/preferAvoidPods",
        "deprecated since v1.22; use Taints and Tolerations instead",
    ),
];
const DEPRECATED_ANNOTATIONS: [(&str, &str); 3] = [
    (
        "scheduler.alpha.kubernetes.io/critical-pod",
        "non-functional in v1.16+; use the \"priorityClassName\" field instead",
    ),
    ("security.alpha.kubernetes.io/sysctls", "non-functional in v1.11+; use the \"sysctls\" field instead"),
    (
        "security.alpha.kubernetes.io/unsafe-sysctls",
        "non-functional in v1.11+; use the \"sysctls\" field instead",
    ),
];
const POD_SECCOMP: &str = "seccomp.security.alpha.kubernetes.io/pod";
const SECCOMP: &str = "non-functional in v1.27+; use the \"seccompProfile\" field instead";
const NULL_SELECTOR: &str = "a null labelSelector results in matching no pod";
const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

struct Warnings<'a> {
    spec: &'a Value,
    annotations: &'a Value,
    /// What stands before `spec` and `metadata` in paths.
    root: &'a str,
    out: Vec<String>,
}

/// Of a pod that is created.
pub fn of_pod(pod: &Value) -> Vec<String> {
    let mut out = of_name(pod, "the Pod's hostname");
    out.extend(all(pod, ""));
    out
}

/// Of a template at `path`, e.g. `spec.template`.
pub fn of_template(template: &Value, path: &str) -> Vec<String> {
    all(template, &format!("{path}."))
}

/// Of a new workload, whose name begins the names of its pods.
pub fn of_workload_name(object: &Value) -> Vec<String> {
    of_name(object, "Pod names and hostnames")
}

fn of_name(object: &Value, used: &str) -> Vec<String> {
    let problems = label_problems(object::name(object));
    if problems.is_empty() {
        return Vec::new();
    }
    let problems = problems.join(" ");
    vec![format!(
        "metadata.name: this is used in {used}, which can result in surprising behavior; a DNS label is recommended: [{problems}]"
    )]
}

/// Of a claim's spec at `path`.
pub fn of_claim_spec(spec: &Value, path: &str) -> Vec<String> {
    let amounts = ["requests", "limits"].map(|part| {
        fractional(&spec["resources"][part]["storage"])
            .map(|what| format!("{path}.resources.{part}[storage]: {what}"))
    });
    amounts.into_iter().flatten().collect()
}

fn all(object: &Value, root: &str) -> Vec<String> {
    let (spec, annotations) = (&object["spec"], &object["metadata"]["annotations"]);
    let mut warnings = Warnings { spec, annotations, root, out: Vec::new() };
    warnings.node_labels();
    warnings.spread();
    for (key, why) in DEPRECATED_ANNOTATIONS {
        warnings.annotation(key, why);
    }
    volumes::warn(&mut warnings);
    warnings.references();
    for name in ["memory", "ephemeral-storage"] {
        warnings.amount(&spec["overhead"][name], &format!("spec.overhead[{name}]"));
    }
    if spec["securityContext"]["seccompProfile"].is_null() {
        warnings.annotation(POD_SECCOMP, SECCOMP);
    }
    warnings.containers();
    ports::warn(&mut warnings);
    if spec["terminationGracePeriodSeconds"].as_i64().is_some_and(|seconds| seconds < 0) {
        let why = "must be >= 0; negative values are invalid and will be treated as 1";
        warnings.say("spec.terminationGracePeriodSeconds", why);
    }
    warnings.pod_affinity();
    warnings.addresses();
    warnings.out
}

/// Why a node's label is not to be used any more.
pub fn deprecation(label: &str) -> Option<&'static str> {
    DEPRECATED_LABELS.iter().find(|(own, _)| *own == label).map(|(_, why)| *why)
}

/// Of what selects nodes by expressions. `values`: those that no label can have are accepted here.
pub fn of_node_term(term: &Value, path: &str, values: bool) -> Vec<String> {
    let mut out = Vec::new();
    for (at, expression) in indexed(&term["matchExpressions"], &format!("{path}.matchExpressions")) {
        let key = text(&expression["key"]);
        out.extend(deprecation(key).map(|why| format!("{at}.key: {key} is {why}")));
        for (at, value) in indexed(&expression["values"], &format!("{at}.values")).filter(|_| values) {
            let problems = label_value_problems(text(value));
            out.extend(problems.iter().map(|problem| format!("{at}: {} is invalid, {problem}", text(value))));
        }
    }
    out
}

/// Of an amount of bytes that is no whole number.
fn fractional(quantity: &Value) -> Option<String> {
    let thousandths = nanos(quantity)?.unsigned_abs().div_ceil(1_000_000);
    let shown = quote(text(quantity));
    (thousandths % 1000 != 0).then(|| format!("fractional byte value {shown} is invalid, must be an integer"))
}

impl Warnings<'_> {
    fn say(&mut self, path: &str, why: impl Display) {
        self.out.push(format!("{}{path}: {why}", self.root));
    }

    fn annotation(&mut self, key: &str, why: &str) {
        if !self.annotations[key].is_null() {
            self.say(&format!("metadata.annotations[{key}]"), why);
        }
    }

    fn amount(&mut self, quantity: &Value, path: &str) {
        if let Some(why) = fractional(quantity) {
            self.say(path, why);
        }
    }

    fn node_labels(&mut self) {
        let mut labels: Vec<&String> =
            self.spec["nodeSelector"].as_object().into_iter().flat_map(|own| own.keys()).collect();
        labels.sort();
        for label in labels {
            if let Some(why) = deprecation(label) {
                self.say(&format!("spec.nodeSelector[{label}]"), why);
            }
        }
        let affinity = &self.spec["affinity"]["nodeAffinity"];
        let at = "spec.affinity.nodeAffinity";
        let terms = &affinity[REQUIRED]["nodeSelectorTerms"];
        for (at, term) in indexed(terms, &format!("{at}.{REQUIRED}.nodeSelectorTerms")) {
            self.out.extend(of_node_term(term, &format!("{}{at}", self.root), false));
        }
        for (at, weighted) in indexed(&affinity[PREFERRED], &format!("{at}.{PREFERRED}")) {
            let at = format!("{}{at}.preference", self.root);
            self.out.extend(of_node_term(&weighted["preference"], &at, true));
        }
    }

    fn spread(&mut self) {
        let constraints = &self.spec["topologySpreadConstraints"];
        for (at, constraint) in indexed(constraints, "spec.topologySpreadConstraints") {
            let key = text(&constraint["topologyKey"]);
            if let Some(why) = deprecation(key) {
                self.say(&format!("{at}.topologyKey"), format_args!("{key} is {why}"));
            }
            self.selector(constraint, &at);
        }
    }

    fn selector(&mut self, parent: &Value, path: &str) {
        if parent["labelSelector"].is_null() {
            self.say(&format!("{path}.labelSelector"), NULL_SELECTOR);
        }
    }

    fn pod_affinity(&mut self) {
        for kind in ["podAffinity", "podAntiAffinity"] {
            let (affinity, at) = (&self.spec["affinity"][kind], format!("spec.affinity.{kind}"));
            for (at, term) in indexed(&affinity[REQUIRED], &format!("{at}.{REQUIRED}")) {
                self.selector(term, &at);
            }
            for (at, weighted) in indexed(&affinity[PREFERRED], &format!("{at}.{PREFERRED}")) {
                self.selector(&weighted["podAffinityTerm"], &format!("{at}.podAffinityTerm"));
            }
        }
    }

    /// Host aliases and pull secrets are named once.
    fn references(&mut self) {
        for (list, field) in [("hostAliases", "ip"), ("imagePullSecrets", "name")] {
            let mut seen = BTreeSet::new();
            for (at, item) in indexed(&self.spec[list], &format!("spec.{list}")) {
                let value = text(&item[field]);
                if !seen.insert(value) {
                    self.say(&format!("{at}.{field}"), format_args!("duplicate {field} {}", quote(value)));
                }
            }
        }
        for (at, secret) in indexed(&self.spec["imagePullSecrets"], "spec.imagePullSecrets") {
            if text(&secret["name"]).is_empty() {
                self.say(&format!("{at}.name"), "invalid empty name \"\"");
            }
        }
    }

    fn addresses(&mut self) {
        let aliases = indexed(&self.spec["hostAliases"], "spec.hostAliases");
        let aliases = aliases.map(|(at, alias)| (format!("{at}.ip"), &alias["ip"]));
        let servers = indexed(&self.spec["dnsConfig"]["nameservers"], "spec.dnsConfig.nameservers");
        let root = self.root;
        self.out.extend(
            servers
                .chain(aliases)
                .filter_map(|(at, address)| ip::address_warning(text(address), &format!("{root}{at}"))),
        );
    }

    fn containers(&mut self) {
        for (at, container) in containers(self.spec, "spec") {
            let (name, context) = (text(&container["name"]), &container["securityContext"]);
            if context["seccompProfile"].is_null() {
                self.annotation(&format!("container.seccomp.security.alpha.kubernetes.io/{name}"), SECCOMP);
            }
            let of_pod = &self.spec["securityContext"]["appArmorProfile"];
            if of_pod.is_null() && context["appArmorProfile"].is_null() {
                let key = format!("container.apparmor.security.beta.kubernetes.io/{name}");
                self.annotation(&key, "deprecated since v1.30; use the \"appArmorProfile\" field instead");
            }
            for name in ["memory", "ephemeral-storage"] {
                for part in ["limits", "requests"] {
                    let at = format!("{at}.resources.{part}[{name}]");
                    self.amount(&container["resources"][part][name], &at);
                }
            }
            self.environment(&container["env"], &format!("{at}.env"));
        }
    }

    /// A later variable of the same name is well when it goes on from the earlier one.
    fn environment(&mut self, variables: &Value, path: &str) {
        let mut seen = BTreeSet::new();
        for (at, variable) in indexed(variables, path) {
            let (name, value) = (text(&variable["name"]), text(&variable["value"]));
            if seen.insert(name) {
                continue;
            }
            let reference = format!("$({name})");
            let goes_on = variable["valueFrom"].is_null() && value != reference && value.contains(&reference);
            if !goes_on {
                let why = format!(
                    "hides previous definition of {}, which may be dropped when using apply",
                    quote(name)
                );
                self.say(&at, why);
            }
        }
    }
}

/// Of a Job's spec at `path`.
pub fn of_job_spec(spec: &Value, path: &str) -> Vec<String> {
    const COMPLETIONS_MAX: i64 = 100_000;
    const PARALLELISM_MAX: i64 = 10_000;
    let over = |field: &str, limit: i64| spec[field].as_i64().is_some_and(|number| number > limit);
    let mut out = Vec::new();
    if spec["completionMode"] == "Indexed"
        && over("completions", COMPLETIONS_MAX)
        && over("parallelism", PARALLELISM_MAX)
    {
        out.push(format!("{path}: In Indexed Jobs with a number of completions higher than 10^5 and a parallelism higher than 10^4, Kubernetes might not be able to track completedIndexes when a big number of indexes fail"));
    }
    out.extend(of_template(&spec["template"], &format!("{path}.template")));
    out
}

/// Of a StatefulSet: of its template, of its claims, and of how many revisions it keeps.
pub fn of_stateful_set(spec: &Value) -> Vec<String> {
    let mut out = of_template(&spec["template"], "spec.template");
    for (at, claim) in indexed(&spec["volumeClaimTemplates"], "spec.volumeClaimTemplates") {
        out.extend(of_claim_spec(&claim["spec"], &at));
    }
    if spec["revisionHistoryLimit"].as_i64().is_some_and(|limit| limit < 0) {
        out.push("spec.revisionHistoryLimit: a negative value retains all historical revisions; a value >= 0 is recommended".into());
    }
    out
}

#[cfg(test)]
mod tests;
