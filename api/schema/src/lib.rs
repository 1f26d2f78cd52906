//! What every kind looks like: one engine driven by one table, for built-in kinds and CRDs alike.
//! CONTRACT: public names and signatures below are what the other crates compile against.

use serde_json::Value;
use std::sync::Arc;

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupVersionKind {
    pub group: Arc<str>,
    pub version: Arc<str>,
    pub kind: Arc<str>,
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
}

#[derive(Clone, Debug)]
pub struct Subresource {
    /// `status`, `scale`, `binding`, `log` …
    pub name: Arc<str>,
    /// The kind it takes and gives, e.g. autoscaling/v1 Scale.
    pub gvk: GroupVersionKind,
    pub verbs: Vec<Arc<str>>,
}

/// One way in which an object's JSON does not fit its schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FieldIssue {
    /// `unknown field "spec.foo"`
    Unknown { path: String },
    /// `duplicate field "spec.foo"`
    Duplicate { path: String },
}

#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The message is the stock server's for malformed JSON or YAML.
    #[error("{0}")]
    Syntax(String),
    /// A field has the wrong JSON type. The message is the stock server's, e.g.
    /// `json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32`.
    #[error("{0}")]
    Type(String),
}

#[derive(Debug, thiserror::Error)]
pub enum PatchError {
    #[error("{0}")]
    Invalid(String),
    /// A JSON patch `test` failed or a path is missing: 422 on the stock server.
    #[error("{0}")]
    NotApplicable(String),
}

/// The shape of one object type. Cheap to clone; the same type for built-in kinds and CRDs.
#[derive(Clone)]
pub struct Schema {}

impl Schema {
    /// Types are checked, unknown fields removed and reported, fields ordered as the table orders them. Strings of
    /// quantity, int-or-string and time fields are brought into canonical form.
    pub fn prune(&self, _object: &mut Value) -> Result<Vec<FieldIssue>, DecodeError> {
        unimplemented!()
    }
    /// Fills in the defaults that a stock server fills in.
    pub fn default(&self, _object: &mut Value) {
        unimplemented!()
    }
    pub fn strategic_merge(&self, _target: &mut Value, _patch: &Value) -> Result<(), PatchError> {
        unimplemented!()
    }
}

/// All kinds that are known: the generated table.
pub struct Registry {}

impl Registry {
    /// The built-in kinds of Kubernetes 1.36. Built once, shared.
    pub fn builtin() -> &'static Registry {
        unimplemented!()
    }
    /// Every resource version the stock server serves by default, in the order of discovery.
    pub fn resources(&self) -> &[ApiResource] {
        unimplemented!()
    }
    /// Also for kinds that are no resources: `Status`, `DeleteOptions`, `Scale`, `Eviction`, `TokenRequest` …
    pub fn schema(&self, _gvk: &GroupVersionKind) -> Option<Schema> {
        unimplemented!()
    }
}

/// Parses JSON. Duplicate keys are reported as issues, the last one wins.
pub fn parse_json(_bytes: &[u8]) -> Result<(Value, Vec<FieldIssue>), DecodeError> {
    unimplemented!()
}

/// Parses one YAML document into the JSON it stands for.
pub fn parse_yaml(_bytes: &[u8]) -> Result<(Value, Vec<FieldIssue>), DecodeError> {
    unimplemented!()
}

/// RFC 7386.
pub fn json_merge_patch(_target: &mut Value, _patch: &Value) {
    unimplemented!()
}

/// RFC 6902. `patch` is the array of operations. All or nothing.
pub fn json_patch(_target: &mut Value, _patch: &Value) -> Result<(), PatchError> {
    unimplemented!()
}
