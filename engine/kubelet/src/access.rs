//! Logs, exec, attach and port-forward of running pods, with the stock errors.

use std::sync::Arc;

use coracle_runtime::{ContainerId, ExecSpec, PodUid, RuntimeError, Session};

use crate::shared::{ContainerView, PodView};
use crate::{Kubelet, KubeletError, LogOptions, chain, logs};

impl Kubelet {
    fn view(&self, pod_uid: &str) -> Result<Arc<PodView>, KubeletError> {
        let view = self.shared.views.read().get(pod_uid).cloned();
        view.ok_or_else(|| {
            KubeletError::BadRequest(format!("pod with uid \"{pod_uid}\" does not run on this node"))
        })
    }

    fn container(
        &self,
        pod_uid: &str,
        container: &str,
    ) -> Result<(Arc<PodView>, ContainerView), KubeletError> {
        let view = self.view(pod_uid)?;
        match view.containers.get(container).cloned() {
            Some(found) => Ok((view, found)),
            None => Err(KubeletError::BadRequest(format!(
                "container {container} is not valid for pod {}",
                view.name
            ))),
        }
    }

    fn running(&self, pod_uid: &str, container: &str) -> Result<ContainerId, KubeletError> {
        let (_, view) = self.container(pod_uid, container)?;
        match view.running {
            Some(id) => Ok(ContainerId(id.as_str().into())),
            None => Err(not_found(container)),
        }
    }

    pub async fn logs(
        &self,
        pod_uid: &str,
        container: &str,
        options: LogOptions,
    ) -> Result<futures::stream::BoxStream<'static, std::io::Result<bytes::Bytes>>, KubeletError> {
        let (pod, view) = self.container(pod_uid, container)?;
        let (attempt, ended) = which_log(&pod.name, container, &view, options.previous)?;
        let dir = self.shared.pod_log_dir(&pod.namespace, &pod.name, pod_uid).join(container);
        let path = dir.join(format!("{attempt}.log"));
        logs::open(&path, &options, ended).await.map_err(|e| KubeletError::Internal(format!("read log: {e}")))
    }

    pub async fn exec(
        &self,
        pod_uid: &str,
        container: &str,
        command: Vec<String>,
        stdin: bool,
        tty: bool,
    ) -> Result<Session, KubeletError> {
        let id = self.running(pod_uid, container)?;
        let spec = ExecSpec { argv: command, tty, stdin, ends_with_session: false };
        let started = self.shared.runtime.exec(&id, spec).await;
        started.map_err(|e| {
            KubeletError::Internal(format!("error executing command in container: {}", chain(&e)))
        })
    }

    pub async fn attach(
        &self,
        pod_uid: &str,
        container: &str,
        stdin: bool,
        tty: bool,
    ) -> Result<Session, KubeletError> {
        let id = self.running(pod_uid, container)?;
        self.shared.runtime.attach(&id, stdin, tty).await.map_err(|error| match error {
            // Its pod is gone meanwhile.
            RuntimeError::NoSuchContainer(_) => not_found(container),
            error => KubeletError::Internal(chain(&error)),
        })
    }

    pub async fn port_forward(
        &self,
        pod_uid: &str,
        port: u16,
    ) -> Result<tokio::net::TcpStream, KubeletError> {
        self.view(pod_uid)?;
        let connected = self.shared.runtime.connect(&PodUid(pod_uid.into()), port).await;
        connected.map_err(|e| KubeletError::Internal(chain(&e)))
    }
}

fn not_found(container: &str) -> KubeletError {
    KubeletError::Internal(format!("unable to upgrade connection: container not found (\"{container}\")"))
}

/// The attempt whose log is asked for, and the token that says that it is complete.
fn which_log(
    pod: &str,
    container: &str,
    view: &ContainerView,
    previous: bool,
) -> Result<(u32, tokio_util::sync::CancellationToken), KubeletError> {
    let over = || {
        let token = tokio_util::sync::CancellationToken::new();
        token.cancel();
        token
    };
    if previous {
        return match view.previous_attempt {
            Some(attempt) => Ok((attempt, over())),
            None => Err(KubeletError::BadRequest(format!(
                "previous terminated container \"{container}\" in pod \"{pod}\" not found"
            ))),
        };
    }
    match (view.current_attempt, &view.waiting_reason) {
        (Some(attempt), _) => Ok((attempt, view.ended.clone())),
        (None, Some(reason)) if matches!(reason.as_str(), "ErrImagePull" | "ImagePullBackOff") => {
            let what = if reason == "ErrImagePull" {
                "image can't be pulled"
            } else {
                "trying and failing to pull image"
            };
            Err(KubeletError::BadRequest(format!(
                "container \"{container}\" in pod \"{pod}\" is waiting to start: {what}"
            )))
        }
        (None, reason) => Err(KubeletError::BadRequest(format!(
            "container \"{container}\" in pod \"{pod}\" is waiting to start: {}",
            reason.as_deref().unwrap_or("ContainerCreating")
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_is_not_there_is_refused_in_stock_words() {
        let error = |view: &ContainerView, previous| match which_log("p", "c", view, previous) {
            Err(error) => error.to_string(),
            Ok((attempt, _)) => attempt.to_string(),
        };
        let waiting =
            |reason: &str| ContainerView { waiting_reason: Some(reason.into()), ..ContainerView::default() };
        assert_eq!(
            error(&waiting("ContainerCreating"), false),
            "container \"c\" in pod \"p\" is waiting to start: ContainerCreating"
        );
        assert_eq!(
            error(&waiting("ImagePullBackOff"), false),
            "container \"c\" in pod \"p\" is waiting to start: trying and failing to pull image"
        );
        assert_eq!(error(&waiting("x"), true), "previous terminated container \"c\" in pod \"p\" not found");
        let crashed = ContainerView {
            current_attempt: Some(2),
            previous_attempt: Some(2),
            ..waiting("CrashLoopBackOff")
        };
        assert_eq!((error(&crashed, false), error(&crashed, true)), ("2".to_owned(), "2".to_owned()));
    }
}
