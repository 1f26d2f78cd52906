//! What a worker's own operations report.

use tokio_util::sync::CancellationToken;

use super::{Deletion, Outcome, Worker, find};
use crate::clock::{self, Millis};
use crate::logs::links;
use crate::pod::observed::{Container, Sandbox, Stage, State, Terminated};
use crate::pod::start::{self, Started};
use crate::pod::writer::{self, Written};
use crate::security::pod_full_name;
use crate::volumes::VolumeError;

/// How long after a failure volumes, sandbox, configuration and teardown are tried again.
const RETRY_MS: Millis = 5_000;
const CONFIG_RETRY_MS: Millis = 10_000;
/// An image that could not be pulled shows ErrImagePull this long before ImagePullBackOff.
const SHOW_PULL_ERROR_MS: Millis = 2_000;

/// 500 ms, doubled to about two minutes, as on a stock node.
fn volume_retry_after(failures: u32) -> Millis {
    (500 << failures.saturating_sub(1).min(8)).min(122_000)
}

impl Worker {
    pub(super) async fn done(&mut self, outcome: Outcome) {
        let now = clock::now();
        match outcome {
            Outcome::Volumes(result) => self.volumes_done(result, now),
            Outcome::Sandbox(Ok(ip)) => {
                self.sandbox_lost = false;
                self.observed.last_ip = ip.clone().or_else(|| Some(self.shared.node_ip().to_string()));
                self.observed.sandbox = Sandbox::Ready { ip };
            }
            Outcome::Sandbox(Err(error)) => {
                let message = format!("Failed to create pod sandbox: {error}");
                self.shared.warning(&self.pod, None, "FailedCreatePodSandBox", message);
                self.observed.sandbox = Sandbox::Failed { retry_at: now + RETRY_MS };
            }
            Outcome::Started { name, image, attempt, result } => {
                self.started(&name, image, attempt, *result, now).await;
            }
            Outcome::Stopped { name } => {
                if let Some(seen) = self.observed.containers.get_mut(&name) {
                    seen.stopped();
                }
            }
            Outcome::TornDown(Ok(())) => {
                self.observed.sandbox = Sandbox::Absent;
                self.observed.torn_down = true;
                self.observed.finished = true;
                self.observed.volumes = Stage::Pending;
            }
            Outcome::TornDown(Err(error)) => {
                tracing::warn!(pod = pod_full_name(&self.pod), error, "pod was not torn down");
                self.shared.warning(&self.pod, None, "FailedKillPod", format!("error killing pod: {error}"));
                self.observed.sandbox = Sandbox::Absent;
                self.retry_at = Some(now + RETRY_MS);
            }
            Outcome::StatusWritten(written) => {
                match &written {
                    Written::Gone => self.removed = true,
                    Written::Failed(error) => {
                        tracing::warn!(pod = pod_full_name(&self.pod), error, "pod status was not written");
                    }
                    Written::Done => {}
                }
                self.writer.finished(&written, now);
            }
            Outcome::Deleted(written) => {
                self.deletion = match written {
                    Written::Done => Deletion::Sent,
                    Written::Gone => {
                        self.removed = true;
                        Deletion::Sent
                    }
                    Written::Failed(error) => {
                        tracing::warn!(pod = pod_full_name(&self.pod), error, "pod was not deleted");
                        self.deletion_failures += 1;
                        self.retry_at = Some(now + writer::retry_after(self.deletion_failures));
                        Deletion::NotYet
                    }
                };
            }
        }
    }

    pub(super) fn volumes_done(&mut self, result: Result<Option<Millis>, Vec<VolumeError>>, now: Millis) {
        self.refreshing = false;
        match result {
            Ok(refresh_at) => {
                self.volume_failures = 0;
                self.observed.volumes = Stage::Done;
                self.observed.refresh_volumes_at = refresh_at;
                if std::mem::take(&mut self.refresh_again) {
                    self.refresh_volumes();
                }
            }
            Err(errors) => {
                for error in errors {
                    self.shared.warning(&self.pod, None, "FailedMount", error.to_string());
                }
                if self.observed.volumes == Stage::Busy {
                    self.volume_failures += 1;
                    let wait = volume_retry_after(self.volume_failures);
                    self.observed.volumes = Stage::Failed { retry_at: now + wait };
                } else {
                    self.observed.refresh_volumes_at = Some(now + 12 * RETRY_MS);
                }
            }
        }
    }

