use super::{super::checks::assert_cases, *};
use serde_json::json;

fn claim() -> Value {
    json!({"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "2Gi"}}}})
}

#[test]
fn a_claim_gets_the_stock_causes() {
    assert_cases(
        claim(),
        |object| (CLAIM.validate)(object),
        &[
            (
                json!({"spec": {"accessModes": null}}),
                &["spec.accessModes: Required value: at least 1 access mode is required"],
            ),
            (
                json!({"spec": {"accessModes": ["RWO"]}}),
                &[
                    "spec.accessModes: Unsupported value: \"RWO\": supported values: \"ReadOnlyMany\", \"ReadWriteMany\", \"ReadWriteOnce\", \"ReadWriteOncePod\"",
                ],
            ),
            (json!({"spec": {"resources": null}}), &["spec.resources[storage]: Required value"]),
            (
                json!({"spec": {"resources": {"requests": {"storage": "0"}}}}),
                &["spec.resources[storage]: Invalid value: \"0\": must be greater than zero"],
            ),
            (
                json!({"spec": {"accessModes": ["ReadWriteOncePod", "ReadWriteOnce"]}}),
                &["spec.accessModes: Forbidden: may not use ReadWriteOncePod with other access modes"],
            ),
            (
                json!({"spec": {"dataSource": {"kind": "Pod", "name": "p"}}}),
                &[
                    "spec.dataSource: Invalid value: \"Pod\": must be 'PersistentVolumeClaim' when referencing the default apiGroup",
                ],
            ),
            (
                json!({"spec": {"dataSource": {"kind": "PersistentVolumeClaim", "name": "p"}, "dataSourceRef": {"kind": "PersistentVolumeClaim", "name": "q"}}}),
                &["spec: Invalid value: spec.dataSource: must match dataSourceRef"],
            ),
        ],
    );
}

#[test]
fn the_status_of_a_claim_gets_the_stock_causes() {
    let known = "supported values: \"ControllerResizeInProgress\", \"ControllerResizeInfeasible\", \"NodeResizeInProgress\", \"NodeResizeInfeasible\", \"NodeResizePending\"";
    let unknown =
        |name: &str| format!("status.allocatedResourceStatuses: Unsupported value: \"{name}\": {known}");
    let status = |status: Value| json!({"status": status});
    assert_cases(
        status(
            json!({"capacity": {"storage": "1Gi"}, "allocatedResources": {"storage": "2Gi", "a.b/c": "1"}, "allocatedResourceStatuses": {"storage": "NodeResizePending"}}),
        ),
        |claim| (CLAIM.status)(claim, claim),
        &[
            (
                status(json!({"capacity": {"storage": "-1500m"}})),
                &["status.capacity[storage]: Invalid value: -2: must be a valid resource quantity"],
            ),
            (status(json!({"allocatedResourceStatuses": {"storage": "X"}})), &[&unknown("storage")]),
            (
                status(json!({"allocatedResourceStatuses": {"foo": "X"}})),
                &[
                    "status.allocatedResourceStatuses: Unsupported value: \"foo\": supported values: \"storage\"",
                    &unknown("foo"),
                ],
            ),
            (
                status(json!({"allocatedResources": {"foo": "-1"}})),
                &["status.allocatedResources: Unsupported value: \"foo\": supported values: \"storage\""],
            ),
            (
                status(json!({"allocatedResources": {"a.b/c": "-1"}})),
                &["status.allocatedResources[a.b/c]: Invalid value: -1: must be a valid resource quantity"],
            ),
        ],
    );
}

#[test]
fn only_a_bound_claim_grows() {
    let mut bound = claim();
    bound["status"] = json!({"phase": "Bound", "capacity": {"storage": "2Gi"}});
    let fixed = format!("spec: Forbidden: {CLAIM_FIXED}");
    let larger = json!({"spec": {"resources": {"requests": {"storage": "3Gi"}}}});
    assert_cases(
        bound.clone(),
        |new| compare_claims(new, &bound),
        &[
            (larger.clone(), &[]),
            (
                json!({"spec": {"resources": {"requests": {"storage": "1Gi"}}}}),
                &["spec.resources.requests.storage: Forbidden: field can not be less than status.capacity"],
            ),
            (
                json!({"spec": {"volumeMode": "Block"}}),
                &[&fixed, "volumeMode: Invalid value: \"Block\": field is immutable"],
            ),
        ],
    );
    let refused = format!("spec: Forbidden: {CLAIM_FIXED}");
    assert_cases(claim(), |new| compare_claims(new, &claim()), &[(larger, &[&refused])]);
}

#[test]
fn a_volume_gets_the_stock_causes() {
    let old = json!({"spec": {"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}, "hostPath": {"path": "/a"}}});
    let of = |mut spec: Value| {
        spec["hostPath"] = Value::Null;
        json!({"spec": spec})
    };
    let portal = "p".repeat(64);
    let too_long = format!(
        "spec.iscsi.targetportal: Invalid value: \"{portal}\": Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if iscsi.initiatorName is specified."
    );
    assert_cases(
        old.clone(),
        volume,
        &[
            (
                json!({"spec": {"capacity": {"cpu": "1"}}}),
                &[
                    "spec.capacity: Unsupported value: {\"storage\":\"1Gi\",\"cpu\":\"1\"}: supported values: \"storage\"",
                ],
            ),
            (
                json!({"spec": {"nfs": {"server": "s", "path": "/"}}}),
                &["spec.nfs: Forbidden: may not specify more than 1 volume type"],
            ),
            (
                json!({"spec": {"hostPath": {"path": "/", }, "persistentVolumeReclaimPolicy": "Recycle"}}),
                &[
                    "spec.persistentVolumeReclaimPolicy: Forbidden: may not be 'recycle' for a hostPath mount of '/'",
                ],
            ),
            (
                json!({"spec": {"hostPath": null, "local": {"path": "/a"}}}),
                &["spec.nodeAffinity: Required value: Local volume requires node affinity"],
            ),
            (
                json!({"spec": {"hostPath": null, "csi": {"driver": "d", "nodeExpandSecretRef": {"name": "n"}}}}),
                &[
                    "spec.csi.volumeHandle: Required value",
                    "spec.csi.nodeExpandSecretRef.namespace: Required value",
                ],
            ),
            (
                json!({"spec": {"hostPath": null, "nfs": {"server": "s", "path": "a"}}}),
                &["spec.nfs.path: Invalid value: \"a\": must be an absolute path"],
            ),
            (
                of(
                    json!({"iscsi": {"targetPortal": portal, "iqn": "bad", "lun": 0, "secretRef": {}, "initiatorName": "iqn.2001-04.c:d"}}),
                ),
                &[
                    &too_long,
                    "spec.iscsi.iqn: Invalid value: \"bad\": must be valid format",
                    "spec.iscsi.secretRef.name: Required value",
                ],
            ),
            (
                of(json!({"azureFile": {"secretName": "s", "shareName": "t", "secretNamespace": ""}})),
                &["spec.azureFile.secretNamespace: Required value"],
            ),
            (
                of(json!({"awsElasticBlockStore": {"volumeID": "v", "partition": 300}})),
                &[
                    "spec.awsElasticBlockStore.partition: Invalid value: 300: must be between 1 and 255, inclusive",
                ],
            ),
            (
                of(json!({"cinder": {"volumeID": "v", "secretRef": {"name": "n"}}})),
                &["spec.cinder.secretRef.namespace: Required value"],
            ),
            (
                of(json!({"glusterfs": {"endpoints": "e", "path": "p", "endpointsNamespace": ""}})),
                &[
                    "spec.glusterfs.endpointsNamespace: Invalid value: \"\": if the endpointnamespace is set, it must be a valid namespace name",
                ],
            ),
            (
                json!({"spec": {"nodeAffinity": {}}}),
                &["spec.nodeAffinity.required: Required value: must specify required node constraints"],
            ),
        ],
    );
    assert_cases(
        old.clone(),
        |new| compare_volumes(new, &old),
        &[(
            json!({"spec": {"hostPath": {"path": "/b"}}}),
            &[
                "spec.persistentvolumesource: Forbidden: spec.persistentvolumesource is immutable after creation",
            ],
        )],
    );
}

#[test]
fn a_storage_class_gets_the_stock_causes() {
    let topology = |own: Value| json!({"allowedTopologies": [{"matchLabelExpressions": [own]}]});
    assert_cases(
        json!({"provisioner": "a.b/c"}),
        class,
        &[
            (json!({"provisioner": null}), &["provisioner: Required value"]),
            (json!({"parameters": {"": "x"}}), &["parameters: Invalid value: \"\": field can not be empty."]),
            (
                json!({"reclaimPolicy": "Recycle"}),
                &["reclaimPolicy: Unsupported value: \"Recycle\": supported values: \"Delete\", \"Retain\""],
            ),
            (
                topology(json!({"key": "zone", "values": []})),
                &["allowedTopologies.matchLabelExpressions[0].values: Required value"],
            ),
            (
                topology(json!({"key": "zone", "values": ["a", "a"]})),
                &["allowedTopologies.matchLabelExpressions[0].values[1]: Duplicate value: \"a\""],
            ),
        ],
    );
    let causes = (CLASS.compare)(&json!({"reclaimPolicy": "Retain"}), &json!({"reclaimPolicy": "Delete"}));
    assert_eq!(causes[0].to_string(), "reclaimPolicy: Forbidden: updates to reclaimPolicy are forbidden.");
}
