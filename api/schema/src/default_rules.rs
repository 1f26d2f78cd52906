//! Defaults that depend on other fields. Named in `data/defaults.txt`; each takes the value of the type it stands under.

use serde_json::{Map, Value, json};

type Object = Map<String, Value>;
pub(crate) type Rule = fn(&mut Object);

pub(crate) fn find(name: &str) -> Option<Rule> {
    RULES.iter().find(|(known, _)| *known == name).map(|(_, rule)| *rule)
}

const RULES: &[(&str, Rule)] = &[
    ("allocatable_from_capacity", allocatable_from_capacity),
    ("claim_template_types", claim_template_types),
    ("custom_resource_names", custom_resource_names),
    ("default_metrics", default_metrics),
    ("device_count", device_count),
    ("empty_dir", empty_dir),
    ("external_traffic_policy", external_traffic_policy),
    ("host_ports_of_host_network", host_ports_of_host_network),
    ("image_pull_policy", image_pull_policy),
    ("internal_traffic_policy", internal_traffic_policy),
    ("job_backoff_limit", job_backoff_limit),
    ("job_completions", job_completions),
    ("job_pod_replacement_policy", job_pod_replacement_policy),
    ("labels_from_template", labels_from_template),
    ("limit_range_defaults", limit_range_defaults),
    ("load_balancer_ip_mode", load_balancer_ip_mode),
    ("load_balancer_node_ports", load_balancer_node_ports),
    ("namespace_name_label", namespace_name_label),
    ("policy_types", policy_types),
    ("requests_from_limits", requests_from_limits),
    ("rolling_update_daemon_set", rolling_update_daemon_set),
    ("rolling_update_deployment", rolling_update_deployment),
    ("rolling_update_stateful_set", rolling_update_stateful_set),
    ("selector_from_template", selector_from_template),
    ("service_account_alias", service_account_alias),
    ("session_affinity_timeout", session_affinity_timeout),
    ("subject_group", subject_group),
    ("target_port", target_port),
];

fn text<'a>(object: &'a Object, key: &str) -> &'a str {
    object.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn is_unset(object: &Object, key: &str) -> bool {
    match object.get(key) {
        None | Some(Value::Null) => true,
        Some(Value::String(text)) => text.is_empty(),
        Some(Value::Array(items)) => items.is_empty(),
        Some(_) => false,
    }
}

fn set_unset(object: &mut Object, key: &str, value: impl FnOnce() -> Value) {
    if is_unset(object, key) {
        object.insert(key.to_string(), value());
    }
}

/// The object at a key, made if there is none.
fn child<'a>(object: &'a mut Object, key: &str) -> Option<&'a mut Object> {
    let value = object.entry(key).or_insert(Value::Null);
    if value.is_null() {
        *value = Value::Object(Object::new());
    }
    value.as_object_mut()
}

fn existing<'a>(object: &'a mut Object, key: &str) -> Option<&'a mut Object> {
    object.get_mut(key).and_then(Value::as_object_mut)
}

fn objects<'a>(object: &'a mut Object, key: &str) -> impl Iterator<Item = &'a mut Object> {
    object.get_mut(key).and_then(Value::as_array_mut).into_iter().flatten().filter_map(Value::as_object_mut)
}

/// Keys of `from` that `to` lacks.
fn fill(to: &mut Object, from: &Object) {
    for (key, value) in from {
        if !to.contains_key(key) {
            to.insert(key.clone(), value.clone());
        }
    }
}

/// Pods only, not the pods of a template.
fn requests_from_limits(pod: &mut Object) {
    let Some(spec) = existing(pod, "spec") else { return };
    for list in ["initContainers", "containers"] {
        for container in objects(spec, list) {
            let Some(resources) = existing(container, "resources") else { continue };
            let Some(Value::Object(limits)) = resources.get("limits").cloned() else { continue };
            if let Some(requests) = child(resources, "requests") {
                fill(requests, &limits);
            }
        }
    }
}

/// A port of a pod in the host's network is the host's port.
fn host_ports_of_host_network(pod: &mut Object) {
    let Some(spec) = existing(pod, "spec") else { return };
    if spec.get("hostNetwork") != Some(&Value::Bool(true)) {
        return;
    }
    for list in ["initContainers", "containers"] {
        for container in objects(spec, list) {
            for port in objects(container, "ports") {
                let unset = port.get("hostPort").and_then(Value::as_i64).unwrap_or(0) == 0;
                if let Some(container_port) = port.get("containerPort").cloned().filter(|_| unset) {
                    port.insert("hostPort".to_string(), container_port);
                }
            }
        }
    }
}

