//! Server-side apply without a server: live object, managers, configuration, and what comes of them.

use coracle_schema::{
    ApplyError, Author, Converted, CustomSchema, GroupVersionKind, Managers, Operation, Registry, Schema,
    Versions, Write, conflict_message, parse_yaml,
};
use serde_json::{Value, json};
use std::{
    pin::pin,
    task::{Context, Poll, Waker},
};

const NOW: &str = "2026-01-02T03:04:05Z";

fn schema(group: &str, kind: &str) -> Schema {
    let gvk = GroupVersionKind { group: group.into(), version: "v1".into(), kind: kind.into() };
    Registry::builtin().schema(&gvk).expect("built in")
}

fn yaml(text: &str) -> Value {
    parse_yaml(text.as_bytes()).expect("yaml").0
}

fn applier<'a>(manager: &'a str, api_version: &'a str) -> Author<'a> {
    Author { manager, operation: Operation::Apply, api_version, subresource: "" }
}

fn updater<'a>(manager: &'a str, api_version: &'a str) -> Author<'a> {
    Author { operation: Operation::Update, ..applier(manager, api_version) }
}

struct NoOthers;

impl Versions for NoOthers {
    fn schema(&self, _: &str) -> Option<Schema> {
        None
    }

    fn convert<'a>(&'a self, _: &'a Value, api_version: &'a str) -> Converted<'a> {
        unreachable!("there is no {api_version}")
    }
}

fn write(author: Author<'_>) -> Write<'_> {
    Write { author, now: NOW, versions: &NoOthers }
}

/// Nothing here waits for anyone.
fn done<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("waits"),
    }
}

/// Steps `MANAGER: CONFIG` (apply, forced with `!`) and `MANAGER=OBJECT` (update) on one object.
struct Story {
    schema: Schema,
    api_version: &'static str,
    live: Value,
    managers: Managers,
}

impl Story {
    fn new(group: &str, api_version: &'static str, kind: &str) -> Story {
        Story { schema: schema(group, kind), api_version, live: json!({}), managers: Managers::default() }
    }

    fn try_apply(&mut self, manager: &str, config: &str, force: bool) -> Result<(), ApplyError> {
        let mut config = yaml(config);
        self.schema.prune_config(&mut config).expect("fits");
        let author = applier(manager, self.api_version);
        let (live, managers) =
            done(self.schema.apply(&self.live, &config, self.managers.clone(), write(author), force))?;
        (self.live, self.managers) = (live, managers);
        Ok(())
    }

    fn apply(mut self, manager: &str, config: &str) -> Story {
        self.try_apply(manager, config, false).expect("applies");
        self
    }

    fn update(mut self, manager: &str, object: &str) -> Story {
        let mut new = yaml(object);
        self.schema.prune(&mut new).expect("fits");
        let old = self.live.get("metadata").is_some().then_some(&self.live);
        let author = updater(manager, self.api_version);
        let managers = self.schema.managed_update(old, &new, self.managers.clone(), write(author));
        self.managers = done(managers).expect("no conversion");
        self.live = new;
        self
    }

    fn conflicts(&mut self, manager: &str, config: &str) -> String {
        match self.try_apply(manager, config, false) {
            Err(ApplyError::Conflicts(conflicts)) => conflict_message(&conflicts),
            other => panic!("no conflict: {other:?}"),
        }
    }

    #[track_caller]
    fn is(&self, object: &str) {
        assert_eq!(self.live, yaml(object), "live object");
    }

    /// `MANAGER FIELDS`, one a line.
    #[track_caller]
    fn managed(&self, expected: &[(&str, Value)]) {
        let seen: Vec<(&str, Value)> =
            self.managers.0.iter().map(|manager| (&*manager.name, manager.fields.to_value())).collect();
        assert_eq!(seen, expected);
    }
}

const CONFIG_MAP: &str = "{metadata: {name: a}, data: {k: '1'}}";

