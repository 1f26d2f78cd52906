//! Volumes, claims and what provides them.
//!
//! Source: https://github.com/kubernetes/kubernetes/blob/master/pkg/printers/internalversion/printers.go

use serde_json::Value;

use super::{
    AGE, Column, NAME, Printer, age,
    cells::{NONE, UNSET, boolean, either, integer, items, joined, shown, shown_or, text},
    name,
};
use crate::object::strings;

const CLASS_ANNOTATION: &str = "volume.beta.kubernetes.io/storage-class";
const DEFAULT_CLASS_ANNOTATIONS: [&str; 2] =
    ["storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"];
const ACCESS_MODES: [(&str, &str); 4] = [
    ("ReadWriteOnce", "RWO"),
    ("ReadOnlyMany", "ROX"),
    ("ReadWriteMany", "RWX"),
    ("ReadWriteOncePod", "RWOP"),
];
const VOLUME_MODE: Column = text("VolumeMode", "volumeMode defines if a volume is intended to be used with a formatted filesystem or to remain in raw block state.").wide();
const ATTRIBUTES_CLASS: Column =
    text("VolumeAttributesClass", "Name of VolumeAttributesClass to which this persistent volume belongs.");

fn access_modes(value: &Value) -> String {
    let given = strings(value);
    joined(ACCESS_MODES.iter().filter(|(mode, _)| given.contains(mode)).map(|(_, short)| short), "")
}

fn phase(object: &Value) -> Value {
    if object["metadata"]["deletionTimestamp"].is_string() {
        return "Terminating".into();
    }
    shown(&object["status"]["phase"]).into()
}

fn class(object: &Value) -> Value {
    let spec = shown(&object["spec"]["storageClassName"]);
    shown_or(&object["metadata"]["annotations"][CLASS_ANNOTATION], spec).into()
}

pub const VOLUMES: Printer = Printer {
    columns: &[
        NAME,
        text("Capacity", "capacity is the description of the persistent volume's resources and capacity."),
        text("Access Modes", "accessModes contains all ways the volume can be mounted."),
        text(
            "Reclaim Policy",
            "persistentVolumeReclaimPolicy defines what happens to a persistent volume when released from its claim.",
        ),
        text("Status", "phase indicates if a volume is available, bound to a claim, or released by a claim."),
        text(
            "Claim",
            "claimRef is part of a bi-directional binding between PersistentVolume and PersistentVolumeClaim.",
        ),
        text("StorageClass", "StorageClass of the pv"),
        ATTRIBUTES_CLASS,
        text(
            "Reason",
            "reason is a brief CamelCase string that describes any failure and is meant for machine parsing and tidy display in the CLI.",
        ),
        AGE,
        VOLUME_MODE,
    ],
    cells: |volume, now| {
        let spec = &volume["spec"];
        let claim = match shown(&spec["claimRef"]["name"]) {
            "" => String::new(),
            own => format!("{}/{own}", shown(&spec["claimRef"]["namespace"])),
        };
        vec![
            name(volume),
            either(&spec["capacity"]["storage"]).into(),
            access_modes(&spec["accessModes"]).into(),
            shown(&spec["persistentVolumeReclaimPolicy"]).into(),
            phase(volume),
            claim.into(),
            class(volume),
            shown_or(&spec["volumeAttributesClassName"], UNSET).into(),
            shown(&volume["status"]["reason"]).into(),
            age::of(volume, now),
            shown_or(&spec["volumeMode"], UNSET).into(),
        ]
    },
};

pub const CLAIMS: Printer = Printer {
    columns: &[
        NAME,
        text("Status", "phase represents the current phase of PersistentVolumeClaim."),
        text("Volume", "volumeName is the binding reference to the PersistentVolume backing this claim."),
        text("Capacity", "capacity represents the actual resources of the underlying volume."),
        text("Access Modes", "accessModes contains the actual access modes the volume backing the PVC has."),
        text("StorageClass", "StorageClass of the pvc"),
        ATTRIBUTES_CLASS,
        AGE,
        VOLUME_MODE,
    ],
    cells: |claim, now| {
        let (spec, status) = (&claim["spec"], &claim["status"]);
        let volume = shown(&spec["volumeName"]);
        let bound = |text: String| -> Value { if volume.is_empty() { "".into() } else { text.into() } };
        vec![
            name(claim),
            phase(claim),
            volume.into(),
            bound(either(&status["capacity"]["storage"])),
            bound(access_modes(&status["accessModes"])),
            class(claim),
            shown_or(&spec["volumeAttributesClassName"], UNSET).into(),
            age::of(claim, now),
            shown_or(&spec["volumeMode"], UNSET).into(),
        ]
    },
};

