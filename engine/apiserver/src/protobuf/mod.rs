//! Protobuf bodies, as typed Go clients (and several commands of kubectl) send and prefer them, to JSON and back.
//!
//! Driven by the field numbers of the schema's table; there is no code per kind. Kept true: an object goes through both
//! directions unchanged, and its bytes are those that a stock server writes. What is raw (extensions, managed fields)
//! stays as it is. Nothing is lost in silence: a field that the schema has without its number is an error when it must
//! be written.
//!
//! Fields of numbers that the schema does not know survive, of whatever wire type: they are one member of their object,
//! `$unknown`, where people, admission and `kubectl` see them, and end their message again when it is written. Only
//! there: bytes under a known number never leave, whoever put them into the member, or they would pass by defaulting and
//! validation. So a later version whose schema knows the number drops the field. Passed over are unknown numbers in
//! messages that are no objects in JSON (times, quantities, raw extensions, entries of maps, the envelope), in structs
//! of which the schema lacks a number, and those of fields that Kubernetes once had.
//! Source: https://kubernetes.io/docs/reference/using-api/api-concepts/#protobuf-encoding

mod list;
mod read;
#[cfg(test)]
mod tests;
mod wire;
mod write;

pub use list::{Items, list_body};
pub use read::{ReadError, decode};
pub use write::{encode, message, watch_frame};

use coracle_schema::{GroupVersionKind, Node, Registry, Struct};

pub const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";
const MAGIC: &[u8] = b"k8s\0";
/// Of the forms that are metadata alone. Their messages are those of the version after it, but for the list.
pub const OLD_META: &str = "meta.k8s.io/v1beta1";
/// Deeper than any object of Kubernetes; a schema that refers to itself must not exhaust the stack.
const MAX_DEPTH: usize = 64;

fn gvk(api_version: &str, kind: &str) -> GroupVersionKind {
    let api_version = if api_version == OLD_META { "meta.k8s.io/v1" } else { api_version };
    let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
    GroupVersionKind { group: group.into(), version: version.into(), kind: kind.into() }
}

/// Whether every number of the struct is known: only then it is certain that another one is unknown.
fn numbers_all(shape: Struct<'_>) -> bool {
    shape.unnumbered_fields().next().is_none()
}

/// The schema of schemas, which the scalars for "a schema or something simpler" refer to.
fn json_schema_props() -> Option<Node<'static>> {
    const NAME: &str = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps";
    Registry::builtin().definition_node(NAME)
}