/// `serviceAccount` is the deprecated name of `serviceAccountName`.
fn service_account_alias(spec: &mut Object) {
    let (name, alias) =
        (text(spec, "serviceAccountName").to_string(), text(spec, "serviceAccount").to_string());
    if name.is_empty() && !alias.is_empty() {
        spec.insert("serviceAccountName".to_string(), Value::from(alias));
    } else if name != alias {
        spec.insert("serviceAccount".to_string(), Value::from(name));
    }
}

/// `Always` for the tag `latest`, which is also that of an image without tag and digest.
fn image_pull_policy(container: &mut Object) {
    if is_unset(container, "imagePullPolicy") {
        let image = text(container, "image");
        // What cannot be a reference has no tag.
        let is_reference = !image.contains(char::is_whitespace);
        let (name, digest) = image.split_once('@').map_or((image, false), |(name, _)| (name, true));
        let last = name.rsplit('/').next().unwrap_or_default();
        let tag = last.split_once(':').map(|(_, tag)| tag);
        let latest = is_reference && (tag == Some("latest") || tag.is_none() && !digest);
        container.insert(
            "imagePullPolicy".to_string(),
            Value::from(if latest { "Always" } else { "IfNotPresent" }),
        );
    }
}

fn empty_dir(volume: &mut Object) {
    if volume.keys().all(|key| key == "name") {
        volume.insert("emptyDir".to_string(), json!({}));
    }
}

fn template_labels(object: &Object) -> Option<&Object> {
    object
        .get("spec")?
        .get("template")?
        .get("metadata")?
        .get("labels")?
        .as_object()
        .filter(|labels| !labels.is_empty())
}

fn labels_from_template(object: &mut Object) {
    let Some(labels) = template_labels(object).cloned() else { return };
    if let Some(metadata) = child(object, "metadata")
        && metadata.get("labels").and_then(Value::as_object).is_none_or(Object::is_empty)
    {
        metadata.insert("labels".to_string(), Value::Object(labels));
    }
}

fn selector_from_template(controller: &mut Object) {
    let Some(labels) = template_labels(controller).cloned() else { return };
    if let Some(spec) = existing(controller, "spec")
        && spec.get("selector").and_then(Value::as_object).is_none_or(Object::is_empty)
    {
        spec.insert("selector".to_string(), Value::Object(labels));
    }
}

fn session_affinity_timeout(spec: &mut Object) {
    match text(spec, "sessionAffinity") {
        "ClientIP" => {
            if let Some(client_ip) =
                child(spec, "sessionAffinityConfig").and_then(|config| child(config, "clientIP"))
            {
                set_unset(client_ip, "timeoutSeconds", || json!(10800));
            }
        }
        "None" => drop(spec.shift_remove("sessionAffinityConfig")),
        _ => {}
    }
}

fn target_port(port: &mut Object) {
    let unset = is_unset(port, "targetPort") || port.get("targetPort") == Some(&json!(0));
    if let Some(number) = port.get("port").cloned().filter(|_| unset) {
        port.insert("targetPort".to_string(), number);
    }
}

fn external_traffic_policy(spec: &mut Object) {
    let external = match text(spec, "type") {
        "NodePort" | "LoadBalancer" => true,
        "ClusterIP" => !is_unset(spec, "externalIPs"),
        _ => false,
    };
    if external {
        set_unset(spec, "externalTrafficPolicy", || json!("Cluster"));
    }
}

fn internal_traffic_policy(spec: &mut Object) {
    if matches!(text(spec, "type"), "NodePort" | "LoadBalancer" | "ClusterIP") {
        set_unset(spec, "internalTrafficPolicy", || json!("Cluster"));
    }
}

fn load_balancer_node_ports(spec: &mut Object) {
    if text(spec, "type") == "LoadBalancer" {
        set_unset(spec, "allocateLoadBalancerNodePorts", || json!(true));
    }
}

fn load_balancer_ip_mode(ingress: &mut Object) {
    if !is_unset(ingress, "ip") {
        set_unset(ingress, "ipMode", || json!("VIP"));
    }
}