fn marked_default(object: &Value) -> String {
    let annotations = &object["metadata"]["annotations"];
    let is_default = DEFAULT_CLASS_ANNOTATIONS.iter().any(|key| annotations[*key] == "true");
    format!("{}{}", crate::object::name(object), if is_default { " (default)" } else { "" })
}

pub const STORAGE_CLASSES: Printer = Printer {
    columns: &[
        NAME,
        text("Provisioner", "provisioner indicates the type of the provisioner."),
        text(
            "ReclaimPolicy",
            "reclaimPolicy controls the reclaimPolicy for dynamically provisioned PersistentVolumes of this storage class.",
        ),
        text(
            "VolumeBindingMode",
            "volumeBindingMode indicates how PersistentVolumeClaims should be provisioned and bound.",
        ),
        boolean(
            "AllowVolumeExpansion",
            "allowVolumeExpansion shows whether the storage class allow volume expand.",
        ),
        AGE,
    ],
    cells: |class, now| {
        vec![
            marked_default(class).into(),
            shown(&class["provisioner"]).into(),
            shown_or(&class["reclaimPolicy"], "Delete").into(),
            shown_or(&class["volumeBindingMode"], "Immediate").into(),
            class["allowVolumeExpansion"].as_bool().unwrap_or_default().into(),
            age::of(class, now),
        ]
    },
};

pub const ATTRIBUTES_CLASSES: Printer = Printer {
    columns: &[NAME, text("DriverName", "Name of the CSI driver"), AGE],
    cells: |class, now| vec![name(class), shown(&class["driverName"]).into(), age::of(class, now)],
};

pub const ATTACHMENTS: Printer = Printer {
    columns: &[
        NAME,
        text("Attacher", "attacher indicates the name of the volume driver that MUST handle this request."),
        text("PV", "persistentVolumeName represents the name of the persistent volume to attach."),
        text("Node", "nodeName represents the node that the volume should be attached to."),
        boolean("Attached", "attached indicates the volume is successfully attached."),
        AGE,
    ],
    cells: |object, now| {
        let spec = &object["spec"];
        vec![
            name(object),
            shown(&spec["attacher"]).into(),
            shown(&spec["source"]["persistentVolumeName"]).into(),
            shown(&spec["nodeName"]).into(),
            object["status"]["attached"].as_bool().unwrap_or_default().into(),
            age::of(object, now),
        ]
    },
};

pub const CSI_DRIVERS: Printer = Printer {
    columns: &[
        NAME,
        boolean(
            "AttachRequired",
            "attachRequired indicates this CSI volume driver requires an attach operation.",
        ),
        boolean(
            "PodInfoOnMount",
            "podInfoOnMount indicates this CSI volume driver requires additional pod information during mount operations.",
        ),
        boolean(
            "StorageCapacity",
            "storageCapacity indicates that the CSI volume driver wants pod scheduling to consider the storage capacity.",
        ),
        text(
            "TokenRequests",
            "tokenRequests indicates the CSI driver needs pods' service account tokens it is mounting volume for.",
        ),
        boolean(
            "RequiresRepublish",
            "requiresRepublish indicates the CSI driver wants NodePublishVolume being periodically called.",
        ),
        text("Modes", "volumeLifecycleModes defines what kind of volumes this CSI volume driver supports."),
        AGE,
    ],
    cells: |driver, now| {
        let spec = &driver["spec"];
        let flag = |field: &str, otherwise: bool| Value::from(spec[field].as_bool().unwrap_or(otherwise));
        let audiences = items(&spec["tokenRequests"]).iter().map(|request| shown(&request["audience"]));
        vec![
            name(driver),
            flag("attachRequired", true),
            flag("podInfoOnMount", false),
            flag("storageCapacity", false),
            joined(audiences, UNSET).into(),
            flag("requiresRepublish", false),
            joined(strings(&spec["volumeLifecycleModes"]), NONE).into(),
            age::of(driver, now),
        ]
    },
};

pub const CSI_NODES: Printer = Printer {
    columns: &[
        NAME,
        integer("Drivers", "Drivers indicates the number of CSI drivers registered on the node"),
        AGE,
    ],
    cells: |node, now| vec![name(node), items(&node["spec"]["drivers"]).len().into(), age::of(node, now)],
};

pub const CSI_CAPACITIES: Printer = Printer {
    columns: &[
        NAME,
        text(
            "StorageClassName",
            "storageClassName represents the name of the StorageClass that the reported capacity applies to.",
        ),
        text("Capacity", "capacity is the value reported by the CSI driver."),
    ],
    cells: |object, _| {
        let capacity = either(&object["capacity"]);
        let capacity = if capacity.is_empty() { UNSET.into() } else { capacity };
        vec![name(object), shown(&object["storageClassName"]).into(), capacity.into()]
    },
};
