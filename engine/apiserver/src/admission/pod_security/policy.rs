//! The labels of a namespace as levels and versions.
//!
//! Source: https://github.com/kubernetes/kubernetes/blob/master/staging/src/k8s.io/pod-security-admission/api/helpers.go

use std::fmt;

use crate::status::Cause;

const PREFIX: &str = "pod-security.kubernetes.io/";

/// From lax to strict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    #[default]
    Privileged,
    Baseline,
    Restricted,
}

const LEVELS: [(&str, Level); 3] =
    [("privileged", Level::Privileged), ("baseline", Level::Baseline), ("restricted", Level::Restricted)];

impl Level {
    fn parse(text: &str) -> Option<Level> {
        LEVELS.iter().find(|(name, _)| *name == text).map(|(_, level)| *level)
    }

    fn name(self) -> &'static str {
        LEVELS.iter().find(|(_, level)| *level == self).map_or("", |(name, _)| name)
    }
}

/// The rules as they were in a minor version of Kubernetes 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Version {
    #[default]
    Latest,
    Minor(u32),
}

impl Version {
    /// `latest` or `v1.N`
    fn parse(text: &str) -> Option<Version> {
        if text == "latest" {
            return Some(Version::Latest);
        }
        let digits = text.strip_prefix("v1.")?;
        let canonical = digits == "0" || !digits.starts_with('0');
        let number = canonical && digits.bytes().all(|byte| byte.is_ascii_digit());
        number.then(|| digits.parse().ok().map(Version::Minor)).flatten()
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standard {
    pub level: Level,
    pub version: Version,
}

/// `restricted:latest`
impl fmt::Display for Standard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.version {
            Version::Latest => write!(f, "{}:latest", self.level.name()),
            Version::Minor(minor) => write!(f, "{}:v1.{minor}", self.level.name()),
        }
    }
}

/// Violations of `audit` are for the audit log alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    pub enforce: Standard,
    pub audit: Standard,
    pub warn: Standard,
}

impl Policy {
    /// What cannot be read is `restricted` for enforce and `privileged` for the others; versions are `latest`.
    pub fn of<'a>(labels: impl Iterator<Item = (&'a str, &'a str)>) -> (Policy, Vec<Cause>) {
        let ours: Vec<(&str, &str)> =
            labels.filter_map(|(key, value)| Some((key.strip_prefix(PREFIX)?, value))).collect();
        let mut policy = Policy::default();
        if ours.is_empty() {
            return (policy, Vec::new());
        }
        let mut wrong = Vec::new();
        let mut read = |mode: &str, fallback: Level| -> (Option<Level>, Option<Version>) {
            let label = |name: &str| ours.iter().find(|(key, _)| *key == name).map(|(_, value)| *value);
            let mut refuse = |name: &str, value: &str, why: &str| {
                wrong.push(Cause::invalid(format!("metadata.labels[{PREFIX}{name}]"), value, why));
            };
            let level = label(mode).map(|text| {
                Level::parse(text).unwrap_or_else(|| {
                    refuse(mode, text, "must be one of privileged, baseline, restricted");
                    fallback
                })
            });
            let name = format!("{mode}-version");
            let version = label(&name).map(|text| {
                Version::parse(text).unwrap_or_else(|| {
                    refuse(&name, text, "must be \"latest\" or \"v1.x\"");
                    Version::Latest
                })
            });
            (level, version)
        };
        let enforce = read("enforce", Level::Restricted);
        let audit = read("audit", Level::Privileged);
        let warn = read("warn", Level::Privileged);
        let standard = |(level, version): (Option<Level>, Option<Version>)| Standard {
            level: level.unwrap_or_default(),
            version: version.unwrap_or_default(),
        };
        policy.enforce = standard(enforce);
        policy.audit = standard(audit);
        policy.warn = standard(warn);
        // Who enforces and says nothing of warnings is warned about templates that the enforcement would refuse.
        let valid = ours.iter().any(|(key, value)| *key == "enforce" && Level::parse(value).is_some());
        if warn.0.is_none() && valid && policy.enforce.level > Level::Privileged {
            policy.warn.level = policy.enforce.level;
            policy.warn.version = warn.1.unwrap_or(policy.enforce.version);
        }
        (policy, wrong)
    }
}
