//! Security contexts of pods and of containers, and which of their fields an operating system has.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    super::checks::{Causes, add, indexed, is_set, items, one_of, text},
    container::below,
    containers, windows,
};
use crate::status::Cause;

const ID_RANGE: &str = "must be between 0 and 2147483647, inclusive";
const PROFILE_TYPES: [&str; 3] = ["Localhost", "RuntimeDefault", "Unconfined"];
const PROFILE_MAX_BYTES: usize = 4095;
const SYSCTL_MAX_BYTES: usize = 253;
const SYSCTL: &str = r"must have at most 253 characters and match regex ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$";
/// Which sysctls belong to a namespace that a pod may share with its host.
const SHARED_SYSCTLS: [(&str, &str); 5] = [
    ("net.", "hostNetwork"),
    ("kernel.shm", "hostIPC"),
    ("kernel.msg", "hostIPC"),
    ("kernel.sem", "hostIPC"),
    ("fs.mqueue.", "hostIPC"),
];
/// Mount options come with the feature gate SELinuxMount, which 1.36 leaves off.
const LABEL_POLICIES: [&str; 1] = ["Recursive"];

const NOT_ON_WINDOWS: &str = "cannot be set for a windows pod";
const POD_FIELDS_NOT_ON_WINDOWS: [&str; 15] = [
    "securityContext.appArmorProfile",
    "securityContext.seLinuxOptions",
    "hostUsers",
    "hostPID",
    "hostIPC",
    "securityContext.seccompProfile",
    "securityContext.fsGroup",
    "securityContext.fsGroupChangePolicy",
    "securityContext.sysctls",
    "shareProcessNamespace",
    "securityContext.runAsUser",
    "securityContext.runAsGroup",
    "securityContext.supplementalGroups",
    "securityContext.supplementalGroupsPolicy",
    "securityContext.seLinuxChangePolicy",
];
const CONTAINER_FIELDS_NOT_ON_WINDOWS: [&str; 10] = [
    "appArmorProfile",
    "seLinuxOptions",
    "seccompProfile",
    "capabilities",
    "readOnlyRootFilesystem",
    "privileged",
    "allowPrivilegeEscalation",
    "procMount",
    "runAsUser",
    "runAsGroup",
];

pub fn pod(out: &mut Causes, spec: &Value, path: &str) {
    let context = &spec["securityContext"];
    let at = format!("{path}.securityContext");
    ids(out, context, &at, &["fsGroup", "runAsUser", "runAsGroup"]);
    for (at, group) in indexed(&context["supplementalGroups"], &format!("{at}.supplementalGroups")) {
        id(out, group, at);
    }
    if spec["shareProcessNamespace"] == true && spec["hostPID"] == true {
        let why = "ShareProcessNamespace and HostPID cannot both be enabled";
        out.push(Cause::invalid(format!("{at}.shareProcessNamespace"), true, why));
    }
    sysctls(out, spec, &format!("{at}.sysctls"));
    profiles(out, context, &at);
    windows::options(out, &context["windowsOptions"], &format!("{at}.windowsOptions"));
    for (field, allowed) in [
        ("fsGroupChangePolicy", &["Always", "OnRootMismatch"][..]),
        ("supplementalGroupsPolicy", &["Merge", "Strict"]),
        ("seLinuxChangePolicy", &LABEL_POLICIES),
    ] {
        one_of(out, &context[field], &format!("{at}.{field}"), allowed);
    }
    windows::host_process(out, spec, path);
    if spec["hostUsers"] == false {
        const WHY: &str = "when `hostUsers` is false";
        // As upstream writes them.
        for (field, shown) in [("hostNetwork", "hostNetwork"), ("hostPID", "HostPID"), ("hostIPC", "HostIPC")]
        {
            if spec[field] == true {
                out.push(Cause::forbidden(format!("{path}.{shown}"), WHY));
            }
        }
        for (at, _) in containers(spec, path).iter().filter(|(_, own)| is_set(&own["volumeDevices"])) {
            out.push(Cause::forbidden(format!("{at}.volumeDevices"), WHY));
        }
    }
}

/// `own_users`: the pod does not share its host's users.
pub fn container(out: &mut Causes, context: &Value, path: &str, own_users: bool) {
    if context.is_null() {
        return;
    }
    ids(out, context, path, &["runAsUser", "runAsGroup"]);
    let at = format!("{path}.procMount");
    one_of(out, &context["procMount"], &at, &["Default", "Unmasked"]);
    if context["procMount"] == "Unmasked" && !own_users {
        out.push(Cause::invalid(at, "Unmasked", "`hostUsers` must be false to use `Unmasked`"));
    }
    profiles(out, context, path);
    if context["allowPrivilegeEscalation"] == false {
        if context["privileged"] == true {
            let why = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true";
            out.push(Cause::invalid(path, context.clone(), why));
        }
        if items(&context["capabilities"]["add"]).iter().any(|own| text(own) == "CAP_SYS_ADMIN") {
            let why = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN";
            out.push(Cause::invalid(path, context.clone(), why));
        }
    }
    windows::options(out, &context["windowsOptions"], &format!("{path}.windowsOptions"));
}