#[test]
fn an_applied_object_is_owned_leaf_by_leaf() {
    let story = Story::new("apps", "apps/v1", "Deployment").apply(
        "me",
        "
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    spec:
      containers:
      - name: web
        image: web:1
        ports: [{containerPort: 80}]
        args: [a, b]
",
    );
    let port = r#"k:{"containerPort":80,"protocol":"TCP"}"#;
    let container = r#"k:{"name":"web"}"#;
    story.managed(&[(
        "me",
        json!({
            "f:metadata": {"f:labels": {"f:app": {}}},
            "f:spec": {
                "f:replicas": {},
                "f:selector": {},
                "f:template": {"f:spec": {"f:containers": {container: {
                    ".": {}, "f:name": {}, "f:image": {}, "f:args": {},
                    "f:ports": {port: {".": {}, "f:containerPort": {}}}
                }}}}
            }
        }),
    )]);
}

#[test]
fn a_created_object_is_owned_with_the_parts_that_came_with_it() {
    let story = Story::new("apps", "apps/v1", "Deployment").update(
        "kubectl",
        "
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  strategy: {type: RollingUpdate, rollingUpdate: {maxSurge: 1}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers: [{name: web, image: web:1, resources: {}}]
",
    );
    let container = r#"k:{"name":"web"}"#;
    story.managed(&[(
        "kubectl",
        json!({
            "f:metadata": {"f:labels": {".": {}, "f:app": {}}},
            "f:spec": {
                "f:replicas": {},
                "f:selector": {},
                "f:strategy": {"f:type": {}, "f:rollingUpdate": {".": {}, "f:maxSurge": {}}},
                "f:template": {
                    "f:metadata": {"f:labels": {".": {}, "f:app": {}}},
                    "f:spec": {"f:containers": {
                        container: {".": {}, "f:name": {}, "f:image": {}, "f:resources": {}}
                    }}
                }
            }
        }),
    )]);
}

#[test]
fn what_a_manager_no_longer_applies_goes_unless_others_own_it() {
    let story = Story::new("", "v1", "ConfigMap")
        .apply("a", "{metadata: {name: x, labels: {l: '1'}}, data: {k: '1', both: s}}")
        .apply("b", "{metadata: {name: x}, data: {both: s, other: t}}")
        .apply("a", "{metadata: {name: x}, data: {k: '2'}}");
    story.is("{metadata: {name: x}, data: {k: '2', both: s, other: t}}");
    story.managed(&[
        ("a", json!({"f:data": {"f:k": {}}})),
        ("b", json!({"f:data": {"f:both": {}, "f:other": {}}})),
    ]);
}

#[test]
fn what_nobody_owns_stays_while_its_field_does() {
    let mut story =
        Story::new("", "v1", "ConfigMap").apply("a", "{metadata: {name: a}, data: {k: '1', l: '1'}}");
    story.live["metadata"]["uid"] = "u".into();
    story.live["data"]["stranger"] = "s".into();
    let story = story.apply("a", "{metadata: {name: a}, data: {l: '1'}}");
    story.is("{metadata: {name: a, uid: u}, data: {l: '1', stranger: s}}");
    let story = story.apply("a", "{metadata: {name: a}}");
    story.is("{metadata: {name: a, uid: u}}");
    assert!(story.managers.is_empty());
}

#[test]
fn another_value_for_a_field_of_another_manager_conflicts_and_force_takes_it() {
    let mut story = Story::new("", "v1", "ConfigMap")
        .update("kubectl-edit", CONFIG_MAP)
        .apply("first", "{metadata: {name: a}, data: {x: '1', k: '1'}}");
    let config = "{metadata: {name: a}, data: {k: '2', x: '2'}}";
    assert_eq!(
        story.conflicts("second", config),
        "Apply failed with 3 conflicts: conflicts with \"first\":\n- .data.k\n- .data.x\nconflicts with \"kubectl-edit\" using v1:\n- .data.k"
    );
    assert_eq!(
        story.conflicts("second", "{metadata: {name: a}, data: {x: '2'}}"),
        "Apply failed with 1 conflict: conflict with \"first\": .data.x"
    );
    let mut nested = Story::new("", "v1", "ConfigMap")
        .apply("first", "{metadata: {name: a}, data: {k: '1'}, immutable: false, binaryData: {b: YQ==}}");
    assert_eq!(
        nested.conflicts(
            "second",
            "{metadata: {name: a}, data: {k: '2'}, immutable: true, binaryData: {b: YWE=}}"
        ),
        "Apply failed with 3 conflicts: conflicts with \"first\":\n- .immutable\n- .binaryData.b\n- .data.k",
        "what lies in a level comes before what lies below it"
    );
    story.try_apply("second", config, true).expect("forced");
    story.managed(&[
        ("second", json!({"f:data": {"f:k": {}, "f:x": {}}})),
        ("kubectl-edit", json!({"f:data": {}})),
    ]);
}

#[test]
fn the_same_value_is_shared() {
    let story = Story::new("", "v1", "ConfigMap").apply("a", CONFIG_MAP).apply("b", CONFIG_MAP);
    let fields = json!({"f:data": {"f:k": {}}});
    // Whose apply changed nothing has no time, and stands first.
    story.managed(&[("b", fields.clone()), ("a", fields)]);
}

#[test]
fn an_update_takes_what_it_changes_from_everyone() {
    let story = Story::new("", "v1", "ConfigMap")
        .apply("a", "{metadata: {name: a}, data: {k: '1', l: '1', m: '1'}}")
        .update("editor", "{metadata: {name: a}, data: {k: '2', l: '1'}}");
    story.managed(&[("a", json!({"f:data": {"f:l": {}}})), ("editor", json!({"f:data": {"f:k": {}}}))]);
}

#[test]
fn keyed_lists_merge_by_key_in_the_order_of_the_configuration() {
    let pod = |containers: &str| format!("{{metadata: {{name: p}}, spec: {{containers: [{containers}]}}}}");
    let story = Story::new("", "v1", "Pod")
        .update("injector", &pod("{name: side, image: s}, {name: a, image: a}, {name: b, image: b}"))
        .apply("me", &pod("{name: b}, {name: new, image: i}, {name: a, image: a}"));
    story.is(&pod("{name: side, image: s}, {name: b, image: b}, {name: new, image: i}, {name: a, image: a}"));
    let story = story.apply("me", &pod("{name: a, image: a}"));
    story.is(&pod("{name: side, image: s}, {name: b, image: b}, {name: a, image: a}"));
}

#[test]
fn sets_unite_and_atomic_lists_are_replaced() {
    let object = |finalizers: &str, args: &str| {
        format!(
            "{{metadata: {{name: p, finalizers: [{finalizers}]}}, spec: {{containers: [{{name: c, args: [{args}]}}]}}}}"
        )
    };
    let mut story = Story::new("", "v1", "Pod").update("a", &object("x/y", "'1', '2'"));
    let config = object("x/z", "'3'");
    assert_eq!(
        story.conflicts("b", &config),
        "Apply failed with 1 conflict: conflict with \"a\" using v1: .spec.containers[name=\"c\"].args"
    );
    story.try_apply("b", &config, true).expect("forced");
    story.is(&object("x/y, x/z", "'3'"));
}

#[test]
fn kubectl_takes_over_what_it_applied_from_the_client() {
    let object = |version: &str, applied: &str| {
        let last = format!(
            r#"{{"apiVersion":"{version}","kind":"ConfigMap","metadata":{{"name":"a"}},"data":{{"k":"{applied}"}}}}"#
        );
        json!({
            "metadata": {"name": "a", "annotations": {"kubectl.kubernetes.io/last-applied-configuration": last}},
            "data": {"k": "1", "other": "1"}
        })
        .to_string()
    };
    let story = |version, applied| {
        Story::new("", "v1", "ConfigMap").update("kubectl-client-side-apply", &object(version, applied))
    };
    let mut own = story("v1", "1");
    own.try_apply("kubectl", "{metadata: {name: a}, data: {k: '2'}}", false).expect("allowed");
    assert_eq!(own.live["data"]["k"], "2");
    own.conflicts("kubectl", "{metadata: {name: a}, data: {k: '2', other: '2'}}");
    // What another has changed since, and what was applied in another version, is not kubectl's.
    for (version, applied) in [("v1", "0"), ("v2", "1")] {
        let conflict = story(version, applied).conflicts("kubectl", "{metadata: {name: a}, data: {k: '2'}}");
        assert!(conflict.ends_with(": .data.k"), "{conflict}");
    }
}

#[test]
fn an_object_without_managers_gets_one_when_it_is_first_applied() {
    let mut story = Story::new("", "v1", "ConfigMap");
    story.live = yaml(CONFIG_MAP);
    assert_eq!(
        story.conflicts("me", "{metadata: {name: a}, data: {k: '2'}}"),
        "Apply failed with 1 conflict: conflict with \"before-first-apply\" using v1: .data.k"
    );
}

#[test]
fn the_oldest_of_too_many_updates_are_merged() {
    let mut story = Story::new("", "v1", "ConfigMap");
    for at in 10..23 {
        let data: serde_json::Map<String, Value> =
            (10..=at).map(|at| (format!("k{at}"), "1".into())).collect();
        story =
            story.update(&format!("m{at}"), &json!({"metadata": {"name": "a"}, "data": data}).to_string());
    }
    let names: Vec<&str> = story.managers.0.iter().map(|manager| &*manager.name).collect();
    assert!(names.len() == 10 && names.contains(&"ancient-changes"), "{names:?}");
}

#[test]
fn items_without_keys_or_twice_the_same_are_refused() {
    let twice = |of: &str| format!("duplicate entries for key {of}");
    for (spec, text) in [
        // What must be said is empty where it is not, and defaults hold.
        ("containers: [{image: a}, {image: b}]", format!(".spec.containers: {}", twice("[name=\"\"]"))),
        (
            "containers: [{name: a, ports: [{hostPort: 1}, {protocol: TCP, containerPort: 0}]}]",
            format!(".spec.containers[name=\"a\"].ports: {}", twice("[containerPort=0,protocol=\"TCP\"]")),
        ),
        ("containers: [{name: a}, {name: a}]", format!(".spec.containers: {}", twice("[name=\"a\"]"))),
        ("containers: [null]", ".spec.containers: element 0: associative list with keys may not have a null element".to_owned()),
        ("containers: [a]", ".spec.containers: element 0: associative list with keys may not have non-map elements".to_owned()),
        // What is named as null is there.
        ("topologySpreadConstraints: [{topologyKey: null}, {topologyKey: null}]", format!(".spec.topologySpreadConstraints: {}", twice("[topologyKey=null,whenUnsatisfiable=\"\"]"))),
        (
            "containers: [{name: a, image: 1}, {name: a}], hostAliases: [{ip: a}, {ip: a}]",
            format!(
                "errors:\n  .spec.containers[name=\"a\"].image: expected string, got &value.valueUnstructured{{Value:1}}\n  .spec.containers: {}\n  .spec.hostAliases: {}",
                twice("[name=\"a\"]"),
                twice("[ip=\"a\"]")
            ),
        ),
        // Below a list that is one value.
        (
            "volumes: [{name: a, projected: {sources: [{clusterTrustBundle: {labelSelector: {matchLabels: [a]}}}]}}]",
            ".spec.volumes[name=\"a\"].projected.sources[0].clusterTrustBundle.labelSelector.matchLabels: expected map, got &{[a]}".to_owned(),
        ),
    ] {
        let config = yaml(&format!("{{metadata: {{name: p}}, spec: {{{spec}}}}}"));
        assert_eq!(schema("", "Pod").type_problem(&config).as_deref(), Some(&*text), "{spec}");
    }
}

#[test]
fn an_item_of_a_custom_resource_needs_one_of_its_keys() {
    let list = json!({"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["a", "b"],
        "items": {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "string"}}}});
    let root = json!({"type": "object", "properties": {"list": list}});
    let schema = Schema::custom(CustomSchema::new(root).into()).expect("a schema");
    assert_eq!(
        schema.type_problem(&json!({"list": [{"c": "d"}]})).as_deref(),
        Some(
            r#".list: element 0: associative list with keys has an element that omits all key fields ["a" "b"] (and doesn't have default values for any key fields)"#
        )
    );
}

