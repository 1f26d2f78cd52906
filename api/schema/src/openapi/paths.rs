//! Paths and operations of a resource, in both dialects.

use super::{Dialect, gvk_value};
use crate::resource::{ApiResource, GroupVersionKind};
use serde_json::{Map, Value, json};

/// Gives the name of a kind's definition.
pub(super) type Definition<'a> = &'a mut dyn FnMut(&GroupVersionKind) -> Option<String>;

const MEDIA_TYPES: [&str; 3] =
    ["application/json", "application/yaml", "application/vnd.kubernetes.protobuf"];

const PATCH_TYPES: [&str; 5] = [
    "application/apply-patch+yaml",
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+cbor",
];

/// Name, type, description.
type Parameter = (&'static str, &'static str, &'static str);

const PRETTY: Parameter = (
    "pretty",
    "string",
    "If 'true', then the output is pretty printed. Defaults to 'false' unless the user-agent indicates a browser or command-line HTTP tool (curl and wget).",
);
const WRITE: [Parameter; 3] = [
    (
        "dryRun",
        "string",
        "When present, indicates that modifications should not be persisted. An invalid or unrecognized dryRun directive will result in an error response and no further processing of the request. Valid values are: - All: all dry run stages will be processed",
    ),
    (
        "fieldManager",
        "string",
        "fieldManager is a name associated with the actor or entity that is making these changes. The value must be less than or 128 characters long, and only contain printable characters, as defined by https://golang.org/pkg/unicode/#IsPrint.",
    ),
    (
        "fieldValidation",
        "string",
        "fieldValidation instructs the server on how to handle objects in the request (POST/PUT/PATCH) containing unknown or duplicate fields. Valid values are: Ignore, Warn and Strict.",
    ),
];
const FORCE: Parameter = (
    "force",
    "boolean",
    "Force is going to \"force\" Apply requests. It means user will re-acquire conflicting fields owned by other people. Force flag must be unset for non-apply patch requests.",
);
const LIST: [Parameter; 10] = [
    ("allowWatchBookmarks", "boolean", "allowWatchBookmarks requests watch events with type \"BOOKMARK\"."),
    ("continue", "string", "The continue option should be set when retrieving more results from the server."),
    (
        "fieldSelector",
        "string",
        "A selector to restrict the list of returned objects by their fields. Defaults to everything.",
    ),
    (
        "labelSelector",
        "string",
        "A selector to restrict the list of returned objects by their labels. Defaults to everything.",
    ),
    ("limit", "integer", "limit is a maximum number of responses to return for a list call."),
    (
        "resourceVersion",
        "string",
        "resourceVersion sets a constraint on what resource versions a request may be served from.",
    ),
    (
        "resourceVersionMatch",
        "string",
        "resourceVersionMatch determines how resourceVersion is applied to list calls.",
    ),
    ("sendInitialEvents", "boolean", "`sendInitialEvents=true` may be set together with `watch=true`."),
    ("timeoutSeconds", "integer", "Timeout for the list/watch call."),
    (
        "watch",
        "boolean",
        "Watch for changes to the described resources and return them as a stream of add, update, and remove notifications. Specify resourceVersion.",
    ),
];
const DELETE: [Parameter; 5] = [
    ("dryRun", "string", "When present, indicates that modifications should not be persisted."),
    ("gracePeriodSeconds", "integer", "The duration in seconds before the object should be deleted."),
    (
        "ignoreStoreReadErrorWithClusterBreakingPotential",
        "boolean",
        "if set to true, it will trigger an unsafe deletion of the resource in case the normal deletion flow fails with a corrupt object error.",
    ),
    (
        "orphanDependents",
        "boolean",
        "Deprecated: please use the PropagationPolicy. Should the dependent objects be orphaned.",
    ),
    ("propagationPolicy", "string", "Whether and how garbage collection will be performed."),
];

/// The paths of a resource that is not built in, e.g. a CRD's. `definition` and `list_definition` name its schemas.
pub fn openapi_v3_paths(
    resource: &ApiResource,
    definition: &str,
    list_definition: &str,
) -> Map<String, Value> {
    let list_kind = format!("{}List", resource.gvk.kind);
    of(Dialect::V3, resource, &mut |gvk| {
        let is_meta = gvk.group.is_empty() && matches!(&*gvk.kind, "Status" | "DeleteOptions" | "Patch");
        Some(match () {
            () if is_meta => format!("io.k8s.apimachinery.pkg.apis.meta.v1.{}", gvk.kind),
            () if *gvk.kind == *list_kind => list_definition.to_string(),
            () if &*gvk.kind == "Scale" => "io.k8s.api.autoscaling.v1.Scale".to_string(),
            () => definition.to_string(),
        })
    })
}

pub(super) fn of(dialect: Dialect, resource: &ApiResource, definition: Definition<'_>) -> Map<String, Value> {
    let gvk = &resource.gvk;
    let root = match &*gvk.group {
        "" => format!("/api/{}", gvk.version),
        group => format!("/apis/{group}/{}", gvk.version),
    };
    let collection = match resource.namespaced {
        true => format!("{root}/namespaces/{{namespace}}/{}", resource.plural),
        false => format!("{root}/{}", resource.plural),
    };
    let mut paths = Map::new();
    let has = |verb: &str| resource.verbs.iter().any(|known| &**known == verb);
    let mut writer = Writer { dialect, resource, definition };
    if resource.namespaced && has("list") {
        let item = writer.item(&["list"], gvk, "ForAllNamespaces", false, false);
        paths.insert(format!("{root}/{}", resource.plural), item);
    }
    let on_collection: Vec<&str> =
        ["list", "create", "deletecollection"].into_iter().filter(|verb| has(verb)).collect();
    if !on_collection.is_empty() {
        paths.insert(collection.clone(), writer.item(&on_collection, gvk, "", resource.namespaced, false));
    }
    let on_object: Vec<&str> =
        ["get", "update", "delete", "patch"].into_iter().filter(|verb| has(verb)).collect();
    if !on_object.is_empty() {
        paths.insert(
            format!("{collection}/{{name}}"),
            writer.item(&on_object, gvk, "", resource.namespaced, true),
        );
    }
    for subresource in &resource.subresources {
        let verbs: Vec<&str> = subresource.verbs.iter().map(|verb| &**verb).collect();
        let suffix = capitalized(&subresource.name);
        let item = writer.item(&verbs, &subresource.gvk, &suffix, resource.namespaced, true);
        paths.insert(format!("{collection}/{{name}}/{}", subresource.name), item);
    }
    paths
}

fn capitalized(word: &str) -> String {
    let (first, rest) = word.split_at(word.len().min(1));
    format!("{}{rest}", first.to_uppercase())
}

struct Writer<'a> {
    dialect: Dialect,
    resource: &'a ApiResource,
    definition: Definition<'a>,
}