/// User and group ids.
fn ids(out: &mut Causes, context: &Value, path: &str, fields: &[&str]) {
    for field in fields {
        id(out, &context[*field], format!("{path}.{field}"));
    }
}

fn id(out: &mut Causes, value: &Value, path: String) {
    if let Some(id) = value.as_i64().filter(|id| !(0..=i64::from(i32::MAX)).contains(id)) {
        out.push(Cause::invalid(path, id, ID_RANGE));
    }
}

fn sysctls(out: &mut Causes, spec: &Value, path: &str) {
    let mut seen = BTreeSet::new();
    for (at, sysctl) in indexed(&spec["securityContext"]["sysctls"], path) {
        let (at, name) = (format!("{at}.name"), text(&sysctl["name"]));
        if name.is_empty() {
            out.push(Cause::required(at.as_str(), ""));
        } else if !is_sysctl(name) {
            out.push(Cause::invalid(at.as_str(), name, SYSCTL));
        } else if !seen.insert(name) {
            out.push(Cause::duplicate(at.as_str(), name));
        }
        // Slashes may stand for dots.
        let dotted = match name.find(['.', '/']).map(|first| &name[first..=first]) {
            Some("/") => name.replace('/', "."),
            _ => name.to_owned(),
        };
        let shared = SHARED_SYSCTLS
            .iter()
            .find(|(start, namespace)| dotted.starts_with(start) && spec[*namespace] == true);
        if let Some((_, namespace)) = shared {
            let why = format!("may not be specified when '{namespace}' is true");
            out.push(Cause::invalid(at, name, &why));
        }
    }
}

fn is_sysctl(name: &str) -> bool {
    let is_part = |part: &str| {
        let edges = [part.chars().next(), part.chars().last()];
        edges.into_iter().all(|c| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit()))
            && part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c))
    };
    name.len() <= SYSCTL_MAX_BYTES && name.split(['.', '/']).all(is_part)
}

/// The profiles of seccomp and of AppArmor: a local one has a name, the others have none.
fn profiles(out: &mut Causes, context: &Value, path: &str) {
    for (field, system) in [("seccompProfile", "seccomp"), ("appArmorProfile", "AppArmor")] {
        let (profile, at) = (&context[field], format!("{path}.{field}"));
        if profile.is_null() {
            continue;
        }
        if is_set(&profile["type"]) {
            one_of(out, &profile["type"], &format!("{at}.type"), &PROFILE_TYPES);
        } else {
            let why = format!("type is required when {field} is set");
            out.push(Cause::required(format!("{at}.type"), &why));
        }
        let (name, at) = (&profile["localhostProfile"], format!("{at}.localhostProfile"));
        if profile["type"] != "Localhost" {
            if is_set(name) {
                let why = format!("can only be set when {system} type is Localhost");
                out.push(Cause::invalid(at, name.clone(), &why));
            }
        } else if !is_set(name) {
            out.push(Cause::required(at, &format!("must be set when {system} type is Localhost")));
        } else if field == "seccompProfile" {
            below(out, name, &at);
        } else {
            let name = text(name);
            if name.trim() != name {
                add(out, &at, name, vec!["must not be padded with whitespace"]);
            }
            if name.len() > PROFILE_MAX_BYTES {
                out.push(Cause::too_long(at, PROFILE_MAX_BYTES));
            }
        }
    }
}

/// What the pod's operating system does not have is not set.
pub fn operating_system(out: &mut Causes, spec: &Value, path: &str) {
    if spec["os"].is_null() {
        return;
    }
    let contexts = || {
        containers(spec, path)
            .into_iter()
            .map(|(at, own)| (format!("{at}.securityContext"), &own["securityContext"]))
    };
    match text(&spec["os"]["name"]) {
        "" => out.push(Cause::required(format!("{path}.os.name"), "cannot be empty")),
        "linux" => {
            let of_pod = (format!("{path}.securityContext"), &spec["securityContext"]);
            for (at, _) in
                std::iter::once(of_pod).chain(contexts()).filter(|(_, own)| !own["windowsOptions"].is_null())
            {
                let why = "windows options cannot be set for a linux pod";
                out.push(Cause::forbidden(format!("{at}.windowsOptions"), why));
            }
        }
        "windows" => {
            for field in POD_FIELDS_NOT_ON_WINDOWS {
                let value = field.split('.').fold(spec, |value, part| &value[part]);
                if is_set(value)
                    && (*value != false || matches!(field, "hostUsers" | "shareProcessNamespace"))
                {
                    out.push(Cause::forbidden(format!("{path}.{field}"), NOT_ON_WINDOWS));
                }
            }
            for (at, context) in contexts() {
                let given =
                    CONTAINER_FIELDS_NOT_ON_WINDOWS.iter().filter(|field| !context[**field].is_null());
                out.extend(given.map(|field| Cause::forbidden(format!("{at}.{field}"), NOT_ON_WINDOWS)));
            }
        }
        other => out.push(Cause::not_supported(format!("{path}.os"), other, &["linux", "windows"])),
    }
}
