//! A pod's volumes on the node: made before its sandbox, kept current while it runs, removed with it.
//!
//! Reads:     the pod; ConfigMaps and Secrets it names; service account tokens from the API server.
//! Writes:    `<state>/pods/<uid>/volumes/<plugin>/<volume>`.
//! Invariant: secrets and tokens lie on tmpfs, never on disk; teardown unmounts before it deletes.
//! Source:    https://kubernetes.io/docs/concepts/storage/volumes/

pub mod atomic_writer;
mod host_path;
mod mounts;
mod nested;
mod ownership;
pub mod payload;
pub mod sub_path;
mod token;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{EmptyDirVolumeSource, Pod, Volume};

use crate::clock::Millis;
use crate::env::{Facts, Sources};
use crate::resources::{all_containers, pod_cgroup, value};
use payload::Payload;
pub use token::Tokens;

#[derive(Debug, thiserror::Error)]
#[error("MountVolume.SetUp failed for volume \"{volume}\" : {message}")]
pub struct VolumeError {
    pub volume: String,
    pub message: String,
}

/// Where a pod's volumes, termination messages and generated files lie.
pub fn pod_dir(state_dir: &Path, uid: &str) -> PathBuf {
    state_dir.join("pods").join(uid)
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    EmptyDir,
    HostPath,
    ConfigMap,
    Secret,
    Projected,
    DownwardApi,
}

impl Kind {
    fn of(volume: &Volume) -> Result<Kind, String> {
        let table = [
            (volume.empty_dir.is_some(), Kind::EmptyDir),
            (volume.host_path.is_some(), Kind::HostPath),
            (volume.config_map.is_some(), Kind::ConfigMap),
            (volume.secret.is_some(), Kind::Secret),
            (volume.projected.is_some(), Kind::Projected),
            (volume.downward_api.is_some(), Kind::DownwardApi),
        ];
        if let Some((_, kind)) = table.into_iter().find(|(has, _)| *has) {
            return Ok(kind);
        }
        if let Some(claim) = &volume.persistent_volume_claim {
            return Err(format!(
                "PersistentVolumeClaim \"{}\": persistent volumes are not supported by this version yet",
                claim.claim_name
            ));
        }
        Err("this kind of volume is not supported by this version yet".to_owned())
    }

    fn plugin(self) -> &'static str {
        match self {
            Kind::EmptyDir => "kubernetes.io~empty-dir",
            Kind::HostPath => "kubernetes.io~host-path",
            Kind::ConfigMap => "kubernetes.io~configmap",
            Kind::Secret => "kubernetes.io~secret",
            Kind::Projected => "kubernetes.io~projected",
            Kind::DownwardApi => "kubernetes.io~downward-api",
        }
    }
}

/// Where containers find a volume on the node.
pub fn host_path(pod_dir: &Path, volume: &Volume) -> Result<PathBuf, String> {
    let kind = Kind::of(volume)?;
    Ok(match &volume.host_path {
        Some(path) => PathBuf::from(&path.path),
        None => pod_dir.join("volumes").join(kind.plugin()).join(&volume.name),
    })
}

/// Whether a mount of it is read-only whatever the container asks: generated files are.
pub fn always_read_only(volume: &Volume) -> bool {
    !matches!(Kind::of(volume), Ok(Kind::EmptyDir | Kind::HostPath))
}

/// The ConfigMaps and Secrets whose changes have to reach the pod's volumes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct References {
    pub config_maps: Vec<String>,
    pub secrets: Vec<String>,
    pub pod_fields: bool,
    pub tokens: bool,
}

impl References {
    pub fn of(pod: &Pod) -> References {
        let mut found = References::default();
        for volume in pod.spec.iter().flat_map(|s| s.volumes.iter().flatten()) {
            found.config_maps.extend(volume.config_map.iter().map(|c| c.name.clone()));
            found.secrets.extend(volume.secret.iter().filter_map(|s| s.secret_name.clone()));
            found.pod_fields |= volume.downward_api.is_some();
            for source in volume.projected.iter().flat_map(|p| p.sources.iter().flatten()) {
                found.config_maps.extend(source.config_map.iter().map(|c| c.name.clone()));
                found.secrets.extend(source.secret.iter().map(|s| s.name.clone()));
                found.pod_fields |= source.downward_api.is_some();
                found.tokens |= source.service_account_token.is_some();
            }
        }
        found
    }

