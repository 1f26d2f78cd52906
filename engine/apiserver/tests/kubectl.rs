//! The stock client over TLS on the loopback interface. Skipped where there is no `kubectl`.

mod harness;

use std::{io::Write, process::Stdio, time::Duration};

use harness::Harness;
use tokio_util::sync::CancellationToken;

struct Kubectl {
    kubeconfig: tempfile::NamedTempFile,
    home: tempfile::TempDir,
}

impl Kubectl {
    fn new(harness: &Harness) -> Kubectl {
        let mut kubeconfig = tempfile::NamedTempFile::new().expect("file");
        let text = harness.server.admin_kubeconfig(None, None).expect("kubeconfig");
        kubeconfig.write_all(text.as_bytes()).expect("writes");
        Kubectl { kubeconfig, home: tempfile::tempdir().expect("home") }
    }

    /// Standard output and standard error.
    async fn run(&self, arguments: &str, input: &str) -> (bool, String) {
        let mut child = tokio::process::Command::new("kubectl")
            .arg("--kubeconfig")
            .arg(self.kubeconfig.path())
            .args(arguments.split_whitespace())
            .env("HOME", self.home.path())
            .env_remove("KUBECONFIG")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("kubectl starts");
        let mut stdin = child.stdin.take().expect("stdin");
        // It need not read it.
        let _ = tokio::io::AsyncWriteExt::write_all(&mut stdin, input.as_bytes()).await;
        drop(stdin);
        let output = child.wait_with_output().await.expect("kubectl ends");
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&text).into_owned())
    }

    #[track_caller]
    fn check(&self, arguments: &str, seen: &(bool, String), good: bool, part: &str) {
        assert_eq!(seen.0, good, "kubectl {arguments}: {}", seen.1);
        assert!(seen.1.contains(part), "kubectl {arguments}: {}", seen.1);
    }

    async fn expect(&self, arguments: &str, input: &str, part: &str) {
        let seen = self.run(arguments, input).await;
        self.check(arguments, &seen, true, part);
    }

    /// `kubectl wait` fails while a new definition has no conditions at all, with a stock server too.
    async fn eventually(&self, arguments: &str, part: &str) {
        let met =
            async { while !matches!(self.run(arguments, "").await, (true, said) if said.contains(part)) {} };
        tokio::time::timeout(Duration::from_secs(180), met).await.expect(arguments);
    }

    async fn refused(&self, arguments: &str, input: &str, part: &str) {
        let seen = self.run(arguments, input).await;
        self.check(arguments, &seen, false, part);
    }
}

const DEPLOYMENT: &str = "
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: web
        image: web:1
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kubectl_finds_what_it_expects() {
    if std::process::Command::new("kubectl").arg("help").output().is_err() {
        return;
    }
    let harness = Harness::start().await;
    let stop = CancellationToken::new();
    let serving = tokio::spawn(harness.server.clone().serve(stop.clone()));
    let kubectl = Kubectl::new(&harness);
    kubectl.expect("get namespaces", "", "kube-system").await;
    kubectl.expect("version", "", "Server Version: v1.36").await;
    kubectl.expect("api-resources", "", "deployments").await;
    kubectl.expect("apply -f -", DEPLOYMENT, "deployment.apps/web created").await;
    kubectl.expect("apply -f -", DEPLOYMENT, "deployment.apps/web unchanged").await;
    kubectl
        .expect("apply -f -", &DEPLOYMENT.replace("web:1", "web:2"), "deployment.apps/web configured")
        .await;
    kubectl.expect("scale deployment/web --replicas=5", "", "deployment.apps/web scaled").await;
    kubectl.expect("get deployment web -o jsonpath={.spec.replicas}", "", "5").await;
    kubectl.expect("get deployments,services -A -o wide", "", "kubernetes").await;
    kubectl
        .expect("get deployment web -o yaml", "", "kubectl.kubernetes.io/last-applied-configuration")
        .await;
    kubectl.expect("explain deployment.spec.replicas", "", "Number of desired pods").await;
    kubectl.expect("label deployment web a=b", "", "labeled").await;
    kubectl.expect("auth can-i create pods", "", "yes").await;
    kubectl.expect("create configmap c --from-literal=a=b", "", "created").await;
    kubectl.expect("create deployment typed --image=web:1", "", "deployment.apps/typed created").await;
    kubectl.expect("expose deployment typed --port=80", "", "service/typed exposed").await;
    kubectl.expect("create secret generic s --from-literal=a=b", "", "created").await;
    kubectl.expect("create namespace team", "", "created").await;
    harness.account("default").await;
    kubectl.expect("run one --image=web:1", "", "pod/one created").await;
    kubectl.expect("annotate pod one a=b", "", "annotated").await;
    kubectl.expect("get pod one", "", "Pending").await;
    kubectl.expect("rollout restart deployment/typed", "", "restarted").await;
    kubectl.expect("set image deployment/typed web=web:3", "", "image updated").await;
    kubectl
        .expect(
            "create -f - --dry-run=server",
            &DEPLOYMENT.replace("name: web", "name: dry"),
            "created (server dry run)",
        )
        .await;
    kubectl.expect("replace -f -", &DEPLOYMENT.replace("web:1", "web:4"), "replaced").await;
    kubectl
        .expect(
            "apply -f -",
            &DEPLOYMENT.replace("web:1", "web:2").replace("replicas: 2", "replicas: 5"),
            "configured",
        )
        .await;
    kubectl.expect("delete pod one --now", "", "deleted").await;
    kubectl.expect("get events -A", "", "").await;
    kubectl.expect("describe deployment web", "", "web:2").await;
    kubectl
        .expect("diff -f -", &DEPLOYMENT.replace("web:1", "web:2").replace("replicas: 2", "replicas: 5"), "")
        .await;
    kubectl
        .refused("apply -f -", &DEPLOYMENT.replace("replicas", "replica"), "unknown field \"spec.replica\"")
        .await;
    kubectl
        .refused("apply -f -", &DEPLOYMENT.replace("replicas: 2", "replicas: x"), "unrecognized type: int32")
        .await;
    kubectl.refused("get pod nothing", "", "Error from server (NotFound): pods \"nothing\" not found").await;
    kubectl.refused("create configmap c --from-literal=a=b", "", "configmaps \"c\" already exists").await;
    kubectl.refused("get nothings", "", "the server doesn't have a resource type \"nothings\"").await;
    kubectl
        .refused(
            "create -f -",
            "kind: None\napiVersion: example.com/v1\nmetadata: {name: none}",
            "no matches for kind",
        )
        .await;
    kubectl.expect("run two --image=web:1", "", "pod/two created").await;
    kubectl
        .refused("debug two --image=web:1", "", "ephemeral containers are disabled for this cluster")
        .await;
    kubectl.expect("get endpoints", "", "v1 Endpoints is deprecated in v1.33+").await;
    kubectl.expect("delete deployment web", "", "deployment.apps \"web\" deleted").await;
    kubectl.expect("create token default --duration=1h", "", "ey").await;
    stop.cancel();
    tokio::time::timeout(Duration::from_secs(180), serving).await.expect("stops in time").expect("no panic");
}

