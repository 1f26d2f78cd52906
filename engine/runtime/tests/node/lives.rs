//! From creation to removal.

use std::{path::Path, time::Instant};

use coracle_runtime::{containers::users_of_image, *};

use crate::{harness::*, tests};

tests!(
    a_container_runs_and_its_words_and_code_are_kept,
    environment_directory_and_host_name_are_as_specified,
    nothing_is_left_after_removal,
    a_program_that_is_missing_is_told_in_the_words_of_a_stock_node,
    logs_are_rotated,
    volumes_are_mounted_with_their_access,
    volumes_of_the_image_are_there_and_writable,
    mounts_propagate_as_asked,
    an_image_may_have_many_layers,
    an_image_may_hold_a_layer_twice,
    directories_without_an_entry_look_as_in_the_layer_below,
    a_mount_that_cannot_be_made_is_told,
    containers_of_a_pod_share_network_ipc_and_shm,
    a_pod_can_share_its_processes,
    shared_processes_may_have_numbers_that_the_machine_does_not_use,
    sysctls_of_a_pod_are_set,
    many_pods_come_and_go_at_once,
    host_network_and_host_pid_are_the_nodes,
    creating_and_starting_is_fast,
    a_unified_machine_works_too,
);

async fn a_container_runs_and_its_words_and_code_are_kept() {
    let mut node = Node::new().await;
    node.sandbox().await;
    let id = node.start(node.spec(&["sh", "-c", "echo out; echo err >&2; exit 7"])).await;
    let exit = node.ended(&id).await;
    assert_eq!((exit.code, exit.signal, exit.oom_killed), (7, None, false));
    assert!(exit.started_at_unix_ms > 0 && exit.finished_at_unix_ms >= exit.started_at_unix_ms);
    let log = std::fs::read_to_string(node.log_path("app")).unwrap();
    assert!(log.contains(" stdout F out\n") && log.contains(" stderr F err\n"), "{log}");
    assert_eq!(node.info(&id).await.state, ContainerState::Exited(exit));
}

async fn environment_directory_and_host_name_are_as_specified() {
    let mut node = Node::new().await;
    node.sandbox().await;
    let mut spec =
        node.spec(&["sh", "-c", "echo $GREETING $HOSTNAME $HOME; pwd; hostname; echo $$; ulimit -n"]);
    spec.working_dir = "/made/for it".into();
    let (code, log) = node.output(spec).await;
    let lines: Vec<_> = log.lines().collect();
    assert_eq!((code, &lines[..4]), (0, &["hello web-0 /root", "/made/for it", "web-0", "1"][..]), "{log}");
}

async fn nothing_is_left_after_removal() {
    let node = Node::new().await;
    let before = std::fs::read_to_string("/proc/thread-self/mounts").unwrap();
    node.sandbox().await;
    let id = node.start(node.spec(&["sleep", "1000"])).await;
    let _never_started = node.runtime().create_container(node.spec(&["true"])).await.unwrap();
    let users = || users_of_image(&node.config.state_dir, "sha256:busybox").unwrap();
    assert_eq!(users().len(), 2);
    let ContainerState::Running { pid, .. } = node.info(&id).await.state else { panic!("runs") };
    node.runtime().remove_sandbox(&node.uid).await.unwrap();
    node.runtime().remove_sandbox(&node.uid).await.unwrap();
    node.runtime().remove_container(&id).await.unwrap();
    assert!(users().is_empty());
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
    assert_eq!(std::fs::read_to_string("/proc/thread-self/mounts").unwrap(), before);
    for directory in [&node.config.state_dir, &node.config.run_dir] {
        assert_eq!(std::fs::read_dir(directory.join("pods")).unwrap().count(), 0);
    }
    for mount in cgroup_mounts() {
        let root = mount.join(node.config.cgroup_root.trim_start_matches('/'));
        assert!(!root.join("burstable/pod5f1f-uid").exists());
    }
    assert!(node.log_path("app").exists(), "logs stay");
}