    pub fn any(&self) -> bool {
        *self != References::default()
    }
}

pub struct Context {
    pub pod_dir: PathBuf,
    pub client: kube::Client,
    pub sources: Arc<dyn Sources>,
    pub facts: Facts,
    pub tokens: Arc<Tokens>,
}

enum Work {
    Directory {
        dir: PathBuf,
        tmpfs: Option<Option<i64>>,
    },
    HostPath {
        path: PathBuf,
        kind: String,
    },
    /// `nested`: directories for the mounts below it.
    Files {
        dir: PathBuf,
        tmpfs: bool,
        payload: Payload,
        nested: Vec<PathBuf>,
    },
}

/// Makes or refreshes all volumes of a pod. Idempotent. Gives the time at which a token has to be renewed, or else what
/// is wrong with each volume that has no place yet.
pub async fn set_up(context: &Context, pod: &Pod) -> Result<Option<Millis>, Vec<VolumeError>> {
    let (mut refresh_at, mut errors): (Option<Millis>, _) = (None, Vec::new());
    let spec = pod.spec.clone().unwrap_or_default();
    let fs_group =
        spec.security_context.as_ref().and_then(|s| s.fs_group).and_then(|g| u32::try_from(g).ok());
    for volume in spec.volumes.iter().flatten() {
        match set_up_one(context, pod, volume, fs_group).await {
            Ok(None) => {}
            Ok(Some(at)) => refresh_at = Some(refresh_at.map_or(at, |r| r.min(at))),
            Err(message) => errors.push(VolumeError { volume: volume.name.clone(), message }),
        }
    }
    if errors.is_empty() { Ok(refresh_at) } else { Err(errors) }
}

async fn set_up_one(
    context: &Context,
    pod: &Pod,
    volume: &Volume,
    fs_group: Option<u32>,
) -> Result<Option<Millis>, String> {
    let (work, renew) = prepare(context, pod, volume).await?;
    let done = tokio::task::spawn_blocking(move || perform(work, fs_group)).await;
    done.unwrap_or_else(|e| Err(e.to_string()))?;
    Ok(renew)
}

async fn prepare(context: &Context, pod: &Pod, volume: &Volume) -> Result<(Work, Option<Millis>), String> {
    let kind = Kind::of(volume)?;
    let dir = host_path(&context.pod_dir, volume)?;
    if let Some(host) = &volume.host_path {
        return Ok((Work::HostPath { path: dir, kind: host.type_.clone().unwrap_or_default() }, None));
    }
    if let Some(empty) = &volume.empty_dir {
        let memory = match empty.medium.as_deref().unwrap_or_default() {
            "" => None,
            "Memory" => Some(memory_size_bytes(empty, pod, &context.facts)),
            other => return Err(format!("emptyDir medium \"{other}\" is not supported by this version yet")),
        };
        return Ok((Work::Directory { dir, tmpfs: memory }, None));
    }
    let inputs = payload::Inputs { pod, facts: &context.facts, sources: context.sources.as_ref() };
    let mut renew = None;
    let files = match &volume.projected {
        None => payload::of_volume(&inputs, volume)?,
        Some(projected) => {
            let default_mode = projected.default_mode.unwrap_or(0o644) as u32;
            let mut files = Payload::new();
            for source in projected.sources.iter().flatten() {
                if let Some(request) = &source.service_account_token {
                    let (token, renew_at) = context.tokens.get(&context.client, pod, request).await?;
                    renew = Some(renew.map_or(renew_at, |r: Millis| r.min(renew_at)));
                    let (owner, mode) = token_access(pod, default_mode);
                    let file = payload::File { data: token.into_bytes(), mode, owner };
                    files.insert(request.path.clone(), file);
                } else {
                    files.extend(payload::of_projection(&inputs, source, default_mode)?);
                }
            }
            files
        }
    };
    let tmpfs = matches!(kind, Kind::Secret | Kind::Projected);
    let nested = nested::directories(pod, &volume.name);
    Ok((Work::Files { dir, tmpfs, payload: files, nested }, renew))
}

