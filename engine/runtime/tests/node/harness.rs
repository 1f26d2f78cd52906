//! Runs tests in private namespaces and gives them a runtime with a busybox image.

use std::{
    ffi::OsString,
    fs::Permissions,
    future::Future,
    os::unix::fs::PermissionsExt,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    pin::Pin,
    time::{Duration, Instant},
};

use coracle_runtime::*;
use nix::{mount::MsFlags, sched::CloneFlags};
use tokio::sync::mpsc;

pub type Test = (&'static str, fn() -> Pin<Box<dyn Future<Output = ()>>>);

/// `test!(name)` of an async function.
#[macro_export]
macro_rules! tests {
    ($($name:ident),* $(,)?) => {
        pub const TESTS: &[$crate::harness::Test] = &[$((stringify!($name), || Box::pin($name()))),*];
    };
}

pub fn run(tests: &[Test], arguments: &[OsString]) -> i32 {
    if arguments.iter().any(|argument| argument == "--list") {
        tests.iter().for_each(|(name, _)| println!("{name}: test"));
        return 0;
    }
    if !nix::unistd::geteuid().is_root() || !Path::new("/bin/busybox").exists() {
        println!("skipped: needs root and Debian's busybox-static");
        return 0;
    }
    let wanted = |name: &str| {
        let mut filters = arguments
            .iter()
            .filter_map(|word| word.to_str())
            .filter(|word| !word.starts_with('-'))
            .peekable();
        filters.peek().is_none() || filters.any(|filter| name.contains(filter))
    };
    let mut failures = 0;
    for (name, test) in tests.iter().filter(|(name, _)| wanted(name)) {
        let begun = Instant::now();
        let test = *test;
        let passed = std::thread::spawn(move || isolated(test)).join().unwrap_or(false);
        println!(
            "test {name} ... {} ({} ms)",
            if passed { "ok" } else { "FAILED" },
            begun.elapsed().as_millis()
        );
        failures += i32::from(!passed);
    }
    println!("{failures} failed");
    i32::from(failures > 0)
}

#[allow(unsafe_code)]
fn isolated(test: fn() -> Pin<Box<dyn Future<Output = ()>>>) -> bool {
    // As under `nohup`: what runs in containers must not inherit it.
    // SAFETY: no handler is installed.
    unsafe { nix::sys::signal::signal(nix::sys::signal::SIGHUP, nix::sys::signal::SigHandler::SigIgn) }
        .expect("ignored");
    nix::sched::unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).expect("unshare");
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    nix::mount::mount(None::<&str>, "/", None::<&str>, private, None::<&str>).expect("private mounts");
    // One thread: the shims are started from it and inherit its namespaces.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
    catch_unwind(AssertUnwindSafe(|| {
        runtime.block_on(async {
            tokio::time::timeout(Duration::from_secs(300), test()).await.expect("test hangs")
        });
    }))
    .is_ok()
}

/// The id of an image with as many layers as there can be.
pub const MANY_LAYERS: &str = "sha256:many";

/// The id of an image that holds a layer twice, with another one between.
pub const TWICE: &str = "sha256:twice";

/// The id of an image whose upper layer has files in directories of the lower one, but no entries for these.
pub const IMPLICIT: &str = "sha256:implicit";

/// One layer: busybox with links to itself.
struct Image(PathBuf);

impl containers::Layers for Image {
    fn layers(&self, id: String) -> futures::future::BoxFuture<'_, Result<Vec<PathBuf>, images::ImageError>> {
        let mut layers = vec![self.0.clone()];
        if id == MANY_LAYERS {
            for number in 0..120 {
                let layer = self.0.with_file_name(format!("{number:064}"));
                std::fs::create_dir_all(&layer).unwrap();
                std::fs::write(layer.join("top"), number.to_string()).unwrap();
                layers.push(layer);
            }
        }
        if id == TWICE {
            let [twice, between] = ["twice", "between"].map(|name| self.0.with_file_name(name));
            for layer in [&twice, &between] {
                std::fs::create_dir_all(layer).unwrap();
                let name = layer.file_name().unwrap();
                std::fs::write(layer.join("top"), name.as_encoded_bytes()).unwrap();
                std::fs::write(layer.join(name), "").unwrap();
            }
            layers.extend([twice.clone(), between, twice]);
        }
        if id == IMPLICIT {
            for (directory, mode) in [("tmp", 0o1777), ("root", 0o700)] {
                std::fs::set_permissions(self.0.join(directory), Permissions::from_mode(mode)).unwrap();
            }
            let images = self.0.with_file_name("images");
            for folder in ["notes", "layers/upper/tmp", "layers/upper/root"] {
                std::fs::create_dir_all(images.join(folder)).unwrap();
            }
            std::fs::write(images.join("layers/upper/tmp/made"), "").unwrap();
            std::fs::write(
                images.join("notes/upper"),
                r#"{"size_bytes": 0, "implicit": ["", "root", "tmp"]}"#,
            )
            .unwrap();
            layers.push(images.join("layers/upper"));
        }
        Box::pin(async { Ok(layers) })
    }
}

