"""Creates pods one after the other and times them through one kept watch. Called by `pods`; standard library only.

The clock runs from before the create request is sent until the line of the watch that carries the state was read.
"""

import base64
import http.client
import json
import re
import ssl
import sys
import tempfile
import time
from urllib.parse import urlsplit

PODS = "/api/v1/namespaces/default/pods"


def api(kubeconfig):
    """The server's address and a TLS context with the admin's certificate."""
    text = open(kubeconfig).read()

    def field(name):
        found = re.search(rf"^[ -]*{name}: *\"?([^\s\"]+)", text, re.M)
        return found.group(1) if found else sys.exit(f"error: no {name} in {kubeconfig}")

    context = ssl.create_default_context(cadata=base64.b64decode(field("certificate-authority-data")).decode())
    with tempfile.NamedTemporaryFile() as pair:
        for name in ("client-certificate-data", "client-key-data"):
            pair.write(base64.b64decode(field(name)))
        pair.flush()
        context.load_cert_chain(pair.name)
    return urlsplit(field("server")), context


class Client:
    def __init__(self, kubeconfig):
        self.server, self.context = api(kubeconfig)
        self.kept = self.connect()

    def connect(self):
        return http.client.HTTPSConnection(self.server.hostname, self.server.port, context=self.context, timeout=60)

    def ask(self, method, path, body=None):
        sent = json.dumps(body) if body is not None else None
        self.kept.request(method, path, sent, {"Content-Type": "application/json"})
        answer = self.kept.getresponse()
        return answer.status, json.loads(answer.read())

    def watch(self, path):
        connection = self.connect()
        connection.request("GET", path)
        answer = connection.getresponse()
        while line := answer.readline():
            event = json.loads(line)
            yield time.perf_counter(), event["type"], event["object"]


def pod(name):
    container = {"name": "main", "image": "busybox:bench", "command": ["/bin/busybox", "sleep", "1000000"]}
    spec = {"terminationGracePeriodSeconds": 0, "containers": [container]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def is_true(seen, kind):
    conditions = seen.get("status", {}).get("conditions", [])
    return any(it["type"] == kind and it["status"] == "True" for it in conditions)


def main(kubeconfig, count):
    client = Client(kubeconfig)
    while client.ask("GET", "/api/v1/namespaces/default/serviceaccounts/default")[0] != 200:
        time.sleep(0.05)
    version = client.ask("GET", PODS)[1]["metadata"]["resourceVersion"]
    events = client.watch(f"{PODS}?watch=1&resourceVersion={version}")
    stages = {"answered": [], "scheduled": [], "Ready": [], "gone": []}
    # The first pod warms the page cache and is not counted.
    for number in range(count + 1):
        name = f"timed-{number}"
        times = {}
        began = time.perf_counter()
        status, answer = client.ask("POST", PODS, pod(name))
        times["answered"] = time.perf_counter()
        if status != 201:
            sys.exit(f"error: create pod: {answer}")
        for at, kind, seen in events:
            if seen["metadata"]["name"] != name:
                continue
            if is_true(seen, "PodScheduled"):
                times.setdefault("scheduled", at)
            if is_true(seen, "Ready"):
                times["Ready"] = at
                break
        ended = time.perf_counter()
        client.ask("DELETE", f"{PODS}/{name}?gracePeriodSeconds=0")
        for at, kind, seen in events:
            if kind == "DELETED" and seen["metadata"]["name"] == name:
                break
        if number:
            for stage in ("answered", "scheduled", "Ready"):
                stages[stage].append(times[stage] - began)
            stages["gone"].append(at - ended)
    print(f"{'create to … (ms)':<28}{'p50':>8}{'p90':>8}{'p99':>8}{'max':>8}   {count} pods in turn")
    for stage, took in stages.items():
        took.sort()
        row = [took[min(len(took) - 1, -(-len(took) * p // 100) - 1)] * 1000 for p in (50, 90, 99, 100)]
        label = "(delete to gone)" if stage == "gone" else stage
        print(f"{label:<28}" + "".join(f"{value:8.1f}" for value in row))


main(sys.argv[1], int(sys.argv[2]))
