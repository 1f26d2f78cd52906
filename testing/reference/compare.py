"""Compares two API servers on 127.0.0.1: Coracle on 6443 and a stock one on 7443.

    compare.py --credentials KUBECONFIG DIR    writes ca.crt, client.crt and client.key into DIR
    compare.py DIR [PART…]                     prints what differs, one example of each kind of difference

A definition and a resource with about everything in them are changed in one place at a time (a field removed, or of
another type or value) and created with dryRun=All. Answers are compared as they are but for what is new each time.
"""

import base64, collections, copy, http.client, json, os, re, ssl, sys, time

VOLATILE = {"uid", "creationTimestamp", "resourceVersion", "time", "lastTransitionTime"}
OTHERS = [None, "", "Bad Value!", "x", 0, -1, 1.5, 10**12, True, [], {}, ["a", "a"], {"a": "b"}, [{"a": 1}], "a" * 300]
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
RESOURCES = "/apis/ex.io/v1/namespaces/default/foos"


class Server:
    def __init__(self, directory, port):
        self.context = ssl._create_unverified_context()
        self.context.load_cert_chain(f"{directory}/client.crt", f"{directory}/client.key")
        self.port, self.connection = port, None

    def ask(self, method, path, body=None, kind=None):
        """Status, warnings and body. A connection that the server ends without an answer is status 0."""
        try:
            if self.connection is None:
                self.connection = http.client.HTTPSConnection("127.0.0.1", self.port, context=self.context, timeout=30)
            headers = {"Accept": "application/json", "User-Agent": "compare", "Content-Type": kind or "application/json"}
            self.connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = self.connection.getresponse()
            return answer.status, answer.headers.get_all("Warning"), answer.read().decode()
        except (http.client.HTTPException, OSError) as error:
            self.connection = None
            return 0, None, str(error)


def lasting(value):
    if isinstance(value, dict):
        return {key: "*" if key in VOLATILE else lasting(inner) for key, inner in value.items()}
    return [lasting(inner) for inner in value] if isinstance(value, list) else value


