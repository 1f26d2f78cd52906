use std::{collections::HashSet, sync::Arc};

use k8s_openapi::{
    api::{
        core::v1::{Node, Pod},
        policy::v1::PodDisruptionBudget,
    },
    apimachinery::pkg::apis::meta::v1::LabelSelector,
};
use serde_json::{Value, json};
use tokio::time::{Duration, Instant};

use crate::{
    change::Change,
    cluster::{Cluster, NodeState},
    decide::{Decision, decide},
    queue::Queue,
    resources::requests,
    run::is_to_place,
    watch::node_changes,
};

fn merge(target: &mut Value, extra: Value) {
    match (target, extra) {
        (Value::Object(target), Value::Object(extra)) => {
            for (key, value) in extra {
                merge(target.entry(key).or_insert(Value::Null), value);
            }
        }
        (target, extra) => *target = extra,
    }
}

fn node(name: &str, extra: Value) -> NodeState {
    let mut node = json!({
        "metadata": { "name": name, "labels": { "kubernetes.io/hostname": name, "zone": "a", "gen": "3" } },
        "status": { "allocatable": { "cpu": "2", "memory": "4Gi", "pods": "3" } },
    });
    merge(&mut node, extra);
    NodeState::new(Arc::new(serde_json::from_value::<Node>(node).unwrap()))
}

fn pod(name: &str, spec: Value) -> Arc<Pod> {
    let mut pod = json!({
        "metadata": { "name": name, "namespace": "default", "uid": name, "labels": { "app": name } },
        "spec": { "containers": [{ "name": "c", "image": "i" }] },
    });
    merge(&mut pod["spec"], spec);
    Arc::new(serde_json::from_value::<Pod>(pod).unwrap())
}

fn wants(cpu: &str, memory: &str) -> Value {
    json!({ "containers": [{ "name": "c", "image": "i", "resources": { "requests": { "cpu": cpu, "memory": memory } } }] })
}

fn with(mut spec: Value, extra: Value) -> Value {
    merge(&mut spec, extra);
    spec
}

fn cluster(nodes: Vec<NodeState>, placed: &[Arc<Pod>]) -> Cluster {
    let mut cluster = Cluster { nodes, ..Cluster::default() };
    placed.iter().for_each(|pod| cluster.place(pod.clone()));
    cluster
}

/// `n1`, or the message.
fn outcome(pod: &Pod, cluster: &Cluster) -> String {
    match decide(pod, cluster) {
        Decision::Bind { node } => node,
        Decision::Wait { message, .. } => message,
        Decision::Preempt { node, victims, .. } => {
            let names: Vec<&str> = victims.iter().filter_map(|pod| pod.metadata.name.as_deref()).collect();
            format!("preempts {} on {node}", names.join(" "))
        }
    }
}

#[test]
fn a_pod_that_fits_nowhere_is_told_why_in_the_stock_words() {
    let here = || json!({ "nodeName": "n1" });
    let full = pod("full", with(wants("1500m", "1Gi"), here()));
    type Case<'a> = (&'a str, Value, Vec<NodeState>, &'a [Arc<Pod>], &'a str);
    let cases: &[Case<'_>] = &[
        ("fits", wants("1", "1Gi"), vec![node("n1", json!({}))], &[], "n1"),
        ("no nodes", json!({}), vec![], &[], "no nodes available to schedule pods"),
        (
            "cpu is taken",
            wants("1", "1Gi"),
            vec![node("n1", json!({}))],
            std::slice::from_ref(&full),
            "0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate, preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod.",
        ),
        (
            "more than the node has",
            wants("3", "8Gi"),
            vec![node("n1", json!({}))],
            &[],
            "0/1 nodes are available: 1 Insufficient cpu, 1 Insufficient memory. no new claims to deallocate, preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling.",
        ),
        (
            "taint",
            json!({}),
            vec![node(
                "n1",
                json!({ "spec": { "taints": [{ "key": "k", "value": "v", "effect": "NoSchedule" }] } }),
            )],
            &[],
            "0/1 nodes are available: 1 node(s) had untolerated taint(s). no new claims to deallocate, preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling.",
        ),
        (
            "two reasons",
            json!({ "nodeSelector": { "zone": "b" } }),
            vec![node("n1", json!({})), node("n2", json!({ "spec": { "unschedulable": true } }))],
            &[],
            "0/2 nodes are available: 1 node(s) didn't match Pod's node affinity/selector, 1 node(s) were unschedulable. no new claims to deallocate, preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling.",
        ),
        (
            "missing claim",
            json!({ "volumes": [{ "name": "v", "persistentVolumeClaim": { "claimName": "data" } }] }),
            vec![node("n1", json!({}))],
            &[],
            "0/1 nodes are available: persistentvolumeclaim \"data\" not found. no new claims to deallocate, preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling.",
        ),
    ];
    for (why, spec, nodes, placed, expected) in cases {
        assert_eq!(outcome(&pod("p", spec.clone()), &cluster(nodes.clone(), placed)), *expected, "{why}");
    }
}

