//! The routes of all Ingresses, as requests read them: immutable, built anew at each change. Pure.

use std::{
    collections::{HashMap, HashSet},
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use k8s_openapi::api::networking::v1::{HTTPIngressPath, Ingress, IngressBackend, IngressRule, IngressSpec};

use crate::{
    annotations::{Annotations, CLASS},
    backend::{Backend, Target},
    certificates::{CertificateCache, Certificates},
    notices::{Problem, uid_of},
    objects::{Index, Objects},
    router::{PathKind, Route, Router},
};

/// What an IngressClass names as its controller when it means this proxy.
const CONTROLLER: &str = "k8s.io/ingress-nginx";

const DEFAULT_CLASS: &str = "ingressclass.kubernetes.io/is-default-class";

#[derive(Default)]
pub struct Table {
    pub router: Router,
    pub certificates: Certificates,
    /// Where the cluster's DNS listens.
    pub dns: Option<IpAddr>,
    /// Every Ingress that is served here, oldest first.
    pub served: Vec<Arc<Ingress>>,
    /// What their owners should know.
    pub problems: Vec<Problem>,
}

impl Table {
    pub fn build(
        objects: &Objects,
        class: &str,
        cluster_domain: &str,
        cache: &mut CertificateCache,
    ) -> Table {
        let index = Index::new(objects, cluster_domain);
        let mut served: Vec<Arc<Ingress>> =
            objects.ingresses.iter().filter(|ingress| is_ours(ingress, objects, class)).cloned().collect();
        // Where two claim the same path, the older one has it.
        served.sort_by_key(|ingress| {
            let metadata = &ingress.metadata;
            (metadata.creation_timestamp.clone(), metadata.namespace.clone(), metadata.name.clone())
        });
        let mut table = Table { dns: index.dns(), ..Table::default() };
        let secure = secure_hosts(&served);
        let mut made: Vec<Sites<'_>> =
            served.iter().filter_map(|ingress| Sites::of(ingress, &index)).collect();
        for sites in &mut made {
            sites.add_rules(&mut table.router, &secure);
        }
        let mut problems = paths_taken(&served);
        // Behind all rules: where a rule has the path `/`, it stays with it.
        for sites in &mut made {
            sites.add_default(&mut table.router, &secure);
        }
        problems.extend(made.into_iter().flat_map(|sites| sites.problems));
        table.router.sort();
        table.certificates = cache.load(&served, &objects.secrets, &mut problems);
        table.problems = problems;
        table.served = served;
        table
    }

    /// All addresses that requests may go to.
    pub fn addresses(&self) -> HashSet<SocketAddr> {
        let targets = self.router.backends().map(|backend| &backend.target);
        let endpoints = targets.filter_map(|target| match target {
            Target::Endpoints(addresses) => Some(addresses.iter().copied()),
            Target::Dns { .. } | Target::Absent => None,
        });
        endpoints.flatten().collect()
    }
}

/// Paths that an older Ingress has.
fn paths_taken(served: &[Arc<Ingress>]) -> Vec<Problem> {
    let mut owners: HashMap<(String, PathKind, &str), &Ingress> = HashMap::new();
    let mut problems = Vec::new();
    for ingress in served {
        for rule in ingress.spec.iter().flat_map(|spec| spec.rules.iter().flatten()) {
            let host = host_of(rule);
            for path in rule.http.iter().flat_map(|http| &http.paths) {
                let text = path_of(path);
                let owner =
                    owners.entry((host.clone(), kind_of(path), text)).or_insert_with(|| ingress.as_ref());
                if !std::ptr::eq(*owner, ingress.as_ref()) {
                    let metadata = &owner.metadata;
                    let namespace = metadata.namespace.as_deref().unwrap_or_default();
                    let name = metadata.name.as_deref().unwrap_or_default();
                    let message = format!(
                        "path `{host}{text}` has no effect: Ingress `{namespace}/{name}` is older and has it"
                    );
                    problems.push(Problem { uid: uid_of(ingress).into(), reason: "PathTaken", message });
                }
            }
        }
    }
    problems
}

/// By `ingressClassName`, else by the annotation, else as the default class.
fn is_ours(ingress: &Ingress, objects: &Objects, class: &str) -> bool {
    let named = ingress.spec.as_ref().and_then(|spec| spec.ingress_class_name.as_deref());
    let annotation = ingress.metadata.annotations.as_ref().and_then(|all| all.get(CLASS)).map(String::as_str);
    let controller_is_ours = |wanted: &str| {
        objects.classes.iter().any(|known| {
            known.metadata.name.as_deref() == Some(wanted)
                && known.spec.as_ref().and_then(|spec| spec.controller.as_deref()) == Some(CONTROLLER)
        })
    };
    match (named, annotation) {
        (Some(name), _) => name == class || controller_is_ours(name),
        (None, Some(name)) => name == class,
        (None, None) => objects.classes.iter().any(|known| {
            let annotations = known.metadata.annotations.as_ref();
            known.metadata.name.as_deref() == Some(class)
                && annotations.and_then(|all| all.get(DEFAULT_CLASS)).is_some_and(|value| value == "true")
        }),
    }
}

/// The hosts of rules that are under `tls` in their Ingress. Whoever else has rules for one is redirected too: the host
/// has a certificate, whichever Ingress brought it, as in ingress-nginx.
fn secure_hosts(served: &[Arc<Ingress>]) -> HashSet<String> {
    let specs = served.iter().filter_map(|ingress| ingress.spec.as_ref());
    let hosts = specs.flat_map(|spec| {
        let hosts = spec.rules.iter().flatten().map(host_of);
        hosts.filter(|host| has_tls(spec, host))
    });
    hosts.collect()
}

/// In lower case; empty for any.
fn host_of(rule: &IngressRule) -> String {
    rule.host.as_deref().unwrap_or_default().to_ascii_lowercase()
}

/// What one Ingress says, on its way into the router.
struct Sites<'a> {
    spec: &'a IngressSpec,
    namespace: &'a str,
    annotations: Annotations,
    index: &'a Index<'a>,
    /// Paths to the same Service port share one round.
    backends: HashMap<String, Arc<Backend>>,
    uid: &'a str,
    problems: Vec<Problem>,
}

