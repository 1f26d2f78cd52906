//! What CSI drivers and the controllers beside them tell each other: drivers, nodes, attachments, capacities, attributes.
//!
//! Source: https://github.com/kubernetes/kubernetes/blob/master/pkg/apis/storage/validation/validation.go

use std::collections::BTreeSet;

use coracle_schema::Quantity;
use serde_json::Value;

use super::{
    checked::Checked,
    checks::{
        Causes, IMMUTABLE, NON_NEGATIVE, add, immutable, indexed, is_set, items, label_selector, one_of,
        require, same, text, untagged,
    },
    warnings,
};
use crate::{
    metadata::{qualified_name_problems, subdomain_problems},
    status::Cause,
};

const DRIVER_NAME_MAX_BYTES: usize = 63;
const NODE_ID_MAX_BYTES: usize = 256;
const METADATA_MAX_BYTES: usize = 256 * 1024;
const ERROR_MAX_BYTES: usize = 1024;
const TOKEN_MIN_SECONDS: i64 = 600;
const ALLOCATABLE_PERIOD_MIN_SECONDS: i64 = 10;

pub static DRIVER: Checked = Checked::new(driver).comparing(|new, old| {
    let mut out = Vec::new();
    // Upstream calls the first one so.
    for (field, at) in
        [("attachRequired", "spec.attachedRequired"), ("volumeLifecycleModes", "spec.volumeLifecycleModes")]
    {
        immutable(&mut out, &new["spec"][field], &old["spec"][field], at);
    }
    out
});
pub static NODE: Checked = Checked::new(node).comparing(|new, old| {
    let mut out = Vec::new();
    for driver in items(&new["spec"]["drivers"]) {
        let before = items(&old["spec"]["drivers"]).iter().find(|own| own["name"] == driver["name"]);
        let kept =
            |own: &Value| ["nodeID", "topologyKeys"].iter().all(|field| same(&own[*field], &driver[*field]));
        if before.is_some_and(|own| !kept(own)) {
            let mut shown = untagged(driver, "Name NodeID TopologyKeys? Allocatable?");
            if shown["Allocatable"].is_object() {
                shown["Allocatable"] = untagged(&driver["allocatable"], "Count?");
            }
            out.push(Cause::invalid("CSINodeDriver", shown, IMMUTABLE));
        }
    }
    out
});
pub static ATTACHMENT: Checked = Checked::new(attachment)
    .checking_status(|new, _| {
        let mut out = Vec::new();
        attachment_status(&mut out, &new["status"]);
        out
    })
    .comparing(|new, old| {
        let mut out = Vec::new();
        if !same(&new["spec"], &old["spec"]) {
            let mut shown = untagged(&new["spec"], "Attacher Source NodeName");
            shown["Source"] = untagged(&new["spec"]["source"], "PersistentVolumeName? InlineVolumeSpec?");
            out.push(Cause::invalid("spec", shown, IMMUTABLE));
        }
        out
    });
pub static CAPACITY: Checked =
    Checked::new(capacity).warning(warnings::storage_capacity).comparing(|new, old| {
        let mut out = Vec::new();
        for field in ["nodeTopology", "storageClassName"] {
            immutable(&mut out, &new[field], &old[field], field);
        }
        out
    });
pub static ATTRIBUTES: Checked = Checked::new(attributes).once().comparing(|new, old| {
    let changed = ["driverName", "parameters"].into_iter().filter(|field| !same(&new[*field], &old[*field]));
    changed.map(|field| Cause::forbidden(field, &format!("updates to {field} are forbidden."))).collect()
});

pub fn driver_name(out: &mut Causes, value: &Value, path: &str) {
    require(out, value, path);
    let name = text(value);
    if name.len() > DRIVER_NAME_MAX_BYTES {
        out.push(Cause::too_long(path, DRIVER_NAME_MAX_BYTES));
    }
    add(out, path, name, subdomain_problems(&name.to_lowercase()));
}