#[test]
fn each_rule_lets_through_what_it_allows_and_nothing_else() {
    let taint = || {
        node("n1", json!({ "spec": { "taints": [{ "key": "k", "value": "v", "effect": "NoSchedule" }] } }))
    };
    let plain = || node("n1", json!({}));
    let affinity = |operator: &str, values: Value| {
        let expression = json!({ "key": "gen", "operator": operator, "values": values });
        json!({ "affinity": { "nodeAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": {
            "nodeSelectorTerms": [{ "matchExpressions": [expression] }] } } } })
    };
    let port = |address: &str, number: u16| json!({ "containers": [{ "name": "c", "image": "i", "ports": [{ "containerPort": 80, "hostPort": number, "hostIP": address }] }] });
    let near = |kind: &str, app: &str| {
        json!({ "affinity": { kind: { "requiredDuringSchedulingIgnoredDuringExecution": [
            { "topologyKey": "zone", "labelSelector": { "matchLabels": { "app": app } } }] } } })
    };
    let here = || json!({ "nodeName": "n1" });
    let toleration = |it: Value| json!({ "tolerations": [it] });
    type Case = (&'static str, Value, NodeState, Vec<Arc<Pod>>, bool);
    let cases: Vec<Case> = vec![
        ("toleration equal", toleration(json!({ "key": "k", "value": "v" })), taint(), vec![], true),
        ("toleration of all", toleration(json!({ "operator": "Exists" })), taint(), vec![], true),
        (
            "toleration of another effect",
            toleration(json!({ "key": "k", "operator": "Exists", "effect": "NoExecute" })),
            taint(),
            vec![],
            false,
        ),
        ("In", affinity("In", json!(["2", "3"])), plain(), vec![], true),
        ("NotIn", affinity("NotIn", json!(["3"])), plain(), vec![], false),
        ("Exists", affinity("Exists", json!([])), plain(), vec![], true),
        ("DoesNotExist", affinity("DoesNotExist", json!([])), plain(), vec![], false),
        ("Gt", affinity("Gt", json!(["2"])), plain(), vec![], true),
        ("Lt", affinity("Lt", json!(["3"])), plain(), vec![], false),
        (
            "port taken on all addresses",
            port("", 80),
            plain(),
            vec![pod("o", with(port("127.0.0.1", 80), here()))],
            false,
        ),
        (
            "port on another address",
            port("10.0.0.1", 80),
            plain(),
            vec![pod("o", with(port("127.0.0.1", 80), here()))],
            true,
        ),
        ("another port", port("", 81), plain(), vec![pod("o", with(port("", 80), here()))], true),
        (
            "too many pods",
            json!({}),
            plain(),
            vec![pod("a", here()), pod("b", here()), pod("c", here())],
            false,
        ),
        ("near a pod", near("podAffinity", "o"), plain(), vec![pod("o", here())], true),
        ("near nobody", near("podAffinity", "o"), plain(), vec![], false),
        ("near its like, the first", near("podAffinity", "p"), plain(), vec![], true),
        ("away from a pod", near("podAntiAffinity", "o"), plain(), vec![pod("o", here())], false),
        ("away from others", near("podAntiAffinity", "x"), plain(), vec![pod("o", here())], true),
        (
            "the other wants distance",
            json!({}),
            plain(),
            vec![pod("o", with(near("podAntiAffinity", "p"), here()))],
            false,
        ),
    ];
    for (why, spec, node, placed, fits) in cases {
        let outcome = outcome(&pod("p", spec), &cluster(vec![node], &placed));
        assert_eq!(outcome == "n1", fits, "{why}: {outcome}");
    }
}