/// Owner and mode of a token: as few as possible may read it. The user of all containers, if they share one; the
/// `fsGroup`, which is added with the group's other rights; or everybody.
/// https://github.com/kubernetes/enhancements/tree/master/keps/sig-storage/1205-bound-service-account-tokens#file-permission
fn token_access(pod: &Pod, default_mode: u32) -> (Option<u32>, u32) {
    let Some(spec) = &pod.spec else { return (None, default_mode) };
    let of_pod = spec.security_context.as_ref();
    let mut users = all_containers(spec).map(|container| {
        let own = container.security_context.as_ref().and_then(|s| s.run_as_user);
        own.or(of_pod.and_then(|s| s.run_as_user)).and_then(|user| u32::try_from(user).ok())
    });
    let first = users.next().flatten();
    let owner = first.filter(|_| users.all(|user| user == first));
    let restricted = owner.is_some() || of_pod.is_some_and(|s| s.fs_group.is_some());
    (owner, if restricted { 0o600 } else { default_mode })
}

/// Of what the volume, the pod and the node may have, the least: more would never fit.
/// https://kubernetes.io/docs/concepts/storage/volumes/#emptydir
fn memory_size_bytes(empty: &EmptyDirVolumeSource, pod: &Pod, facts: &Facts) -> Option<i64> {
    let of_pod = pod.spec.as_ref().and_then(|spec| pod_cgroup(spec).memory_limit_bytes);
    let of_node = facts.allocatable.get("memory").map(value);
    let limits = [empty.size_limit.as_ref().map(value), of_pod, of_node];
    limits.into_iter().flatten().filter(|bytes| *bytes > 0).min()
}

fn perform(work: Work, fs_group: Option<u32>) -> Result<(), String> {
    let text = |e: std::io::Error| e.to_string();
    match work {
        Work::HostPath { path, kind } => host_path::check(&path, &kind),
        Work::Directory { dir, tmpfs } => {
            let fresh = !dir.exists();
            std::fs::create_dir_all(&dir).map_err(text)?;
            if let Some(size) = tmpfs {
                mounts::tmpfs(&dir, size).map_err(text)?;
            }
            if fresh {
                // A tmpfs is, and keeps its sticky bit.
                if tmpfs.is_none() {
                    ownership::open_to_all(&dir).map_err(text)?;
                }
                if let Some(gid) = fs_group {
                    ownership::give_to_group(&dir, gid).map_err(text)?;
                }
            }
            Ok(())
        }
        Work::Files { dir, tmpfs, payload, nested } => {
            std::fs::create_dir_all(&dir).map_err(text)?;
            if tmpfs {
                mounts::tmpfs(&dir, None).map_err(text)?;
            }
            let opened = match fs_group {
                Some(gid) => ownership::open_to_all_with_group(&dir, gid),
                None => ownership::open_to_all(&dir),
            };
            opened.map_err(text)?;
            nested.iter().try_for_each(|inner| nested::make(&dir.join(inner))).map_err(text)?;
            atomic_writer::write(&dir, &payload, fs_group).map_err(text)?;
            Ok(())
        }
    }
}

