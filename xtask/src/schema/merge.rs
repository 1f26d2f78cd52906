//! Merges what the two crates say about a type.
//!
//! The field order is that of the protobuf message, which is that of the Go struct: so a printed object reads like
//! one printed by a stock server. A message field that JSON does not know is a struct that Go embeds: its
//! fields take its place. Fields that only JSON knows are newer than `k8s-pb`; they come last, without a number.

use super::model::{Field, Message, MessageField, OpenField, OpenType, Ty, Type, markers, normalized};
use anyhow::{Context, Result, bail};
use std::collections::{BTreeSet, HashMap, HashSet};

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";
const CORE: &str = "io.k8s.api.core.v1";

/// Kinds that are sent or stored, but which no OpenAPI document defines: they are read from the messages alone.
const MESSAGE_KINDS: &[(&str, &str)] = &[
    (CORE, "NodeProxyOptions"),
    (CORE, "PodAttachOptions"),
    (CORE, "PodExecOptions"),
    (CORE, "PodLogOptions"),
    (CORE, "PodPortForwardOptions"),
    (CORE, "PodProxyOptions"),
    (CORE, "PodStatusResult"),
    (CORE, "RangeAllocation"),
    (CORE, "SerializedReference"),
    (CORE, "ServiceProxyOptions"),
    (META, "CreateOptions"),
    (META, "GetOptions"),
    (META, "ListOptions"),
    (META, "PatchOptions"),
    (META, "UpdateOptions"),
    (META, "WatchEvent"),
    (META, "PartialObjectMetadata"),
    (META, "PartialObjectMetadataList"),
    (META, "TableOptions"),
];

/// Kinds of `meta/v1` that carry `kind` and `apiVersion`.
const META_KINDS: &[&str] =
    &["DeleteOptions", "Status", "APIGroup", "APIGroupList", "APIResourceList", "APIVersions"];

/// Protobuf numbers of fields that 1.36 has and the messages of `k8s-pb` do not.
const NEWER: &[(&str, &str, u32)] = &[
    ("CSIDriverSpec", "preventPodSchedulingIfMissing", 11),
    ("ImageVolumeStatus", "imageRef", 1),
    ("ListOptions", "shardSelector", 15),
    ("NodeAllocatableResourceClaimStatus", "containers", 2),
    ("NodeAllocatableResourceClaimStatus", "resourceClaimName", 1),
    ("NodeAllocatableResourceClaimStatus", "resources", 3),
    ("PodSchedulingGroup", "podGroupName", 1),
    ("PodSpec", "schedulingGroup", 43),
    ("PodStatus", "nodeAllocatableResourceClaimStatuses", 21),
    ("ListMeta", "shardInfo", 5),
    ("ResourceHealth", "message", 6),
    ("ShardInfo", "selector", 1),
    ("VolumeMountStatus", "volumeStatus", 5),
    ("VolumeStatus", "image", 1),
];

/// Types that came to a stable version after `k8s-pb` was made, with the messages of their beta version.
const PROMOTED: (&str, &str) =
    ("io.k8s.api.admissionregistration.v1", "io.k8s.api.admissionregistration.v1beta1");

type Messages<'a> = HashMap<(String, String), &'a Message>;

pub fn merge(open: &[OpenType], messages: &[Message]) -> Result<Vec<Type>> {
    let index: Messages = messages.iter().map(|m| ((m.package.clone(), normalized(&m.name)), m)).collect();
    let mut types = Vec::new();
    for ty in open {
        let find = |package: &str| index.get(&(package.to_string(), normalized(&ty.name))).copied();
        let promoted = || if ty.package == PROMOTED.0 { find(PROMOTED.1) } else { None };
        let message = find(&ty.package).or_else(promoted);
        types.push(
            merge_type(ty, message, &index).with_context(|| format!("merge `{}.{}`", ty.package, ty.name))?,
        );
        types.extend(ty.list_kind.as_ref().map(|kind| list_type(ty, kind, &index)));
    }
    for (package, name) in MESSAGE_KINDS {
        let message =
            index.get(&(package.to_string(), normalized(name))).with_context(|| format!("find `{name}`"))?;
        types.push(message_type(package, name, message));
    }
    types.sort_by(|a, b| (&a.package, &a.name).cmp(&(&b.package, &b.name)));
    drop_unreachable(&mut types);
    check_references(&types)?;
    Ok(types)
}

