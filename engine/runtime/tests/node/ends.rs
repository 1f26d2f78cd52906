//! Signals, want of memory, restarts of the daemon, loss of a shim.

use coracle_runtime::*;

use crate::{harness::*, tests};

tests!(
    a_signal_reaches_the_first_process_and_kill_reaches_all,
    want_of_memory_is_told,
    limits_are_in_force_and_usage_is_read,
    a_restarted_daemon_finds_containers_and_their_ends,
    a_lost_shim_is_told_and_its_containers_end,
    a_shim_lost_without_a_daemon_is_found_at_the_next_start,
);

async fn a_signal_reaches_the_first_process_and_kill_reaches_all() {
    let mut node = Node::new().await;
    node.sandbox().await;
    let id = node
        .start(node.spec(&[
            "sh",
            "-c",
            "trap 'echo bye; exit 3' TERM; echo up; while true; do sleep 0.05; done",
        ]))
        .await;
    node.log_contains("app", "up").await;
    node.runtime().signal_container(&id, 15).await.unwrap();
    assert_eq!(node.ended(&id).await.code, 3);
    node.runtime().remove_container(&id).await.unwrap();

    let id = node.start(node.spec(&["sh", "-c", "sleep 1000 & sleep 1000"])).await;
    node.runtime().signal_container(&id, 9).await.unwrap();
    let exit = node.ended(&id).await;
    assert_eq!((exit.code, exit.signal, exit.oom_killed), (137, Some(9), false));
    node.runtime().signal_container(&id, 15).await.unwrap();
}

async fn want_of_memory_is_told() {
    let mut node = Node::new().await;
    node.sandbox().await;
    let mut spec = node.spec(&["dd", "if=/dev/zero", "of=/dev/null", "bs=200M", "count=1"]);
    spec.resources.memory_limit_bytes = Some(16 << 20);
    spec.resources.oom_score_adj = Some(-500);
    let id = node.start(spec).await;
    let exit = node.ended(&id).await;
    assert_eq!((exit.code, exit.oom_killed), (137, true));
}

async fn limits_are_in_force_and_usage_is_read() {
    let mut node = Node::new().await;
    node.sandbox().await;
    let limits =
        Resources { memory_limit_bytes: Some(256 << 20), cpu_shares: Some(512), ..Resources::default() };
    node.runtime().update_resources(&node.uid, &limits).await.unwrap();
    let mut spec =
        node.spec(&["sh", "-c", "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; echo done; sleep 1000"]);
    spec.resources = Resources { pids_limit: Some(5), cpu_quota_us: Some(100_000), ..limits };
    let id = node.start(spec).await;
    node.log_contains("app", "done").await;
    let container = node.runtime().container_usage(&id).await.unwrap();
    let pod = node.runtime().pod_usage(&node.uid).await.unwrap();
    assert!(container.cpu_usage_ns > 0 && container.memory_working_set_bytes > 0, "{container:?}");
    assert!(pod.cpu_usage_ns >= container.cpu_usage_ns, "{pod:?}");
    let mut other = node.spec(&["sh", "-c", "for i in 1 2 3 4 5 6; do sleep 1000 & done; echo started"]);
    other.name = "other".into();
    other.resources.pids_limit = Some(3);
    let id = node.start(other).await;
    assert_ne!(node.ended(&id).await.code, 0);
    assert!(words(&node.log_path("other")).contains("can't fork"), "{}", words(&node.log_path("other")));
}

async fn a_restarted_daemon_finds_containers_and_their_ends() {
    let mut node = Node::new().await;
    node.sandbox().await;
    let mut first = node.spec(&["sh", "-c", "while [ ! -e /go ]; do sleep 0.02; done; echo ended; exit 5"]);
    first.name = "first".into();
    let mut second = node.spec(&["sh", "-c", "while true; do echo on; sleep 0.02; done"]);
    second.name = "second".into();
    let (first, second) = (node.start(first).await, node.start(second).await);
    let go = node.runtime().exec(&first, exec(&["touch", "/go"])).await.unwrap();
    go.exit.await.unwrap();
    node.runtime = None;
    node.log_contains("first", "ended").await;
    let size = || std::fs::metadata(node.log_path("second")).unwrap().len();
    let before = size();
    until(|| size() > before).await;
    let exit_file = || std::fs::read_dir(node.config.state_dir.join("pods/5f1f-uid/containers")).unwrap();
    until(|| exit_file().flatten().any(|entry| entry.path().join("exit.json").exists())).await;

    node.reopen().await;
    let sandboxes = node.runtime().sandboxes().await.unwrap();
    assert!(sandboxes.len() == 1 && sandboxes[0].alive);
    assert!(matches!(node.info(&first).await.state, ContainerState::Exited(exit) if exit.code == 5));
    assert!(matches!(node.info(&second).await.state, ContainerState::Running { .. }));
    node.runtime().signal_container(&second, 9).await.unwrap();
    assert_eq!(node.ended(&second).await.code, 137);
    node.runtime().remove_sandbox(&node.uid).await.unwrap();
}

fn kill_shim(node: &Node) {
    let file = node.config.run_dir.join("pods/5f1f-uid/shim.pid");
    let pid = std::fs::read_to_string(file).unwrap().parse().unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
}

async fn a_lost_shim_is_told_and_its_containers_end() {
    let mut node = Node::new().await;
    node.sandbox().await;
    let id = node.start(node.spec(&["sleep", "1000"])).await;
    let ContainerState::Running { pid, .. } = node.info(&id).await.state else { panic!("runs") };
    kill_shim(&node);
    assert!(matches!(node.events.recv().await, Some(RuntimeEvent::SandboxLost { .. })));
    until(|| !std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "sleep"))
        .await;
    assert!(matches!(node.info(&id).await.state, ContainerState::Exited(exit) if exit.code == 255));
    assert!(!node.runtime().sandboxes().await.unwrap()[0].alive);
    assert!(node.sandbox().await.alive, "made anew");
    assert_eq!(node.shell("echo again").await, (0, "again".into()));
}

async fn a_shim_lost_without_a_daemon_is_found_at_the_next_start() {
    let mut node = Node::new().await;
    node.sandbox().await;
    let id = node.start(node.spec(&["sleep", "1000"])).await;
    node.runtime = None;
    kill_shim(&node);
    until(|| {
        std::os::unix::net::UnixStream::connect(node.config.run_dir.join("pods/5f1f-uid/shim.sock")).is_err()
    })
    .await;
    node.reopen().await;
    assert!(!node.runtime().sandboxes().await.unwrap()[0].alive);
    assert!(matches!(node.info(&id).await.state, ContainerState::Exited(exit) if exit.code == 255));
    node.runtime().remove_sandbox(&node.uid).await.unwrap();
}

fn exec(argv: &[&str]) -> ExecSpec {
    let argv = argv.iter().map(|word| (*word).to_owned()).collect();
    ExecSpec { argv, tty: false, stdin: false, ends_with_session: true }
}
