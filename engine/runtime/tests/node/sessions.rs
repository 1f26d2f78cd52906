//! Exec, attach, connections into a pod.

use coracle_runtime::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{harness::*, tests};

tests!(
    exec_has_streams_and_a_code,
    exec_of_what_is_not_there_is_refused_in_the_usual_words,
    execs_run_side_by_side,
    exec_with_a_terminal_can_be_resized,
    a_process_ends_with_its_session_where_that_is_asked_for_and_with_its_terminal,
    a_process_that_outlives_its_session_has_no_more_input,
    attach_sees_output_and_feeds_input,
    attach_to_a_terminal_is_interactive,
    who_attaches_while_the_pod_goes_is_told_that_the_container_ended,
    what_was_written_before_the_end_is_read_though_the_pod_goes,
    a_port_of_a_pod_can_be_reached,
);

/// Code and standard output of an exec.
pub async fn run(node: &Node, id: &ContainerId, argv: &[&str]) -> (i32, String) {
    let mut session = node.runtime().exec(id, spec(argv, false, false)).await.unwrap();
    let mut output = String::new();
    session.stdout.read_to_string(&mut output).await.unwrap();
    (session.exit.await.unwrap(), output)
}

fn spec(argv: &[&str], tty: bool, stdin: bool) -> ExecSpec {
    let argv = argv.iter().map(|word| (*word).to_owned()).collect();
    ExecSpec { argv, tty, stdin, ends_with_session: false }
}

async fn sleeper() -> (Node, ContainerId) {
    let node = Node::new().await;
    node.sandbox().await;
    let id = node.start(node.spec(&["sleep", "1000"])).await;
    (node, id)
}

/// Reads until the text was seen.
async fn expect(stream: &mut (impl tokio::io::AsyncRead + Unpin), text: &str) -> String {
    let mut seen = Vec::new();
    let mut buffer = [0; 256];
    while !String::from_utf8_lossy(&seen).contains(text) {
        let count = stream.read(&mut buffer).await.unwrap();
        assert!(count > 0, "`{text}` is not in {:?}", String::from_utf8_lossy(&seen));
        seen.extend_from_slice(&buffer[..count]);
    }
    String::from_utf8_lossy(&seen).into_owned()
}

async fn exec_has_streams_and_a_code() {
    let (node, id) = sleeper().await;
    let script = "cat; echo problem >&2; echo $GREETING; exit 9";
    let mut session = node.runtime().exec(&id, spec(&["sh", "-c", script], false, true)).await.unwrap();
    let mut stdin = session.stdin.take().unwrap();
    stdin.write_all(&vec![b'x'; 60_000]).await.ok();
    drop(stdin);
    let (mut out, mut err) = (String::new(), String::new());
    session.stdout.read_to_string(&mut out).await.unwrap();
    session.stderr.unwrap().read_to_string(&mut err).await.unwrap();
    assert_eq!(session.exit.await.unwrap(), 9);
    assert!(out.ends_with("xhello\n"), "{}", out.len());
    assert_eq!(err, "problem\n");
}

async fn exec_of_what_is_not_there_is_refused_in_the_usual_words() {
    let (node, id) = sleeper().await;
    let error = node.runtime().exec(&id, spec(&["foo"], false, false)).await.err().unwrap().to_string();
    assert!(error.starts_with("failed to exec in container: failed to start exec"), "{error}");
    let words =
        r#"unable to start container process: exec: "foo": executable file not found in $PATH: unknown"#;
    assert!(error.ends_with(words), "{error}");
    assert_eq!(run(&node, &id, &["sh", "-c", "nonsense"]).await.0, 127);
    assert_eq!(run(&node, &id, &["sh", "-c", "/etc/passwd"]).await.0, 126);
}

async fn execs_run_side_by_side() {
    let (node, id) = sleeper().await;
    let all = (0..5).map(|number| {
        let (node, id) = (&node, &id);
        async move { run(node, id, &["sh", "-c", &format!("sleep 0.1; echo {number}; exit {number}")]).await }
    });
    let results = futures::future::join_all(all).await;
    assert_eq!(results, (0..5).map(|number| (number, format!("{number}\n"))).collect::<Vec<_>>());
}

async fn exec_with_a_terminal_can_be_resized() {
    let (node, id) = sleeper().await;
    let mut session = node.runtime().exec(&id, spec(&["sh"], true, true)).await.unwrap();
    let mut stdin = session.stdin.take().unwrap();
    session.resize.send((123, 45)).await.unwrap();
    stdin
        .write_all(
            b"tty; while [ \"$(stty size)\" != '45 123' ]; do sleep 0.02; done; echo is-$TERM; exit 4\n",
        )
        .await
        .unwrap();
    let seen = expect(&mut session.stdout, "is-xterm").await;
    assert!(seen.contains("/dev/pts/"), "{seen}");
    assert_eq!(session.exit.await.unwrap(), 4);
}