fn make_image(root: &Path) {
    for directory in ["bin", "etc", "tmp", "root", "proc", "sys", "dev", "home"] {
        std::fs::create_dir_all(root.join(directory)).unwrap();
    }
    std::fs::copy("/bin/busybox", root.join("bin/busybox")).unwrap();
    let applets = [
        "sh", "echo", "cat", "sleep", "true", "false", "id", "grep", "ls", "mkdir", "mount", "unshare",
        "head", "dd", "tail", "hostname", "env", "pwd", "touch", "seq", "nc", "kill", "ps", "stty", "tty",
        "wc", "mknod", "df", "yes", "chmod",
    ];
    for applet in applets {
        let _ = std::os::unix::fs::symlink("busybox", root.join("bin").join(applet));
    }
    std::fs::write(
        root.join("etc/passwd"),
        "root:x:0:0:root:/root:/bin/sh\nweb:x:1000:1000::/home:/bin/sh\n",
    )
    .unwrap();
    std::fs::write(root.join("etc/notprogram"), "text").unwrap();
}

pub struct Node {
    pub directory: tempfile::TempDir,
    pub config: RuntimeConfig,
    pub runtime: Option<Runtime>,
    pub events: mpsc::Receiver<RuntimeEvent>,
    pub uid: PodUid,
}

impl Node {
    pub async fn new() -> Self {
        let directory = tempfile::Builder::new().prefix("node").tempdir_in("/tmp").unwrap();
        let path = directory.path();
        make_image(&path.join("layer"));
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let config = RuntimeConfig {
            state_dir: path.join("state"),
            run_dir: path.join("run"),
            cgroup_root: format!("/coracle-test/{name}"),
            log_max_bytes: 64 << 10,
            log_max_files: 3,
            executable: "/proc/self/exe".into(),
        };
        let (runtime, events) = open(path, &config).await;
        Self { config, runtime: Some(runtime), events, uid: PodUid("5f1f-uid".into()), directory }
    }

    pub fn runtime(&self) -> &Runtime {
        self.runtime.as_ref().unwrap()
    }

    /// What a restart of the daemon does.
    pub async fn reopen(&mut self) {
        self.runtime = None;
        let (runtime, events) = open(self.directory.path(), &self.config).await;
        (self.runtime, self.events) = (Some(runtime), events);
    }

    pub fn sandbox_spec(&self) -> SandboxSpec {
        SandboxSpec {
            pod_uid: self.uid.0.to_string(),
            namespace: "default".into(),
            name: "web".into(),
            hostname: "web-0".into(),
            private_network: true,
            host_pid: false,
            host_ipc: false,
            share_process_namespace: false,
            sysctls: Default::default(),
            cgroup: format!("burstable/pod{}", self.uid.0),
            resources: Resources::default(),
            log_dir: self.directory.path().join("logs"),
        }
    }

    pub async fn sandbox(&self) -> SandboxInfo {
        self.runtime().create_sandbox(self.sandbox_spec()).await.unwrap()
    }

    pub fn spec(&self, argv: &[&str]) -> ContainerSpec {
        let default = [
            "CHOWN",
            "DAC_OVERRIDE",
            "FSETID",
            "FOWNER",
            "MKNOD",
            "NET_RAW",
            "SETGID",
            "SETUID",
            "SETFCAP",
            "SETPCAP",
            "NET_BIND_SERVICE",
            "SYS_CHROOT",
            "KILL",
            "AUDIT_WRITE",
        ];
        ContainerSpec {
            pod_uid: self.uid.0.to_string(),
            name: "app".into(),
            attempt: 0,
            image: "test".into(),
            image_id: "sha256:busybox".into(),
            argv: argv.iter().map(|word| (*word).to_owned()).collect(),
            env: vec![("GREETING".into(), "hello".into())],
            working_dir: "/".into(),
            mounts: vec![],
            image_volumes: vec![],
            devices_all: false,
            user: User::default(),
            capabilities: default.map(str::to_owned).to_vec(),
            privileged: false,
            no_new_privileges: false,
            read_only_root: false,
            seccomp: Seccomp::RuntimeDefault,
            unmasked_proc: false,
            tty: false,
            stdin: false,
            stdin_once: false,
            resources: Resources::default(),
        }
    }