async fn a_program_that_is_missing_is_told_in_the_words_of_a_stock_node() {
    let mut node = Node::new().await;
    node.sandbox().await;
    let cases = [
        ("foo", r#"exec: "foo": executable file not found in $PATH"#),
        ("/etc/notprogram", r#"exec: "/etc/notprogram": permission denied"#),
        ("/no", r#"exec: "/no": stat /no: no such file or directory"#),
    ];
    for (program, words) in cases {
        let info = node.runtime().create_container(node.spec(&[program])).await.unwrap();
        let error = node.runtime().start_container(&info.id).await.unwrap_err().to_string();
        let expected = format!(
            "failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: \
             unable to start container process: error during container init: {words}: unknown"
        );
        assert_eq!(error, expected);
        let exit = node.ended(&info.id).await;
        assert_eq!((exit.code, exit.start_error.as_deref()), (128, Some(expected.as_str())));
        node.runtime().remove_container(&info.id).await.unwrap();
    }
}

async fn logs_are_rotated() {
    let mut node = Node::new().await;
    node.sandbox().await;
    // Several times what a pipe holds, so that several reads are needed however late the shim is.
    let id = node.start(node.spec(&["seq", "1", "90000"])).await;
    node.ended(&id).await;
    let directory = node.log_path("app").parent().unwrap().to_owned();
    assert_eq!(std::fs::read_dir(directory).unwrap().count(), 3);
    assert!(words(&node.log_path("app")).ends_with("\n90000"));
}

async fn volumes_are_mounted_with_their_access() {
    let mut node = Node::new().await;
    node.sandbox().await;
    let volume = node.directory.path().join("volume");
    std::fs::create_dir(&volume).unwrap();
    std::fs::write(volume.join("file"), "content").unwrap();
    let mut spec = node.script("cat /data/file /single; touch /data/x; touch /rw/y; touch /z");
    let mount = |host: std::path::PathBuf, container: &str, read_only, propagation| Mount {
        host_path: host,
        container_path: container.into(),
        read_only,
        propagation,
    };
    spec.read_only_root = true;
    spec.mounts = vec![
        mount(volume.clone(), "/data", true, Propagation::Private),
        mount(volume.clone(), "/rw", false, Propagation::HostToContainer),
        mount(volume.join("file"), "/single", true, Propagation::Private),
    ];
    let (_, log) = node.output(spec).await;
    assert!(log.contains("contentcontent"), "{log}");
    assert_eq!(log.matches("Read-only file system").count(), 2, "{log}");
    assert!(volume.join("y").exists() && !volume.join("x").exists());
}

async fn volumes_of_the_image_are_there_and_writable() {
    use std::os::unix::fs::{PermissionsExt, chown, symlink};
    let mut node = Node::new().await;
    node.sandbox().await;
    let layer = node.directory.path().join("layer");
    std::fs::create_dir(layer.join("data")).unwrap();
    std::fs::write(layer.join("data/seed"), "sown").unwrap();
    std::fs::set_permissions(layer.join("data"), std::fs::Permissions::from_mode(0o2700)).unwrap();
    chown(layer.join("data"), Some(1000), Some(2000)).unwrap();
    symlink("/tmp", layer.join("link")).unwrap();
    for read_only_root in [true, false] {
        let mut spec = node.script(
            "ls -ldn /data /new/volume; cat /data/seed; echo; touch /data/x /link/deep/y && ls /data /tmp/deep; touch /z",
        );
        spec.read_only_root = read_only_root;
        spec.image_volumes = ["/data", "/new/volume", "/link/deep"].map(str::to_owned).to_vec();
        let (code, log) = node.output(spec).await;
        assert_eq!(code, i32::from(read_only_root), "{log}");
        let access: Vec<_> = log.split_whitespace().collect();
        assert_eq!(
            (access[0], &access[2..4], access[9]),
            ("drwx--S---", &["1000", "2000"][..], "drwxr-xr-x"),
            "{log}"
        );
        assert!(log.contains("sown\n/data:\nseed\nx\n\n/tmp/deep:\ny"), "{log}");
    }
    assert!(!layer.join("data/x").exists(), "the image stays as it is");
}

async fn containers_of_a_pod_share_network_ipc_and_shm() {
    let mut node = Node::new().await;
    let info = node.sandbox().await;
    let netns = std::fs::metadata(info.netns.unwrap()).unwrap();
    use std::os::unix::fs::MetadataExt;
    let mut first = node.spec(&["sh", "-c", "echo shared > /dev/shm/x; nc -l -p 4000 -e echo found"]);
    first.name = "first".into();
    node.start(first).await;
    let (_, log) = node
        .shell("ls -l /proc/self/ns/net; until nc -w 1 127.0.0.1 4000 2>/dev/null; do sleep 0.05; done; cat /dev/shm/x; df /dev/shm")
        .await;
    assert!(log.contains(&format!("net:[{}]", netns.ino())) && log.contains("found\nshared"), "{log}");
    assert!(log.contains("65536"), "{log}");
}

async fn a_pod_can_share_its_processes() {
    let mut node = Node::new().await;
    let mut spec = node.sandbox_spec();
    spec.share_process_namespace = true;
    node.runtime().create_sandbox(spec).await.unwrap();
    let mut other = node.spec(&["sleep", "1234"]);
    other.name = "other".into();
    let id = node.start(other).await;
    let (code, log) =
        node.shell("until ps | grep -q 'sleep 1[2]34'; do sleep 0.05; done; sleep 99 & ps; kill -9 $$").await;
    assert!(log.contains("sleep 1234") && code == 137, "{code} {log}");
    node.runtime().signal_container(&id, 15).await.unwrap();
    assert_eq!(node.ended(&id).await.code, 143);
    node.runtime().remove_sandbox(&node.uid).await.unwrap();
}

async fn shared_processes_may_have_numbers_that_the_machine_does_not_use() {
    let mut node = Node::new().await;
    let mut spec = node.sandbox_spec();
    spec.share_process_namespace = true;
    node.runtime().create_sandbox(spec).await.unwrap();
    let unused = |first: &i32| (0..20).all(|more| !Path::new(&format!("/proc/{}", first + more)).exists());
    let last = (1000..30000).rev().step_by(20).find(unused).unwrap() - 1;
    let script = format!("echo {last} > /proc/sys/kernel/ns_last_pid && echo set && sleep 1234");
    let mut counter = node.spec(&["sh", "-c", &script]);
    (counter.name, counter.privileged) = ("counter".into(), true);
    node.start(counter).await;
    node.log_contains("counter", "set").await;
    for _ in 0..3 {
        let (code, log) = node.shell("echo $$").await;
        let number: i32 = log.parse().unwrap_or_default();
        assert!(code == 0 && number > last, "{code} {log}");
    }
}

async fn host_network_and_host_pid_are_the_nodes() {
    let mut node = Node::new().await;
    let mut spec = node.sandbox_spec();
    (spec.private_network, spec.host_pid, spec.host_ipc) = (false, true, true);
    let info = node.runtime().create_sandbox(spec).await.unwrap();
    assert_eq!(info.netns, None);
    let (_, log) = node.shell("ls -l /proc/self/ns/net /proc/self/ns/pid; hostname").await;
    let own = |kind: &str| std::fs::read_link(format!("/proc/thread-self/ns/{kind}")).unwrap();
    assert!(
        log.contains(own("net").to_str().unwrap()) && log.contains(own("pid").to_str().unwrap()),
        "{log}"
    );
}

async fn creating_and_starting_is_fast() {
    let mut node = Node::new().await;
    let begun = Instant::now();
    node.sandbox().await;
    let sandbox = begun.elapsed();
    let mut all = Vec::new();
    for _ in 0..5 {
        let begun = Instant::now();
        let id = node.start(node.spec(&["true"])).await;
        all.push(begun.elapsed());
        node.ended(&id).await;
        node.runtime().remove_container(&id).await.unwrap();
    }
    let shim = std::fs::read_to_string(node.config.run_dir.join("pods/5f1f-uid/shim.pid")).unwrap();
    let memory = std::fs::read_to_string(format!("/proc/{shim}/smaps_rollup")).unwrap();
    let memory: Vec<_> =
        memory.lines().filter(|line| line.starts_with("Pss:") || line.starts_with("Private_Dirty")).collect();
    println!("  sandbox {sandbox:?}, create and start {all:?}, shim {memory:?}");
}

/// The controllers stay with v1 on a hybrid machine, so this shows the way of a v2 machine without its limits.
async fn a_unified_machine_works_too() {
    for mount in cgroup_mounts() {
        nix::mount::umount2(&mount, nix::mount::MntFlags::MNT_DETACH).unwrap();
    }
    let none = nix::mount::MsFlags::empty();
    nix::mount::mount(Some("cgroup2"), "/sys/fs/cgroup", Some("cgroup2"), none, None::<&str>).unwrap();
    let mut node = Node::new().await;
    node.sandbox().await;
    let script = "mknod /disk b 254 0 && head -c 1 /disk; head -c 3 /dev/zero | wc -c; cat /proc/self/cgroup; \
                  ls /sys/fs/cgroup/cgroup.procs; sleep 1000 & exit 3";
    let (code, log) = node.shell(script).await;
    assert_eq!(code, 3);
    assert!(log.contains("/disk: Operation not permitted") && log.contains("0::/\n"), "{log}");
    assert!(log.contains("\n3\n") || log.starts_with("3\n"), "{log}");
    assert!(log.ends_with("/sys/fs/cgroup/cgroup.procs"), "{log}");
    let id = node.start(node.spec(&["sh", "-c", "sleep 1000 & sleep 1000"])).await;
    node.runtime().signal_container(&id, 9).await.unwrap();
    assert_eq!(node.ended(&id).await.code, 137);
    node.runtime().remove_sandbox(&node.uid).await.unwrap();
    let root = std::path::Path::new("/sys/fs/cgroup").join(node.config.cgroup_root.trim_start_matches('/'));
    assert!(root.exists() && !root.join("burstable/pod5f1f-uid").exists());
}

async fn mounts_propagate_as_asked() {
    let mut node = Node::new().await;
    node.sandbox().await;
    let volume = node.directory.path().join("volume");
    std::fs::create_dir(&volume).unwrap();
    let tmpfs = |path: &std::path::Path| {
        nix::mount::mount(Some("t"), path, Some("tmpfs"), nix::mount::MsFlags::empty(), None::<&str>)
            .unwrap();
    };
    tmpfs(&volume);
    nix::mount::mount(None::<&str>, &volume, None::<&str>, nix::mount::MsFlags::MS_SHARED, None::<&str>)
        .unwrap();
    for name in ["both", "in"] {
        std::fs::create_dir(volume.join(name)).unwrap();
    }
    let script = "mount -t tmpfs t /both/both; touch /both/both/made; until [ -e /in/in/made ]; do sleep 0.02; done; echo seen; \
                  mount -t tmpfs t /in/both; ls /private/in";
    let mut spec = node.spec(&["sh", "-c", script]);
    spec.privileged = true;
    for (path, propagation) in [
        ("/both", Propagation::Bidirectional),
        ("/in", Propagation::HostToContainer),
        ("/private", Propagation::Private),
    ] {
        spec.mounts.push(Mount {
            host_path: volume.clone(),
            container_path: path.into(),
            read_only: false,
            propagation,
        });
    }
    let id = node.start(spec).await;
    until(|| volume.join("both/made").exists()).await;
    tmpfs(&volume.join("in"));
    std::fs::write(volume.join("in/made"), "").unwrap();
    assert_eq!(node.ended(&id).await.code, 0);
    assert!(words(&node.log_path("app")).starts_with("seen"));
    for path in ["both", "in"] {
        nix::mount::umount2(&volume.join(path), nix::mount::MntFlags::MNT_DETACH).unwrap();
    }
    node.runtime().remove_sandbox(&node.uid).await.unwrap();
    nix::mount::umount2(&volume, nix::mount::MntFlags::MNT_DETACH).unwrap();
}

async fn an_image_may_have_many_layers() {
    let mut node = Node::new().await;
    node.sandbox().await;
    let mut spec = node.spec(&["cat", "/top"]);
    spec.image_id = MANY_LAYERS.into();
    assert_eq!(node.output(spec).await, (0, "119".into()));
}

async fn an_image_may_hold_a_layer_twice() {
    let mut node = Node::new().await;
    node.sandbox().await;
    let mut spec = node.spec(&["cat", "/top", "/between"]);
    spec.image_id = TWICE.into();
    assert_eq!(node.output(spec).await, (0, "twice".into()));
}

async fn directories_without_an_entry_look_as_in_the_layer_below() {
    let mut node = Node::new().await;
    node.sandbox().await;
    let mut spec = node.spec(&["sh", "-c", "busybox stat -c %a /tmp /root; ls /tmp"]);
    spec.image_id = IMPLICIT.into();
    assert_eq!(node.output(spec).await, (0, "1777\n700\nmade".into()));
}

async fn a_mount_that_cannot_be_made_is_told() {
    let node = Node::new().await;
    node.sandbox().await;
    let cases = [
        ("/no/such", "/data", "stat /no/such: no such file or directory"),
        (
            "/etc/passwd",
            "/tmp",
            "error mounting \"/etc/passwd\" to rootfs at \"/tmp\": mount src=/etc/passwd, dst=/tmp, flags=MS_BIND|MS_REC: not a directory: Are you trying to mount a directory onto a file (or vice-versa)? Check if the specified host path exists and is the expected type",
        ),
        ("/tmp", "/etc/passwd", "dst=/etc/passwd, flags=MS_BIND|MS_REC: not a directory: Are you trying"),
    ];
    for (host, container, words) in cases {
        let mut spec = node.spec(&["true"]);
        spec.mounts.push(Mount {
            host_path: host.into(),
            container_path: container.into(),
            read_only: false,
            propagation: Propagation::Private,
        });
        let info = node.runtime().create_container(spec).await.unwrap();
        let error = node.runtime().start_container(&info.id).await.unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
}

async fn sysctls_of_a_pod_are_set() {
    let mut node = Node::new().await;
    let mut spec = node.sandbox_spec();
    spec.sysctls = [("kernel.shm_rmid_forced", "1"), ("net.ipv4.ip_local_port_range", "2000 3000")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    node.runtime().create_sandbox(spec.clone()).await.unwrap();
    let sys = "/proc/sys/kernel/shm_rmid_forced /proc/sys/net/ipv4/ip_local_port_range";
    let (_, log) =
        node.shell(&format!("cat {sys} /proc/sys/net/ipv4/ip_unprivileged_port_start; umask")).await;
    assert_eq!(log, "1\n2000\t3000\n0\n0022");
    node.runtime().remove_sandbox(&node.uid).await.unwrap();
    spec.sysctls.insert("net.no.such".into(), "1".into());
    let error = node.runtime().create_sandbox(spec).await.unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("set sysctl `net.no.such`"), "{source}");
    assert!(node.runtime().sandboxes().await.unwrap().is_empty());
}

async fn many_pods_come_and_go_at_once() {
    let mut node = Node::new().await;
    let lives = (0..8).map(|number| {
        let node = &node;
        async move {
            let uid = format!("uid-{number}");
            let mut sandbox = node.sandbox_spec();
            (sandbox.pod_uid, sandbox.cgroup) = (uid.clone(), format!("besteffort/pod{uid}"));
            node.runtime().create_sandbox(sandbox).await.unwrap();
            for attempt in 0..3 {
                let mut spec = node.spec(&["sh", "-c", &format!("exit {number}")]);
                (spec.pod_uid, spec.attempt, spec.name) = (uid.clone(), attempt, uid.clone());
                node.start(spec).await;
            }
        }
    });
    futures::future::join_all(lives).await;
    for _ in 0..24 {
        let Some(RuntimeEvent::Exited { pod_uid, exit, .. }) = node.events.recv().await else {
            panic!("an end")
        };
        assert_eq!(pod_uid.0.strip_prefix("uid-"), Some(exit.code.to_string().as_str()));
    }
    let pods = (0..8).map(|number| PodUid(format!("uid-{number}").into()));
    let runtime = node.runtime();
    let removals = pods.map(|pod| async move { runtime.remove_sandbox(&pod).await.unwrap() });
    futures::future::join_all(removals).await;
    runtime.remove_cgroups().await.unwrap();
}
