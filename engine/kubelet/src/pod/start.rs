//! Brings one container up: image, configuration, creation, start, postStart hook.
//!
//! Writes:    events Pulling, Pulled, Failed, Created, Started, FailedPostStartHook; a container of the runtime.
//! Invariant: stops at the next step when `cancel` is set; a container that was made is always reported.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use coracle_runtime::images::{Credentials, ImageConfig, ImageError};
use coracle_runtime::{ContainerId, ContainerSpec, User};
use k8s_openapi::api::core::v1::{Container, Pod, Secret};
use tokio_util::sync::CancellationToken;

use super::mounts;
use crate::clock::{self, Millis};
use crate::dns::Cluster;
use crate::env::{self, Facts, Sources, expand};
use crate::images::{PullPolicy, credentials_for, pull_policy};
use crate::shared::{Shared, StoreSources};
use crate::{dns, hooks, resources, security};

const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// A postStart hook may take as long as it likes; this only bounds a hook that hangs on the network.
const POST_START_LIMIT: Duration = Duration::from_secs(3600);

pub struct Request {
    pub pod: Arc<Pod>,
    pub container: Container,
    pub attempt: u32,
    pub pod_ip: String,
    pub pod_dir: PathBuf,
    /// The attempt before, to be forgotten by the runtime.
    pub previous: Option<String>,
    pub cancel: CancellationToken,
}

#[derive(Debug)]
pub struct Running {
    pub id: String,
    pub image: String,
    pub image_id: String,
    pub user: User,
    /// Why the postStart hook failed; the container has to be stopped.
    pub hook_error: Option<String>,
    pub started_at: Millis,
}

#[derive(Debug)]
pub enum Started {
    Running(Running),
    /// Made, but its process could not be started.
    RunFailed {
        running: Running,
        message: String,
    },
    NotPulled {
        reason: &'static str,
        message: String,
    },
    NotMade {
        reason: &'static str,
        message: String,
    },
    Cancelled,
}

struct Starter {
    shared: Arc<Shared>,
    request: Request,
}

pub async fn start(shared: Arc<Shared>, request: Request) -> Started {
    Starter { shared, request }.run().await
}

impl Starter {
    fn normal(&self, reason: &str, message: String) {
        self.shared.normal(&self.request.pod, Some(&self.request.container.name), reason, message);
    }

    fn failed(&self, message: String) {
        self.shared.warning(&self.request.pod, Some(&self.request.container.name), "Failed", message);
    }