fn merge_type(ty: &OpenType, message: Option<&Message>, index: &Messages) -> Result<Type> {
    let mut by_name: HashMap<String, &OpenField> =
        ty.fields.iter().map(|f| (normalized(&f.json), f)).collect();
    let mut fields = Vec::new();
    let is_kind =
        ty.group_version_kind.is_some() || META_KINDS.contains(&ty.name.as_str()) && ty.package == META;
    if is_kind {
        by_name.remove("kind");
        by_name.remove("apiversion");
        fields.extend(type_meta());
    }
    if let Some(message) = message {
        place_fields(message, &[], index, &mut by_name, &mut fields)?;
    }
    let left = ty.fields.iter().filter(|field| by_name.contains_key(&normalized(&field.json)));
    let mut newer: Vec<Field> = left
        .map(|field| plain_field(&field.json, &field.description, field.ty.clone(), field.required))
        .collect();
    for field in &mut newer {
        let known = NEWER.iter().find(|(of, json, _)| *of == ty.name && *json == field.json);
        field.numbers.extend(known.map(|(_, _, number)| *number));
    }
    newer.sort_by_key(|field| field.numbers.first().copied().unwrap_or(u32::MAX));
    fields.extend(newer);
    Ok(Type {
        package: ty.package.clone(),
        name: ty.name.clone(),
        description: ty.description.clone(),
        atomic: message.is_some_and(|m| markers(&m.docs, "structType").any(|value| value == "atomic")),
        group_version_kind: ty.group_version_kind.clone(),
        fields,
    })
}

fn place_fields(
    message: &Message,
    outer: &[u32],
    index: &Messages,
    by_name: &mut HashMap<String, &OpenField>,
    fields: &mut Vec<Field>,
) -> Result<()> {
    for field in &message.fields {
        let numbers: Vec<u32> = outer.iter().copied().chain([field.number]).collect();
        if let Some(open) = by_name.remove(&normalized(&field.name)) {
            fields.push(merge_field(open, field, numbers));
        } else if GONE.contains(&field.name.as_str()) {
            continue;
        } else if let Ty::Ref { package, name } = &field.ty {
            let embedded =
                index.get(&(package.clone(), normalized(name))).with_context(|| format!("find `{name}`"))?;
            place_fields(embedded, &numbers, index, by_name, fields)?;
        } else {
            bail!("`{}.{}` has no JSON name", message.name, field.name);
        }
    }
    Ok(())
}

/// Fields of 1.35's messages that 1.36 no longer has.
const GONE: &[&str] = &["workload_ref"];

fn merge_field(open: &OpenField, field: &MessageField, numbers: Vec<u32>) -> Field {
    let wrapped_strings = |ty: &Ty| *ty == Ty::Scalar('S');
    let ty = match (&open.ty, &field.ty) {
        (Ty::List(_), wrapped) if wrapped_strings(wrapped) => Ty::Scalar('S'),
        (Ty::Map(_), Ty::Map(element)) if wrapped_strings(element) => field.ty.clone(),
        (open, _) => open.clone(),
    };
    let mut merged = plain_field(&open.json, &open.description, ty, open.required);
    merged.numbers = numbers;
    merged.list_type = field.markers("listType").next().map(String::from);
    merged.list_keys = field.markers("listMapKey").map(String::from).collect();
    merged.map_type = field.markers("mapType").chain(field.markers("structType")).next().map(String::from);
    merged.patch_strategy = field.markers("patchStrategy").next().map(String::from);
    merged.patch_merge_key = field.markers("patchMergeKey").next().map(String::from);
    merged.default =
        field.markers("default").next().filter(|value| !value.starts_with("ref(")).map(String::from);
    merged
}

fn plain_field(json: &str, description: &str, ty: Ty, required: bool) -> Field {
    Field {
        json: json.to_string(),
        description: description.to_string(),
        numbers: Vec::new(),
        ty,
        required,
        list_type: None,
        list_keys: Vec::new(),
        map_type: None,
        patch_strategy: None,
        patch_merge_key: None,
        default: None,
        pointer: false,
        printed: false,
    }
}

/// Not part of the protobuf message: the envelope carries them.
fn type_meta() -> [Field; 2] {
    const KIND: &str = "Kind is a string value representing the REST resource this object represents. Servers may infer this from the endpoint the client submits requests to. Cannot be updated. In CamelCase. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#types-kinds";
    const API_VERSION: &str = "APIVersion defines the versioned schema of this representation of an object. Servers should convert recognized schemas to the latest internal value, and may reject unrecognized values. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#resources";
    [
        plain_field("kind", KIND, Ty::Scalar('s'), false),
        plain_field("apiVersion", API_VERSION, Ty::Scalar('s'), false),
    ]
}

/// `k8s-openapi` has one generic list; the definitions have one for each kind.
fn list_type(item: &OpenType, list_kind: &str, index: &Messages) -> Type {
    let message = index.get(&(item.package.clone(), normalized(list_kind)));
    let docs = |docs: &[String]| prose(docs);
    let description = message.map(|m| docs(&m.docs)).unwrap_or_default();
    let field_docs = |name: &str| {
        let field = message.and_then(|m| m.fields.iter().find(|field| field.name == name));
        field.map(|field| docs(&field.docs)).unwrap_or_default()
    };
    let list_meta = Ty::Ref { package: META.to_string(), name: "ListMeta".to_string() };
    let element = Ty::Ref { package: item.package.clone(), name: item.name.clone() };
    let mut metadata = plain_field("metadata", &field_docs("metadata"), list_meta, false);
    metadata.numbers = vec![1];
    let mut items = plain_field("items", &field_docs("items"), Ty::List(element.into()), true);
    items.numbers = vec![2];
    let (group, version, _) = item.group_version_kind.clone().unwrap_or_default();
    Type {
        package: item.package.clone(),
        name: list_kind.to_string(),
        description,
        atomic: false,
        group_version_kind: Some((group, version, list_kind.to_string())),
        fields: type_meta().into_iter().chain([metadata, items]).collect(),
    }
}