#[test]
fn zeros_of_a_new_object_belong_to_nobody() {
    for (group, kind, object, owned) in [
        ("scheduling.k8s.io", "PriorityClass", "{metadata: {name: a}, value: 0}", json!(null)),
        ("scheduling.k8s.io", "PriorityClass", "{metadata: {name: a}, value: 1}", json!({"f:value": {}})),
    ] {
        let story = Story::new(group, "v1", kind).update("me", object);
        let owners = story.managers.to_value();
        assert_eq!(owners.map_or(Value::Null, |owners| owners[0]["fieldsV1"].clone()), owned, "{object}");
    }
}

#[test]
fn a_reference_that_is_said_to_have_parts_has_some() {
    let story = Story::new("", "v1", "PersistentVolume")
        .apply("me", "{metadata: {name: p}, spec: {claimRef: {name: a, namespace: b}}}");
    let fields = &story.managers.to_value().expect("one")[0]["fieldsV1"]["f:spec"];
    assert_eq!(fields, &json!({"f:claimRef": {"f:name": {}, "f:namespace": {}}}));
}

#[test]
fn managed_fields_survive_reading_and_printing_and_nonsense_is_none() {
    let fields = json!({
        "f:metadata": {"f:finalizers": {"v:\"x/y\"": {}}},
        "f:spec": {".": {}, "f:ports": {"k:{\"port\":80,\"protocol\":\"TCP\"}": {".": {}, "f:port": {}}}}
    });
    let entries = json!([{
        "manager": "m", "operation": "Update", "apiVersion": "v1", "time": NOW,
        "fieldsType": "FieldsV1", "fieldsV1": fields, "subresource": "status"
    }]);
    assert_eq!(Managers::read(&entries).expect("reads").to_value().expect("some"), entries);
    for nonsense in [json!([{}]), json!({}), json!([{"operation": "Update", "fieldsType": "FieldsV2"}])] {
        assert_eq!(Managers::read(&nonsense), None);
    }
}