impl<'a> Sites<'a> {
    fn of(ingress: &'a Ingress, index: &'a Index<'a>) -> Option<Sites<'a>> {
        let annotations = ingress.metadata.annotations.as_ref().map(Annotations::read);
        Some(Sites {
            spec: ingress.spec.as_ref()?,
            namespace: ingress.metadata.namespace.as_deref().unwrap_or_default(),
            annotations: annotations.unwrap_or_else(|| Annotations::read(&Default::default())),
            index,
            backends: HashMap::new(),
            uid: uid_of(ingress),
            problems: Vec::new(),
        })
    }

    fn add_rules(&mut self, router: &mut Router, secure: &HashSet<String>) {
        for rule in self.spec.rules.iter().flatten() {
            let host = host_of(rule);
            for path in rule.http.iter().flat_map(|http| &http.paths) {
                let backend = self.backend(&path.backend);
                router.add(&host, route(path, backend, self.redirects(&host, secure)));
            }
        }
    }

    /// For what is left of the Ingress's own hosts; for all others only where it has no rules.
    /// Source: ingress-nginx, `createServers`.
    fn add_default(&mut self, router: &mut Router, secure: &HashSet<String>) {
        let Some(backend) = &self.spec.default_backend else { return };
        let backend = self.backend(backend);
        let rules = self.spec.rules.as_deref().unwrap_or_default();
        let mut hosts: Vec<String> = rules.iter().map(host_of).collect();
        if hosts.is_empty() {
            hosts.push(String::new());
        }
        for host in hosts {
            let redirect = self.redirects(&host, secure);
            let backend = backend.clone();
            router.add(&host, Route { path: "/".into(), kind: PathKind::Prefix, backend, redirect });
        }
    }

    fn backend(&mut self, backend: &IngressBackend) -> Arc<Backend> {
        let key = format!("{:?}", backend.service);
        if let Some(made) = self.backends.get(&key) {
            return made.clone();
        }
        let target = self.index.target(self.namespace, backend);
        if target == Target::Absent {
            let (reason, message) = self.index.why_absent(self.namespace, backend);
            self.problems.push(Problem { uid: self.uid.into(), reason, message });
        }
        let target = if self.annotations.denies { Target::Absent } else { target };
        let made = Arc::new(Backend::new(target, self.annotations.settings));
        self.backends.insert(key, made.clone());
        made
    }

    fn redirects(&self, host: &str, secure: &HashSet<String>) -> bool {
        self.annotations.force_ssl_redirect || (self.annotations.ssl_redirect && secure.contains(host))
    }
}

/// Whether `host` (in lower case) is under the Ingress's `tls`. An entry without hosts is for those of the rules.
fn has_tls(spec: &IngressSpec, host: &str) -> bool {
    let covers = |listed: &String| {
        let listed = listed.to_ascii_lowercase();
        let below_star = || {
            listed
                .strip_prefix("*.")
                .is_some_and(|suffix| host.split_once('.').is_some_and(|(_, rest)| rest == suffix))
        };
        listed == host || below_star()
    };
    spec.tls.iter().flatten().any(|tls| match tls.hosts.as_deref().unwrap_or_default() {
        [] => !host.is_empty(),
        hosts => hosts.iter().any(covers),
    })
}

fn route(path: &HTTPIngressPath, backend: Arc<Backend>, redirect: bool) -> Route {
    Route { path: path_of(path).to_owned(), kind: kind_of(path), backend, redirect }
}

fn kind_of(path: &HTTPIngressPath) -> PathKind {
    match path.path_type.as_str() {
        "Exact" => PathKind::Exact,
        // The root is one place, whatever it is called.
        "ImplementationSpecific" if path_of(path) != "/" => PathKind::Beginning,
        _ => PathKind::Prefix,
    }
}

fn path_of(path: &HTTPIngressPath) -> &str {
    path.path.as_deref().filter(|path| !path.is_empty()).unwrap_or("/")
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
