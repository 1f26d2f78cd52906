//! Against the reference objects of a stock server, and what is not among them.

use std::path::PathBuf;

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

#[test]
fn fields_of_a_newer_client_are_passed_over() {
    let object =
        json!({"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "x"}, "data": {"k": "v"}});
    let mut body = wire::Backwards::default();
    body.put_bytes(1000, b"new");
    body.put_varint(999, 7);
    // A group in a group, with a field in it.
    body.raw(&[0xc3, 0x3e, 0x0b, 0x10, 0x01, 0x0c, 0xc4, 0x3e]);
    let map = Registry::builtin().schema(&kind_of("core.v1.ConfigMap")).expect("schema");
    body.raw(&message(map.shape(), &object).expect("encodes"));
    let end_of_raw = body.finish();
    let mut out = wire::Backwards::default();
    out.put_bytes(2, &end_of_raw);
    write::type_meta(&mut out, "v1", "ConfigMap");
    out.raw(MAGIC);
    assert_eq!(decode(&out.finish(), None).expect("decodes"), object);
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
        let mut envelope = wire::Fields(bytes.strip_prefix(MAGIC).expect("an envelope"));
        let Some(Ok((2, wire::Wire::Bytes(list)))) = envelope.nth(1) else { panic!("no list: {bytes:?}") };
        let seen: Vec<u32> = wire::Fields(list).map(|field| field.expect("a field").0).collect();
        assert_eq!(seen, numbers, "{api_version}");
    }
}
