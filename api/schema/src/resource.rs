//! Which resources are served: `data/resources.txt`, whose format is described at its top.

use std::sync::Arc;

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupVersionKind {
    pub group: Arc<str>,
    pub version: Arc<str>,
    pub kind: Arc<str>,
}

impl GroupVersionKind {
    pub fn new(group: &str, version: &str, kind: &str) -> GroupVersionKind {
        GroupVersionKind { group: group.into(), version: version.into(), kind: kind.into() }
    }

    /// As a stock server prints it: `apps/v1, Kind=Deployment`, `/v1, Kind=Pod`.
    pub fn printed(&self) -> String {
        format!("{}/{}, Kind={}", self.group, self.version, self.kind)
    }
}

/// One served resource version, e.g. `apps/v1` `deployments`. Discovery documents are written from it.
#[derive(Clone, Debug)]
pub struct ApiResource {
    pub gvk: GroupVersionKind,
    pub plural: Arc<str>,
    pub singular: Arc<str>,
    pub namespaced: bool,
    pub short_names: Vec<Arc<str>>,
    pub categories: Vec<Arc<str>>,
    /// As discovery orders them: create, delete, deletecollection, get, list, patch, update, watch.
    pub verbs: Vec<Arc<str>>,
    pub subresources: Vec<Subresource>,
    /// Base64 of discovery's `storageVersionHash`, where the stock server gives one.
    pub storage_version_hash: Option<Arc<str>>,
    /// A deletion is answered with the object, not with a `Status`.
    pub returns_deleted: bool,
}

#[derive(Clone, Debug)]
pub struct Subresource {
    /// `status`, `scale`, `binding`, `log` …
    pub name: Arc<str>,
    /// The kind it takes and gives, e.g. autoscaling/v1 Scale.
    pub gvk: GroupVersionKind,
    pub verbs: Vec<Arc<str>>,
}

const ALL_VERBS: &str = "create,delete,deletecollection,get,list,patch,update,watch";

/// `text` is checked by this crate's tests; a line that does not fit is left out.
pub(crate) fn read(text: &str) -> Vec<ApiResource> {
    let mut group_version = (Arc::from(""), Arc::from(""));
    let mut resources: Vec<ApiResource> = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let indented = line.starts_with(' ');
        match words[..] {
            ["group", group, version] => group_version = (group_name(group), version.into()),
            [name, kind, verbs, ref options @ ..] if indented => {
                if let Some(resource) = resources.last_mut() {
                    let gvk = kind_at(&group_version, kind, options);
                    resource.subresources.push(Subresource { name: name.into(), gvk, verbs: list(verbs) });
                }
            }
            [plural, kind, singular, scope, verbs, ref options @ ..] => resources.push(ApiResource {
                gvk: kind_at(&group_version, kind, options),
                plural: plural.into(),
                singular: singular.into(),
                namespaced: scope == "ns",
                short_names: option(options, "short=").map(list).unwrap_or_default(),
                categories: option(options, "cat=").map(list).unwrap_or_default(),
                verbs: list(verbs),
                subresources: Vec::new(),
                storage_version_hash: option(options, "hash=").map(Arc::from),
                returns_deleted: options.contains(&"delete=object"),
            }),
            _ => {}
        }
    }
    resources
}

fn group_name(name: &str) -> Arc<str> {
    Arc::from(if name == "core" { "" } else { name })
}

fn option<'a>(options: &[&'a str], name: &str) -> Option<&'a str> {
    options.iter().find_map(|option| option.strip_prefix(name))
}

fn kind_at(here: &(Arc<str>, Arc<str>), kind: &str, options: &[&str]) -> GroupVersionKind {
    let elsewhere = option(options, "at=").and_then(|at| at.split_once('/'));
    let (group, version) = elsewhere.map_or_else(|| here.clone(), |(g, v)| (group_name(g), v.into()));
    GroupVersionKind { group, version, kind: kind.into() }
}

fn list(words: &str) -> Vec<Arc<str>> {
    let words = match words {
        "*" => ALL_VERBS,
        "+" => "get,patch,update",
        other => other,
    };
    words.split(',').map(Arc::from).collect()
}
