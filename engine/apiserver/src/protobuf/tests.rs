//! Against the reference objects of a stock server, and what is not among them.

use std::path::PathBuf;

use base64::{Engine, engine::general_purpose::STANDARD};
use coracle_schema::{
    UNKNOWN,
    wire::{Fields, Wire},
};
use serde_json::{Value, json};

use super::{write::encode_as, *};

/// Beside the repository, or where the developers' machines have it.
fn reference() -> Option<PathBuf> {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/kubernetes-1.36/roundtrip");
    [beside, "/work/shared/kubernetes-1.36/roundtrip"]
        .into_iter()
        .map(PathBuf::from)
        .find(|path| path.is_dir())
}

/// `apps.v1.Deployment`; the core group is called `core`.
fn kind_of(name: &str) -> GroupVersionKind {
    let (rest, kind) = name.rsplit_once('.').unwrap_or_default();
    let (group, version) = rest.rsplit_once('.').unwrap_or_default();
    let group = if group == "core" { "" } else { group };
    GroupVersionKind { group: group.into(), version: version.into(), kind: kind.into() }
}

#[test]
fn reference_objects_go_both_ways_byte_for_byte() {
    let Some(folder) = reference() else {
        println!("skipped: the reference objects are not beside the repository");
        return;
    };
    let (mut differing, mut seen) = (Vec::new(), 0);
    for file in std::fs::read_dir(folder).expect("lists").filter_map(Result::ok) {
        let path = file.path();
        if path.extension().is_none_or(|extension| extension != "pb") {
            continue;
        }
        seen += 1;
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let gvk = kind_of(&name);
        let bytes = std::fs::read(&path).expect("reads");
        let json = std::fs::read(path.with_extension("json")).expect("reads");
        let json: Value = serde_json::from_slice(&json).expect("JSON");
        match decode(&bytes, Some(&gvk)) {
            Ok(decoded) if decoded == json => {}
            Ok(decoded) => differing.push(format!("{name}: {}", first_difference("", &decoded, &json))),
            Err(error) => differing.push(format!("{name}: {error}")),
        }
        match encode_as(&gvk, &json) {
            Ok(encoded) if encoded == bytes => {}
            Ok(encoded) => differing.push(format!("{name}: {}", first_byte(&encoded, &bytes))),
            Err(error) => differing.push(format!("{name}: {error}")),
        }
    }
    assert!(seen > 0);
    assert!(differing.is_empty(), "{differing:#?}");
}

fn first_byte(seen: &[u8], expected: &[u8]) -> String {
    let at = seen
        .iter()
        .zip(expected)
        .position(|(one, other)| one != other)
        .unwrap_or(seen.len().min(expected.len()));
    let near = |bytes: &[u8]| {
        String::from_utf8_lossy(&bytes[at.saturating_sub(20)..(at + 20).min(bytes.len())]).into_owned()
    };
    format!("byte {at}: {:?} instead of {:?}", near(seen), near(expected))
}

fn first_difference(path: &str, seen: &Value, expected: &Value) -> String {
    if let (Value::Object(a), Value::Object(b)) = (seen, expected) {
        for key in a.keys().chain(b.keys()) {
            if a.get(key) != b.get(key) {
                return first_difference(&format!("{path}.{key}"), &seen[key], &expected[key]);
            }
        }
    }
    if let (Value::Array(a), Value::Array(b)) = (seen, expected)
        && a.len() == b.len()
    {
        for (at, (one, other)) in a.iter().zip(b).enumerate() {
            if one != other {
                return first_difference(&format!("{path}[{at}]"), one, other);
            }
        }
    }
    format!("{path}: {seen} instead of {expected}")
}

