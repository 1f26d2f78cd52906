"""Compares what two programs make of objects of built-in kinds: machinery.go (stock) and api/schema's machinery (Coracle).

    objects.py SEED OBJECTS_DIR STOCK OWN [decode] [merge] [story]

Each object of OBJECTS_DIR (JSON, one of each kind, every field set) is changed in one place at a time, and read; it is
patched with a piece of itself that was changed; and several managers apply and update pieces of it in turn. One example
of each kind of difference is printed.
"""

import collections, copy, json, os, pathlib, random, re, subprocess, sys

from compare import places

EXAMPLES = int(os.environ.get("EXAMPLES", "1"))
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


def part_of(value, chance, top=True):
    """A part of an object that keeps what identifies it, with some values changed."""
    if isinstance(value, list):
        out = [part_of(part, chance, False) for part in value if chance.random() < 0.8]
        if isinstance(value[0], str) and chance.random() < 0.3:
            out.append("new")
        if isinstance(value[0], dict) and chance.random() < 0.3:
            keys = {key: part + 1 if isinstance(part, int) else "another" for key, part in value[0].items() if key in IDENTITY}
            out.append(part_of(value[0], chance, False) | (keys if chance.random() < 0.9 else {}))
        chance.random() < 0.1 and chance.shuffle(out)
        return out
    if isinstance(value, dict):
        kept = {key: part for key, part in value.items() if chance.random() < 0.6 or key in IDENTITY or top}
        out = {key: part_of(part, chance, top and key == "metadata") for key, part in kept.items() if part not in ([], {})}
        return {key: None if chance.random() < 0.005 and not top else part for key, part in out.items()}
    if chance.random() < 0.15:
        return value + "2" if isinstance(value, str) and value.endswith("Value") else value + 1 if type(value) is int else value
    return value


IDENTITY = {"apiVersion", "kind", "name", "key", "type", "uid", "ip", "containerPort", "devicePath", "mountPath", "port", "topologyKey", "protocol"}


def stories(whole, chance):
    for _ in range(25 if "name" in whole.get("metadata", {}) else 0):
        steps = []
        for _ in range(chance.randint(2, 6)):
            sent = part_of(whole, chance)
            sent["metadata"] = {key: part for key, part in sent["metadata"].items() if key in ("name", "namespace") or (key in ("labels", "annotations", "finalizers", "ownerReferences") and chance.random() < 0.7)}
            for key in list(sent):
                if key not in ("apiVersion", "kind", "metadata") and chance.random() < 0.2:
                    del sent[key]
            do = chance.choice(["apply", "apply", "apply", "update"])
            steps.append({"do": do, "manager": chance.choice("aabc"), "text": json.dumps(sent), "force": chance.random() < 0.5})
        yield {"do": "story", "steps": steps}


def outcome(answer):
    """(error, what came of it)"""
    managed = [entry | {"time": None} for entry in answer.get("managed") or []]
    managed.sort(key=lambda entry: (entry["operation"], entry["manager"]))
    # Ours is the schema's: the server puts the same before it.
    error = re.sub(r"^failed to create typed patch object \([^)]*\): ", "", answer.get("error") or "")
    return error, {"object": lasting(answer.get("object")), "managed": managed}


def steps_of(question, answer):
    """Every step of a story from where the stock machinery stood, with its answer to it: fields that Go always writes are there."""
    live, managed = {}, []
    for step, after in zip(question["steps"], answer.get("steps") or []):
        if step["do"] == "update" and "object" in after:
            step = step | {"text": json.dumps(after["object"])}
        yield question | {"do": "step", "step": step, "live": live, "managed": managed}, after
        if "object" in after:
            live, managed = after["object"], after.get("managed") or []


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
        for part, make in (("decode", decodings), ("merge", merges), ("story", stories)):
            if not parts or part in parts:
                questions += [q | {"group": group, "version": version, "kind": whole["kind"]} for q in make(whole, chance)]
    answers = ask(stock, questions)
    pairs = [pair for question, answer in zip(questions, answers)
             for pair in (steps_of(question, answer) if question["do"] == "story" else [(question, answer)])]
    kinds, differ = collections.Counter(), 0
    for (question, theirs), ours in zip(pairs, ask(own, [question for question, _ in pairs])):
        pair = [outcome(ours), outcome(theirs)]
        if pair[0] == pair[1]:
            continue
        differ += 1
        said = " | ".join(error for error, _ in pair)
        kind = question["do"] + re.sub(r'"[^"]*"|\b[\w.\[\]]+\.[\w.\[\]]*|\d+', "_", said)[:300]
        kinds[kind] += 1
        if kinds[kind] <= EXAMPLES:
            parts = [str(question[part]) for part in ("patch", "live", "managed", "step") if part in question]
            print(question["do"], question["kind"], *map(shorter, parts), sep="\n    ")
            print("  coracle", shorter(pair[0][0]), "\n  stock  ", shorter(pair[1][0]))
            if pair[0][0] == pair[1][0]:
                print_difference(pair[0][1], pair[1][1])
    print(f"{len(pairs)} asked, {differ} differ in {len(kinds)} ways")
    for kind, times in kinds.most_common():
        print(f"{times:6} {kind[:200]}")


def ask(program, questions):
    text = "".join(json.dumps(question) + "\n" for question in questions)
    answers = subprocess.run([program], input=text, capture_output=True, text=True, check=True).stdout.splitlines()
    assert len(answers) == len(questions)
    return map(json.loads, answers)


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