#[test]
fn hard_spread_keeps_domains_within_the_skew() {
    let spread = json!({ "topologySpreadConstraints": [{
        "maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": { "matchExpressions": [{ "key": "app", "operator": "In", "values": ["p", "q"] }] },
    }] });
    let nodes = || vec![node("n1", json!({})), node("n2", json!({}))];
    let on = |name: &str, node: &str| pod(name, with(spread.clone(), json!({ "nodeName": node })));
    let crowded = cluster(nodes(), &[on("q", "n1")]);
    assert_eq!(outcome(&pod("p", spread.clone()), &crowded), "n2");
    let closed = cluster(
        vec![node("n1", json!({})), node("n2", json!({ "spec": { "unschedulable": true } }))],
        &[on("q", "n1")],
    );
    let message = outcome(&pod("p", spread.clone()), &closed);
    assert!(
        message
            .contains("1 node(s) didn't match pod topology spread constraints, 1 node(s) were unschedulable"),
        "{message}"
    );
}

#[test]
fn the_emptier_node_wins_unless_a_preference_outweighs_it() {
    let busy = pod("busy", with(wants("1", "2Gi"), json!({ "nodeName": "n1" })));
    let nodes =
        || vec![node("n1", json!({})), node("n2", json!({ "metadata": { "labels": { "zone": "b" } } }))];
    let cluster = cluster(nodes(), &[busy]);
    assert_eq!(outcome(&pod("p", wants("100m", "64Mi")), &cluster), "n2");
    let prefers = json!({ "affinity": { "nodeAffinity": { "preferredDuringSchedulingIgnoredDuringExecution": [
        { "weight": 100, "preference": { "matchExpressions": [{ "key": "zone", "operator": "In", "values": ["a"] }] } }] } } });
    assert_eq!(outcome(&pod("p", prefers), &cluster), "n1");
}

#[test]
fn a_pod_of_higher_priority_takes_the_place_of_the_fewest_and_least_important() {
    let low = |name: &str, cpu: &str, priority: i32| {
        pod(name, with(wants(cpu, "1Gi"), json!({ "nodeName": "n1", "priority": priority })))
    };
    let cluster = cluster(vec![node("n1", json!({}))], &[low("a", "1", 1), low("b", "900m", 5)]);
    let high = |cpu: &str, priority: i32| pod("p", with(wants(cpu, "1Gi"), json!({ "priority": priority })));
    assert_eq!(outcome(&high("500m", 10), &cluster), "preempts a on n1");
    assert_eq!(outcome(&high("1500m", 10), &cluster), "preempts a b on n1".replace("a b", "b a"));
    let message = outcome(&high("1500m", 3), &cluster);
    assert!(message.contains("1 No preemption victims found for incoming pod."), "{message}");
}

#[test]
fn a_budget_is_broken_only_when_nothing_else_makes_room() {
    let low = |name: &str, node: &str, start: &str| {
        let mut pod = (*pod(name, with(wants("900m", "1Gi"), json!({ "nodeName": node })))).clone();
        pod.status = serde_json::from_value(json!({ "startTime": start })).unwrap();
        Arc::new(pod)
    };
    let budget = |app: &str, allowed: i32| {
        let budget = json!({
            "metadata": { "name": app, "namespace": "default" },
            "spec": { "selector": { "matchLabels": { "app": app } }, "minAvailable": 1 },
            "status": { "disruptionsAllowed": allowed, "currentHealthy": 1, "desiredHealthy": 1, "expectedPods": 1 },
        });
        Arc::new(serde_json::from_value(budget).unwrap())
    };
    let (early, late) = ("2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z");
    // It would cover both, and the first in order would be charged the one disruption that is allowed.
    let mut of_nobody: Arc<PodDisruptionBudget> = budget("x", 1);
    Arc::make_mut(&mut of_nobody).spec.as_mut().unwrap().selector = Some(LabelSelector::default());
    let high = pod("p", with(wants("900m", "1Gi"), json!({ "priority": 10 })));
    let mut one = cluster(vec![node("n1", json!({}))], &[low("a", "n1", early), low("b", "n1", late)]);
    for (budgets, expected) in [
        (vec![], "preempts b on n1"),
        (vec![budget("b", 0)], "preempts a on n1"),
        (vec![budget("b", 1)], "preempts b on n1"),
        (vec![of_nobody.clone()], "preempts b on n1"),
        (vec![budget("b", 0), budget("a", 0)], "preempts b on n1"),
    ] {
        one.budgets = budgets;
        assert_eq!(outcome(&high, &one), expected);
    }
    let full = json!({ "status": { "allocatable": { "cpu": "1" } } });
    let nodes = vec![node("n1", full.clone()), node("n2", full)];
    let mut two = cluster(nodes, &[low("a", "n1", early), low("b", "n2", early)]);
    two.budgets = vec![budget("a", 0)];
    assert_eq!(outcome(&high, &two), "preempts b on n2");
}

