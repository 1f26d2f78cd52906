//! `kubectl apply --server-side` and what belongs to it, with every kubectl that is there.

mod harness;

use std::{io::Write, process::Stdio};

use harness::Harness;
use tokio_util::sync::CancellationToken;

const MAP: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: NAME}\ndata: {k: '1'}\n";

/// (arguments, what replaces `'1'`, success, part of the output)
const STEPS: [(&str, &str, bool, &str); 14] = [
    ("apply -f -", "'1'", true, "created"),
    ("apply view-last-applied configmap NAME", "", true, "k: \"1\""),
    // From the client's side to the server's: kubectl renames its own entry by a JSON patch.
    ("apply --server-side -f -", "'2'", true, "serverside-applied"),
    ("get configmap NAME -o yaml --show-managed-fields", "", true, "operation: Apply"),
    ("get configmap NAME -o jsonpath={.data.k}", "", true, "2"),
    ("apply --server-side --field-manager=other -f -", "'3'", false, "conflict with \"kubectl\": .data.k"),
    ("diff --server-side --field-manager=other --force-conflicts -f -", "'3'", false, "+  k: \"3\""),
    ("apply --server-side --field-manager=other --force-conflicts -f -", "'3'", true, "serverside-applied"),
    ("apply --server-side --field-manager=other --dry-run=server -f -", "'4'", true, "server dry run"),
    ("get configmap NAME -o jsonpath={.data.k}", "", true, "3"),
    ("label configmap NAME a=b", "", true, "labeled"),
    ("get configmap NAME -o yaml --show-managed-fields", "", true, "manager: kubectl-label"),
    // What it once applied from the client's side, and another has changed since, is not kubectl's.
    ("apply --server-side -f -", "'5'", false, "conflict with \"other\": .data.k"),
    ("apply --server-side --force-conflicts -f -", "'5'", true, "serverside-applied"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kubectl_applies_on_the_server() {
    let harness = Harness::start().await;
    let stop = CancellationToken::new();
    let serving = tokio::spawn(harness.server.clone().serve(stop.clone()));
    let mut kubeconfig = tempfile::NamedTempFile::new().expect("file");
    let text = harness.server.admin_kubeconfig(None, None).expect("kubeconfig");
    kubeconfig.write_all(text.as_bytes()).expect("writes");
    let home = tempfile::tempdir().expect("home");
    for program in ["kubectl", "kubectl137"] {
        if std::process::Command::new(program).arg("help").output().is_err() {
            continue;
        }
        for (arguments, data, good, part) in STEPS {
            let mut child = tokio::process::Command::new(program)
                .arg("--kubeconfig")
                .arg(kubeconfig.path())
                .args(arguments.replace("NAME", program).split_whitespace())
                .env("HOME", home.path())
                .env_remove("KUBECONFIG")
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .expect("kubectl starts");
            let input = MAP.replace("NAME", program).replace("'1'", data);
            let mut stdin = child.stdin.take().expect("stdin");
            // It need not read it.
            let _ = tokio::io::AsyncWriteExt::write_all(&mut stdin, input.as_bytes()).await;
            drop(stdin);
            let output = child.wait_with_output().await.expect("kubectl ends");
            let seen = [output.stdout, output.stderr].concat();
            let seen = String::from_utf8_lossy(&seen);
            assert_eq!(output.status.success(), good, "{program} {arguments}: {seen}");
            assert!(seen.contains(part), "{program} {arguments}: {seen}");
        }
    }
    stop.cancel();
    serving.await.expect("no panic");
}