def shown(answer):
    status, warnings, body = answer
    try:
        body = lasting(json.loads(body))
    except ValueError:
        pass
    if isinstance(body, dict) and body.get("kind") == "Status":
        body = [body.get("message"), body.get("reason"), body.get("details")]
    text = f"{status} {warnings} {json.dumps(body, sort_keys=True)}"
    for volatile in (r'resourceVersion[\\": ]+\d+', r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", r"20\d\d-[\d:.TZ-]{10,}"):
        text = re.sub(volatile, "*", text)
    return re.sub(r"(.)\1{30,}", r"\1~", text)


class Comparison:
    def __init__(self, directory):
        self.servers = [Server(directory, 6443), Server(directory, 7443)]
        self.asked, self.differ, self.kinds = 0, 0, collections.Counter()

    def each(self, *request):
        return [server.ask(*request) for server in self.servers]

    def versioned(self, server, path, method, at, body=None, *kind):
        """The server's answer, the resourceVersion "RV" replaced by that of the object at `path` there."""
        if isinstance(body, dict) and isinstance(body.get("metadata"), dict) and body["metadata"].get("resourceVersion") == "RV":
            version = json.loads(server.ask("GET", path)[2]).get("metadata", {}).get("resourceVersion", "1")
            body = body | {"metadata": body["metadata"] | {"resourceVersion": version}}
        return server.ask(method, at, body, *kind)

    def compare(self, label, *request, place=None):
        """Whether both answer alike; else the first of each kind of difference is printed."""
        own, stock = (shown(self.versioned(server, place, *request)) for server in self.servers)
        self.asked += 1
        if own == stock:
            return True
        self.differ += 1
        kind = re.sub(r'spec[.\[][\w.\[\]-]*|"[^"]*"|\d+', "_", own[:300] + stock[:300])
        self.kinds[kind] += 1
        if self.kinds[kind] == 1:
            start = next((at for at, pair in enumerate(zip(own, stock)) if pair[0] != pair[1]), 0)
            start = max(0, start - 60)
            print(f"{label}\n  coracle {own[:3]} …{own[start:start + 400]}\n  stock   {stock[:3]} …{stock[start:start + 400]}")
        return False


def places(value, path=()):
    """The path of every part of a value, outermost first."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in inner:
        yield path + (key,)
        yield from places(part, path + (key,))


def changes(value):
    """Every field, removed and with each other value in turn: where, what, the whole."""
    def changed(path, change):
        whole = copy.deepcopy(value)
        place = whole
        for key in path[:-1]:
            place = place[key]
        change(place, path[-1])
        return ".".join(map(str, path)), whole

    for path in places(value):
        at, whole = changed(path, lambda place, key: place.pop(key))
        yield at, "removed", whole
        for other in OTHERS:
            at, whole = changed(path, lambda place, key: place.__setitem__(key, other))
            yield at, repr(other)[:40], whole


def schema():
    fields = {
        "s": {"type": "string", "pattern": "^[a-z]+$", "minLength": 1, "maxLength": 20, "default": "abc"},
        "enum": {"type": "string", "enum": ["abc", "def"], "nullable": True},
        "replicas": {"type": "integer", "minimum": 0, "maximum": 10, "exclusiveMaximum": True, "multipleOf": 2, "format": "int32", "default": 2},
        "long": {"type": "integer", "format": "int64"},
        "number": {"type": "number", "format": "double", "minimum": -1.5, "maximum": 1e10},
        "flag": {"type": "boolean"},
        "list": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"], "maxItems": 2, "items": {
            "type": "object", "required": ["k"], "properties": {"k": {"type": "string"}, "v": {"type": "number"}}}},
        "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}, "minItems": 1},
        "any": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        "either": {"x-kubernetes-int-or-string": True, "anyOf": [{"type": "integer"}, {"type": "string"}]},
        "embedded": {"type": "object", "x-kubernetes-embedded-resource": True, "x-kubernetes-preserve-unknown-fields": True},
        "map": {"type": "object", "maxProperties": 3, "minProperties": 1, "additionalProperties": {"type": "string"}},
        "nested": {"type": "object", "required": ["a"], "properties": {"a": {"type": "array", "items": {
            "type": "object", "properties": {"c": {"type": "string", "default": "d"}}}}}},
    }
    for junctor in ("anyOf", "oneOf", "allOf"):
        both = {"x": {"type": "string"}, "y": {"type": "string"}}
        fields[junctor.lower()] = {"type": "object", junctor: [{"required": ["x"]}, {"required": ["y"]}], "properties": both}
    rules = [
        {"rule": "self.replicas > 0", "message": "m", "fieldPath": ".replicas", "reason": "FieldValueForbidden"},
        {"rule": "self.s == oldSelf.s", "messageExpression": "'x' + self.s"},
    ]
    return {"type": "object", "required": ["spec"], "properties": {
        "spec": {"type": "object", "required": ["s"], "x-kubernetes-validations": rules, "properties": fields},
        "status": {"type": "object", "properties": {"replicas": {"type": "integer"}, "selector": {"type": "string"}}}}}


def definition():
    scale = {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas", "labelSelectorPath": ".status.selector"}
    column = {"name": "R", "type": "integer", "jsonPath": ".spec.replicas", "description": "d", "format": "int32", "priority": 1}
    version = {"name": "v1", "served": True, "storage": True, "deprecated": True, "deprecationWarning": "old",
               "subresources": {"status": {}, "scale": scale}, "additionalPrinterColumns": [column],
               "selectableFields": [{"jsonPath": ".spec.s"}], "schema": {"openAPIV3Schema": schema()}}
    names = {"plural": "foos", "singular": "foo", "kind": "Foo", "listKind": "FooList", "shortNames": ["fo"], "categories": ["all"]}
    return {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "foos.ex.io"},
            "spec": {"group": "ex.io", "scope": "Namespaced", "names": names, "conversion": {"strategy": "None"},
                     "preserveUnknownFields": False, "versions": [version]}}


def resource():
    spec = {"s": "abc", "enum": "abc", "replicas": 2, "long": 5, "number": 1.5, "flag": True, "list": [{"k": "a", "v": 1}, {"k": "b"}],
            "set": ["a", "b"], "any": {"z": [1, {"q": None}]}, "either": 3, "map": {"a": "b"}, "nested": {"a": [{}]},
            "embedded": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "n"}, "x": 1},
            "anyof": {"x": "1"}, "oneof": {"x": "1"}, "allof": {"x": "1", "y": "2"}, "unknown": 1}
    metadata = {"name": "x", "namespace": "default", "labels": {"a": "b"}, "annotations": {"c": "d"}, "finalizers": ["ex.io/f"]}
    return {"apiVersion": "ex.io/v1", "kind": "Foo", "metadata": metadata, "spec": spec, "status": {"replicas": 1}, "extra": {"x": 1}}


def wait(comparison, path):
    deadline = time.monotonic() + 60
    while any(answer[0] != 200 for answer in comparison.each("GET", path)):
        if time.monotonic() > deadline:
            sys.exit(f"error: {path} is not served: {comparison.each('GET', path)}")
        time.sleep(0.1)


def main(directory, *parts):
    comparison = Comparison(directory)
    wait(comparison, DEFINITIONS)
    if not parts or "definitions" in parts:
        for at, what, whole in changes(definition()):
            # The reference knows no kinds but its own: it words that otherwise.
            if not at.startswith(("apiVersion", "kind")):
                comparison.compare(f"{at} {what}", "POST", f"{DEFINITIONS}?dryRun=All", whole)
    if not parts or "resources" in parts:
        comparison.each("POST", DEFINITIONS, definition())
        wait(comparison, RESOURCES)
        for at, what, whole in changes(resource()):
            comparison.compare(f"{at} {what}", "POST", f"{RESOURCES}?dryRun=All", whole)
    if not parts or "stories" in parts:
        import stories

        comparison.each("POST", DEFINITIONS, definition())
        wait(comparison, RESOURCES)
        stories.stories(comparison, seed=int(os.environ.get("SEED", "1")), count=int(os.environ.get("STORIES", "400")))
    print(f"{comparison.asked} requests, {comparison.differ} answered otherwise in {len(comparison.kinds)} ways")


def credentials(kubeconfig, directory):
    text = open(kubeconfig).read()
    for field, name in (("certificate-authority", "ca.crt"), ("client-certificate", "client.crt"), ("client-key", "client.key")):
        data = re.search(rf'{field}-data:\s*"?([^\s",}}]+)', text).group(1)
        with open(f"{directory}/{name}", "wb") as file:
            file.write(base64.b64decode(data))


if __name__ == "__main__":
    if sys.argv[1] == "--credentials":
        credentials(*sys.argv[2:])
    else:
        main(*sys.argv[1:])