#[test]
fn nobody_of_equal_priority_takes_the_place_that_was_made_for_a_pod() {
    let waiting = |name: &str, priority: i32| pod(name, json!({ "priority": priority }));
    let mut nominated = (*waiting("nominated", 5)).clone();
    nominated.status.get_or_insert_default().nominated_node_name = Some("n1".into());
    let mut pods = [waiting("older", 5), Arc::new(nominated), waiting("high", 9)];
    pods.sort_by_key(|pod| crate::run::turn(pod));
    let names: Vec<_> = pods.iter().filter_map(|pod| pod.metadata.name.as_deref()).collect();
    assert_eq!(names, ["high", "nominated", "older"]);
}

#[test]
fn a_promised_place_is_kept_only_while_others_leave_for_it() {
    let leaving = with(wants("2", "1Gi"), json!({ "nodeName": "n1", "priority": 1 }));
    let mut leaving = (*pod("a", leaving)).clone();
    leaving.metadata.deletion_timestamp = serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap();
    let mut promised = (*pod("p", with(wants("2", "1Gi"), json!({ "priority": 5 })))).clone();
    promised.status.get_or_insert_default().nominated_node_name = Some("n1".into());
    let more_important = pod("b", with(wants("2", "1Gi"), json!({ "nodeName": "n1", "priority": 9 })));
    for (there, expected) in [(Arc::new(leaving), true), (more_important, false)] {
        match decide(&promised, &cluster(vec![node("n1", json!({}))], &[there])) {
            Decision::Wait { keeps_place, message, .. } => assert_eq!(keeps_place, expected, "{message}"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn requests_count_init_containers_sidecars_and_overhead() {
    let container =
        |name: &str, cpu: &str| json!({ "name": name, "resources": { "requests": { "cpu": cpu } } });
    let mut sidecar = container("s", "100m");
    sidecar["restartPolicy"] = "Always".into();
    let spec = json!({
        "containers": [container("a", "200m"), container("b", "300m")],
        "initContainers": [container("i", "1"), sidecar, container("j", "700m")],
        "overhead": { "cpu": "50m" },
    });
    let requests = requests(&pod("p", spec));
    assert_eq!((requests.get("cpu"), requests.get("pods")), (1050, 1000));
}

#[test]
fn a_pod_rests_until_something_changes_and_its_back_off_is_over() {
    let mut queue = Queue::default();
    let start = Instant::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    queue.add("a", start);
    assert!(queue.due(start).contains("a"));
    queue.rest(&"a", start, HashSet::from([Change::NodeCame]));
    assert_eq!((queue.next_due(), queue.due(at(100)).len()), (None, 0));
    queue.wake(Change::PodGone, start);
    assert_eq!(queue.next_due(), None);
    queue.wake(Change::NodeCame, start);
    assert_eq!(queue.next_due(), Some(at(1)));
    queue.rest(&"a", at(1), HashSet::from([Change::NodeCame]));
    queue.wake(Change::NodeCame, at(1));
    assert_eq!(queue.next_due(), Some(at(3)));
    for _ in 0..10 {
        queue.retry(&"a", at(3));
    }
    assert_eq!(queue.next_due(), Some(at(13)));
    queue.remove(&"a");
    assert_eq!(queue.keys(), Vec::<&str>::new());
}

#[test]
fn a_pod_waits_for_what_may_help_it_alone() {
    use Change::{
        Claims, Namespaces, NodeCame, NodeGone, NodeLabels, NodeRoom, NodeTaints, PodCame, PodGone,
    };
    let near = json!({ "affinity": { "podAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": [
        { "topologyKey": "zone", "labelSelector": { "matchLabels": { "app": "other" } } }] } } });
    let claim = json!({ "volumes": [{ "name": "v", "persistentVolumeClaim": { "claimName": "none" } }] });
    let apart = json!({ "topologySpreadConstraints": [
        { "maxSkew": 1, "topologyKey": "rack", "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {} }] });
    let (plain, cordoned) = (json!({}), json!({ "spec": { "unschedulable": true } }));
    let tainted = json!({ "spec": { "taints": [{ "key": "a", "effect": "NoSchedule" }] } });
    let cases: [(Value, &Value, &[Change]); 7] = [
        (json!({}), &cordoned, &[NodeCame, NodeTaints]),
        (json!({}), &tainted, &[NodeCame, NodeTaints]),
        (json!({ "nodeSelector": { "disk": "ssd" } }), &plain, &[NodeCame, NodeLabels]),
        (wants("8", "1Gi"), &plain, &[NodeCame, NodeRoom, PodGone]),
        (apart, &plain, &[NodeCame, NodeGone, NodeLabels, NodeTaints, PodGone, PodCame]),
        (near, &plain, &[NodeCame, NodeLabels, PodGone, PodCame, Namespaces]),
        (claim, &plain, &[Claims]),
    ];
    for (spec, on, expected) in cases {
        match decide(&pod("p", spec.clone()), &cluster(vec![node("n1", on.clone())], &[])) {
            Decision::Wait { helped_by, .. } => {
                assert_eq!(helped_by, expected.iter().copied().collect(), "{spec}");
            }
            other => panic!("{spec}: {other:?}"),
        }
    }
}

#[test]
fn a_node_tells_what_of_it_changed() {
    use Change::{NodeCame, NodeGone, NodeLabels, NodeRoom, NodeTaints};
    let with = |extra: Value| Some(node("n1", extra).node);
    let plain = || with(json!({}));
    let less = || with(json!({ "status": { "allocatable": { "cpu": "1" } } }));
    let cases: [(_, _, &[Change]); 8] = [
        (None, plain(), &[NodeCame]),
        (plain(), None, &[NodeGone]),
        (plain(), with(json!({ "status": { "conditions": [{ "type": "Ready", "status": "True" }] } })), &[]),
        (plain(), with(json!({ "metadata": { "labels": { "disk": "ssd" } } })), &[NodeLabels]),
        (
            plain(),
            with(json!({ "spec": { "taints": [{ "key": "a", "effect": "NoSchedule" }] } })),
            &[NodeTaints],
        ),
        (with(json!({ "spec": { "unschedulable": true } })), plain(), &[NodeTaints]),
        (less(), plain(), &[NodeRoom]),
        (plain(), less(), &[]),
    ];
    for (at, (before, now, expected)) in cases.into_iter().enumerate() {
        assert_eq!(node_changes(before.as_deref(), now.as_deref()), expected, "{at}");
    }
}

#[test]
fn only_pods_of_this_scheduler_that_nothing_holds_back_are_tried() {
    let cases = [
        (json!({}), true),
        (json!({ "schedulingGates": [] }), true),
        (json!({ "schedulingGates": [{ "name": "quota" }] }), false),
        (json!({ "schedulerName": "another" }), false),
        (json!({ "nodeName": "n1" }), false),
    ];
    for (spec, tried) in cases {
        assert_eq!(is_to_place(&pod("p", spec.clone())), tried, "{spec}");
    }
}

#[test]
fn the_nodes_own_ports_are_taken() {
    let own = Cluster { own_ports: vec![443, 6443], ..cluster(vec![node("n1", json!({}))], &[]) };
    let taken = "0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports.";
    for (protocol, address, port, expected) in [
        ("TCP", "", 443, taken),
        ("TCP", "127.0.0.1", 6443, taken),
        ("UDP", "", 443, "n1"),
        ("TCP", "", 8443, "n1"),
    ] {
        let ports =
            json!([{ "containerPort": 1, "hostPort": port, "hostIP": address, "protocol": protocol }]);
        let pod = pod("p", json!({ "containers": [{ "name": "c", "image": "i", "ports": ports }] }));
        let outcome = outcome(&pod, &own);
        assert!(outcome.starts_with(expected), "{protocol} {address} {port}: {outcome}");
    }
}
