//! Startup, readiness and liveness probes of running containers.
//!
//! Reads:     the container over its pod's address, or by exec.
//! Writes:    a [`Report`] to the pod's worker when an outcome is decided; events `Unhealthy`.
//! Invariant: one task per probe, asleep between attempts; nothing is sent while the outcome stays the same.
//! Source:    https://kubernetes.io/docs/concepts/configuration/liveness-readiness-startup-probes/

mod grpc;
pub mod http;
mod schedule;
mod tcp;

use std::time::Duration;

use coracle_runtime::{ContainerId, Runtime};
use k8s_openapi::api::core::v1::{Container, ContainerPort, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use tokio::time::Instant;

use crate::hooks;
use schedule::Schedule;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Startup,
    Readiness,
    Liveness,
}

impl Kind {
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Startup => "Startup",
            Kind::Readiness => "Readiness",
            Kind::Liveness => "Liveness",
        }
    }

    pub fn of(self, container: &Container) -> Option<&Probe> {
        match self {
            Kind::Startup => container.startup_probe.as_ref(),
            Kind::Readiness => container.readiness_probe.as_ref(),
            Kind::Liveness => container.liveness_probe.as_ref(),
        }
    }
}

/// What one attempt found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attempt {
    Success,
    /// Succeeded, with something the owner should know.
    Warning(String),
    Failure(String),
    /// The probe itself could not be made; nothing is counted.
    Error(String),
}

/// A probe's outcome changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    pub container: String,
    pub id: String,
    pub kind: Kind,
    pub healthy: bool,
}

/// Counts attempts until a threshold decides. Pure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counter {
    success_threshold: i32,
    failure_threshold: i32,
    run: i32,
    last_was_success: Option<bool>,
    decided: Option<bool>,
}

impl Counter {
    pub fn new(probe: &Probe, initial: Option<bool>) -> Counter {
        Counter {
            success_threshold: probe.success_threshold.filter(|n| *n > 0).unwrap_or(1),
            failure_threshold: probe.failure_threshold.filter(|n| *n > 0).unwrap_or(3),
            run: 0,
            last_was_success: None,
            decided: initial,
        }
    }

    /// The new outcome, when this attempt changed it.
    pub fn count(&mut self, success: bool) -> Option<bool> {
        self.run = if self.last_was_success == Some(success) { self.run + 1 } else { 1 };
        self.last_was_success = Some(success);
        let threshold = if success { self.success_threshold } else { self.failure_threshold };
        if self.run < threshold || self.decided == Some(success) {
            return None;
        }
        self.decided = Some(success);
        Some(success)
    }
}

/// What is probed.
#[derive(Clone)]
pub struct Target {
    pub container: Container,
    pub id: ContainerId,
    pub ip: String,
    pub runtime: Runtime,
    pub started_at: Instant,
}

/// The number of a port given by number or by its name in the container.
pub fn port_number(port: &IntOrString, ports: Option<&Vec<ContainerPort>>) -> Result<u16, String> {
    let number = match port {
        IntOrString::Int(number) => *number,
        IntOrString::String(name) => match name.parse::<i32>() {
            Ok(number) => number,
            Err(_) => ports
                .into_iter()
                .flatten()
                .find(|p| p.name.as_deref() == Some(name))
                .map(|p| p.container_port)
                .ok_or_else(|| format!("strconv.Atoi: parsing \"{name}\": invalid syntax"))?,
        },
    };
    u16::try_from(number).ok().filter(|n| *n > 0).ok_or_else(|| format!("invalid port number: {number}"))
}

