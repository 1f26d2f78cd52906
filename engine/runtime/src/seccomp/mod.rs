//! Seccomp filters, in pure Rust: from a profile and a container's capabilities to BPF programs.
//!
//! Kept true: a rule's action wins over the default action; a filter is complete before it is loaded.
//! Reads:     `default.txt` (RuntimeDefault) or a Localhost profile, `syscalls_*.txt` (names to numbers).
//! Source:    https://kubernetes.io/docs/tutorials/security/seccomp/ and seccomp(2)
#![allow(unsafe_code)]

mod docker;
mod profile;

use std::io;

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, SeccompRule, TargetArch};

use crate::api::Seccomp;
use crate::create::capabilities::CapabilitySet;
use profile::{Profile, Rule};

#[derive(Debug, thiserror::Error)]
pub enum SeccompError {
    #[error("cannot load seccomp profile \"{path}\": {source}")]
    Read { path: String, source: io::Error },
    #[error("seccomp profile \"{path}\": {reason}")]
    Invalid { path: String, reason: String },
    #[error("seccomp filter: {0}")]
    Compile(String),
}

/// The programs that together make a profile. Loaded in order: the one that may forbid loading comes last.
#[derive(Clone, Default)]
pub struct Filters(Vec<BpfProgram>);

impl Filters {
    /// Compiles what a container asks for. `Unconfined` gives no filter at all.
    pub fn compile(seccomp: &Seccomp, capabilities: CapabilitySet) -> Result<Self, SeccompError> {
        let profile = match seccomp {
            Seccomp::Unconfined => return Ok(Self::default()),
            Seccomp::RuntimeDefault => profile::runtime_default(capabilities),
            Seccomp::Localhost(path) => docker::load(path, capabilities)?,
        };
        compile(&profile).map(Filters)
    }

    /// One system call is answered with an error number (0: it seems to succeed); all others are allowed.
    pub fn answering(call: i64, errno: u32) -> Result<Self, SeccompError> {
        let rule = Rule { numbers: vec![call], action: SeccompAction::Errno(errno), conditions: Vec::new() };
        compile(&Profile { default: SeccompAction::Allow, rules: vec![rule] }).map(Filters)
    }

    /// Confines the calling thread. Needs `no_new_privs` or CAP_SYS_ADMIN.
    pub fn load(&self) -> io::Result<()> {
        for program in &self.0 {
            let filter = libc::sock_fprog {
                len: u16::try_from(program.len()).map_err(|_| io::Error::from_raw_os_error(libc::E2BIG))?,
                filter: program.as_ptr().cast_mut().cast(),
            };
            // SAFETY: `filter` points to `len` instructions that live through the call; the kernel copies them.
            let result =
                unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &filter) };
            if result != 0 {
                return Err(io::Error::last_os_error());
            }
        }
        Ok(())
    }
}

/// `seccompiler` knows two actions a filter, the kernel takes the strictest answer of all filters: so one filter
/// decides between the default action and the rules, and one more filter for each other action says that action.
fn compile(profile: &Profile) -> Result<Vec<BpfProgram>, SeccompError> {
    let mut actions: Vec<SeccompAction> = Vec::new();
    for rule in &profile.rules {
        if rule.action != SeccompAction::Allow
            && rule.action != profile.default
            && !actions.contains(&rule.action)
        {
            actions.push(rule.action.clone());
        }
    }
    let mut programs = Vec::with_capacity(actions.len() + 1);
    for action in actions {
        let of_action = |candidate: &SeccompAction| *candidate == action;
        programs.push(program(profile, of_action, SeccompAction::Allow, action.clone())?);
    }
    if profile.default != SeccompAction::Allow {
        let other = |candidate: &SeccompAction| *candidate != profile.default;
        programs.push(program(profile, other, profile.default.clone(), SeccompAction::Allow)?);
    }
    Ok(programs)
}

fn program(
    profile: &Profile,
    wanted: impl Fn(&SeccompAction) -> bool,
    otherwise: SeccompAction,
    matched: SeccompAction,
) -> Result<BpfProgram, SeccompError> {
    let failed = |error: &dyn std::fmt::Display| SeccompError::Compile(error.to_string());
    let mut rules: std::collections::BTreeMap<i64, Vec<SeccompRule>> = Default::default();
    // An unconditional rule (no conditions) must not be narrowed by a conditional one for the same call.
    let mut unconditional = std::collections::BTreeSet::new();
    for rule in profile.rules.iter().filter(|rule| wanted(&rule.action)) {
        for number in &rule.numbers {
            let chain = rules.entry(*number).or_default();
            if rule.conditions.is_empty() {
                unconditional.insert(*number);
            } else {
                chain.push(SeccompRule::new(rule.conditions.clone()).map_err(|error| failed(&error))?);
            }
        }
    }
    for number in unconditional {
        rules.insert(number, Vec::new());
    }
    let arch = TargetArch::try_from(std::env::consts::ARCH).map_err(|error| failed(&error))?;
    SeccompFilter::new(rules, otherwise, matched, arch)
        .and_then(BpfProgram::try_from)
        .map_err(|error| failed(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runtime_default_is_two_programs_of_legal_size() {
        let filters = Filters::compile(&Seccomp::RuntimeDefault, CapabilitySet::default()).unwrap();
        assert_eq!(filters.0.len(), 2, "clone3's ENOSYS, and the allow list");
        assert!(filters.0.iter().all(|program| (10..4096).contains(&program.len())));
    }

    #[test]
    fn sys_admin_needs_no_enosys_for_clone3() {
        let admin = CapabilitySet::from_names(&["SYS_ADMIN".to_owned()]);
        assert_eq!(Filters::compile(&Seccomp::RuntimeDefault, admin).unwrap().0.len(), 1);
    }

    #[test]
    fn unconfined_is_no_filter() {
        assert!(Filters::compile(&Seccomp::Unconfined, CapabilitySet::default()).unwrap().0.is_empty());
    }
}
