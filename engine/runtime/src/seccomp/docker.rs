//! Localhost profiles: the JSON that Docker, containerd and the kubelet's seccomp directory use.
//!
//! Source: https://github.com/opencontainers/runtime-spec/blob/main/config-linux.md#seccomp

use std::path::Path;

use seccompiler::{SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition};
use serde::Deserialize;

use super::{
    SeccompError,
    profile::{Profile, Rule, Syscalls},
};
use crate::create::capabilities::CapabilitySet;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    default_action: String,
    default_errno_ret: Option<u32>,
    #[serde(default)]
    syscalls: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    #[serde(default)]
    names: Vec<String>,
    name: Option<String>,
    action: String,
    errno_ret: Option<u32>,
    #[serde(default)]
    args: Option<Vec<Arg>>,
    #[serde(default)]
    includes: Guard,
    #[serde(default)]
    excludes: Guard,
}

#[derive(Deserialize, Default)]
struct Guard {
    #[serde(default)]
    caps: Vec<String>,
    #[serde(default)]
    arches: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Arg {
    index: u8,
    value: u64,
    #[serde(default)]
    value_two: u64,
    op: String,
}

pub fn load(path: &Path, capabilities: CapabilitySet) -> Result<Profile, SeccompError> {
    let name = || path.display().to_string();
    let text = std::fs::read(path).map_err(|source| SeccompError::Read { path: name(), source })?;
    parse(&text, capabilities).map_err(|reason| SeccompError::Invalid { path: name(), reason })
}

fn parse(text: &[u8], capabilities: CapabilitySet) -> Result<Profile, String> {
    let document: Document = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    let syscalls = Syscalls::new();
    let rules = document
        .syscalls
        .iter()
        .filter(|entry| applies(entry, capabilities))
        .map(|entry| rule(entry, &syscalls))
        .collect::<Result<_, _>>()?;
    Ok(Profile { default: action(&document.default_action, document.default_errno_ret)?, rules })
}

fn applies(entry: &Entry, capabilities: CapabilitySet) -> bool {
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let here = |guard: &Guard| guard.arches.iter().any(|candidate| candidate == arch);
    let included = entry.includes.caps.iter().all(|name| capabilities.has(name))
        && (entry.includes.arches.is_empty() || here(&entry.includes));
    let excluded = entry.excludes.caps.iter().any(|name| capabilities.has(name)) || here(&entry.excludes);
    included && !excluded
}

fn rule(entry: &Entry, syscalls: &Syscalls) -> Result<Rule, String> {
    let conditions = entry.args.iter().flatten().map(condition).collect::<Result<_, _>>()?;
    let numbers = entry.names.iter().chain(&entry.name).filter_map(|name| syscalls.number(name)).collect();
    Ok(Rule { numbers, action: action(&entry.action, entry.errno_ret)?, conditions })
}

fn condition(arg: &Arg) -> Result<SeccompCondition, String> {
    // SCMP_CMP_MASKED_EQ: `value` is the mask, `valueTwo` what the masked bits must be.
    let (operator, value) = match arg.op.as_str() {
        "SCMP_CMP_EQ" => (SeccompCmpOp::Eq, arg.value),
        "SCMP_CMP_NE" => (SeccompCmpOp::Ne, arg.value),
        "SCMP_CMP_LT" => (SeccompCmpOp::Lt, arg.value),
        "SCMP_CMP_LE" => (SeccompCmpOp::Le, arg.value),
        "SCMP_CMP_GT" => (SeccompCmpOp::Gt, arg.value),
        "SCMP_CMP_GE" => (SeccompCmpOp::Ge, arg.value),
        "SCMP_CMP_MASKED_EQ" => (SeccompCmpOp::MaskedEq(arg.value), arg.value_two),
        other => return Err(format!("unknown operator `{other}`")),
    };
    SeccompCondition::new(arg.index, SeccompCmpArgLen::Qword, operator, value)
        .map_err(|error| error.to_string())
}

fn action(name: &str, errno: Option<u32>) -> Result<SeccompAction, String> {
    Ok(match name {
        "SCMP_ACT_ALLOW" => SeccompAction::Allow,
        "SCMP_ACT_ERRNO" => SeccompAction::Errno(errno.unwrap_or(libc::EPERM as u32)),
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => SeccompAction::KillThread,
        "SCMP_ACT_KILL_PROCESS" => SeccompAction::KillProcess,
        "SCMP_ACT_TRAP" => SeccompAction::Trap,
        "SCMP_ACT_LOG" => SeccompAction::Log,
        "SCMP_ACT_TRACE" => SeccompAction::Trace(errno.unwrap_or(libc::EPERM as u32)),
        other => return Err(format!("action `{other}` is not supported")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_forbidden_calls_compiles_to_one_program_an_action() {
        let text = br#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[
            {"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO","errnoRet":99},
            {"names":["chmod"],"action":"SCMP_ACT_KILL_PROCESS","args":[{"index":1,"value":511,"op":"SCMP_CMP_EQ"}]}]}"#;
        let profile = parse(text, CapabilitySet::default()).unwrap();
        assert_eq!(super::super::compile(&profile).unwrap().len(), 2);
    }

    #[test]
    fn an_unknown_action_is_refused() {
        let text = br#"{"defaultAction":"SCMP_ACT_NOTIFY"}"#;
        assert!(parse(text, CapabilitySet::default()).err().unwrap().contains("SCMP_ACT_NOTIFY"));
    }
}