/// Prints what a status update costs: `cargo test -p coracle-schema --test apply cost -- --nocapture`.
#[test]
fn a_status_update_costs_microseconds() {
    let pod = |ready: &str| {
        yaml(&format!(
            "
metadata: {{name: p, labels: {{app: web}}}}
spec: {{nodeName: n, containers: [{{name: c, image: i, ports: [{{containerPort: 80, protocol: TCP}}]}}]}}
status:
  phase: Running
  conditions: [{{type: Ready, status: '{ready}'}}, {{type: Initialized, status: 'True'}}]
"
        ))
    };
    let (schema, old, new) = (schema("", "Pod"), pod("False"), pod("True"));
    let author = Author { subresource: "status", ..updater("kubelet", "v1") };
    let creator = write(updater("kube-controller-manager", "v1"));
    let managers = done(schema.managed_update(None, &old, Managers::default(), creator)).expect("tracked");
    let entries = managers.to_value().expect("some");
    let rounds: u32 = 1000;
    let start = std::time::Instant::now();
    for _ in 0..rounds {
        let managers = Managers::read(&entries).expect("reads");
        let after = done(schema.managed_update(Some(&old), &new, managers, write(author))).expect("tracked");
        assert_eq!(after.0.len(), 2);
        drop(after.to_value());
    }
    println!("a status update: {:?}", start.elapsed() / rounds);
}