/// Unmounts and deletes everything of the pod below its directory.
pub async fn tear_down(pod_dir: PathBuf) -> std::io::Result<()> {
    tokio::task::spawn_blocking(move || mounts::remove_tree(&pod_dir)).await.map_err(std::io::Error::other)?
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
    use serde_json::json;

    #[test]
    fn a_token_is_for_the_user_that_all_containers_share() {
        let access = |spec: serde_json::Value| {
            let pod: Pod = serde_json::from_value(json!({"metadata": {}, "spec": spec})).unwrap();
            token_access(&pod, 0o644)
        };
        let user = |user: i64| json!({"name": "a", "securityContext": {"runAsUser": user}});
        assert_eq!(access(json!({"containers": [{"name": "a"}]})), (None, 0o644));
        assert_eq!(access(json!({"containers": [user(1000), {"name": "b"}]})), (None, 0o644));
        assert_eq!(access(json!({"containers": [user(1000)], "initContainers": [user(1)]})), (None, 0o644));
        let of_pod =
            json!({"containers": [user(1000), {"name": "b"}], "securityContext": {"runAsUser": 1000}});
        assert_eq!(access(of_pod), (Some(1000), 0o600));
        let group = json!({"containers": [{"name": "a"}], "securityContext": {"fsGroup": 2000}});
        assert_eq!(access(group), (None, 0o600));
    }

    struct Nothing;

    impl Sources for Nothing {
        fn config_map(&self, _: &str, _: &str) -> Option<Arc<k8s_openapi::api::core::v1::ConfigMap>> {
            None
        }
        fn secret(&self, _: &str, _: &str) -> Option<Arc<k8s_openapi::api::core::v1::Secret>> {
            None
        }
        fn services(&self, _: &str) -> Vec<Arc<k8s_openapi::api::core::v1::Service>> {
            Vec::new()
        }
    }

    #[tokio::test]
    async fn every_volume_that_fails_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let unasked = tower::service_fn(|_: http::Request<kube::client::Body>| async {
            Err::<http::Response<kube::client::Body>, _>(std::io::Error::other("nobody is to be asked"))
        });
        let context = Context {
            pod_dir: dir.path().to_owned(),
            client: kube::Client::new(unasked, "default"),
            sources: Arc::new(Nothing),
            facts: Facts::default(),
            tokens: Arc::default(),
        };
        let volumes = json!([
            {"name": "a", "configMap": {"name": "absent"}},
            {"name": "b", "emptyDir": {}},
            {"name": "c", "secret": {"secretName": "absent"}},
        ]);
        let pod: Pod = serde_json::from_value(
            json!({"metadata": {"namespace": "ns"}, "spec": {"containers": [], "volumes": volumes}}),
        )
        .unwrap();
        let errors = set_up(&context, &pod).await.unwrap_err();
        let told: Vec<_> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            [
                "MountVolume.SetUp failed for volume \"a\" : configmap \"absent\" not found",
                "MountVolume.SetUp failed for volume \"c\" : secret \"absent\" not found",
            ]
        );
        assert!(host_path(dir.path(), &pod.spec.unwrap().volumes.unwrap()[1]).unwrap().exists());
    }

    #[test]
    fn a_volume_in_memory_is_as_large_as_the_least_limit() {
        let allocatable = [("memory".to_owned(), Quantity("1Gi".into()))].into();
        let facts = Facts { allocatable, ..Facts::default() };
        for (volume, limits, mebibytes) in [
            (json!({}), [None, None], 1024),
            (json!({"sizeLimit": "64Mi"}), [None, None], 64),
            (json!({"sizeLimit": "4Gi"}), [None, Some("100Mi")], 1024),
            (json!({}), [Some("200Mi"), Some("100Mi")], 300),
            (json!({"sizeLimit": "64Mi"}), [Some("200Mi"), Some("100Mi")], 64),
        ] {
            let container = |(name, limit): (&str, Option<&str>)| match limit {
                Some(limit) => json!({"name": name, "resources": {"limits": {"memory": limit}}}),
                None => json!({"name": name}),
            };
            let containers: Vec<_> = ["a", "b"].into_iter().zip(limits).map(container).collect();
            let pod: Pod =
                serde_json::from_value(json!({"metadata": {}, "spec": {"containers": containers}})).unwrap();
            let volume: EmptyDirVolumeSource = serde_json::from_value(volume).unwrap();
            assert_eq!(
                memory_size_bytes(&volume, &pod, &facts),
                Some(mebibytes << 20),
                "{volume:?} {limits:?}"
            );
        }
    }
}