    async fn run(self) -> Started {
        let cancel = self.request.cancel.clone();
        let image = tokio::select! {
            () = cancel.cancelled() => return Started::Cancelled,
            image = self.image() => match image {
                Ok(image) => image,
                Err(not_pulled) => return not_pulled,
            },
        };
        let not_made = |reason: &'static str, message: String| {
            self.failed(format!("Error: {message}"));
            Started::NotMade { reason, message }
        };
        let spec = match self.spec(&image).await {
            Ok(spec) => spec,
            Err(message) => return not_made("CreateContainerConfigError", message),
        };
        if spec.argv.is_empty() {
            return not_made("CreateContainerError", "no command specified".to_owned());
        }
        if cancel.is_cancelled() {
            return Started::Cancelled;
        }
        if let Some(previous) = &self.request.previous {
            let id = ContainerId(previous.as_str().into());
            if let Err(error) = self.shared.runtime.remove_container(&id).await {
                tracing::debug!(error = crate::chain(&error), "previous container was not removed");
            }
        }
        let user = spec.user.clone();
        let made = match self.shared.runtime.create_container(spec).await {
            Ok(made) => made,
            Err(error) => return not_made("CreateContainerError", crate::chain(&error)),
        };
        self.normal("Created", "Container created".to_owned());
        let lifecycle = self.request.container.lifecycle.as_ref();
        let mut running = Running {
            id: made.id.0.to_string(),
            image: image
                .repo_tags
                .first()
                .cloned()
                .or_else(|| self.request.container.image.clone())
                .unwrap_or_default(),
            image_id: image.repo_digests.first().cloned().unwrap_or_else(|| image.id.clone()),
            user,
            hook_error: None,
            started_at: clock::now(),
        };
        if let Err(error) = self.shared.runtime.start_container(&made.id).await {
            let message = crate::chain(&error);
            self.failed(format!("Error: {message}"));
            return Started::RunFailed { running, message };
        }
        running.started_at = clock::now();
        self.normal("Started", "Container started".to_owned());
        if let Some(handler) = lifecycle.and_then(|l| l.post_start.as_ref()) {
            let hook = hooks::handle(
                &self.shared.runtime,
                &made.id,
                &self.request.pod_ip,
                &self.request.container,
                handler,
                POST_START_LIMIT,
            );
            let outcome = tokio::select! {
                () = cancel.cancelled() => Ok(()),
                outcome = hook => outcome,
            };
            if let Err(message) = outcome {
                self.shared.warning(
                    &self.request.pod,
                    Some(&self.request.container.name),
                    "FailedPostStartHook",
                    "PostStartHook failed".to_owned(),
                );
                running.hook_error = Some(message);
            }
        }
        Started::Running(running)
    }

    /// The image, pulled when the policy asks for it.
    async fn image(&self) -> Result<ImageConfig, Started> {
        let name = self.request.container.image.as_deref().unwrap_or_default();
        let policy = pull_policy(&self.request.container);
        // Most images are everyone's: then no Secret is read.
        let credentials = LazyLock::new(|| self.credentials(name));
        let present = match self.shared.images.resolve(name).await {
            // What somebody else had to show something for is as if it were not here.
            Ok(present) => present.filter(|image| image.access.allows(name, || &credentials)),
            Err(error @ ImageError::InvalidName { .. }) => return Err(self.invalid_name(name, &error)),
            Err(error) => return Err(self.pull_failed(name, &error)),
        };
        match (present, policy) {
            (Some(image), PullPolicy::IfNotPresent | PullPolicy::Never) => {
                self.normal(
                    "Pulled",
                    format!(
                        "Container image \"{name}\" already present on machine and can be accessed by the pod"
                    ),
                );
                Ok(image)
            }
            (None, PullPolicy::Never) => {
                let message = format!("Container image \"{name}\" is not present with pull policy of Never");
                self.shared.warning(
                    &self.request.pod,
                    Some(&self.request.container.name),
                    "ErrImageNeverPull",
                    message.clone(),
                );
                self.failed("Error: ErrImageNeverPull".to_owned());
                Err(Started::NotMade { reason: "ErrImageNeverPull", message })
            }
            _ => self.pull(name, &credentials).await,
        }
    }

    /// The pod's pull secrets; those that are missing are told, the pull may succeed without.
    fn secrets(&self) -> Vec<Arc<Secret>> {
        let namespace = self.request.pod.metadata.namespace.as_deref().unwrap_or_default();
        let sources = StoreSources(self.shared.store.clone());
        let (mut found, mut missing) = (Vec::new(), Vec::new());
        for reference in self.request.pod.spec.iter().flat_map(|s| s.image_pull_secrets.iter().flatten()) {
            match sources.secret(namespace, &reference.name) {
                Some(secret) => found.push(secret),
                None => missing.push(reference.name.as_str()),
            }
        }
        if !missing.is_empty() {
            let names = missing.join(", ");
            self.shared.warning(&self.request.pod, None, "FailedToRetrieveImagePullSecret", format!(
                "Unable to retrieve some image pull secrets ({names}); attempting to pull the image may not succeed."
            ));
        }
        found
    }

    fn credentials(&self, image: &str) -> Vec<Credentials> {
        credentials_for(image, self.secrets().iter().map(|secret| secret.as_ref()))
    }

    async fn pull(&self, name: &str, credentials: &[Credentials]) -> Result<ImageConfig, Started> {
        self.normal("Pulling", format!("Pulling image \"{name}\""));
        let begun = Instant::now();
        match self.shared.images.pull(name, credentials).await {
            Ok(image) => {
                let took = go_duration(begun.elapsed());
                self.normal(
                    "Pulled",
                    format!(
                        "Successfully pulled image \"{name}\" in {took} ({took} including waiting). Image size: {} bytes.",
                        image.size_bytes
                    ),
                );
                Ok(image)
            }
            Err(error @ ImageError::InvalidName { .. }) => Err(self.invalid_name(name, &error)),
            Err(error) => Err(self.pull_failed(name, &error)),
        }
    }

    fn invalid_name(&self, name: &str, error: &ImageError) -> Started {
        let message = format!("Failed to apply default image tag \"{name}\": {}", crate::chain(error));
        self.shared.warning(
            &self.request.pod,
            Some(&self.request.container.name),
            "InspectFailed",
            message.clone(),
        );
        self.failed("Error: InvalidImageName".to_owned());
        Started::NotMade { reason: "InvalidImageName", message }
    }

    fn pull_failed(&self, name: &str, error: &ImageError) -> Started {
        let message = crate::chain(error);
        self.failed(format!("Failed to pull image \"{name}\": {message}"));
        self.failed("Error: ErrImagePull".to_owned());
        Started::NotPulled { reason: "ErrImagePull", message }
    }

    async fn user(&self, image: &ImageConfig, security: &security::Security) -> Result<User, String> {
        let wanted = match (security.run_as_user, security.run_as_group) {
            (Some(uid), Some(gid)) => format!("{uid}:{gid}"),
            (Some(uid), None) => uid.to_string(),
            (None, _) => image.user.clone(),
        };
        let resolved = self.shared.images.resolve_user(&image.id, &wanted).await;
        let mut user = resolved.map_err(|e| crate::chain(&e))?;
        if let Some(gid) = security.run_as_group.and_then(|g| u32::try_from(g).ok()) {
            user.gid = gid;
        }
        user.additional_gids = security.groups(user.gid, &user.additional_gids);
        Ok(user)
    }

    async fn spec(&self, image: &ImageConfig) -> Result<ContainerSpec, String> {
        let Request { pod, container, attempt, pod_ip, pod_dir, .. } = &self.request;
        let spec = pod.spec.as_ref().ok_or("the pod has no spec")?;
        let config = &self.shared.config;
        let security = security::merge(spec, container, &config.state_dir.join("seccomp"));
        security::verify_non_root(&security, &image.user, pod, &container.name)?;
        let facts = facts(&self.shared, pod_ip);
        let sources = StoreSources(self.shared.store.clone());
        let own = env::build(pod, container, &facts, &sources).map_err(|e| e.to_string())?;
        let argv = argv(container, image, &own);
        let hostname = if spec.host_network == Some(true) {
            config.node_name.clone()
        } else {
            dns::kernel_hostname(pod, &config.cluster_domain)
        };
        let env = merge_env(&image.env, own, &hostname, container.tty == Some(true));
        let user = self.user(image, &security).await?;
        let mounts::Prepared { mounts, dns_cut } = {
            let (pod, container, attempt, pod_dir, pod_ip) =
                (pod.clone(), container.clone(), *attempt, pod_dir.clone(), pod_ip.clone());
            let env = env.clone();
            let (node_name, domain) = (config.node_name.clone(), config.cluster_domain.clone());
            let dns = config.cluster_dns.to_string();
            let read_only_root = security.read_only_root;
            let prepare = move || {
                let inputs = mounts::Inputs {
                    pod: &pod,
                    container: &container,
                    attempt,
                    pod_dir: &pod_dir,
                    pod_ip: &pod_ip,
                    node_name: &node_name,
                    cluster: Cluster { dns: &dns, domain: &domain },
                    env: &env,
                };
                mounts::prepare(&inputs, read_only_root)
            };
            tokio::task::spawn_blocking(prepare).await.map_err(|e| e.to_string())??
        };
        for message in dns_cut {
            self.shared.warning(pod, None, "DNSConfigForming", message);
        }
        let working_dir = [container.working_dir.as_deref(), Some(image.working_dir.as_str()), Some("/")];
        Ok(ContainerSpec {
            pod_uid: pod.metadata.uid.clone().unwrap_or_default(),
            name: container.name.clone(),
            attempt: *attempt,
            image: container.image.clone().unwrap_or_default(),
            image_id: image.id.clone(),
            argv,
            env,
            working_dir: working_dir.into_iter().flatten().find(|d| !d.is_empty()).unwrap_or("/").to_owned(),
            mounts,
            image_volumes: image.volumes.clone(),
            devices_all: security.privileged,
            user,
            capabilities: security.capabilities,
            privileged: security.privileged,
            no_new_privileges: security.no_new_privileges,
            read_only_root: security.read_only_root,
            seccomp: security.seccomp,
            unmasked_proc: security.unmasked_proc,
            tty: container.tty == Some(true),
            stdin: container.stdin == Some(true),
            stdin_once: container.stdin_once == Some(true),
            resources: resources::container_cgroup(spec, container, self.shared.capacity.memory_bytes),
        })
    }
}