fn message_type(package: &str, name: &str, message: &Message) -> Type {
    let group = if package == META && name.starts_with("PartialObject") { "meta.k8s.io" } else { "" };
    let fields = message.fields.iter().map(|field| {
        let json = lower_camel(&field.name);
        let ty = match &field.ty {
            Ty::Ref { package, name } if normalized(name) == "objectmeta" => {
                Ty::Ref { package: package.clone(), name: "ObjectMeta".to_string() }
            }
            other => other.clone(),
        };
        let open = OpenField { json, ty, required: false, description: prose(&field.docs) };
        merge_field(&open, field, vec![field.number])
    });
    let newer = NEWER.iter().filter(|(of, json, _)| {
        *of == name && !message.fields.iter().any(|f| normalized(&f.name) == normalized(json))
    });
    let newer = newer.map(|(_, json, number)| {
        let mut field = plain_field(json, "", Ty::Scalar('s'), false);
        field.numbers = vec![*number];
        field
    });
    let head = if name == "WatchEvent" { None } else { Some(type_meta()) };
    Type {
        package: package.to_string(),
        name: name.to_string(),
        description: prose(&message.docs),
        atomic: false,
        group_version_kind: Some((group.to_string(), "v1".to_string(), name.to_string())),
        fields: head.into_iter().flatten().chain(fields).chain(newer).collect(),
    }
}

fn lower_camel(snake: &str) -> String {
    let mut words = snake.split('_');
    let mut camel = words.next().unwrap_or_default().to_string();
    for word in words {
        let (first, rest) = word.split_at(1);
        camel.push_str(&first.to_uppercase());
        camel.push_str(rest);
    }
    match camel.as_str() {
        "insecureSkipTlsVerifyBackend" => "insecureSkipTLSVerifyBackend".to_string(),
        _ => camel,
    }
}

/// A comment without its marker lines, joined as the OpenAPI generator joins it.
fn prose(docs: &[String]) -> String {
    let mut text = String::new();
    for line in docs.iter().filter(|line| !line.starts_with('+')) {
        if line.is_empty() {
            if !text.is_empty() && !text.ends_with('\n') {
                text.push_str("\n\n");
            }
        } else {
            if !text.is_empty() && !text.ends_with('\n') {
                text.push(' ');
            }
            text.push_str(&line.replace(['<', '>'], ""));
        }
    }
    text.trim_end().to_string()
}

fn reference(ty: &Ty) -> Option<(&str, &str)> {
    match ty {
        Ty::Ref { package, name } => Some((package, name)),
        Ty::List(element) | Ty::Map(element) => reference(element),
        Ty::Scalar('a' | 'o' | 'p') => {
            Some(("io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1", "JSONSchemaProps"))
        }
        Ty::Scalar(_) => None,
    }
}

/// Keeps what some kind refers to.
fn drop_unreachable(types: &mut Vec<Type>) {
    let position: HashMap<(String, String), usize> =
        types.iter().enumerate().map(|(i, ty)| ((ty.package.clone(), ty.name.clone()), i)).collect();
    let is_root = |ty: &Type| {
        ty.group_version_kind.is_some()
            || ty.package == META && META_KINDS.contains(&ty.name.as_str())
            || ty.name == "Info"
    };
    let mut pending: Vec<usize> = (0..types.len()).filter(|&i| is_root(&types[i])).collect();
    let mut seen: HashSet<usize> = pending.iter().copied().collect();
    while let Some(at) = pending.pop() {
        for (package, name) in types[at].fields.iter().filter_map(|field| reference(&field.ty)) {
            if let Some(&next) = position.get(&(package.to_string(), name.to_string()))
                && seen.insert(next)
            {
                pending.push(next);
            }
        }
    }
    let mut at = 0;
    types.retain(|_| {
        at += 1;
        seen.contains(&(at - 1))
    });
}

fn check_references(types: &[Type]) -> Result<()> {
    let known: BTreeSet<(&str, &str)> =
        types.iter().map(|ty| (ty.package.as_str(), ty.name.as_str())).collect();
    for ty in types {
        for field in &ty.fields {
            if let Some((package, name)) = reference(&field.ty)
                && !known.contains(&(package, name))
            {
                bail!("`{}.{}` refers to `{package}.{name}`, which is unknown", ty.name, field.json);
            }
        }
    }
    Ok(())
}
