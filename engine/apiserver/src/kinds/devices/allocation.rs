//! The status of a claim: what is allocated, for whom it is reserved, and what drivers say about the devices.
//!
//! Invariant: an allocation never changes; what drivers said about a device goes with it.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    super::{
        checks::{Causes, immutable, indexed, is_set, items, one_of, require, text},
        conditions, ip,
    },
    LIST_MAX, configurations, driver, node_selector,
    parts::{binding_conditions, bounded, pool_name, raw_object, set, toleration, uid, word},
    reference, references,
};
use crate::{object, status::Cause};

const RESERVED_MAX: usize = 256;
const CONDITIONS_MAX: usize = 8;
const ADDRESSES_MAX: usize = 16;

/// As messages show it: `driver/pool/device`, and the share of it when it is shared.
pub fn device_id(device: &Value) -> String {
    let parts = ["driver", "pool", "device", "shareID"].map(|field| text(&device[field]));
    parts.join("/").trim_end_matches('/').to_owned()
}

fn allocated(claim: &Value) -> BTreeSet<String> {
    items(&claim["status"]["allocation"]["devices"]["results"]).iter().map(device_id).collect()
}

pub fn drop_deallocated(claim: &mut Value, old: &Value) {
    let (before, now) = (allocated(old), allocated(claim));
    let Some(devices) = claim["status"]["devices"].as_array_mut() else { return };
    devices.retain(|device| {
        let id = device_id(device);
        now.contains(&id) || !before.contains(&id)
    });
    if devices.is_empty() {
        object::remove(&mut claim["status"], "devices");
    }
}

pub fn status(new: &Value, old: &Value) -> Causes {
    const RESERVED: &str = "status.reservedFor";
    let (status, before, mut out) = (&new["status"], &old["status"], Vec::new());
    let reserved = &status["reservedFor"];
    set(&mut out, reserved, RESERVED, RESERVED_MAX, "uid", &mut |out, own, at| {
        for field in ["resource", "name", "uid"] {
            require(out, &own[field], &format!("{at}.{field}"));
        }
    });
    let (known, mut seen) = (allocated(new), BTreeSet::new());
    for (at, own) in indexed(&status["devices"], "status.devices") {
        device(&mut out, own, &known, &at);
    }
    for (at, own) in indexed(&status["devices"], "status.devices") {
        let id = device_id(own);
        if !seen.insert(id.clone()) {
            out.push(Cause::new("FieldValueDuplicate", at, format!("Duplicate value: {id}")));
        }
    }
    let allocation = &status["allocation"];
    if is_set(reserved) && allocation.is_null() {
        out.push(Cause::forbidden(RESERVED, "may not be specified when `allocated` is not set"));
    } else if object::is_deleting(new)
        && items(reserved).iter().any(|own| !items(&before["reservedFor"]).contains(own))
    {
        let why = "new entries may not be added while `deallocationRequested` or `deletionTimestamp` are set";
        out.push(Cause::forbidden(RESERVED, why));
    }
    if !before["allocation"].is_null() && !allocation.is_null() {
        immutable(&mut out, allocation, &before["allocation"], "status.allocation");
    } else if !allocation.is_null() {
        result(&mut out, allocation, &new["spec"]["devices"]["requests"]);
    }
    out
}

fn result(out: &mut Causes, allocation: &Value, requests: &Value) {
    const DEVICES: &str = "status.allocation.devices";
    let results = &allocation["devices"]["results"];
    bounded(out, results, &format!("{DEVICES}.results"), LIST_MAX, &mut |out, own, at| {
        reference(out, text(&own["request"]), requests, &format!("{at}.request"));
        named(out, own, at);
        binding_conditions(out, own, at);
        for (at, own) in indexed(&own["tolerations"], &format!("{at}.tolerations")) {
            toleration(out, own, &at);
        }
        uid(out, &own["shareID"], &format!("{at}.shareID"));
    });
    // Of the class and of the claim.
    configurations(out, &allocation["devices"]["config"], DEVICES, 2 * LIST_MAX, &mut |out, own, at| {
        let source = format!("{at}.source");
        if require(out, &own["source"], &source) {
            one_of(out, &own["source"], &source, &["FromClaim", "FromClass"]);
        }
        references(out, &own["requests"], requests, at);
    });
    if !allocation["nodeSelector"].is_null() {
        node_selector(out, &allocation["nodeSelector"], "status.allocation.nodeSelector");
    }
}

fn named(out: &mut Causes, device: &Value, path: &str) {
    driver(out, &device["driver"], &format!("{path}.driver"));
    pool_name(out, &device["pool"], &format!("{path}.pool"));
    word(out, &device["device"], &format!("{path}.device"));
}

fn device(out: &mut Causes, device: &Value, known: &BTreeSet<String>, path: &str) {
    named(out, device, path);
    uid(out, &device["shareID"], &format!("{path}.shareID"));
    let id = device_id(device);
    if !known.contains(&id) {
        let why = format!("Invalid value: {id}: must be an allocated device in the claim");
        out.push(Cause::new("FieldValueInvalid", path, why));
    }
    let at = format!("{path}.conditions");
    if items(&device["conditions"]).len() > CONDITIONS_MAX {
        out.push(Cause::too_many(at.as_str(), items(&device["conditions"]).len(), CONDITIONS_MAX));
    }
    conditions(out, &device["conditions"], &at);
    if !device["data"].is_null() {
        raw_object(out, &device["data"], &format!("{path}.data"));
    }
    let (network, path) = (&device["networkData"], format!("{path}.networkData"));
    for (field, most) in [("interfaceName", 256), ("hardwareAddress", 128)] {
        if text(&network[field]).len() > most {
            out.push(Cause::too_long(format!("{path}.{field}"), most));
        }
    }
    set(out, &network["ips"], &format!("{path}.ips"), ADDRESSES_MAX, "", &mut |out, own, at| {
        ip::interface(out, text(own), at);
    });
}
