//! The audit log: who asked for what, when, and what came of it; JSON lines of `audit.k8s.io/v1` Events.
//!
//! Kept true: a request never waits for the log; what cannot be written is counted and reported, not silently lost; with
//!            the default policy a cluster at rest logs nothing.
//! Reads:     the policy file, at start. Writes: `audit.log` and its rotated files, from one thread.
//! Source:    https://kubernetes.io/docs/tasks/debug/debug-cluster/audit/

mod event;
mod log;
mod notes;
mod policy;
mod record;
#[cfg(test)]
mod tests;

use std::{
    path::PathBuf,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use self::{event::Event, log::Log};
pub use self::{
    log::LogConfig,
    notes::{Notes, note, waited},
    policy::{Level, Policy, PolicyError, Stage},
    record::{Record, Subject},
};
use crate::metrics::Page;

#[derive(Clone, Debug, Default)]
pub struct Config {
    /// A Policy of `audit.k8s.io/v1`; the built-in one when absent.
    pub policy_file: Option<PathBuf>,
    /// Absent: nothing is logged.
    pub log: Option<LogConfig>,
}

impl Config {
    /// Whether the policy can be read, before anything is set up.
    pub fn check(&self) -> Result<(), PolicyError> {
        self.policy().map(drop)
    }

    fn policy(&self) -> Result<Policy, PolicyError> {
        self.policy_file.as_deref().map_or_else(|| Ok(Policy::builtin()), Policy::read)
    }
}

pub struct Audit {
    policy: Policy,
    log: Option<Log>,
    logged: AtomicU64,
}

impl Audit {
    pub fn open(config: &Config) -> Result<Audit, PolicyError> {
        Ok(Audit {
            policy: config.policy()?,
            log: config.log.clone().map(Log::start),
            logged: AtomicU64::new(0),
        })
    }

    /// What is to be recorded of a request; `None` when nothing is.
    pub fn begin(&self, subject: &Subject<'_>) -> Option<Box<Record>> {
        self.log.as_ref()?;
        let decision = self.policy.decide(subject);
        (decision.level != Level::None).then(|| Box::new(Record::new(subject, decision)))
    }

    /// Whether anything may be recorded at all.
    pub fn is_on(&self) -> bool {
        self.log.is_some()
    }

    /// Whether what is to be recorded is. Where nothing is, nothing stays behind.
    pub fn keeps_up(&self) -> bool {
        self.log.as_ref().is_none_or(Log::keeps_up)
    }

    fn write(&self, event: &Event<'_>) {
        if let Some(log) = &self.log {
            self.logged.fetch_add(1, Relaxed);
            log.send(event);
        }
    }

    /// Waits until everything so far is in the file.
    pub async fn flush(&self) {
        if let Some(log) = &self.log {
            log.flush().await;
        }
    }

    pub fn render(&self, page: &mut Page) {
        let name = "apiserver_audit_event_total";
        page.family(
            name,
            "counter",
            "[ALPHA] Counter of audit events generated and sent to the audit backend.",
        );
        page.sample(name, "", self.logged.load(Relaxed));
        let name = "apiserver_audit_error_total";
        page.family(
            name,
            "counter",
            "[ALPHA] Counter of audit events that failed to be audited properly. Plugin identifies the plugin affected by the error.",
        );
        page.sample(name, "plugin=\"log\"", self.log.as_ref().map_or(0, Log::failed));
    }
}