fn namespace_name_label(namespace: &mut Object) {
    let Some(metadata) = existing(namespace, "metadata") else { return };
    let name = text(metadata, "name").to_string();
    if !name.is_empty()
        && let Some(labels) = child(metadata, "labels")
        && !labels.contains_key("kubernetes.io/metadata.name")
    {
        labels.insert("kubernetes.io/metadata.name".to_string(), Value::from(name));
        labels.sort_keys();
    }
}

fn allocatable_from_capacity(status: &mut Object) {
    if let Some(capacity) = status.get("capacity").cloned() {
        set_unset(status, "allocatable", || capacity);
    }
}

fn limit_range_defaults(item: &mut Object) {
    if text(item, "type") != "Container" {
        return;
    }
    for (to, from) in [("default", "max"), ("defaultRequest", "default"), ("defaultRequest", "min")] {
        if let Some(Value::Object(values)) = item.get(from).cloned()
            && let Some(target) = child(item, to)
        {
            fill(target, &values);
        }
    }
}

fn rolling_update_deployment(strategy: &mut Object) {
    if text(strategy, "type") == "RollingUpdate"
        && let Some(update) = child(strategy, "rollingUpdate")
    {
        set_unset(update, "maxUnavailable", || json!("25%"));
        set_unset(update, "maxSurge", || json!("25%"));
    }
}

fn rolling_update_daemon_set(strategy: &mut Object) {
    if text(strategy, "type") == "RollingUpdate"
        && let Some(update) = child(strategy, "rollingUpdate")
    {
        set_unset(update, "maxUnavailable", || json!(1));
        set_unset(update, "maxSurge", || json!(0));
    }
}

/// Whatever a template calls itself, it is a claim: with and without the lines it is the same StatefulSet.
fn claim_template_types(spec: &mut Object) {
    let templates = spec.get_mut("volumeClaimTemplates").and_then(Value::as_array_mut);
    for template in templates.into_iter().flatten().filter_map(Value::as_object_mut) {
        template.insert("apiVersion".into(), "v1".into());
        template.insert("kind".into(), "PersistentVolumeClaim".into());
    }
}

fn rolling_update_stateful_set(strategy: &mut Object) {
    if text(strategy, "type") == "RollingUpdate"
        && let Some(update) = child(strategy, "rollingUpdate")
    {
        set_unset(update, "partition", || json!(0));
    }
}

/// One pod, once, unless one of the two says otherwise.
fn job_completions(job: &mut Object) {
    let Some(spec) = child(job, "spec") else { return };
    if is_unset(spec, "completions") && is_unset(spec, "parallelism") {
        spec.insert("completions".to_string(), json!(1));
    }
    set_unset(spec, "parallelism", || json!(1));
}

fn job_backoff_limit(job: &mut Object) {
    let Some(spec) = child(job, "spec") else { return };
    let per_index = !is_unset(spec, "backoffLimitPerIndex");
    set_unset(spec, "backoffLimit", || json!(if per_index { i32::MAX } else { 6 }));
}

fn job_pod_replacement_policy(job: &mut Object) {
    let Some(spec) = child(job, "spec") else { return };
    let failed_only = !is_unset(spec, "podFailurePolicy");
    set_unset(spec, "podReplacementPolicy", || {
        json!(if failed_only { "Failed" } else { "TerminatingOrFailed" })
    });
}

fn policy_types(spec: &mut Object) {
    let egress = !is_unset(spec, "egress");
    set_unset(spec, "policyTypes", || if egress { json!(["Ingress", "Egress"]) } else { json!(["Ingress"]) });
}

fn default_metrics(spec: &mut Object) {
    set_unset(
        spec,
        "metrics",
        || json!([{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}}]),
    );
}

fn subject_group(subject: &mut Object) {
    if matches!(text(subject, "kind"), "User" | "Group") {
        set_unset(subject, "apiGroup", || json!("rbac.authorization.k8s.io"));
    }
}

fn custom_resource_names(names: &mut Object) {
    let kind = text(names, "kind").to_string();
    if !kind.is_empty() {
        set_unset(names, "singular", || Value::from(kind.to_lowercase()));
        set_unset(names, "listKind", || Value::from(format!("{kind}List")));
    }
}

fn device_count(request: &mut Object) {
    if text(request, "allocationMode") == "ExactCount"
        && request.get("count").and_then(Value::as_i64).unwrap_or(0) == 0
    {
        request.insert("count".to_string(), json!(1));
    }
}
