"""kr8s, the asynchronous-first Python client in its plain form: objects that know their API, conditions, logs, exec,
port-forward, watch, its own API objects. Needs KUBECONFIG and the image busybox:test on the node."""

import time
import urllib.error
import urllib.request

import kr8s
from kr8s.objects import ConfigMap, Deployment, Namespace, Pod, ServiceAccount, new_class


def eventually(what, condition):
    deadline = time.monotonic() + 180
    while not (value := condition()):
        assert time.monotonic() < deadline, what
        time.sleep(0.1)
    return value


def page(port):
    """What httpd, which may still be starting, answers."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/passwd") as answer:
            return answer.read()
    except (urllib.error.URLError, ConnectionError):
        return None


api = kr8s.api()
assert api.version()["minor"] == "36"
namespace = Namespace({"metadata": {"name": "kr8s"}})
namespace.create()
eventually("an account for pods", lambda: ServiceAccount({"metadata": {"name": "default", "namespace": "kr8s"}}).exists())

container = {"name": "main", "image": "busybox:test", "command": ["sh", "-c", "echo hello; exec httpd -f -p 8080 -h /etc"]}
pod = Pod({
    "metadata": {"name": "web", "namespace": "kr8s", "labels": {"app": "web"}},
    "spec": {"containers": [container], "terminationGracePeriodSeconds": 0},
})
pod.create()
pod.wait("condition=Ready", timeout=180)
assert pod.ready() and pod.status.podIP.startswith("10.42.")
eventually("the log says hello", lambda: any("hello" in line for line in pod.logs()))
assert pod.exec(["echo", "through"]).stdout == b"through\n"
with pod.portforward(remote_port=8080, local_port="auto") as port:
    assert eventually("the port answers", lambda: page(port)).startswith(b"root:")
pod.label({"colour": "blue"})
pod.annotate({"note": "a"})
assert [found.name for found in kr8s.get("pods", namespace="kr8s", label_selector="colour=blue")] == ["web"]

deployment = Deployment({
    "metadata": {"name": "d", "namespace": "kr8s"},
    "spec": {
        "replicas": 1,
        "selector": {"matchLabels": {"app": "d"}},
        "template": {
            "metadata": {"labels": {"app": "d"}},
            "spec": {"containers": [container], "terminationGracePeriodSeconds": 0},
        },
    },
})
deployment.create()
deployment.scale(2)
deployment.wait("condition=Available", timeout=180)

config = ConfigMap({"metadata": {"name": "c", "namespace": "kr8s"}, "data": {"a": "1"}})
config.create()
config.patch({"data": {"b": "2"}})
config.refresh()
assert config.data == {"a": "1", "b": "2"}
for kind, found in kr8s.watch("configmaps", namespace="kr8s", field_selector="metadata.name=c"):
    assert (kind, found.name) == ("ADDED", "c")
    break
assert config.exists()
config.delete()
config.wait("delete", timeout=180)
try:
    ConfigMap.get("c", namespace="kr8s")
    raise AssertionError("a deleted ConfigMap was read")
except kr8s.NotFoundError:
    pass

Lease = new_class("Lease", version="coordination.k8s.io/v1", namespaced=True)
Lease({"metadata": {"name": "l", "namespace": "kr8s"}, "spec": {"holderIdentity": "me"}}).create()
assert Lease.get("l", namespace="kr8s").spec.holderIdentity == "me"
namespace.delete()
namespace.wait("delete", timeout=180)