/// One attempt.
pub async fn attempt(target: &Target, probe: &Probe) -> Attempt {
    let timeout = Duration::from_secs(probe.timeout_seconds.filter(|n| *n > 0).unwrap_or(1) as u64);
    let ports = target.container.ports.as_ref();
    if let Some(exec) = &probe.exec {
        let command = exec.command.clone().unwrap_or_default();
        return match hooks::run(&target.runtime, &target.id, command.clone(), timeout).await {
            Ok((0, _)) => Attempt::Success,
            Ok((_, output)) => Attempt::Failure(output),
            Err(hooks::RunError::TimedOut) => Attempt::Failure(format!(
                "command timed out: {:?} timed out after {}s",
                command.join(" "),
                timeout.as_secs()
            )),
            Err(hooks::RunError::Failed(message)) => Attempt::Error(message),
        };
    }
    if let Some(get) = &probe.http_get {
        return match port_number(&get.port, ports) {
            Ok(port) => http::get(get, &target.ip, port, timeout).await,
            Err(message) => Attempt::Error(message),
        };
    }
    if let Some(socket) = &probe.tcp_socket {
        let host = socket.host.as_deref().filter(|h| !h.is_empty()).unwrap_or(&target.ip);
        return match port_number(&socket.port, ports) {
            Ok(port) => tcp::connect(host, port, timeout).await,
            Err(message) => Attempt::Error(message),
        };
    }
    if let Some(grpc) = &probe.grpc {
        let port = u16::try_from(grpc.port).unwrap_or_default();
        return grpc::check(&target.ip, port, grpc.service.as_deref().unwrap_or_default(), timeout).await;
    }
    Attempt::Error("missing probe handler".to_owned())
}

/// Probes until dropped. `initial` is what holds until the first outcome; `report` gets every change, `notice` every
/// attempt that the owner should know of.
pub async fn run(
    target: Target,
    kind: Kind,
    initial: Option<bool>,
    report: impl Fn(bool),
    notice: impl Fn(&Attempt),
) {
    let Some(probe) = kind.of(&target.container).cloned() else { return };
    let mut counter = Counter::new(&probe, initial);
    let mut schedule = Schedule::new(kind, &probe, initial == Some(true), target.started_at.elapsed());
    loop {
        tokio::time::sleep_until(target.started_at + schedule.next()).await;
        let outcome = attempt(&target, &probe).await;
        let success = matches!(outcome, Attempt::Success | Attempt::Warning(_));
        if success || schedule.failure_is_told() {
            notice(&outcome);
        }
        let counts = match outcome {
            Attempt::Success | Attempt::Warning(_) => true,
            Attempt::Failure(_) => schedule.failure_counts(),
            Attempt::Error(_) => false,
        };
        if let Some(healthy) = counts.then(|| counter.count(success)).flatten() {
            report(healthy);
            if kind == Kind::Startup && healthy {
                return;
            }
        }
        schedule.advance(success, target.started_at.elapsed());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_count_attempts_in_a_row() {
        let probe = Probe { failure_threshold: Some(3), success_threshold: Some(2), ..Probe::default() };
        let mut counter = Counter::new(&probe, Some(false));
        let attempts = [true, false, true, true, false, false, true, false, false, false, false];
        let outcomes: Vec<_> = attempts.into_iter().map(|a| counter.count(a)).collect();
        let none = None;
        assert_eq!(outcomes, [none, none, none, Some(true), none, none, none, none, none, Some(false), none]);
    }

    #[test]
    fn a_liveness_probe_reports_its_first_failure_run_only() {
        let mut counter = Counter::new(&Probe { failure_threshold: Some(1), ..Probe::default() }, Some(true));
        assert_eq!(
            [counter.count(true), counter.count(false), counter.count(false)],
            [None, Some(false), None]
        );
    }

    #[test]
    fn ports_are_found_by_name() {
        let ports =
            vec![ContainerPort { name: Some("web".into()), container_port: 8080, ..Default::default() }];
        let named = |n: &str| port_number(&IntOrString::String(n.to_owned()), Some(&ports));
        assert_eq!(named("web"), Ok(8080));
        assert_eq!(named("81"), Ok(81));
        assert_eq!(named("no"), Err("strconv.Atoi: parsing \"no\": invalid syntax".to_owned()));
        assert_eq!(port_number(&IntOrString::Int(0), None), Err("invalid port number: 0".to_owned()));
    }
}