async fn a_process_ends_with_its_session_where_that_is_asked_for_and_with_its_terminal() {
    let (node, id) = sleeper().await;
    let with = |seconds, tty, ends_with_session| {
        let script = format!("echo up; sleep {seconds}");
        ExecSpec { ends_with_session, ..spec(&["sh", "-c", &script], tty, false) }
    };
    for spec in [with("4320", false, false), with("4321", false, true), with("4322", true, false)] {
        let mut session = node.runtime().exec(&id, spec).await.unwrap();
        expect(&mut session.stdout, "up").await;
    }
    let all = async || run(&node, &id, &["ps"]).await.1;
    while all().await.contains("sleep 4321") || all().await.contains("sleep 4322") {}
    assert!(all().await.contains("sleep 4320"));
}

async fn a_process_that_outlives_its_session_has_no_more_input() {
    let (node, id) = sleeper().await;
    let script = "echo up; cat >/tmp/all; mv /tmp/all /tmp/done";
    let mut session = node.runtime().exec(&id, spec(&["sh", "-c", script], false, true)).await.unwrap();
    expect(&mut session.stdout, "up").await;
    session.stdin.as_mut().unwrap().write_all(b"last words").await.unwrap();
    drop(session);
    while run(&node, &id, &["cat", "/tmp/done"]).await != (0, "last words".to_owned()) {}
}

async fn attach_sees_output_and_feeds_input() {
    let mut node = Node::new().await;
    node.sandbox().await;
    let mut spec = node.spec(&["sh", "-c", "cat; echo end; exit 6"]);
    (spec.stdin, spec.stdin_once) = (true, true);
    let id = node.start(spec).await;
    let mut session = node.runtime().attach(&id, true, false).await.unwrap();
    let mut stdin = session.stdin.take().unwrap();
    stdin.write_all(b"line\n").await.unwrap();
    expect(&mut session.stdout, "line").await;
    drop(stdin);
    expect(&mut session.stdout, "end").await;
    assert_eq!(session.exit.await.unwrap(), 6);
    assert_eq!(node.ended(&id).await.code, 6);
    assert_eq!(words(&node.log_path("app")), "line\nend");
}

async fn attach_to_a_terminal_is_interactive() {
    let mut node = Node::new().await;
    node.sandbox().await;
    let mut spec = node.spec(&["sh"]);
    (spec.stdin, spec.tty) = (true, true);
    let id = node.start(spec).await;
    let mut session = node.runtime().attach(&id, true, true).await.unwrap();
    let mut stdin = session.stdin.take().unwrap();
    session.resize.send((80, 24)).await.unwrap();
    stdin
        .write_all(
            b"while [ \"$(stty size)\" != '24 80' ]; do sleep 0.02; done; tty; echo $((6*7)); exit 2\n",
        )
        .await
        .unwrap();
    let seen = expect(&mut session.stdout, "42\r\n").await;
    assert!(seen.contains("/dev/pts/0") || seen.contains("/dev/console"), "{seen}");
    assert_eq!(session.exit.await.unwrap(), 2);
    assert_eq!(node.ended(&id).await.code, 2);
}

async fn who_attaches_while_the_pod_goes_is_told_that_the_container_ended() {
    let mut node = Node::new().await;
    for _ in 0..20 {
        node.sandbox().await;
        let id = node.start(node.spec(&["true"])).await;
        node.ended(&id).await;
        let attaching = async {
            loop {
                match node.runtime().attach(&id, true, false).await.err().unwrap() {
                    RuntimeError::NoSuchContainer(_) => break,
                    error => assert_eq!(error.to_string(), "container is in CONTAINER_EXITED state"),
                }
                tokio::task::yield_now().await;
            }
        };
        let (_, removed) = futures::join!(attaching, node.runtime().remove_sandbox(&node.uid));
        removed.unwrap();
    }
}

async fn what_was_written_before_the_end_is_read_though_the_pod_goes() {
    let mut node = Node::new().await;
    node.sandbox().await;
    let mut spec = node.spec(&["sh", "-c", "read go; seq 20000; exit 3"]);
    (spec.stdin, spec.stdin_once) = (true, true);
    let id = node.start(spec).await;
    let mut session = node.runtime().attach(&id, true, false).await.unwrap();
    session.stdin.take().unwrap().write_all(b"go\n").await.unwrap();
    node.ended(&id).await;
    let reading = async {
        let mut output = String::new();
        session.stdout.read_to_string(&mut output).await.unwrap();
        (output.lines().last().map(str::to_owned), session.exit.await.unwrap())
    };
    let (read, removed) = futures::join!(reading, node.runtime().remove_sandbox(&node.uid));
    removed.unwrap();
    assert_eq!(read, (Some("20000".to_owned()), 3));
}

async fn a_port_of_a_pod_can_be_reached() {
    let node = Node::new().await;
    node.sandbox().await;
    node.start(node.spec(&["sh", "-c", "nc -l -p 8080 -e cat & echo up; wait"])).await;
    node.log_contains("app", "up").await;
    let mut stream = loop {
        if let Ok(stream) = node.runtime().connect(&node.uid, 8080).await {
            break stream;
        }
        tokio::task::yield_now().await;
    };
    stream.write_all(b"ping").await.unwrap();
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"ping");
    let refused = node.runtime().connect(&node.uid, 9).await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        "failed to connect to localhost:9 inside namespace \"5f1f-uid\", IPv4: dial tcp4 127.0.0.1:9: connect: \
         connection refused IPv6 dial tcp6 [::1]:9: connect: connection refused "
    );
}
