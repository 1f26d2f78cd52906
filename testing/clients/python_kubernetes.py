"""The official Python client: typed objects of every workload, watch (also as a WebSocket), patch kinds, logs and exec, the
dynamic client with a definition of its own, server-side apply, pages, errors. Needs KUBECONFIG and the image busybox:test
on the node."""

import json
import time

import websocket
from kubernetes import client, config, dynamic, watch
from kubernetes.client.exceptions import ApiException
from kubernetes.stream import stream

config.load_kube_config()
core, apps, batch = client.CoreV1Api(), client.AppsV1Api(), client.BatchV1Api()
NS = "python"


def eventually(what, condition):
    deadline = time.monotonic() + 180
    while not (value := condition()):
        assert time.monotonic() < deadline, what
        time.sleep(0.1)
    return value


assert client.VersionApi().get_code().minor == "36"
core.create_namespace(client.V1Namespace(metadata=client.V1ObjectMeta(name=NS)))
container = client.V1Container(name="main", image="busybox:test", command=["sh", "-c", "echo hello; exec sleep 3600"])
template = client.V1PodTemplateSpec(
    metadata=client.V1ObjectMeta(labels={"app": "web"}),
    spec=client.V1PodSpec(containers=[container], termination_grace_period_seconds=0),
)
spec = client.V1DeploymentSpec(
    replicas=1, selector=client.V1LabelSelector(match_labels={"app": "web"}), template=template
)
made = apps.create_namespaced_deployment(
    NS, client.V1Deployment(metadata=client.V1ObjectMeta(name="web"), spec=spec)
)
assert made.spec.strategy.type == "RollingUpdate" and made.metadata.generation == 1

# A watch from the creation on sees the Deployment become available.
for event in watch.Watch().stream(
    apps.list_namespaced_deployment, NS, resource_version=made.metadata.resource_version, timeout_seconds=180
):
    assert event["type"] in ("ADDED", "MODIFIED"), event["type"]
    if (event["object"].status.available_replicas or 0) == 1:
        break
else:
    raise AssertionError("the deployment did not become available")
pod = core.list_namespaced_pod(NS, label_selector="app=web").items[0].metadata.name
eventually("the log says hello", lambda: "hello" in core.read_namespaced_pod_log(pod, NS))
said = stream(
    core.connect_get_namespaced_pod_exec, pod, NS, command=["echo", "through"], stdout=True, stderr=True,
    stdin=False, tty=False,
)
assert said == "through\n", repr(said)
apps.patch_namespaced_deployment_scale("web", NS, {"spec": {"replicas": 2}})
eventually("two replicas", lambda: apps.read_namespaced_deployment("web", NS).status.available_replicas == 2)

# Errors carry the Status.
try:
    core.read_namespaced_config_map("nothing", NS)
    raise AssertionError("a ConfigMap that does not exist was read")
except ApiException as error:
    assert error.status == 404 and '"reason":"NotFound"' in error.body.replace(" ", ""), error.body
stale = core.create_namespaced_config_map(NS, {"metadata": {"name": "c"}, "data": {"a": "1"}})
core.patch_namespaced_config_map("c", NS, {"data": {"b": "2"}})
try:
    core.replace_namespaced_config_map("c", NS, stale)
    raise AssertionError("a stale ConfigMap was written")
except ApiException as error:
    assert error.status == 409 and "the object has been modified" in error.body, error.body

# Pages are parts of one list.
for n in range(25):
    core.create_namespaced_config_map(NS, {"metadata": {"name": f"page-{n:02}", "labels": {"page": "yes"}}})
names, versions, after = [], set(), None
while True:
    page = core.list_namespaced_config_map(NS, label_selector="page=yes", limit=10, _continue=after)
    names += [item.metadata.name for item in page.items]
    versions.add(page.metadata.resource_version)
    after = page.metadata._continue
    if not after:
        break
assert names == [f"page-{n:02}" for n in range(25)] and len(versions) == 1, (names, versions)
assert core.delete_collection_namespaced_config_map(NS, label_selector="page=yes")

