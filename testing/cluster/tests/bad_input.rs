//! Bad input gets the message that a stock cluster gives, and leaves nothing behind.

use anyhow::Result;
use coracle_cluster::{Cluster, busybox, check, eventually};

/// What is done, and a part of what kubectl must say.
struct Case {
    line: &'static str,
    manifest: &'static str,
    says: &'static str,
}

const CASES: &[Case] = &[
    Case {
        line: "apply",
        manifest: "apiVersion: v1\nkind: ConfigMap\n metadata: {name: x}\n",
        says: "error parsing",
    },
    Case {
        line: "apply",
        manifest: "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\ndatta: {}\n",
        says: "unknown field \"datta\"",
    },
    Case {
        line: "apply --validate=false",
        manifest: "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\nspec: {replicas: three, selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: {containers: [{name: a, image: a}]}}}\n",
        says: "cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32",
    },
    Case {
        line: "create",
        manifest: "apiVersion: v1\nkind: ConfigMap\nmetadata: {}\n",
        says: "name or generateName is required",
    },
    Case {
        line: "create",
        manifest: "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: Not_A_Name}\n",
        says: "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.'",
    },
    Case {
        line: "create",
        manifest: "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x, namespace: absent}\n",
        says: "namespaces \"absent\" not found",
    },
    Case {
        line: "create",
        manifest: "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\nspec: {selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: c}}, spec: {containers: [{name: a, image: a}]}}}\n",
        says: "`selector` does not match template `labels`",
    },
    Case {
        line: "create",
        manifest: "apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nspec: {containers: []}\n",
        says: "spec.containers: Required value",
    },
    Case {
        line: "create",
        manifest: "apiVersion: v1\nkind: Nothing\nmetadata: {name: x}\n",
        says: "no matches for kind \"Nothing\" in version \"v1\"",
    },
];

#[test]
fn bad_input_gets_the_stock_message_and_leaves_nothing_behind() -> Result<()> {
    let cluster = Cluster::start()?;
    for case in CASES {
        let said = cluster.kubectl_with(case.line, case.manifest).err()?;
        check(said.contains(case.says), format!("{}\nexpected: {}\nsaid: {said}", case.manifest, case.says))?;
    }
    // What a controller puts there is awaited, so that it is told from what was left behind.
    cluster.kubectl("wait --for=create configmap/kube-root-ca.crt --timeout=180s").ok()?;
    let left = cluster.kubectl("get configmap,deployment,pod -o name").ok()?;
    check(left.trim() == "configmap/kube-root-ca.crt", format!("left behind: {left}"))?;
    requests(&cluster)?;
    too_large(&cluster)?;
    forbidden(&cluster)?;
    conflict(&cluster)
}

fn requests(cluster: &Cluster) -> Result<()> {
    let cases = [
        ("get pods -l a=b=c", "found '=', expected: ',' or 'end of string'"),
        ("get pods --field-selector spec.nothing=x", "field label not supported: spec.nothing"),
        ("get pod absent", "pods \"absent\" not found"),
        ("delete deployment absent", "deployments.apps \"absent\" not found"),
    ];
    for (line, says) in cases {
        let said = cluster.kubectl(line).err()?;
        check(said.contains(says), format!("kubectl {line}\nexpected: {says}\nsaid: {said}"))?;
    }
    Ok(())
}

fn too_large(cluster: &Cluster) -> Result<()> {
    let data = "x".repeat(3 << 20);
    let manifest =
        format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: large}}\ndata: {{a: {data}}}\n");
    let said = cluster.kubectl_with("create", &manifest).err()?;
    check(said.contains("Request entity too large: limit is 3145728"), said)
}

fn forbidden(cluster: &Cluster) -> Result<()> {
    let said = cluster.kubectl("get secrets --as=jane").err()?;
    let says =
        "User \"jane\" cannot list resource \"secrets\" in API group \"\" in the namespace \"default\"";
    check(said.contains(says), said)
}

fn conflict(cluster: &Cluster) -> Result<()> {
    cluster.kubectl("create configmap x --from-literal=a=1").ok()?;
    let old = cluster.kubectl("get configmap x -o yaml").ok()?;
    cluster.kubectl("label configmap x changed=yes").ok()?;
    let said = cluster.kubectl_with("replace", &old).err()?;
    let says = "Operation cannot be fulfilled on configmaps \"x\": the object has been modified; please apply your changes to the latest version and try again";
    check(said.contains(says), said)
}

#[test]
fn an_image_that_does_not_exist_is_reported_and_retried() -> Result<()> {
    let cluster = Cluster::start()?;
    cluster.kubectl("wait --for=create serviceaccount/default --timeout=180s").ok()?;
    cluster.kubectl("run absent --image=127.0.0.1:9/absent:v1 --restart=Never").ok()?;
    eventually("the pod waits for its image", || {
        let reason = cluster
            .kubectl("get pod absent -o jsonpath={.status.containerStatuses[0].state.waiting.reason}")
            .ok()?;
        check(
            ["ErrImagePull", "ImagePullBackOff"].contains(&reason.as_str()),
            format!("reason is `{reason}`"),
        )
    })?;
    cluster.kubectl("run never --image=absent:v1 --image-pull-policy=Never").ok()?;
    eventually("an image that may not be pulled is reported", || {
        let reason = cluster
            .kubectl("get pod never -o jsonpath={.status.containerStatuses[0].state.waiting.reason}")
            .ok()?;
        check(reason == "ErrImageNeverPull", format!("reason is `{reason}`"))
    })?;
    busybox(&cluster)?;
    cluster.kubectl("run wrong --image=busybox:test --restart=Never --command -- /no/such/program").ok()?;
    eventually("a program that does not exist is reported", || {
        let message = cluster
            .kubectl("get pod wrong -o jsonpath={.status.containerStatuses[0].state.terminated.message}")
            .ok()?;
        check(message.contains("/no/such/program"), format!("message is `{message}`"))
    })?;
    cluster.kubectl("delete pod absent never wrong --timeout=180s").ok().map(|_| ())
}