pub fn facts(shared: &Shared, pod_ip: &str) -> Facts {
    Facts {
        host_ip: shared.node_ip().to_string(),
        pod_ip: pod_ip.to_owned(),
        allocatable: shared.capacity.allocatable.clone(),
    }
}

/// What runs: the container's command and args take the place of the image's entrypoint and cmd.
fn argv(container: &Container, image: &ImageConfig, env: &[(String, String)]) -> Vec<String> {
    let lookup: HashMap<&str, &str> = env.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    let expanded = |list: &[String]| -> Vec<String> {
        list.iter().map(|text| expand(text, |name| lookup.get(name).map(|v| (*v).to_owned()))).collect()
    };
    let command = expanded(container.command.as_deref().unwrap_or_default());
    let args = expanded(container.args.as_deref().unwrap_or_default());
    match (command.is_empty(), args.is_empty()) {
        (false, _) => [command, args].concat(),
        (true, false) => [image.entrypoint.clone(), args].concat(),
        (true, true) => [image.entrypoint.clone(), image.cmd.clone()].concat(),
    }
}

/// The image's variables below the container's, and those that every process expects.
fn merge_env(
    image: &[(String, String)],
    own: Vec<(String, String)>,
    hostname: &str,
    tty: bool,
) -> Vec<(String, String)> {
    let mut env: Vec<(String, String)> =
        vec![("PATH".to_owned(), DEFAULT_PATH.to_owned()), ("HOSTNAME".to_owned(), hostname.to_owned())];
    if tty {
        env.push(("TERM".to_owned(), "xterm".to_owned()));
    }
    for (name, value) in image.iter().cloned().chain(own) {
        match env.iter_mut().find(|(n, _)| *n == name) {
            Some(slot) => slot.1 = value,
            None => env.push((name, value)),
        }
    }
    env
}

