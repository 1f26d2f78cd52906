//! From a resource or an owner reference to what a request needs, without discovery.
//!
//! Reads: the schema registry for built-in kinds; CustomResourceDefinitions in the store for the others.

use std::sync::Arc;

use coracle_schema::Registry;
use coracle_store::{Reader, Resource};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, CustomResourceDefinitionVersion,
};
use kube::{
    Api, Client,
    core::{ApiResource, DynamicObject},
};

use crate::read;

/// One resource in the version that requests name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kind {
    pub api: ApiResource,
    pub namespaced: bool,
    /// It can be listed and deleted: not a review.
    pub stored: bool,
}

impl Kind {
    pub fn resource(&self) -> Resource {
        Resource(resource_name(&self.api.plural, &self.api.group).into())
    }

    pub fn api(&self, client: &Client, namespace: &str) -> Api<DynamicObject> {
        if self.namespaced {
            Api::namespaced_with(client.clone(), namespace, &self.api)
        } else {
            Api::all_with(client.clone(), &self.api)
        }
    }
}

fn resource_name(plural: &str, group: &str) -> String {
    if group.is_empty() { plural.to_owned() } else { format!("{plural}.{group}") }
}

/// Every built-in resource once, in its preferred version.
pub fn builtin() -> Vec<Kind> {
    let mut kinds: Vec<Kind> = Vec::new();
    for resource in Registry::builtin().resources() {
        let known =
            |kind: &Kind| kind.api.plural == *resource.plural && kind.api.group == *resource.gvk.group;
        if !kinds.iter().any(known) {
            let can = |verb: &str| resource.verbs.iter().any(|other| &**other == verb);
            let stored = can("list") && can("delete");
            kinds.push(kind(
                &resource.gvk.group,
                &resource.gvk.version,
                &resource.gvk.kind,
                &resource.plural,
                resource.namespaced,
                stored,
            ));
        }
    }
    kinds
}

pub fn kind(group: &str, version: &str, kind: &str, plural: &str, namespaced: bool, stored: bool) -> Kind {
    let api_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    let api = ApiResource {
        group: group.to_owned(),
        version: version.to_owned(),
        api_version,
        kind: kind.to_owned(),
        plural: plural.to_owned(),
    };
    Kind { api, namespaced, stored }
}

fn custom(definition: &CustomResourceDefinition) -> Option<Kind> {
    let spec = &definition.spec;
    // The stored version, unless requests cannot name it.
    let first = |fits: fn(&CustomResourceDefinitionVersion) -> bool| spec.versions.iter().find(|it| fits(it));
    let version = first(|it| it.storage && it.served).or_else(|| first(|it| it.served || it.storage))?;
    Some(kind(
        &spec.group,
        &version.name,
        &spec.names.kind,
        &spec.names.plural,
        spec.scope == "Namespaced",
        true,
    ))
}

#[derive(Clone)]
pub struct Kinds {
    builtin: Arc<[Kind]>,
    reader: Reader,
}

impl Kinds {
    pub fn new(reader: Reader) -> Kinds {
        Kinds { builtin: builtin().into(), reader }
    }

    pub fn builtin(&self) -> &[Kind] {
        &self.builtin
    }

    pub fn of_resource(&self, resource: &Resource) -> Option<Kind> {
        let fits = |kind: &Kind| *resource.0 == resource_name(&kind.api.plural, &kind.api.group);
        self.find(fits)
    }

    /// Any version of the group will do: an object is the same in all of them.
    pub fn of_owner(&self, api_version: &str, kind: &str) -> Option<Kind> {
        let group = api_version.split_once('/').map_or("", |(group, _)| group);
        self.find(|known| known.api.group == group && known.api.kind == kind)
    }

    fn find(&self, fits: impl Fn(&Kind) -> bool) -> Option<Kind> {
        self.builtin.iter().find(|kind| fits(kind)).cloned().or_else(|| {
            let snapshot = self.reader.snapshot();
            let scope = read::scope("customresourcedefinitions.apiextensions.k8s.io", None);
            let mut definitions = snapshot.list(&scope);
            definitions.find_map(|object| {
                custom(&*object.decode::<CustomResourceDefinition>().ok()?).filter(|kind| fits(kind))
            })
        })
    }
}
