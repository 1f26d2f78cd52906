//! A container's environment: literal values, references, service links, `$(VAR)` expansion.
//!
//! Reads:     Services, ConfigMaps and Secrets through [`Sources`]. Pure otherwise.
//! Invariant: a variable of the container wins over one of `envFrom`, that one over a service link.
//! Source:    https://kubernetes.io/docs/tasks/inject-data-application/define-interdependent-environment-variables/

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{
    ConfigMap, Container, EnvVarSource, Pod, ResourceFieldSelector, Secret, Service,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use crate::resources::nano_value;

/// Where referenced objects come from.
pub trait Sources: Send + Sync {
    fn config_map(&self, namespace: &str, name: &str) -> Option<Arc<ConfigMap>>;
    fn secret(&self, namespace: &str, name: &str) -> Option<Arc<Secret>>;
    fn services(&self, namespace: &str) -> Vec<Arc<Service>>;
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvError {
    #[error("configmap \"{0}\" not found")]
    ConfigMapNotFound(String),
    #[error("secret \"{0}\" not found")]
    SecretNotFound(String),
    #[error("couldn't find key {key} in {kind} {namespace}/{name}")]
    KeyNotFound { kind: &'static str, key: String, namespace: String, name: String },
    #[error("unsupported pod field path: {0}")]
    FieldPath(String),
    #[error("unsupported container resource: {0}")]
    ResourceField(String),
    #[error("environment variable `{0}`: {1} is not supported yet")]
    Unsupported(String, &'static str),
}

/// What `fieldRef` and `resourceFieldRef` can say besides the pod itself.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    pub host_ip: String,
    pub pod_ip: String,
    /// Used where a container has no limit.
    pub allocatable: BTreeMap<String, Quantity>,
}

/// Replaces `$(NAME)` by its value; `$$` stands for `$`. Unknown names stay as they are.
pub fn expand(text: &str, lookup: impl Fn(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some((name, after)) = rest.strip_prefix('(').and_then(|r| r.split_once(')')) {
            match lookup(name) {
                Some(value) => out.push_str(&value),
                None => {
                    out.push_str("$(");
                    out.push_str(name);
                    out.push(')');
                }
            }
            rest = after;
        } else {
            out.push('$');
        }
    }
    out.push_str(rest);
    out
}

fn link_prefix(name: &str) -> String {
    name.replace('-', "_").to_uppercase()
}

/// The variables by which a container finds one Service.
fn link(service: &Service, out: &mut BTreeMap<String, String>) {
    let Some(spec) = &service.spec else { return };
    let Some(ip) = spec.cluster_ip.as_deref().filter(|ip| !ip.is_empty() && *ip != "None") else { return };
    let ports = spec.ports.as_deref().unwrap_or_default();
    let Some(first) = ports.first() else { return };
    let prefix = link_prefix(service.metadata.name.as_deref().unwrap_or_default());
    let host = if ip.contains(':') { format!("[{ip}]") } else { ip.to_owned() };
    out.insert(format!("{prefix}_SERVICE_HOST"), ip.to_owned());
    out.insert(format!("{prefix}_SERVICE_PORT"), first.port.to_string());
    for port in ports {
        if let Some(name) = port.name.as_deref().filter(|n| !n.is_empty()) {
            out.insert(format!("{prefix}_SERVICE_PORT_{}", link_prefix(name)), port.port.to_string());
        }
        let protocol = port.protocol.as_deref().unwrap_or("TCP");
        let lower = protocol.to_lowercase();
        let url = format!("{lower}://{host}:{}", port.port);
        let key = format!("{prefix}_PORT_{}_{}", port.port, protocol.to_uppercase());
        out.entry(format!("{prefix}_PORT")).or_insert_with(|| url.clone());
        out.insert(format!("{key}_PROTO"), lower);
        out.insert(format!("{key}_PORT"), port.port.to_string());
        out.insert(format!("{key}_ADDR"), ip.to_owned());
        out.insert(key, url);
    }
}

fn service_links(namespace: &str, all: bool, sources: &dyn Sources) -> BTreeMap<String, String> {
    let mut out = BTreeMap::new();
    for service in sources.services("default") {
        if service.metadata.name.as_deref() == Some("kubernetes") {
            link(&service, &mut out);
        }
    }
    if all {
        for service in sources.services(namespace) {
            link(&service, &mut out);
        }
    }
    out
}

/// A value of the pod that `fieldRef` names. Serves the downward API volume too.
pub fn field(pod: &Pod, path: &str, facts: &Facts) -> Result<String, EnvError> {
    let meta = &pod.metadata;
    let spec = pod.spec.as_ref();
    let key_of =
        |prefix: &str| path.strip_prefix(prefix)?.strip_prefix("['")?.strip_suffix("']").map(str::to_owned);
    if let Some(key) = key_of("metadata.labels") {
        return Ok(meta.labels.as_ref().and_then(|l| l.get(&key)).cloned().unwrap_or_default());
    }
    if let Some(key) = key_of("metadata.annotations") {
        return Ok(meta.annotations.as_ref().and_then(|l| l.get(&key)).cloned().unwrap_or_default());
    }
    Ok(match path {
        "metadata.name" => meta.name.clone().unwrap_or_default(),
        "metadata.namespace" => meta.namespace.clone().unwrap_or_default(),
        "metadata.uid" => meta.uid.clone().unwrap_or_default(),
        "metadata.labels" => format_map(meta.labels.as_ref()),
        "metadata.annotations" => format_map(meta.annotations.as_ref()),
        "spec.nodeName" | "spec.host" => spec.and_then(|s| s.node_name.clone()).unwrap_or_default(),
        "spec.serviceAccountName" => spec.and_then(|s| s.service_account_name.clone()).unwrap_or_default(),
        "status.hostIP" | "status.hostIPs" => facts.host_ip.clone(),
        "status.podIP" | "status.podIPs" => facts.pod_ip.clone(),
        other => return Err(EnvError::FieldPath(other.to_owned())),
    })
}

/// `key="escaped value"` lines, sorted.
fn format_map(map: Option<&BTreeMap<String, String>>) -> String {
    map.into_iter().flatten().map(|(k, v)| format!("{k}={v:?}")).collect::<Vec<_>>().join("\n")
}

/// A request or limit in units of the divisor, rounded up.
pub fn resource_field(
    container: &Container,
    selector: &ResourceFieldSelector,
    facts: &Facts,
) -> Result<String, EnvError> {
    let unsupported = || EnvError::ResourceField(selector.resource.clone());
    let (side, name) = selector.resource.split_once('.').ok_or_else(unsupported)?;
    if !matches!(name, "cpu" | "memory" | "ephemeral-storage") && !name.starts_with("hugepages-") {
        return Err(unsupported());
    }
    let resources = container.resources.as_ref();
    let limit = resources.and_then(|r| r.limits.as_ref()).and_then(|l| l.get(name));
    let quantity = match side {
        "limits" => limit.filter(|q| nano_value(&q.0) != Some(0)).or_else(|| facts.allocatable.get(name)),
        "requests" => resources.and_then(|r| r.requests.as_ref()).and_then(|l| l.get(name)),
        _ => return Err(unsupported()),
    };
    let amount = quantity.and_then(|q| nano_value(&q.0)).unwrap_or(0);
    let divisor =
        selector.divisor.as_ref().and_then(|q| nano_value(&q.0)).filter(|d| *d > 0).unwrap_or(1_000_000_000);
    Ok(((amount + divisor - 1) / divisor).to_string())
}

struct Builder<'a> {
    pod: &'a Pod,
    facts: &'a Facts,
    sources: &'a dyn Sources,
    namespace: &'a str,
}

impl Builder<'_> {
    fn reference(
        &self,
        variable: &str,
        container: &Container,
        from: &EnvVarSource,
    ) -> Result<Option<String>, EnvError> {
        let missing = |kind, key: &str, name: &str| EnvError::KeyNotFound {
            kind,
            key: key.to_owned(),
            namespace: self.namespace.to_owned(),
            name: name.to_owned(),
        };
        if let Some(field_ref) = &from.field_ref {
            return field(self.pod, &field_ref.field_path, self.facts).map(Some);
        }
        if let Some(selector) = &from.resource_field_ref {
            let spec = self.pod.spec.as_ref();
            let about = selector
                .container_name
                .as_deref()
                .filter(|n| !n.is_empty())
                .and_then(|n| {
                    spec?
                        .containers
                        .iter()
                        .chain(spec?.init_containers.iter().flatten())
                        .find(|c| c.name == n)
                })
                .unwrap_or(container);
            return resource_field(about, selector, self.facts).map(Some);
        }
        if let Some(key_ref) = &from.config_map_key_ref {
            let optional = key_ref.optional == Some(true);
            let Some(map) = self.sources.config_map(self.namespace, &key_ref.name) else {
                return if optional {
                    Ok(None)
                } else {
                    Err(EnvError::ConfigMapNotFound(key_ref.name.clone()))
                };
            };
            return match map.data.as_ref().and_then(|d| d.get(&key_ref.key)) {
                Some(value) => Ok(Some(value.clone())),
                None if optional => Ok(None),
                None => Err(missing("ConfigMap", &key_ref.key, &key_ref.name)),
            };
        }
        if let Some(key_ref) = &from.secret_key_ref {
            let optional = key_ref.optional == Some(true);
            let Some(secret) = self.sources.secret(self.namespace, &key_ref.name) else {
                return if optional { Ok(None) } else { Err(EnvError::SecretNotFound(key_ref.name.clone())) };
            };
            return match secret.data.as_ref().and_then(|d| d.get(&key_ref.key)) {
                Some(value) => Ok(Some(String::from_utf8_lossy(&value.0).into_owned())),
                None if optional => Ok(None),
                None => Err(missing("Secret", &key_ref.key, &key_ref.name)),
            };
        }
        match from.file_key_ref {
            Some(_) => Err(EnvError::Unsupported(variable.to_owned(), "fileKeyRef")),
            None => Ok(None),
        }
    }

    fn add_sources(&self, container: &Container, out: &mut BTreeMap<String, String>) -> Result<(), EnvError> {
        for source in container.env_from.iter().flatten() {
            let prefix = source.prefix.as_deref().unwrap_or_default();
            if let Some(reference) = &source.config_map_ref {
                match self.sources.config_map(self.namespace, &reference.name) {
                    Some(map) => {
                        for (key, value) in map.data.iter().flatten() {
                            out.insert(format!("{prefix}{key}"), value.clone());
                        }
                    }
                    None if reference.optional == Some(true) => {}
                    None => return Err(EnvError::ConfigMapNotFound(reference.name.clone())),
                }
            } else if let Some(reference) = &source.secret_ref {
                match self.sources.secret(self.namespace, &reference.name) {
                    Some(secret) => {
                        for (key, value) in secret.data.iter().flatten() {
                            out.insert(
                                format!("{prefix}{key}"),
                                String::from_utf8_lossy(&value.0).into_owned(),
                            );
                        }
                    }
                    None if reference.optional == Some(true) => {}
                    None => return Err(EnvError::SecretNotFound(reference.name.clone())),
                }
            }
        }
        Ok(())
    }
}

/// The variables of one container, without those of its image.
pub fn build(
    pod: &Pod,
    container: &Container,
    facts: &Facts,
    sources: &dyn Sources,
) -> Result<Vec<(String, String)>, EnvError> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let links_wanted = pod.spec.as_ref().and_then(|s| s.enable_service_links).unwrap_or(true);
    let links = service_links(namespace, links_wanted, sources);
    let builder = Builder { pod, facts, sources, namespace };
    let mut known = BTreeMap::new();
    builder.add_sources(container, &mut known)?;
    let mut out: Vec<(String, String)> = known.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
    for variable in container.env.iter().flatten() {
        let value = match (&variable.value, &variable.value_from) {
            (Some(value), _) if !value.is_empty() => {
                Some(expand(value, |name| known.get(name).or_else(|| links.get(name)).cloned()))
            }
            (_, Some(from)) => builder.reference(&variable.name, container, from)?,
            _ => Some(String::new()),
        };
        let Some(value) = value else { continue };
        known.insert(variable.name.clone(), value.clone());
        out.retain(|(name, _)| *name != variable.name);
        out.push((variable.name.clone(), value));
    }
    out.extend(links.into_iter().filter(|(name, _)| !known.contains_key(name)));
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    struct Fixed;
    impl Sources for Fixed {
        fn config_map(&self, _: &str, name: &str) -> Option<Arc<ConfigMap>> {
            (name == "cm")
                .then(|| Arc::new(serde_json::from_value(json!({"data": {"A": "1", "B": "2"}})).unwrap()))
        }
        fn secret(&self, _: &str, name: &str) -> Option<Arc<Secret>> {
            (name == "s").then(|| Arc::new(serde_json::from_value(json!({"data": {"P": "cHc="}})).unwrap()))
        }
        fn services(&self, namespace: &str) -> Vec<Arc<Service>> {
            let (name, ip) =
                if namespace == "default" { ("kubernetes", "10.43.0.1") } else { ("my-db", "10.43.0.9") };
            vec![Arc::new(
                serde_json::from_value(json!({"metadata": {"name": name}, "spec": {"clusterIP": ip,
                    "ports": [{"name": "https", "port": 443, "protocol": "TCP"}]}}))
                .unwrap(),
            )]
        }
    }

    fn env(container: serde_json::Value) -> Result<Vec<(String, String)>, EnvError> {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "p", "namespace": "ns", "uid": "u", "labels": {"app": "x"}},
            "spec": {"containers": [container], "nodeName": "n"}
        }))
        .unwrap();
        let facts = Facts { host_ip: "192.0.2.1".into(), pod_ip: "10.42.0.5".into(), ..Facts::default() };
        build(&pod, &pod.spec.as_ref().unwrap().containers[0], &facts, &Fixed)
    }

    fn get<'a>(env: &'a [(String, String)], name: &str) -> Option<&'a str> {
        env.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    #[test]
    fn references_expand_and_unknown_ones_stay() {
        let table = [
            ("a$(X)b", "a1b"),
            ("$$(X)", "$(X)"),
            ("$(Y)", "$(Y)"),
            ("$", "$"),
            ("$X", "$X"),
            ("$(X", "$(X"),
        ];
        for (text, expected) in table {
            assert_eq!(expand(text, |n| (n == "X").then(|| "1".to_owned())), expected, "{text}");
        }
    }

    #[test]
    fn every_kind_of_source_gives_its_value() {
        let env = env(json!({"name": "c",
            "envFrom": [{"prefix": "CM_", "configMapRef": {"name": "cm"}}],
            "resources": {"limits": {"cpu": "1500m", "memory": "64Mi"}},
            "env": [
                {"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                {"name": "LABEL", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}},
                {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
                {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
                {"name": "MEM", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}}},
                {"name": "PW", "valueFrom": {"secretKeyRef": {"name": "s", "key": "P"}}},
                {"name": "ALL", "value": "$(NAME)-$(CM_A)-$(MY_DB_SERVICE_PORT)"}
            ]}))
        .unwrap();
        for (name, expected) in [
            ("NAME", "p"),
            ("LABEL", "x"),
            ("IP", "10.42.0.5"),
            ("CPU", "2"),
            ("MEM", "64"),
            ("PW", "pw"),
            ("CM_B", "2"),
            ("ALL", "p-1-443"),
            ("KUBERNETES_SERVICE_HOST", "10.43.0.1"),
            ("KUBERNETES_PORT_443_TCP_ADDR", "10.43.0.1"),
            ("MY_DB_PORT", "tcp://10.43.0.9:443"),
        ] {
            assert_eq!(get(&env, name), Some(expected), "{name}");
        }
    }

    #[test]
    fn what_is_missing_is_said_in_stock_words() {
        let message = |from| {
            env(json!({"name": "c", "env": [{"name": "X", "valueFrom": from}]})).map_err(|e| e.to_string())
        };
        assert_eq!(
            message(json!({"configMapKeyRef": {"name": "no", "key": "k"}})).unwrap_err(),
            "configmap \"no\" not found"
        );
        assert_eq!(
            message(json!({"secretKeyRef": {"name": "s", "key": "k"}})).unwrap_err(),
            "couldn't find key k in Secret ns/s"
        );
        assert_eq!(
            get(&message(json!({"secretKeyRef": {"name": "s", "key": "k", "optional": true}})).unwrap(), "X"),
            None
        );
    }
}