/// By a schema whose `spec` has these properties.
fn custom(properties: Value) -> Schema {
    let spec = json!({"type": "object", "properties": properties});
    let root = json!({"type": "object", "properties": {"spec": spec}});
    Schema::custom(std::sync::Arc::new(CustomSchema::new(root))).expect("a schema")
}

#[test]
fn what_became_atomic_is_owned_whole_and_what_was_atomic_has_no_owned_parts() {
    let text = json!({"type": "string"});
    let item = json!({"type": "object", "properties": {"name": text, "value": text}});
    let of = |map: &str, list: &str| {
        custom(json!({
            "map": {"type": "object", "additionalProperties": text, "x-kubernetes-map-type": map},
            "list": {
                "type": "array", "items": item,
                "x-kubernetes-list-type": list, "x-kubernetes-list-map-keys": ["name"],
            },
            "other": {"type": "object", "properties": {"a": text}},
        }))
    };
    let config = "{metadata: {name: a}, spec: {map: {k: v}, list: [{name: x, value: y}], other: {a: b}}}";
    let later = "{metadata: {name: a, labels: {l: m}}, spec: {map: {k: v}, list: [{name: x, value: y}], other: {a: b}}}";
    let granular = json!({"f:spec": {
        "f:map": {"f:k": {}},
        "f:list": {"k:{\"name\":\"x\"}": {".": {}, "f:name": {}, "f:value": {}}},
        "f:other": {"f:a": {}},
    }});
    let atomic = json!({"f:spec": {"f:map": {}, "f:list": {}, "f:other": {"f:a": {}}}});
    let label = json!({"f:metadata": {"f:labels": {".": {}, "f:l": {}}}});

    let mut story = Story::new("", "example.com/v1", "ConfigMap");
    story.schema = of("granular", "map");
    story = story.apply("one", config);
    story.managed(&[("one", granular.clone())]);
    story.schema = of("atomic", "atomic");
    story = story.update("two", later);
    story.managed(&[("one", atomic.clone()), ("two", label.clone())]);
    assert_eq!(
        story.conflicts("three", "{metadata: {name: a}, spec: {map: {z: v}}}"),
        "Apply failed with 1 conflict: conflict with \"one\": .spec.map"
    );
    // One value, so what its owner leaves out goes.
    story = story.apply("one", "{metadata: {name: a}, spec: {map: {k: w}, other: {a: b}}}");
    story.is("{metadata: {name: a, labels: {l: m}}, spec: {map: {k: w}, other: {a: b}}}");

    let mut story = Story::new("", "example.com/v1", "ConfigMap");
    story.schema = of("atomic", "atomic");
    story = story.apply("one", config);
    story.schema = of("granular", "map");
    story = story.update("two", later);
    story.managed(&[("one", atomic), ("two", label)]);
    story = story.apply("three", "{metadata: {name: a}, spec: {map: {k: w}}}");
    story = story.apply("one", config.replace("k: v", "k: w").as_str());
    assert_eq!(story.managers.0[0].fields.to_value(), granular, "its next configuration tells");
}