fn driver(driver: &Value) -> Causes {
    let (spec, mut out) = (&driver["spec"], Vec::new());
    driver_name(&mut out, &driver["metadata"]["name"], "name");
    one_of(
        &mut out,
        &spec["fsGroupPolicy"],
        "spec.fsGroupPolicy",
        &["File", "None", "ReadWriteOnceWithFSType"],
    );
    let mut audiences = BTreeSet::new();
    for (at, token) in indexed(&spec["tokenRequests"], "spec.tokenRequests") {
        if !audiences.insert(text(&token["audience"])) {
            out.push(Cause::duplicate(format!("{at}.audience"), token["audience"].clone()));
        }
        let why = match token["expirationSeconds"].as_i64() {
            Some(seconds) if seconds < TOKEN_MIN_SECONDS => "may not specify a duration less than 10 minutes",
            Some(seconds) if seconds > 1 << 32 => "may not specify a duration larger than 2^32 seconds",
            _ => continue,
        };
        out.push(Cause::invalid(format!("{at}.expirationSeconds"), token["expirationSeconds"].clone(), why));
    }
    let in_secrets = &spec["serviceAccountTokenInSecrets"];
    if !in_secrets.is_null() && !is_set(&spec["tokenRequests"]) {
        let why = "serviceAccountTokenInSecrets is set but no tokenRequests are specified";
        out.push(Cause::invalid("spec.serviceAccountTokenInSecrets", in_secrets.clone(), why));
    }
    for mode in items(&spec["volumeLifecycleModes"]) {
        one_of(&mut out, mode, "spec.volumeLifecycleModes", &["Persistent", "Ephemeral"]);
    }
    let period = spec["nodeAllocatableUpdatePeriodSeconds"].as_i64();
    if let Some(seconds) = period.filter(|own| *own < ALLOCATABLE_PERIOD_MIN_SECONDS) {
        let why = "must be greater than or equal to 10 seconds";
        out.push(Cause::invalid("spec.nodeAllocatableUpdatePeriodSeconds", seconds, why));
    }
    out
}

fn node(node: &Value) -> Causes {
    let mut out = Vec::new();
    let mut names = BTreeSet::new();
    for (at, driver) in indexed(&node["spec"]["drivers"], "spec.drivers") {
        driver_name(&mut out, &driver["name"], &format!("{at}.name"));
        let id = format!("{at}.nodeID");
        if require(&mut out, &driver["nodeID"], &id) && text(&driver["nodeID"]).len() > NODE_ID_MAX_BYTES {
            let why = format!("must be {NODE_ID_MAX_BYTES} characters or less");
            out.push(Cause::invalid(id, driver["nodeID"].clone(), &why));
        }
        if let Some(count) = driver["allocatable"]["count"].as_i64().filter(|own| *own < 0) {
            out.push(Cause::invalid(format!("{at}.allocatable.count"), count, NON_NEGATIVE));
        }
        if !names.insert(text(&driver["name"])) {
            out.push(Cause::duplicate(format!("{at}.name"), driver["name"].clone()));
        }
        topology_keys(&mut out, &driver["topologyKeys"], &at);
    }
    out
}

/// Upstream names the driver, not the key.
fn topology_keys(out: &mut Causes, list: &Value, driver: &str) {
    let mut seen = BTreeSet::new();
    for key in items(list) {
        require(out, key, driver);
        if !seen.insert(text(key)) {
            out.push(Cause::duplicate(driver, key.clone()));
        }
        for problem in qualified_name_problems(text(key)) {
            out.push(Cause::invalid(driver, list.clone(), &problem));
        }
    }
}

fn attachment(attachment: &Value) -> Causes {
    const ONE: &str = "must specify exactly one of inlineVolumeSpec and persistentVolumeName";
    const VOLUME: &str = "spec.source.persistentVolumeName";
    let (spec, mut out) = (&attachment["spec"], Vec::new());
    let volume = spec["source"]["persistentVolumeName"].as_str();
    match (spec["source"]["inlineVolumeSpec"].is_object(), volume) {
        (false, None) => out.push(Cause::required("spec.source", ONE)),
        (true, Some(_)) => out.push(Cause::forbidden("spec.source", ONE)),
        (false, Some("")) => out.push(Cause::required(VOLUME, "must specify non empty persistentVolumeName")),
        _ => {}
    }
    let node = text(&spec["nodeName"]);
    add(&mut out, "spec.nodeName", node, subdomain_problems(node));
    attachment_status(&mut out, &attachment["status"]);
    driver_name(&mut out, &spec["attacher"], "spec.attacher");
    let inline = &spec["source"]["inlineVolumeSpec"];
    if inline.is_object() {
        super::storage::inline_volume(&mut out, inline, "spec.source.inlineVolumeSpec");
    }
    if let Some(name) = volume {
        add(&mut out, VOLUME, name, subdomain_problems(name));
    }
    out
}

