//! Roles and bindings from the text tables beside this file.
//!
//! A role is `role NAME [LABEL …]` (or `role NAME in NAMESPACE`), then one rule a line, indented:
//! `VERBS | GROUPS | RESOURCES` and, perhaps, `| RESOURCE NAMES`; `url VERBS | PATHS`; `aggregate LABEL`; `events`.
//! `core` is the empty group; `read` is get, list, watch; `write` is create, delete, deletecollection, patch, update.
//! A label stands for `rbac.authorization.k8s.io/LABEL: "true"`.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

const CLUSTER_ROLES: &str = include_str!("cluster_roles.txt");
const CONTROLLER_ROLES: &str = include_str!("controller_roles.txt");
const NAMESPACE_ROLES: &str = include_str!("namespace_roles.txt");
const BINDINGS: &str = include_str!("bindings.txt");

/// What our controllers need beyond their stock roles, see `cluster_roles.txt`.
const CONTROLLERS_ROLE: &str = "coracle:controllers";
const RBAC_GROUP: &str = "rbac.authorization.k8s.io";

pub fn objects() -> Vec<Value> {
    let mut cluster_roles = parse(CLUSTER_ROLES);
    aggregate(&mut cluster_roles);
    let controllers = parse(CONTROLLER_ROLES);
    let subjects: Vec<Value> =
        controllers.iter().map(|role| service_account("kube-system", &role.name)).collect();

    let mut objects: Vec<Value> = cluster_roles.iter().map(|role| role.object(&role.name)).collect();
    for role in &controllers {
        objects.push(role.object(&format!("system:controller:{}", role.name)));
    }
    objects.extend(parse(NAMESPACE_ROLES).iter().map(|role| role.object(&role.name)));
    for (role, subject) in controllers.iter().zip(&subjects) {
        let name = format!("system:controller:{}", role.name);
        objects.push(binding(&name, None, &name, vec![subject.clone()]));
    }
    objects.push(binding(CONTROLLERS_ROLE, None, CONTROLLERS_ROLE, subjects));
    objects.extend(lines(BINDINGS).filter_map(parse_binding));
    objects
}

#[derive(Clone, Debug, Default)]
struct Role {
    name: String,
    namespace: Option<String>,
    labels: Vec<String>,
    aggregate: Option<String>,
    rules: Vec<Value>,
}

fn lines(table: &str) -> impl Iterator<Item = &str> {
    table.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#'))
}

fn parse(table: &str) -> Vec<Role> {
    let mut roles: Vec<Role> = Vec::new();
    for line in lines(table) {
        if let Some(head) = line.strip_prefix("role ") {
            roles.push(parse_head(head));
        } else if let Some(role) = roles.last_mut() {
            let line = line.trim();
            match line.strip_prefix("aggregate ") {
                Some(label) => role.aggregate = Some(label.to_owned()),
                None => role.rules.push(parse_rule(line)),
            }
        }
    }
    roles
}

fn parse_head(head: &str) -> Role {
    let (head, labels) = match head.split_once('[') {
        Some((head, labels)) => {
            (head, labels.trim_end_matches(']').split_whitespace().map(str::to_owned).collect())
        }
        None => (head, Vec::new()),
    };
    let (name, namespace) = match head.split_once(" in ") {
        Some((name, namespace)) => (name, Some(namespace.trim().to_owned())),
        None => (head, None),
    };
    Role { name: name.trim().to_owned(), namespace, labels, ..Role::default() }
}

fn parse_rule(line: &str) -> Value {
    if line == "events" {
        return json!({"apiGroups": ["", "events.k8s.io"], "resources": ["events"], "verbs": ["create", "patch", "update"]});
    }
    let mut columns = line.split('|').map(str::trim);
    let mut next = || columns.next().unwrap_or_default();
    let first = next();
    if let Some(verbs) = first.strip_prefix("url ") {
        let paths: Vec<&str> = next().split_whitespace().collect();
        return json!({"nonResourceURLs": paths, "verbs": [verbs]});
    }
    let groups: Vec<&str> =
        next().split_whitespace().map(|group| if group == "core" { "" } else { group }).collect();
    let resources: Vec<&str> = next().split_whitespace().collect();
    let names: Vec<&str> = next().split_whitespace().collect();
    let mut rule = json!({"apiGroups": groups, "resources": resources, "verbs": verbs(first)});
    if !names.is_empty() {
        rule["resourceNames"] = json!(names);
    }
    rule
}