#[test]
fn zeros_that_are_named_are_owned_and_take_the_place_of_what_is_there() {
    let text = |paused: &str, stdin: &str| {
        format!(
            "{{metadata: {{name: w}}, spec: {{replicas: 0, paused: {paused}, template: {{spec: {{containers: [
            {{name: b}}, {{name: c, stdin: {stdin}, command: []}}]}}}}}}}}"
        )
    };
    let container = r#"k:{"name":"c"}"#;
    let mut story = Story::new("apps", "apps/v1", "Deployment").update("you", &text("true", "true"));
    assert_eq!(
        story.conflicts("me", &text("false", "false")),
        "Apply failed with 2 conflicts: conflicts with \"you\" using apps/v1:\n- .spec.paused\n- .spec.template.spec.containers[name=\"c\"].stdin"
    );
    story.try_apply("me", &text("false", "false"), true).expect("forced");
    story.is(
        "{metadata: {name: w}, spec: {replicas: 0, template: {spec: {containers: [{name: b}, {name: c}]}}}}",
    );
    let own =
        story.managers.0.iter().find(|manager| manager.name == "me").expect("an entry").fields.to_value();
    assert_eq!(own["f:spec"]["f:paused"], json!({}));
    let inside = &own["f:spec"]["f:template"]["f:spec"]["f:containers"][container];
    assert_eq!((&inside["f:stdin"], &inside["f:command"]), (&json!({}), &json!({})));
    // Nothing happens a second time. As nothing of it is stored, nobody else can have it too.
    let before = story.managers.clone();
    story.try_apply("me", &text("false", "false"), false).expect("again");
    assert_eq!(format!("{:?}", story.managers), format!("{before:?}"));
    assert_eq!(
        story.conflicts("third", &text("false", "false")),
        "Apply failed with 3 conflicts: conflicts with \"me\":\n- .spec.paused\n- .spec.template.spec.containers[name=\"c\"].command\n- .spec.template.spec.containers[name=\"c\"].stdin"
    );
}