fn attachment_status(out: &mut Causes, status: &Value) {
    let metadata = status["attachmentMetadata"].as_object().into_iter().flatten();
    if metadata.map(|(key, value)| key.len() + text(value).len()).sum::<usize>() > METADATA_MAX_BYTES {
        out.push(Cause::too_long("status.attachmentMetadata", METADATA_MAX_BYTES));
    }
    for field in ["attachError", "detachError"] {
        if text(&status[field]["message"]).len() > ERROR_MAX_BYTES {
            // Upstream names the other limit.
            out.push(Cause::too_long(format!("status.{field}.message"), METADATA_MAX_BYTES));
        }
    }
}

fn capacity(capacity: &Value) -> Causes {
    let mut out = Vec::new();
    if !capacity["nodeTopology"].is_null() {
        label_selector(&mut out, &capacity["nodeTopology"], "nodeTopology");
    }
    let class = text(&capacity["storageClassName"]);
    add(&mut out, "storageClassName", class, subdomain_problems(class));
    for field in ["capacity", "maximumVolumeSize"] {
        if Quantity::from_value(&capacity[field]).is_some_and(Quantity::is_negative) {
            out.push(Cause::invalid(field, capacity[field].clone(), NON_NEGATIVE));
        }
    }
    out
}

fn attributes(class: &Value) -> Causes {
    let mut out = Vec::new();
    super::storage::provisioner(&mut out, &class["driverName"], "driverName");
    super::storage::parameters(&mut out, &class["parameters"]);
    if !is_set(&class["parameters"]) {
        out.push(Cause::required("parameters", "must contain at least one key/value pair"));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{super::checks::assert_cases, *};
    use serde_json::json;

    #[test]
    fn csi_objects_get_the_stock_causes() {
        assert_cases(
            json!({"metadata": {"name": "d.example.com"}, "spec": {}}),
            driver,
            &[
                (
                    json!({"spec": {"volumeLifecycleModes": ["Sometimes"]}}),
                    &[
                        "spec.volumeLifecycleModes: Unsupported value: \"Sometimes\": supported values: \"Persistent\", \"Ephemeral\"",
                    ],
                ),
                (
                    json!({"spec": {"serviceAccountTokenInSecrets": false, "tokenRequests": []}}),
                    &[
                        "spec.serviceAccountTokenInSecrets: Invalid value: false: serviceAccountTokenInSecrets is set but no tokenRequests are specified",
                    ],
                ),
                (
                    json!({"spec": {"serviceAccountTokenInSecrets": true, "tokenRequests": [{"audience": "a"}]}}),
                    &[],
                ),
                (
                    json!({"spec": {"tokenRequests": [{"audience": "a"}, {"audience": "a", "expirationSeconds": 5}, {"audience": "b", "expirationSeconds": 4294967297_i64}]}}),
                    &[
                        "spec.tokenRequests[1].audience: Duplicate value: \"a\"",
                        "spec.tokenRequests[1].expirationSeconds: Invalid value: 5: may not specify a duration less than 10 minutes",
                        "spec.tokenRequests[2].expirationSeconds: Invalid value: 4294967297: may not specify a duration larger than 2^32 seconds",
                    ],
                ),
            ],
        );
        assert_cases(
            json!({"spec": {"drivers": [{"name": "d", "nodeID": "n", "topologyKeys": ["a/b"]}]}}),
            node,
            &[(
                json!({"spec": {"drivers": [{"name": "d", "nodeID": ""}, {"name": "d", "nodeID": "n", "topologyKeys": ["k", "k"]}]}}),
                &[
                    "spec.drivers[0].nodeID: Required value",
                    "spec.drivers[1].name: Duplicate value: \"d\"",
                    "spec.drivers[1]: Duplicate value: \"k\"",
                ],
            )],
        );
        assert_cases(
            json!({"spec": {"attacher": "d", "nodeName": "n", "source": {"persistentVolumeName": "p"}}}),
            attachment,
            &[
                (
                    json!({"spec": {"source": {"persistentVolumeName": null}}}),
                    &[
                        "spec.source: Required value: must specify exactly one of inlineVolumeSpec and persistentVolumeName",
                    ],
                ),
                (
                    json!({"spec": {"source": {"inlineVolumeSpec": {}}}}),
                    &[
                        "spec.source: Forbidden: must specify exactly one of inlineVolumeSpec and persistentVolumeName",
                        "spec.source.inlineVolumeSpec.csi: Required value: has to be specified in the context of inline volumes",
                        "spec.source.inlineVolumeSpec.accessModes: Required value",
                        "spec.source.inlineVolumeSpec: Required value: must specify a volume type",
                    ],
                ),
                (
                    json!({"spec": {"source": {"persistentVolumeName": null, "inlineVolumeSpec": {
                        "claimRef": {"name": "c"}, "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"],
                        "csi": {"driver": "d", "volumeHandle": "h"}, "persistentVolumeReclaimPolicy": "Delete",
                        "nodeAffinity": {}, "storageClassName": "s", "volumeMode": "Block"}}}}),
                    &[
                        "spec.source.inlineVolumeSpec.claimRef: Forbidden: may not be specified in the context of inline volumes",
                        "spec.source.inlineVolumeSpec.capacity: Forbidden: may not be specified in the context of inline volumes",
                        "spec.source.inlineVolumeSpec.persistentVolumeReclaimPolicy: Forbidden: may only be Retain in the context of inline volumes",
                        "spec.source.inlineVolumeSpec.nodeAffinity: Forbidden: may not be specified in the context of inline volumes",
                        "spec.source.inlineVolumeSpec.storageClassName: Forbidden: may not be specified in the context of inline volumes",
                        "spec.source.inlineVolumeSpec.volumeMode: Forbidden: may not specify volumeMode other than Filesystem in the context of inline volumes",
                    ],
                ),
                (
                    json!({"spec": {"source": {"persistentVolumeName": null, "inlineVolumeSpec": {
                        "accessModes": ["ReadWriteOnce"], "csi": {"driver": "d", "volumeHandle": "h"}, "volumeMode": "Filesystem",
                        "persistentVolumeReclaimPolicy": "Retain"}}}}),
                    &[],
                ),
                (
                    json!({"spec": {"attacher": ""}}),
                    &[
                        "spec.attacher: Required value",
                        "spec.attacher: Invalid value: \"\": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
                    ],
                ),
                (
                    json!({"spec": {"attacher": "d".repeat(64)}}),
                    &["spec.attacher: Too long: may not be more than 63 bytes"],
                ),
                (
                    json!({"status": {"attachmentMetadata": {"k": "v".repeat(256 * 1024)}, "detachError": {"message": "m".repeat(1025)}}}),
                    &[
                        "status.attachmentMetadata: Too long: may not be more than 262144 bytes",
                        "status.detachError.message: Too long: may not be more than 262144 bytes",
                    ],
                ),
            ],
        );
        let spec = |node: &str| json!({"spec": {"attacher": "d", "nodeName": node, "source": {"persistentVolumeName": "p"}}});
        let driver = |id: &str| json!({"spec": {"drivers": [{"name": "d", "nodeID": id, "allocatable": {"count": 1}}]}});
        for (causes, shown) in [
            (
                (ATTACHMENT.compare)(&spec("m"), &spec("n")),
                r#"spec: Invalid value: {"Attacher":"d","Source":{"PersistentVolumeName":"p","InlineVolumeSpec":null},"NodeName":"m"}: field is immutable"#,
            ),
            (
                (NODE.compare)(&driver("b"), &driver("a")),
                r#"CSINodeDriver: Invalid value: {"Name":"d","NodeID":"b","TopologyKeys":null,"Allocatable":{"Count":1}}: field is immutable"#,
            ),
        ] {
            assert_eq!(causes[0].to_string(), shown);
        }
        assert_cases(
            json!({"storageClassName": "s"}),
            capacity,
            &[(
                json!({"capacity": "-1"}),
                &["capacity: Invalid value: \"-1\": must be greater than or equal to 0"],
            )],
        );
        let class = |parameters: Value| json!({"driverName": "d", "parameters": parameters});
        assert_cases(
            class(json!({"a": "b"})),
            attributes,
            &[
                (
                    json!({"parameters": null}),
                    &["parameters: Required value: must contain at least one key/value pair"],
                ),
                (json!({"driverName": null}), &["driverName: Required value"]),
                (json!({"driverName": "a.b/c"}), &[]),
            ],
        );
        let causes = (ATTRIBUTES.compare)(&class(json!({"a": "c"})), &class(json!({"a": "b"})));
        assert_eq!(causes[0].to_string(), "parameters: Forbidden: updates to parameters are forbidden.");
    }
}
