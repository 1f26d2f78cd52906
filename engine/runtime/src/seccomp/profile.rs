//! A seccomp profile with names already turned into numbers, and the one that RuntimeDefault means.
//!
//! Reads:  `default.txt` and `syscalls_<architecture>.txt`, compiled in.

use seccompiler::{SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition};

use crate::create::capabilities::CapabilitySet;

pub struct Profile {
    pub default: SeccompAction,
    pub rules: Vec<Rule>,
}

pub struct Rule {
    pub numbers: Vec<i64>,
    pub action: SeccompAction,
    /// All must hold.
    pub conditions: Vec<SeccompCondition>,
}

const DEFAULT: &str = include_str!("default.txt");
#[cfg(target_arch = "x86_64")]
const SYSCALLS: &str = include_str!("syscalls_x86_64.txt");
#[cfg(target_arch = "aarch64")]
const SYSCALLS: &str = include_str!("syscalls_aarch64.txt");

/// Names to numbers of this architecture. Sorted by name; made when a filter is compiled and dropped after.
pub struct Syscalls(Vec<(&'static str, i64)>);

impl Syscalls {
    pub fn new() -> Self {
        let mut table: Vec<_> = SYSCALLS
            .split_ascii_whitespace()
            .filter_map(|entry| entry.split_once('='))
            .filter_map(|(name, number)| Some((name, number.parse().ok()?)))
            .collect();
        table.sort_unstable();
        Self(table)
    }

    /// `None` for a call that this architecture does not have: such names in a profile are skipped, as engines do.
    pub fn number(&self, name: &str) -> Option<i64> {
        self.0.binary_search_by_key(&name, |entry| entry.0).ok().map(|index| self.0[index].1)
    }
}

pub fn runtime_default(capabilities: CapabilitySet) -> Profile {
    let syscalls = Syscalls::new();
    let rules = DEFAULT
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once(':'))
        .filter_map(|(guard, names)| rule(guard, names, capabilities, &syscalls))
        .collect();
    Profile { default: SeccompAction::Errno(libc::EPERM as u32), rules }
}

/// `None` when the guard does not hold for these capabilities.
fn rule(guard: &str, names: &str, capabilities: CapabilitySet, syscalls: &Syscalls) -> Option<Rule> {
    let mut action = SeccompAction::Allow;
    let mut conditions = Vec::new();
    for part in guard.split(',') {
        let words: Vec<&str> = part.split_ascii_whitespace().collect();
        match words.as_slice() {
            ["always"] => {}
            ["with", name] if capabilities.has(name) => {}
            ["without", name] if !capabilities.has(name) => {}
            ["with" | "without", _] => return None,
            ["errno", number] => action = SeccompAction::Errno(number.parse().ok()?),
            ["arg", index, "==", value] => conditions.push(condition(index, SeccompCmpOp::Eq, value)?),
            ["arg", index, "!=", value] => conditions.push(condition(index, SeccompCmpOp::Ne, value)?),
            ["arg", index, "&", mask, "==", value] => {
                conditions.push(condition(index, SeccompCmpOp::MaskedEq(mask.parse().ok()?), value)?);
            }
            _ => return None,
        }
    }
    let numbers = names.split_ascii_whitespace().filter_map(|name| syscalls.number(name)).collect();
    Some(Rule { numbers, action, conditions })
}

fn condition(index: &str, operator: SeccompCmpOp, value: &str) -> Option<SeccompCondition> {
    SeccompCondition::new(index.parse().ok()?, SeccompCmpArgLen::Qword, operator, value.parse().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_default_profile_is_understood() {
        let all = runtime_default(CapabilitySet::all());
        let none = runtime_default(CapabilitySet::default());
        let lines = DEFAULT.lines().filter(|line| !line.starts_with('#')).count();
        let guarded = |word: &str| DEFAULT.lines().filter(|line| line.starts_with(word)).count();
        assert_eq!(all.rules.len(), lines - guarded("without"));
        assert_eq!(none.rules.len(), lines - guarded("with "));
    }

    #[test]
    fn names_map_to_the_numbers_of_this_kernel() {
        let syscalls = Syscalls::new();
        assert_eq!(syscalls.number("execve"), Some(libc::SYS_execve));
        assert_eq!(syscalls.number("clone3"), Some(libc::SYS_clone3));
        assert_eq!(syscalls.number("socketcall"), None);
    }
}