#[test]
fn nulls_that_are_named_are_owned_and_take_the_place_of_one_value() {
    let given = "{metadata: {name: w, labels: {a: b}, uid: u}, spec: {replicas: 3, template: {spec: {
        nodeSelector: {x: z}, containers: [{name: c, args: [a]}]}}}}";
    let config = "{metadata: {name: w, labels: null, uid: null}, spec: {replicas: null, paused: null, template: {spec: {
        nodeSelector: null, containers: [{name: c, args: null}]}}}}";
    let mut story = Story::new("apps", "apps/v1", "Deployment").update("you", given);
    assert_eq!(
        story.conflicts("me", config),
        "Apply failed with 3 conflicts: conflicts with \"you\" using apps/v1:\n- .spec.replicas\n- .spec.template.spec.nodeSelector\n- .spec.template.spec.containers[name=\"c\"].args"
    );
    story.try_apply("me", config, true).expect("forced");
    // What has parts outlives it.
    story.is(
        "{metadata: {name: w, labels: {a: b}, uid: u}, spec: {template: {spec: {containers: [{name: c}]}}}}",
    );
    let own = story.managers.0.iter().find(|manager| manager.name == "me").expect("an entry");
    assert_eq!(
        own.fields.to_value(),
        json!({
            "f:metadata": {"f:labels": {}},
            "f:spec": {"f:paused": {}, "f:replicas": {}, "f:template": {"f:spec": {
                "f:containers": {"k:{\"name\":\"c\"}": {".": {}, "f:args": {}, "f:name": {}}},
                "f:nodeSelector": {},
            }}},
        })
    );

    let text = json!({"type": "string"});
    let mut story = Story::new("", "example.com/v1", "ConfigMap");
    story.schema = custom(json!({"may": {"type": "string", "nullable": true}, "no": text, "other": text}));
    let story = story.update("you", "{metadata: {name: a}, spec: {may: a, no: b, other: c}}");
    let mut story = story.apply("me", "{metadata: {name: a}, spec: {other: c}}");
    let config = "{metadata: {name: a, creationTimestamp: null}, spec: {may: null, no: null}}";
    assert!(story.conflicts("me", config).ends_with("\n- .spec.may\n- .spec.no"));
    story.try_apply("me", config, true).expect("forced");
    story.is("{metadata: {name: a}, spec: {may: null, no: null, other: c}}");
}

/// What protobuf said beyond the schema.
#[test]
fn unknown_fields_belong_to_nobody_and_stay() {
    let story = Story::new("", "v1", "Pod")
        .update(
            "old",
            "{metadata: {name: a}, spec: {containers: [{name: c, $unknown: uD4H}], $unknown: uD4H}}",
        )
        .apply(
            "new",
            "{metadata: {name: a}, spec: {hostname: h, containers: [{name: c, image: i}], $unknown: uD4I}}",
        );
    story.is("{metadata: {name: a}, spec: {hostname: h, containers: [{name: c, image: i, $unknown: uD4H}], $unknown: uD4I}}");
    let name = json!({".": {}, "f:name": {}});
    let image = json!({".": {}, "f:image": {}, "f:name": {}});
    let managed = [
        ("new", json!({"f:spec": {"f:containers": {"k:{\"name\":\"c\"}": image}, "f:hostname": {}}})),
        ("old", json!({"f:spec": {"f:containers": {"k:{\"name\":\"c\"}": name}}})),
    ];
    story.managed(&managed);
    let story = story.update(
        "other",
        "{metadata: {name: a}, spec: {hostname: h, containers: [{name: c, image: i}], $unknown: uD4K}}",
    );
    story.managed(&managed);
    // Named but empty, it goes.
    let story =
        story.apply("new", "{metadata: {name: a}, spec: {containers: [{name: c, image: i}], $unknown: ''}}");
    story.is("{metadata: {name: a}, spec: {containers: [{name: c, image: i}]}}");
}