# A definition, used at once through the dynamic client; server-side apply with an owner for each field.
extensions = client.ApiextensionsV1Api()
schema = {"type": "object", "properties": {"spec": {"type": "object", "properties": {"seats": {"type": "integer"}}}}}
extensions.create_custom_resource_definition({
    "metadata": {"name": "rafts.python.coracle.test"},
    "spec": {
        "group": "python.coracle.test",
        "scope": "Namespaced",
        "names": {"plural": "rafts", "singular": "raft", "kind": "Raft"},
        "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}],
    },
})


def established():
    read = extensions.read_custom_resource_definition("rafts.python.coracle.test")
    return any(c.type == "Established" and c.status == "True" for c in read.status.conditions or [])


eventually("the definition is established", established)
rafts = dynamic.DynamicClient(client.ApiClient()).resources.get(api_version="python.coracle.test/v1", kind="Raft")
raft = {"apiVersion": "python.coracle.test/v1", "kind": "Raft", "metadata": {"name": "r"}, "spec": {"seats": 2}}
applied = rafts.server_side_apply(namespace=NS, body=raft, field_manager="one")
assert applied.spec.seats == 2
try:
    rafts.server_side_apply(namespace=NS, body=raft | {"spec": {"seats": 3}}, field_manager="two")
    raise AssertionError("a field of another manager was taken")
except ApiException as error:
    assert error.status == 409 and "conflict with \\\"one\\\"" in error.body, error.body
forced = rafts.server_side_apply(
    namespace=NS, body=raft | {"spec": {"seats": 3}}, field_manager="two", force_conflicts=True
)
assert forced.spec.seats == 3
extensions.delete_custom_resource_definition("rafts.python.coracle.test")

# What Go always prints is there from the start: the typed models insist on it.
pods = {"selector": {"matchLabels": {"app": "typed"}}, "template": {
    "metadata": {"labels": {"app": "typed"}},
    "spec": {"nodeSelector": {"no": "where"}, "containers": [{"name": "main", "image": "busybox:test"}]},
}}
named = {"metadata": {"name": "typed"}}
policy, scaling = client.PolicyV1Api(), client.AutoscalingV2Api()
target = {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "typed"}
for create, read, body in [
    (apps.create_namespaced_daemon_set, apps.read_namespaced_daemon_set, {"spec": pods}),
    (apps.create_namespaced_stateful_set, apps.read_namespaced_stateful_set, {"spec": pods | {"serviceName": "s"}}),
    (apps.create_namespaced_replica_set, apps.read_namespaced_replica_set, {"spec": pods | {"replicas": 0}}),
    (core.create_namespaced_replication_controller, core.read_namespaced_replication_controller,
     {"spec": {"selector": {"app": "typed"}, "template": pods["template"]}}),
    (policy.create_namespaced_pod_disruption_budget, policy.read_namespaced_pod_disruption_budget,
     {"spec": {"minAvailable": 1, "selector": pods["selector"]}}),
    (scaling.create_namespaced_horizontal_pod_autoscaler, scaling.read_namespaced_horizontal_pod_autoscaler,
     {"spec": {"maxReplicas": 2, "scaleTargetRef": target}}),
]:
    assert create(NS, named | body).metadata.uid == read("typed", NS).metadata.uid
assert apps.read_namespaced_daemon_set("typed", NS).status.desired_number_scheduled == 0

# A watch over a WebSocket: each event is a message.
settings = client.Configuration.get_default_copy()
tls = {"ca_certs": settings.ssl_ca_cert, "certfile": settings.cert_file, "keyfile": settings.key_file}
url = f"wss{settings.host.removeprefix('https')}/api/v1/namespaces/{NS}/configmaps?watch=1&fieldSelector=metadata.name%3Dc"
socket = websocket.create_connection(url, sslopt=tls)
assert json.loads(socket.recv())["type"] == "ADDED"
core.patch_namespaced_config_map("c", NS, {"data": {"b": "3"}})
event = json.loads(socket.recv())
assert (event["type"], event["object"]["data"]["b"]) == ("MODIFIED", "3"), event
socket.close()

batch.create_namespaced_cron_job(NS, {
    "metadata": {"name": "nightly"},
    "spec": {"schedule": "0 3 * * *", "jobTemplate": {"spec": {"template": {"spec": {
        "restartPolicy": "Never", "containers": [{"name": "main", "image": "busybox:test"}]}}}}},
})
core.delete_namespace(NS)


def gone():
    try:
        core.read_namespace(NS)
    except ApiException as error:
        return error.status == 404


eventually("the namespace is gone", gone)