const DEFINITION: &str = "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: crontabs.stable.example.com}
spec:
  group: stable.example.com
  scope: Namespaced
  names: {plural: crontabs, singular: crontab, kind: CronTab, shortNames: [ct]}
  versions:
  - name: v1
    served: true
    storage: true
    additionalPrinterColumns:
    - {name: Spec, type: string, jsonPath: .spec.cronSpec}
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            properties:
              cronSpec: {type: string, description: When it runs., pattern: '^(\\d+|\\*)(/\\d+)?(\\s+(\\d+|\\*)(/\\d+)?){4}$'}
              replicas: {type: integer, default: 1}
";

const CRONTAB: &str = "
apiVersion: stable.example.com/v1
kind: CronTab
metadata: {name: mine}
spec: {cronSpec: '* * * * */5'}
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kubectl_works_with_a_custom_resource() {
    if std::process::Command::new("kubectl").arg("help").output().is_err() {
        return;
    }
    let harness = Harness::start().await;
    let stop = CancellationToken::new();
    let serving = tokio::spawn(harness.server.clone().serve(stop.clone()));
    let kubectl = Kubectl::new(&harness);
    kubectl.expect("apply -f -", DEFINITION, "created").await;
    kubectl
        .eventually("wait --for=condition=Established crd/crontabs.stable.example.com", "condition met")
        .await;
    kubectl.expect("apply -f -", CRONTAB, "crontab.stable.example.com/mine created").await;
    kubectl.expect("apply -f -", CRONTAB, "unchanged").await;
    kubectl.expect("apply -f -", &CRONTAB.replace("/5", "/6"), "configured").await;
    kubectl.expect("get ct", "", "* * * * */6").await;
    kubectl.expect("get crontab mine -o jsonpath={.spec.replicas}", "", "1").await;
    kubectl.expect("explain ct.spec.cronSpec", "", "When it runs.").await;
    kubectl.expect("api-resources --api-group=stable.example.com", "", "CronTab").await;
    kubectl.expect("auth can-i create crontabs", "", "yes").await;
    kubectl.refused("apply -f -", &CRONTAB.replace("*/5", "often"), "should match").await;
    kubectl.refused("apply -f -", &CRONTAB.replace("cronSpec", "cron"), "unknown field \"spec.cron\"").await;
    kubectl.expect("delete crd crontabs.stable.example.com", "", "deleted").await;
    kubectl.refused("get ct mine", "", "").await;
    stop.cancel();
    tokio::time::timeout(Duration::from_secs(180), serving).await.expect("stops in time").expect("no panic");
}
