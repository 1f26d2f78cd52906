"""What happens to a custom resource in turn, asked of both servers: see compare.py.

A story ends at its first difference: what follows would differ by it.
"""

import copy, json, random

from compare import RESOURCES, changes, places, resource

JSON, MERGE, APPLY = ("application/" + kind for kind in ("json-patch+json", "merge-patch+json", "apply-patch+yaml"))
MANAGERS = ["a", "b", "c"]
OPTIONS = ["", "?fieldManager=a", "?fieldManager=b", "?dryRun=All", "?fieldValidation=Strict", "?fieldValidation=Warn", "?fieldValidation=Ignore"]
DELETIONS = [None, {}, {"propagationPolicy": "Foreground"}, {"propagationPolicy": "Orphan"}, {"propagationPolicy": "Odd"},
             {"gracePeriodSeconds": 5}, {"preconditions": {"uid": "x"}}, {"preconditions": {"resourceVersion": "1"}},
             {"dryRun": ["All"]}, {"dryRun": ["Odd"]}, {"orphanDependents": True}, {"kind": "Odd"}, {"odd": 1}]
QUERIES = ["", "?limit=1", "?limit=-1", "?limit=x", "?labelSelector=a=b", "?labelSelector=a+in+(b,c)", "?labelSelector=a%3D%3D%3D",
           "?fieldSelector=spec.s=abc", "?fieldSelector=spec.s!=abc", "?fieldSelector=metadata.name=x", "?fieldSelector=spec.long=5",
           "?resourceVersion=0", "?resourceVersion=x", "?resourceVersionMatch=Exact", "?resourceVersionMatch=Odd&resourceVersion=0",
           "?resourceVersion=0&resourceVersionMatch=Exact", "?continue=odd", "?sendInitialEvents=true", "?timeoutSeconds=x"]


def good():
    """The resource without what makes it invalid or keeps it."""
    whole = resource()
    whole["spec"].pop("oneof"), whole["metadata"].pop("finalizers"), whole.pop("extra"), whole["spec"].pop("unknown")
    return whole


CHANGED = list(changes(good()))
PLACES = [path for path in places(resource()) if path[0] not in ("apiVersion", "kind")]
VALUES = [None, "", "abc", "def", 2, 4, -1, 1.5, True, [], {}, ["a"], ["a", "a"], {"a": "b"}, {"a": "b", "c": "d"}, [{"k": "a"}], [{"k": "a"}, {"k": "a"}]]


def changed(dice, name):
    whole = dice.choice(CHANGED)[2] if dice.random() < 0.7 else good()
    whole = copy.deepcopy(whole)
    if isinstance(whole.get("metadata"), dict) and whole["metadata"].get("name") == "x":
        whole["metadata"]["name"] = name
    return whole


def nested(path, value):
    for key in reversed(path):
        value = {key: value}
    return value


def part(dice, name):
    """A configuration to apply: some fields of a changed resource."""
    whole = changed(dice, name)
    spec = whole.get("spec")
    if isinstance(spec, dict):
        whole["spec"] = {key: value for key, value in spec.items() if key == "s" or dice.random() < 0.4}
    if dice.random() < 0.8:
        whole.pop("status", None)
    return whole


def operation(dice):
    path = "/" + "/".join(map(str, dice.choice(PLACES)))
    do = dice.choice(["add", "remove", "replace", "test", "move", "copy"])
    value = dice.choice(VALUES)
    return {"op": do, "path": path + dice.choice(["", "", "", "/-", "/0", "/9", "/x"]), **(
        {"from": "/" + "/".join(map(str, dice.choice(PLACES)))} if do in ("move", "copy") else {"value": value})}


def step(dice, name):
    """Method, path, body, content type. `RV` in a body stands for the server's own resourceVersion."""
    at, do = f"{RESOURCES}/{name}", dice.random()
    at += dice.choice(["", "", "", "", "/status"])
    if do < 0.30:
        body = part(dice, name)
        query = dice.choice(["?fieldManager=" + dice.choice(MANAGERS)] * 9 + [""]) + dice.choice(["", "&force=true", "&dryRun=All", "&fieldValidation=Strict"])
        return "PATCH", at + query, body, APPLY
    if do < 0.50:
        body = changed(dice, name)
        if isinstance(body.get("metadata"), dict) and dice.random() < 0.9:
            body["metadata"]["resourceVersion"] = "RV"
        return "PUT", at + dice.choice(OPTIONS), body, "application/json"
    if do < 0.70:
        path, value = dice.choice(PLACES), dice.choice(VALUES)
        return "PATCH", at + dice.choice(OPTIONS), nested([str(key) for key in path], value), MERGE
    if do < 0.85:
        return "PATCH", at + dice.choice(OPTIONS), [operation(dice) for _ in range(dice.randint(1, 2))], JSON
    if do < 0.90:
        scale = {"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": name, "namespace": "default"}, "spec": {"replicas": dice.choice([0, 4, 7, -1, 12])}}
        return dice.choice([("GET", f"{RESOURCES}/{name}/scale", None, None), ("PUT", f"{RESOURCES}/{name}/scale", scale, "application/json"),
                            ("PATCH", f"{RESOURCES}/{name}/scale", {"spec": {"replicas": dice.choice([2, "x", None])}}, MERGE)])
    if do < 0.95:
        return "GET", RESOURCES + dice.choice(QUERIES), None, None
    return "DELETE", f"{RESOURCES}/{name}", dice.choice(DELETIONS), "application/json"


def stories(comparison, seed, count):
    dice = random.Random(seed)
    for number in range(count):
        name = f"s{number}"
        body = good()
        body["metadata"]["name"] = name
        told = []
        first = [("POST", RESOURCES + "?fieldManager=" + dice.choice(MANAGERS), body, "application/json"),
                 ("PATCH", f"{RESOURCES}/{name}?fieldManager=a", part(dice, name), APPLY)]
        requests = [dice.choice(first)] + [step(dice, name) for _ in range(6)]
        for request in requests:
            told.append(" ".join(map(str, request[:2])) + " " + json.dumps(request[2]))
            if not comparison.compare(f"story {number}: " + "\n    ".join(told[-2:]), *request, place=f"{RESOURCES}/{name}"):
                break
        comparison.each("PATCH", f"{RESOURCES}/{name}", {"metadata": {"finalizers": None}}, MERGE)
        comparison.each("DELETE", f"{RESOURCES}/{name}")