    /// `image` is what the spec said when the start began; it may have been changed since.
    pub(super) async fn started(
        &mut self,
        name: &str,
        image: String,
        attempt: i32,
        result: Started,
        now: Millis,
    ) {
        let is_wanted =
            self.spec().and_then(|s| find(s, name)).is_some_and(|c| c.image.as_ref() == Some(&image));
        let stopping = self.stopping();
        let Some(seen) = self.observed.containers.get_mut(name) else { return };
        seen.busy = None;
        let into_history = |seen: &mut Container| {
            if let State::Exited(ended) = &seen.state {
                seen.last = Some(ended.clone());
            }
        };
        match result {
            Started::Cancelled => {}
            Started::NotPulled { reason, message } => {
                into_history(seen);
                if is_wanted {
                    seen.pull = seen.pull.next(now, now);
                }
                let retry_at = now + seen.pull.delay_ms;
                seen.state =
                    State::Waiting { reason: Some(reason.to_owned()), message: Some(message), retry_at };
            }
            Started::NotMade { reason, message } => {
                into_history(seen);
                let retry_at = now + CONFIG_RETRY_MS;
                seen.state =
                    State::Waiting { reason: Some(reason.to_owned()), message: Some(message), retry_at };
            }
            Started::RunFailed { running, message } => {
                into_history(seen);
                self.made(name, attempt, &running, image);
                let ended = Terminated {
                    id: running.id.clone(),
                    code: 128,
                    reason: "StartError".to_owned(),
                    message: Some(message),
                    started_at: 0,
                    finished_at: now,
                    signal: None,
                };
                self.early.remove(&running.id);
                if let Some(seen) = self.observed.containers.get_mut(name) {
                    seen.state = State::Exited(ended);
                }
            }
            Started::Running(running) => {
                into_history(seen);
                seen.state = State::Running { id: running.id.clone(), started_at: running.started_at };
                seen.pull = Default::default();
                self.ended.insert(running.id.clone(), CancellationToken::new());
                self.made(name, attempt, &running, image);
                self.images_changed.notify_one();
                if let Some(exit) = self.early.remove(&running.id) {
                    self.exited(&running.id, exit).await;
                } else if !matches!(self.observed.sandbox, Sandbox::Ready { .. }) {
                    // It died with the sandbox that it was started in.
                    self.observed.containers_lost(now);
                } else if running.hook_error.is_some() {
                    self.stop_container(name, None, "FailedPostStartHook".to_owned());
                } else if !stopping {
                    self.probe_new(name);
                }
                self.link_log(name, attempt, &running.id).await;
                self.prune_logs(name, attempt).await;
            }
        }
    }

    pub(super) fn made(&mut self, name: &str, attempt: i32, running: &start::Running, spec_image: String) {
        self.images.insert(name.to_owned(), spec_image);
        if let Some(seen) = self.observed.containers.get_mut(name) {
            seen.created = true;
            seen.restart_count = attempt;
            seen.image = Some(running.image.clone());
            seen.image_id = Some(running.image_id.clone());
            seen.user = Some(running.user.clone());
            (seen.started, seen.ready) = (false, false);
        }
    }

    async fn link_log(&self, name: &str, attempt: i32, id: &str) {
        let meta = &self.pod.metadata;
        let text = |t: &Option<String>| t.clone().unwrap_or_default();
        let (namespace, pod) = (text(&meta.namespace), text(&meta.name));
        let dir = self.shared.pod_log_dir(&namespace, &pod, &self.uid).join(name);
        let (log_dir, log) = (&self.shared.config.log_dir, dir.join(format!("{attempt}.log")));
        if let Err(error) = links::make(log_dir, &format!("{pod}_{namespace}"), name, id, &log).await {
            tracing::warn!(pod, container = name, %error, "no link to a container's log");
        }
    }

    /// The logs of the current attempt and of the one before it are kept.
    pub(super) async fn prune_logs(&self, name: &str, attempt: i32) {
        let Some(old) = attempt.checked_sub(2).filter(|a| *a >= 0) else { return };
        let meta = &self.pod.metadata;
        let text = |t: &Option<String>| t.clone().unwrap_or_default();
        let dir = self.shared.pod_log_dir(&text(&meta.namespace), &text(&meta.name), &self.uid).join(name);
        let Ok(mut entries) = tokio::fs::read_dir(&dir).await else { return };
        while let Ok(Some(entry)) = entries.next_entry().await {
            let file = entry.file_name().to_string_lossy().into_owned();
            if file.split('.').next().and_then(|n| n.parse::<i32>().ok()).is_some_and(|n| n <= old) {
                let _ = tokio::fs::remove_file(entry.path()).await;
                links::remove(&self.shared.config.log_dir, &entry.path()).await;
            }
        }
    }

    pub(super) fn pull_display_due(&self) -> Option<Millis> {
        let due = self.observed.containers.values().filter_map(|c| match &c.state {
            State::Waiting { reason: Some(reason), retry_at, .. } if reason == "ErrImagePull" => {
                Some(retry_at - c.pull.delay_ms + SHOW_PULL_ERROR_MS)
            }
            _ => None,
        });
        due.min()
    }

    /// ErrImagePull becomes ImagePullBackOff while the container waits for its next try.
    pub(super) fn show_pull_back_off(&mut self, now: Millis) {
        let Some(spec) = self.pod.spec.clone() else { return };
        for (name, seen) in &mut self.observed.containers {
            let State::Waiting { reason, message, retry_at } = &mut seen.state else { continue };
            let shown_at = *retry_at - seen.pull.delay_ms;
            if reason.as_deref() != Some("ErrImagePull")
                || now < shown_at + SHOW_PULL_ERROR_MS
                || now >= *retry_at
            {
                continue;
            }
            let image = find(&spec, name).and_then(|c| c.image.clone()).unwrap_or_default();
            let text = format!("Back-off pulling image \"{image}\"");
            self.shared.normal(&self.pod, Some(name), "BackOff", text.clone());
            self.shared.warning(&self.pod, Some(name), "Failed", "Error: ImagePullBackOff".to_owned());
            let cause = message.take().unwrap_or_default();
            *message = Some(format!("{text}: ErrImagePull: {cause}"));
            *reason = Some("ImagePullBackOff".to_owned());
        }
    }
}
