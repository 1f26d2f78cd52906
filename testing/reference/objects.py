"""Compares what two programs make of objects of built-in kinds: machinery.go (stock) and api/schema's machinery (Coracle).

    objects.py SEED OBJECTS_DIR STOCK OWN [decode] [merge]

Each object of OBJECTS_DIR (JSON, one of each kind, every field set) is changed in one place at a time, and read; and it
is patched with a piece of itself that was changed. One example of each kind of difference is printed.
"""

import collections, copy, json, pathlib, random, re, subprocess, sys

from compare import places

OTHERS = [None, "", "x", 0, -1, 1.5, 10**12, 2**63, True, [], {}, ["a", 1], {"a": "b"}, [{"a": 1}], [None], {"a": None}]


def at(value, path):
    for key in path:
        value = value[key]
    return value


def changed(whole, path, value):
    new = copy.deepcopy(whole)
    at(new, path[:-1])[path[-1]] = value
    return new


def decodings(whole, chance):
    for path in places(whole):
        for other in chance.sample(OTHERS, 2):
            yield {"do": "decode", "text": json.dumps(changed(whole, path, other)), "strict": chance.random() < 0.5}
        inner = at(whole, path)
        if isinstance(inner, dict):
            for key in [chance.choice(["nosuch", next(iter(inner), "a").upper()])]:
                yield {"do": "decode", "text": json.dumps(changed(whole, path, inner | {key: {"a": 1}})), "strict": True}


MERGED = {"containers", "initContainers", "ephemeralContainers", "env", "volumes", "volumeMounts", "volumeDevices", "ports",
          "ownerReferences", "finalizers", "conditions", "hostAliases", "imagePullSecrets", "secrets", "topologySpreadConstraints"}


def order_of(items, chance):
    """Of the items of a list in a patch: their keys, or they themselves, and one that only the server may have."""
    if isinstance(items[0], dict):
        keys = [{k: v for k, v in item.items() if isinstance(v, (str, int)) and not k.startswith("$")} for item in items]
        return keys + [keys[0] | {"name": "unheard"}] * (chance.random() < 0.3)
    return items + ["unheard"] * (chance.random() < 0.3)


def piece(value, chance):
    """A part of an object as a patch: thinned, changed, with directives."""
    if isinstance(value, list):
        out = [piece(part, chance) for part in value]
        if out and isinstance(out[0], dict):
            if chance.random() < 0.4:
                out.append(copy.deepcopy(value[0]) | {"name": "another"})
            if chance.random() < 0.1:
                out.append({"$patch": "replace"})
        elif chance.random() < 0.3:
            out = ["new"] + out
        return out
    if not isinstance(value, dict):
        return None if chance.random() < 0.05 else value + "2" if isinstance(value, str) and value.endswith("Value") and chance.random() < 0.3 else value
    out = {key: piece(part, chance) for key, part in value.items() if chance.random() < 0.7 or key in ("name", "key", "type", "uid", "ip", "containerPort", "devicePath", "mountPath", "port", "topologyKey")}
    for key, part in list(out.items()):
        if key in MERGED and isinstance(part, list) and part and all(part) and chance.random() < 0.3:
            out["$setElementOrder/" + key] = order_of(part, chance)
        elif key in MERGED and isinstance(part, list) and part and isinstance(part[0], str) and chance.random() < 0.5:
            out["$deleteFromPrimitiveList/" + key] = out.pop(key)[-1:]
    if chance.random() < 0.05:
        out["$retainKeys"] = list(out)
    if chance.random() < 0.05:
        out["$patch"] = chance.choice(["replace", "delete"])
    return out


def merges(whole, chance):
    for top in ("spec", "metadata", *whole):
        if top in whole and top not in ("apiVersion", "kind"):
            for _ in range(12):
                yield {"do": "merge", "text": json.dumps(whole), "patch": json.dumps({top: piece(whole[top], chance)})}
    containers = [path for path in places(whole) if isinstance(at(whole, path), (dict, list))]
    for path in chance.sample(containers, min(60, len(containers))):
        patch = piece(at(whole, path), chance)
        for key in reversed(path):
            if isinstance(key, int):
                item = at(whole, path[: path.index(key)])[key]
                scalars = {k: v for k, v in item.items() if isinstance(v, (str, int))} if isinstance(item, dict) else {}
                patch = [scalars | patch if isinstance(patch, dict) else patch]
            else:
                patch = {key: patch}
        yield {"do": "merge", "text": json.dumps(whole), "patch": json.dumps(patch)}


def lasting(value):
    """Without what is zero: that is written out later, together with defaults."""
    if isinstance(value, dict):
        parts = {key: lasting(part) for key, part in value.items()}
        return {key: part for key, part in parts.items() if part not in (None, "", 0, False, "0") and part != {} and part != []}
    return [lasting(part) for part in value] if isinstance(value, list) else value


def shorter(text):
    return text if len(text) < 700 else text[:700] + " …"


def main():
    seed, directory, stock, own, *parts = sys.argv[1:]
    chance, questions = random.Random(int(seed)), []
    for file in sorted(pathlib.Path(directory).glob("*.json")):
        whole = json.loads(file.read_text())
        if "apiVersion" not in whole:
            continue
        group, _, version = whole["apiVersion"].rpartition("/")
        for part, make in (("decode", decodings), ("merge", merges)):
            if not parts or part in parts:
                questions += [q | {"group": group, "version": version, "kind": whole["kind"]} for q in make(whole, chance)]
    text = "".join(json.dumps(question) + "\n" for question in questions)
    answers = [subprocess.run([program], input=text, capture_output=True, text=True, check=True).stdout.splitlines() for program in (stock, own)]
    kinds, differ = collections.Counter(), 0
    for question, theirs, ours in zip(questions, *answers, strict=True):
        theirs, ours = json.loads(theirs), json.loads(ours)
        pair = [(answer.get("error") or "", lasting(answer.get("object"))) for answer in (ours, theirs)]
        if pair[0] == pair[1]:
            continue
        differ += 1
        said = " | ".join(error for error, _ in pair)
        kind = question["do"] + re.sub(r'"[^"]*"|\b[\w.\[\]]+\.[\w.\[\]]*|\d+', "_", said)[:300]
        kinds[kind] += 1
        if kinds[kind] <= 1:
            print(question["do"], question["kind"], shorter(question["patch"] if question["do"] == "merge" else ""))
            print("  coracle", shorter(pair[0][0]), "\n  stock  ", shorter(pair[1][0]))
            if pair[0][0] == pair[1][0]:
                print_difference(pair[0][1], pair[1][1])
    print(f"{len(questions)} asked, {differ} differ in {len(kinds)} ways")
    for kind, times in kinds.most_common():
        print(f"{times:6} {kind[:200]}")


def print_difference(ours, theirs, path=""):
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key in sorted(ours.keys() | theirs.keys()):
            if ours.get(key) != theirs.get(key) or (key in ours) != (key in theirs):
                return print_difference(ours.get(key, "(absent)"), theirs.get(key, "(absent)"), f"{path}.{key}")
    if isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for index, (a, b) in enumerate(zip(ours, theirs)):
            if a != b:
                return print_difference(a, b, f"{path}[{index}]")
    print(f"  at {path}\n    coracle {shorter(json.dumps(ours))}\n    stock   {shorter(json.dumps(theirs))}")


main()