/// The values that reference objects do not have: zeros, schemas, several entries.
#[test]
fn what_json_says_survives_protobuf() {
    for object in [
        json!({"kind": "Deployment", "apiVersion": "apps/v1", "metadata": {"name": "x", "labels": {"b": "", "a": "1"}},
            "spec": {"replicas": 0, "selector": {"matchLabels": {"a": "1"}}, "template": {"metadata": {}, "spec": {
                "containers": [{"name": "c", "resources": {"limits": {"cpu": "100m"}},
                    "securityContext": {"privileged": false, "runAsUser": 0},
                    "readinessProbe": {"httpGet": {"path": "/", "port": "web"}, "initialDelaySeconds": -1}}],
                "automountServiceAccountToken": false, "terminationGracePeriodSeconds": 0,
                "securityContext": {"supplementalGroups": [1, 2]}}},
                "strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": "25%"}}}, "status": {}}),
        json!({"kind": "PersistentVolumeClaim", "apiVersion": "v1", "metadata": {"name": "x"},
            "spec": {"resources": {}, "storageClassName": ""}, "status": {}}),
        json!({"kind": "CustomResourceDefinition", "apiVersion": "apiextensions.k8s.io/v1", "metadata": {"name": "x"},
            "spec": {"group": "g", "names": {"plural": "xs", "kind": "X"}, "scope": "Namespaced", "versions": [{
                "name": "v1", "served": true, "storage": true, "subresources": {"status": {}}, "schema": {"openAPIV3Schema": {
                    "type": "object", "properties": {
                        "a": {"type": "array", "items": {"type": "string"}, "default": [1, {"b": null}], "maxItems": 0},
                        "b": {"type": "object", "additionalProperties": {"type": "number", "minimum": 0.0}},
                        "c": {"type": "object", "additionalProperties": false, "x-kubernetes-preserve-unknown-fields": true}},
                    "dependencies": {"a": ["b"], "c": {"type": "string"}}}}}]},
            "status": {"conditions": [], "acceptedNames": {"plural": "", "kind": ""}, "storedVersions": []}}),
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": 404}),
    ] {
        let bytes = encode(&object).expect("encodes");
        let seen = decode(&bytes, None).expect("decodes");
        let mut expected = object.clone();
        // Empty lists are no lists in protobuf.
        if let Some(status) = expected["status"].as_object_mut() {
            status.retain(|_, value| value != &json!([]));
        }
        assert_eq!(seen, expected, "{}", first_difference("", &seen, &expected));
    }
}

fn b64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// One unknown field each: varint, fixed, bytes, a group in a group, and several in their order.
const UNKNOWN_FIELDS: [&[u8]; 6] = [
    b"\xb8\x3e\x07",
    b"\xb9\x3e\x01\x02\x03\x04\x05\x06\x07\x08",
    b"\xbd\x3e\x01\x02\x03\x04",
    b"\xc2\x3e\x03new",
    b"\xc3\x3e\x0b\x10\x01\x0c\xc4\x3e",
    b"\xc2\x3e\x00\xb8\x3e\x00\xc2\x3e\x01x",
];

/// A kind with structs in lists and maps.
fn definition() -> Value {
    json!({"kind": "CustomResourceDefinition", "apiVersion": "apiextensions.k8s.io/v1", "metadata": {"name": "x"},
        "spec": {"group": "g", "names": {"plural": "xs", "kind": "X"}, "scope": "Cluster", "versions": [{
            "name": "v1", "served": true, "storage": true,
            "schema": {"openAPIV3Schema": {"type": "object", "properties": {"a": {"type": "string"}}}}}]},
        "status": {"acceptedNames": {"plural": "xs", "kind": "X"}}})
}

#[test]
fn fields_that_the_schema_does_not_know_go_both_ways_at_every_level() {
    let plain = encode(&definition()).expect("encodes");
    for place in [
        "",
        "/metadata",
        "/spec",
        "/spec/names",
        "/spec/versions/0",
        "/spec/versions/0/schema/openAPIV3Schema",
        "/spec/versions/0/schema/openAPIV3Schema/properties/a",
    ] {
        for bytes in UNKNOWN_FIELDS {
            let mut object = definition();
            object.pointer_mut(place).expect("is there")[UNKNOWN] = b64(bytes).into();
            let encoded = encode(&object).expect("encodes");
            assert!(encoded.len() >= plain.len() + bytes.len(), "{place} {bytes:?}");
            assert!(encoded.windows(bytes.len()).any(|window| window == bytes), "{place} {bytes:?}");
            assert_eq!(decode(&encoded, None).expect("decodes"), object, "{place} {bytes:?}");
        }
    }
}