impl Writer<'_> {
    fn item(
        &mut self,
        verbs: &[&str],
        gvk: &GroupVersionKind,
        suffix: &str,
        namespaced: bool,
        named: bool,
    ) -> Value {
        let mut item = Map::new();
        for verb in verbs {
            let (method, action) = match *verb {
                "list" => ("get", "list"),
                "create" => ("post", "post"),
                "deletecollection" => ("delete", "deletecollection"),
                "update" => ("put", "put"),
                "patch" => ("patch", "patch"),
                "delete" => ("delete", "delete"),
                _ => ("get", "get"),
            };
            let scope = if namespaced { "Namespaced" } else { "" };
            item.insert(method.to_string(), self.operation(verb, action, gvk, scope, suffix));
        }
        let mut parameters = Vec::new();
        if named {
            parameters.push(self.path_parameter("name", &format!("name of the {}", self.resource.gvk.kind)));
        }
        if namespaced {
            parameters.push(
                self.path_parameter(
                    "namespace",
                    "object name and auth scope, such as for teams and projects",
                ),
            );
        }
        parameters.push(self.parameter(&PRETTY));
        item.insert("parameters".to_string(), parameters.into());
        item.into()
    }

    fn operation(
        &mut self,
        verb: &str,
        action: &str,
        gvk: &GroupVersionKind,
        scope: &str,
        suffix: &str,
    ) -> Value {
        let kind = &self.resource.gvk.kind;
        let group = capitalized(match &*self.resource.gvk.group {
            "" => "core",
            group => group.split('.').next().unwrap_or(group),
        });
        let version = capitalized(&self.resource.gvk.version);
        let word = match verb {
            "update" => "replace",
            "deletecollection" => "deleteCollection",
            "get" => "read",
            other => other,
        };
        let done = match verb {
            "list" => format!("list or watch objects of kind {kind}"),
            "create" => format!("create a {kind}"),
            "deletecollection" => format!("delete collection of {kind}"),
            "update" => format!("replace the specified {kind}"),
            "patch" => format!("partially update the specified {kind}"),
            "delete" => format!("delete a {kind}"),
            _ => format!("read the specified {kind}"),
        };
        let mut operation = Map::new();
        operation.insert("description".into(), done.into());
        operation.insert("operationId".into(), format!("{word}{group}{version}{scope}{kind}{suffix}").into());
        operation.insert(
            "tags".into(),
            json!([format!("{}_{}", group.to_lowercase(), self.resource.gvk.version)]),
        );
        let mut parameters: Vec<Value> = match verb {
            "list" => LIST.iter().map(|parameter| self.parameter(parameter)).collect(),
            "create" | "update" => WRITE.iter().map(|parameter| self.parameter(parameter)).collect(),
            "patch" => WRITE.iter().chain([&FORCE]).map(|parameter| self.parameter(parameter)).collect(),
            "delete" => DELETE.iter().map(|parameter| self.parameter(parameter)).collect(),
            "deletecollection" => {
                DELETE.iter().chain(&LIST[1..7]).map(|parameter| self.parameter(parameter)).collect()
            }
            _ => Vec::new(),
        };
        self.body(verb, gvk, &mut operation, &mut parameters);
        if !parameters.is_empty() {
            operation.insert("parameters".into(), parameters.into());
        }
        operation.insert("responses".into(), self.responses(verb, gvk));
        operation.insert("x-kubernetes-action".into(), action.into());
        operation.insert("x-kubernetes-group-version-kind".into(), gvk_value(gvk));
        operation.into()
    }

    fn body(
        &mut self,
        verb: &str,
        gvk: &GroupVersionKind,
        operation: &mut Map<String, Value>,
        parameters: &mut Vec<Value>,
    ) {
        let meta = |kind: &str| GroupVersionKind::new("", "v1", kind);
        let schema = match verb {
            "create" | "update" => (self.definition)(gvk).map(|name| self.dialect.reference(&name)),
            "delete" | "deletecollection" => {
                (self.definition)(&meta("DeleteOptions")).map(|name| self.dialect.reference(&name))
            }
            "patch" => Some(json!({ "type": "object" })),
            _ => None,
        };
        let Some(schema) = schema else { return };
        let types: &[&str] = if verb == "patch" { &PATCH_TYPES } else { &["*/*"] };
        match self.dialect {
            Dialect::V2 => {
                operation.insert("consumes".into(), types.iter().map(|name| Value::from(*name)).collect());
                let required = !verb.starts_with("delete");
                let mut body = json!({ "name": "body", "in": "body", "schema": schema });
                if required {
                    body["required"] = true.into();
                }
                parameters.push(body);
            }
            Dialect::V3 => {
                let content: Map<String, Value> =
                    types.iter().map(|name| (name.to_string(), json!({ "schema": schema }))).collect();
                operation.insert("requestBody".into(), json!({ "content": content }));
            }
        }
    }

    fn responses(&mut self, verb: &str, gvk: &GroupVersionKind) -> Value {
        let answered = match verb {
            "list" => GroupVersionKind::new(&gvk.group, &gvk.version, &format!("{}List", gvk.kind)),
            "delete" if self.resource.returns_deleted => gvk.clone(),
            "delete" | "deletecollection" => GroupVersionKind::new("", "v1", "Status"),
            _ => gvk.clone(),
        };
        // Options kinds are read from the query; what is answered is a stream.
        let definition = if answered.kind.ends_with("Options") { None } else { (self.definition)(&answered) };
        let schema = match definition {
            Some(name) => self.dialect.reference(&name),
            None => json!({ "type": "string" }),
        };
        let mut response = json!({ "description": "OK" });
        match self.dialect {
            Dialect::V2 => response["schema"] = schema,
            Dialect::V3 => {
                let content: Map<String, Value> =
                    MEDIA_TYPES.iter().map(|name| (name.to_string(), json!({ "schema": schema }))).collect();
                response["content"] = content.into();
            }
        }
        let mut responses = json!({ "200": response, "401": { "description": "Unauthorized" } });
        if verb == "create" {
            let mut created = responses["200"].clone();
            created["description"] = "Created".into();
            responses["201"] = created;
        }
        responses
    }

    fn path_parameter(&self, name: &str, description: &str) -> Value {
        match self.dialect {
            Dialect::V2 => {
                json!({ "name": name, "in": "path", "description": description, "required": true, "type": "string", "uniqueItems": true })
            }
            Dialect::V3 => {
                json!({ "name": name, "in": "path", "description": description, "required": true, "schema": { "type": "string", "uniqueItems": true } })
            }
        }
    }

    fn parameter(&self, (name, ty, description): &Parameter) -> Value {
        match self.dialect {
            Dialect::V2 => {
                json!({ "name": name, "in": "query", "description": description, "type": ty, "uniqueItems": true })
            }
            Dialect::V3 => {
                json!({ "name": name, "in": "query", "description": description, "schema": { "type": ty, "uniqueItems": true } })
            }
        }
    }
}