    /// Created and started.
    pub async fn start(&self, spec: ContainerSpec) -> ContainerId {
        let info = self.runtime().create_container(spec).await.unwrap();
        self.runtime().start_container(&info.id).await.unwrap();
        info.id
    }

    pub async fn ended(&mut self, id: &ContainerId) -> Exit {
        loop {
            match self.events.recv().await.expect("events") {
                RuntimeEvent::Exited { container, exit, .. } if container == *id => return exit,
                RuntimeEvent::Exited { .. } => {}
                RuntimeEvent::SandboxLost { .. } => panic!("the sandbox is lost"),
            }
        }
    }

    /// Runs a container to its end: its code and what it logged.
    pub async fn output(&mut self, spec: ContainerSpec) -> (i32, String) {
        let path = self.log_path(&spec.name);
        let id = self.start(spec).await;
        let exit = self.ended(&id).await;
        self.runtime().remove_container(&id).await.unwrap();
        let log = words(&path);
        let _ = std::fs::remove_file(path);
        (exit.code, log)
    }

    pub async fn shell(&mut self, script: &str) -> (i32, String) {
        self.output(self.script(script)).await
    }

    /// A shell whose two streams are one: of two, the log keeps the order of each alone.
    pub fn script(&self, script: &str) -> ContainerSpec {
        self.spec(&["sh", "-c", &format!("exec 2>&1; {script}")])
    }

    pub fn log_path(&self, container: &str) -> PathBuf {
        self.directory.path().join("logs").join(container).join("0.log")
    }

    pub async fn log_contains(&self, container: &str, text: &str) {
        let path = self.log_path(container);
        until(|| std::fs::read_to_string(&path).is_ok_and(|log| log.contains(text))).await;
    }

    pub async fn info(&self, id: &ContainerId) -> ContainerInfo {
        let sandboxes = self.runtime().sandboxes().await.unwrap();
        let found = sandboxes.into_iter().flat_map(|sandbox| sandbox.containers).find(|info| info.id == *id);
        found.expect("the container is known")
    }
}

async fn open(path: &Path, config: &RuntimeConfig) -> (Runtime, mpsc::Receiver<RuntimeEvent>) {
    let (sender, events) = mpsc::channel(64);
    let image = Box::new(Image(path.join("layer")));
    (Runtime::open_with_layers(config.clone(), image, sender).await.unwrap(), events)
}

impl Drop for Node {
    /// Whatever a failed test left: processes and cgroups.
    fn drop(&mut self) {
        let name = self.config.cgroup_root.clone();
        for _ in 0..200 {
            let mut busy = false;
            for mount in cgroup_mounts() {
                busy |= !clean(&mount.join(name.trim_start_matches('/')));
            }
            if !busy {
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        for mount in cgroup_mounts() {
            let _ = std::fs::remove_dir(mount.join("coracle-test"));
        }
        let mounts = std::fs::read_to_string("/proc/thread-self/mounts").unwrap_or_default();
        let points = mounts.lines().filter_map(|line| line.split(' ').nth(1)).map(Path::new);
        for point in points.filter(|point| point.starts_with(self.directory.path())) {
            let _ = nix::mount::umount2(point, nix::mount::MntFlags::MNT_DETACH);
        }
    }
}

pub fn cgroup_mounts() -> Vec<PathBuf> {
    let text = std::fs::read_to_string("/proc/thread-self/mounts").unwrap();
    let cgroups = text.lines().filter(|line| line.contains(" cgroup ") || line.contains(" cgroup2 "));
    cgroups.map(|line| line.split(' ').nth(1).unwrap().into()).collect()
}

fn clean(group: &Path) -> bool {
    for entry in std::fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            clean(&entry.path());
        }
    }
    for pid in std::fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default().lines() {
        let pid = nix::unistd::Pid::from_raw(pid.parse().unwrap());
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
    }
    let _ = std::fs::remove_dir(group);
    !group.exists()
}

/// A log's entries without their times.
pub fn words(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let lines = text.lines().map(|line| line.splitn(4, ' ').nth(3).unwrap_or_default());
    lines.collect::<Vec<_>>().join("\n")
}

pub async fn until(condition: impl Fn() -> bool) {
    // The deadline is that of the test.
    while !condition() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