/// As Go writes durations, in milliseconds: `312ms`, `1.204s`.
fn go_duration(took: Duration) -> String {
    let ms = took.as_millis();
    if ms < 1000 {
        return format!("{ms}ms");
    }
    let minutes = ms / 60_000;
    let seconds = format!("{}.{:03}", ms % 60_000 / 1000, ms % 1000);
    let seconds = seconds.trim_end_matches('0').trim_end_matches('.');
    if minutes > 0 { format!("{minutes}m{seconds}s") } else { format!("{seconds}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image() -> ImageConfig {
        ImageConfig {
            id: "sha256:0".into(),
            repo_digests: vec![],
            repo_tags: vec![],
            access: Default::default(),
            size_bytes: 0,
            entrypoint: vec!["/entry".into()],
            cmd: vec!["cmd".into()],
            env: vec![("A".into(), "image".into()), ("PATH".into(), "/image".into())],
            working_dir: String::new(),
            user: String::new(),
            stop_signal: None,
            volumes: vec![],
        }
    }

    #[test]
    fn command_and_args_replace_entrypoint_and_cmd() {
        let env = [("X".to_owned(), "1".to_owned())];
        for (command, args, expected) in [
            (vec![], vec![], "/entry cmd"),
            (vec![], vec!["$(X)"], "/entry 1"),
            (vec!["c"], vec![], "c"),
            (vec!["c"], vec!["$(Y)"], "c $(Y)"),
        ] {
            let list = |l: Vec<&str>| Some(l.into_iter().map(str::to_owned).collect());
            let container = Container { command: list(command), args: list(args), ..Container::default() };
            assert_eq!(argv(&container, &image(), &env).join(" "), expected);
        }
    }

    #[test]
    fn variables_of_the_container_win_over_those_of_the_image() {
        let env = merge_env(&image().env, vec![("A".into(), "own".into())], "h", false);
        let get = |n: &str| env.iter().find(|(name, _)| name == n).unwrap().1.as_str();
        assert_eq!((get("A"), get("PATH"), get("HOSTNAME")), ("own", "/image", "h"));
    }

    #[test]
    fn durations_are_written_as_go_writes_them() {
        let table = [(312, "312ms"), (1204, "1.204s"), (2000, "2s"), (61_500, "1m1.5s")];
        for (ms, expected) in table {
            assert_eq!(go_duration(Duration::from_millis(ms)), expected);
        }
    }
}