fn verbs(words: &str) -> Vec<&str> {
    let mut verbs = Vec::new();
    for word in words.split_whitespace() {
        match word {
            "read" => verbs.extend(["get", "list", "watch"]),
            "write" => verbs.extend(["create", "delete", "deletecollection", "patch", "update"]),
            _ => verbs.push(word),
        }
    }
    verbs.sort_unstable();
    verbs
}

/// Gives each aggregated role the rules it will have once the aggregation controller has run, so that they hold from the start.
fn aggregate(roles: &mut [Role]) {
    let mut by_label: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (index, role) in roles.iter().enumerate() {
        for label in &role.labels {
            by_label.entry(label.clone()).or_default().push(index);
        }
    }
    // `view` before `edit` before `admin`: each takes in the one before it.
    let mut order: Vec<usize> = (0..roles.len()).filter(|index| roles[*index].aggregate.is_some()).collect();
    order.sort_by_key(|index| match roles[*index].labels.first().map(String::as_str) {
        Some("aggregate-to-edit") => 0,
        Some(_) => 1,
        None => 2,
    });
    for index in order {
        let label = roles[index].aggregate.clone().unwrap_or_default();
        let mut rules: Vec<Value> = Vec::new();
        for source in by_label.get(&label).into_iter().flatten() {
            for rule in &roles[*source].rules {
                if !rules.contains(rule) {
                    rules.push(rule.clone());
                }
            }
        }
        roles[index].rules = rules;
    }
}

impl Role {
    fn object(&self, name: &str) -> Value {
        let kind = if self.namespace.is_some() { "Role" } else { "ClusterRole" };
        let mut object = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": kind,
            "metadata": metadata(name, self.namespace.as_deref(), &self.labels),
            "rules": self.rules,
        });
        if let Some(label) = &self.aggregate {
            object["aggregationRule"] =
                json!({"clusterRoleSelectors": [{"matchLabels": {format!("{RBAC_GROUP}/{label}"): "true"}}]});
        }
        object
    }
}

fn metadata(name: &str, namespace: Option<&str>, labels: &[String]) -> Value {
    let mut all = Map::new();
    all.insert("kubernetes.io/bootstrapping".into(), "rbac-defaults".into());
    for label in labels {
        all.insert(format!("{RBAC_GROUP}/{label}"), "true".into());
    }
    let mut metadata = json!({
        "name": name,
        "labels": all,
        "annotations": {"rbac.authorization.kubernetes.io/autoupdate": "true"},
    });
    if let Some(namespace) = namespace {
        metadata["namespace"] = namespace.into();
    }
    metadata
}

/// `ROLE: SUBJECT …` or `NAME in NAMESPACE -> ROLE: SUBJECT …`. Role names hold colons, the separator is `: ` or a final `:`.
fn parse_binding(line: &str) -> Option<Value> {
    let (head, subjects) = line.split_once(": ").or_else(|| Some((line.strip_suffix(':')?, "")))?;
    let subjects = subjects.split_whitespace().filter_map(parse_subject).collect();
    Some(match head.split_once(" -> ") {
        Some((place, role)) => {
            let (name, namespace) = place.split_once(" in ")?;
            binding(name, Some(namespace), role, subjects)
        }
        None => binding(head, None, head, subjects),
    })
}

fn parse_subject(subject: &str) -> Option<Value> {
    let (kind, name) = subject.split_once(':')?;
    Some(match kind {
        "sa" => {
            let (namespace, name) = name.split_once('/')?;
            service_account(namespace, name)
        }
        "user" => json!({"apiGroup": RBAC_GROUP, "kind": "User", "name": name}),
        _ => json!({"apiGroup": RBAC_GROUP, "kind": "Group", "name": name}),
    })
}

fn service_account(namespace: &str, name: &str) -> Value {
    json!({"kind": "ServiceAccount", "name": name, "namespace": namespace})
}

fn binding(name: &str, namespace: Option<&str>, role: &str, subjects: Vec<Value>) -> Value {
    let (kind, role_kind) = match namespace {
        Some(_) => ("RoleBinding", "Role"),
        None => ("ClusterRoleBinding", "ClusterRole"),
    };
    let mut object = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": kind,
        "metadata": metadata(name, namespace, &[]),
        "roleRef": {"apiGroup": RBAC_GROUP, "kind": role_kind, "name": role},
    });
    if !subjects.is_empty() {
        object["subjects"] = subjects.into();
    }
    object
}