/// A ConfigMap whose message is these parts.
fn config_map(parts: &[&[u8]]) -> Vec<u8> {
    let mut out = wire::Backwards::default();
    out.put_bytes(2, &parts.concat());
    write::type_meta(&mut out, "v1", "ConfigMap");
    out.raw(MAGIC);
    out.finish()
}

#[test]
fn unknown_fields_of_a_request_are_kept_in_their_order_and_end_the_answer() {
    let map = json!({"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "x"}, "data": {"k": "v"}});
    let shape = Registry::builtin().schema(&kind_of("core.v1.ConfigMap")).expect("schema");
    let known = message(shape.shape(), &map).expect("encodes");
    let decoded =
        decode(&config_map(&[UNKNOWN_FIELDS[4], &known, UNKNOWN_FIELDS[0]]), None).expect("decodes");
    let mut expected = map.clone();
    expected[UNKNOWN] = b64(&[UNKNOWN_FIELDS[4], UNKNOWN_FIELDS[0]].concat()).into();
    assert_eq!(decoded, expected);
    let written = [&known, UNKNOWN_FIELDS[4], UNKNOWN_FIELDS[0]].concat();
    assert_eq!(message(shape.shape(), &expected).expect("encodes"), written);
    // `clusterName` of metadata, as clients up to 1.23 write it always.
    let old = config_map(&[b"\x0a\x05\x0a\x01x\x7a\x00"]);
    assert_eq!(decode(&old, None).expect("decodes")["metadata"], json!({"name": "x"}));
}

/// What of `$unknown` of a volume leaves. Its fields: `name` 1, and the source 2 with `hostPath` 1, `path` 1.
#[test]
fn what_is_known_never_leaves_from_among_the_unknown() {
    let volume = Registry::builtin().definition("io.k8s.api.core.v1.Volume").expect("schema");
    let known = message(volume.shape(), &json!({"name": "v"})).expect("encodes");
    let source = b"\x12\x00";
    let head = known.strip_suffix(source).expect("an empty source");
    let host: &[u8] = b"\x0a\x03\x0a\x01/";
    for (hidden, left_in_source, left) in [
        (&b"\x0a\x01w"[..], &b""[..], &b""[..]),
        (b"\x0a\x01w\xb8\x3e\x07", b"", b"\xb8\x3e\x07"),
        (&[b"\x12\x05", host].concat(), b"", b""),
        (&[b"\x12\x08", host, b"\xb8\x3e\x07"].concat(), b"\xb8\x3e\x07", b""),
        (
            &[b"\x12\x03\xb8\x3e\x07".as_slice(), b"\x12\x03\xb8\x3e\x08"].concat(),
            b"\xb8\x3e\x07\xb8\x3e\x08",
            b"",
        ),
        // Broken, but only for who knows that it is a message.
        (b"\x12\x02\xff\xff", b"", b""),
        (b"\x12\x04\xb8\x3e\x07\xff", b"\xb8\x3e\x07", b""),
        // Of another type than the known one.
        (b"\x10\x01\x08\x01", b"", b""),
    ] {
        let object = json!({"name": "v", UNKNOWN: b64(hidden)});
        let written = message(volume.shape(), &object).expect("encodes");
        let length = u8::try_from(left_in_source.len()).expect("short");
        assert_eq!(written, [head, &[0x12, length], left_in_source, left].concat(), "{hidden:?}");
    }
    for no_protobuf in [json!("?"), json!("/w=="), json!(7)] {
        let object = json!({"name": "v", UNKNOWN: no_protobuf});
        assert_eq!(message(volume.shape(), &object).expect("encodes"), known, "{object}");
    }
}

#[test]
fn an_unknown_source_of_a_volume_goes_both_ways() {
    let pod = json!({"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "p"}, "spec": {
        "volumes": [{"name": "v", UNKNOWN: b64(b"\x12\x06\xc2\x3e\x03new")}]}, "status": {}});
    let encoded = encode(&pod).expect("encodes");
    assert!(encoded.windows(8).any(|bytes| bytes == b"\x12\x06\xc2\x3e\x03new"));
    assert_eq!(decode(&encoded, None).expect("decodes"), pod);
}

/// Whether 6 is `ints` or something newer, nobody can tell.
#[test]
fn a_struct_of_which_a_number_is_missing_keeps_no_unknown_fields() {
    let attribute = Registry::builtin().definition("io.k8s.api.resource.v1.DeviceAttribute").expect("schema");
    let plain = json!({"string": "s"});
    let known = message(attribute.shape(), &plain).expect("encodes");
    let hidden = json!({"string": "s", UNKNOWN: b64(b"\x30\x01")});
    assert_eq!(message(attribute.shape(), &hidden).expect("encodes"), known);
}

#[test]
fn a_field_without_a_number_is_an_error_and_not_lost() {
    let device = json!({"name": "d", "attributes": {"a": {"ints": [1]}}});
    let slice = json!({"kind": "ResourceSlice", "apiVersion": "resource.k8s.io/v1", "metadata": {"name": "x"},
        "spec": {"driver": "d", "pool": {"name": "p", "generation": 1, "resourceSliceCount": 1}, "devices": [device]}});
    assert_eq!(
        encode(&slice).expect_err("cannot be written"),
        "spec: devices: attributes: the number of field \"ints\" of DeviceAttribute in protobuf is not known, ask for application/json"
    );
}

#[test]
fn broken_input_is_refused() {
    for bytes in [
        &b""[..],
        b"k8s",
        b"k8s\0\x0a\xff",
        b"k8s\0\x12\x05abc",
        b"k8s\0\x0b\x0b",
        b"k8s\0\x0c",
        b"k8s\0\x00\x00",
        b"k8s\0\x0b\x14",
        b"k8s\0\x80\x80\x80\x80\x10\x00",
        b"k8s\0\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
    ] {
        assert!(decode(bytes, None).is_err(), "{bytes:?}");
    }
}

#[test]
fn a_frame_of_a_watch_starts_with_its_length() {
    let frame = watch_frame("ADDED", b"k8s\0object");
    let (length, event) = frame.split_at(4);
    assert_eq!(length, (event.len() as u32).to_be_bytes());
    assert_eq!(event, b"\x0a\x05ADDED\x12\x0c\x0a\x0ak8s\0object");
}

#[tokio::test]
async fn the_old_list_of_metadata_has_its_fields_the_other_way_round() {
    use http_body_util::BodyExt;
    let body = async |api_version: &str| {
        let encode = |item: &&str| Ok(item.as_bytes().to_vec());
        let items = Items { objects: vec!["ab", "c"], encode };
        let metadata = json!({"resourceVersion": "7"});
        let body = list_body(api_version, "PartialObjectMetadataList", &metadata, items).expect("a body");
        body.collect().await.expect("bytes").to_bytes()
    };
    for (api_version, numbers) in [("meta.k8s.io/v1beta1", [1, 1, 2]), ("meta.k8s.io/v1", [1, 2, 2])] {
        let bytes = body(api_version).await;
        let mut envelope = Fields(bytes.strip_prefix(MAGIC).expect("an envelope"));
        let Some(Ok((2, Wire::Bytes(list)))) = envelope.nth(1) else { panic!("no list: {bytes:?}") };
        let seen: Vec<u32> = Fields(list).map(|field| field.expect("a field").0).collect();
        assert_eq!(seen, numbers, "{api_version}");
    }
}
