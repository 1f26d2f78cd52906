//! Priority and fairness on a whole server.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};

use crate::{
    PODS, ask, bind,
    harness::{Harness, Lines, answer},
    protected,
};

#[tokio::test]
async fn flow_control_marks_requests_and_its_mandatory_objects_come_back() {
    let harness = Harness::start().await;
    let flows = "/apis/flowcontrol.apiserver.k8s.io/v1";
    let list = harness.get(&format!("{flows}/flowschemas")).await.expect(200);
    assert_eq!(list["items"].as_array().map(Vec::len), Some(13));
    let schema = harness.get(&format!("{flows}/flowschemas/exempt")).await.expect(200);
    let answer = harness.get("/version").await;
    assert_eq!(
        answer.headers["x-kubernetes-pf-flowschema-uid"],
        schema["metadata"]["uid"].as_str().unwrap_or_default()
    );
    // A schema of a level that does not exist is said to dangle, until the level comes.
    let mut watch =
        harness.watch(&format!("{flows}/flowschemas?watch=true&fieldSelector=metadata.name%3Dmine")).await;
    let spec = json!({"priorityLevelConfiguration": {"name": "mine"}, "matchingPrecedence": 5, "rules": []});
    harness
        .post(&format!("{flows}/flowschemas"), json!({"metadata": {"name": "mine"}, "spec": spec}))
        .await
        .expect(201);
    let dangles = async |watch: &mut Lines, wanted: &str| loop {
        let event = watch.next().await.expect("event");
        let condition = &event["object"]["status"]["conditions"][0];
        if condition["status"] == wanted {
            break condition["reason"].clone();
        }
    };
    assert_eq!(dangles(&mut watch, "True").await, "NotFound");
    let limited = json!({"type": "Limited", "limited": {"nominalConcurrencyShares": 5, "limitResponse": {"type": "Reject"}}});
    let levels = format!("{flows}/prioritylevelconfigurations");
    harness.post(&levels, json!({"metadata": {"name": "mine"}, "spec": limited})).await.expect(201);
    assert_eq!(dangles(&mut watch, "False").await, "Found");
    let mut watch =
        harness.watch(&format!("{levels}?watch=true&fieldSelector=metadata.name%3Dcatch-all")).await;
    assert_eq!(watch.brief().await, "ADDED catch-all");
    harness.ask("DELETE", &format!("{levels}/catch-all"), Value::Null).await.expect(200);
    assert_eq!(watch.brief().await, "DELETED catch-all");
    assert_eq!(watch.brief().await, "ADDED catch-all");
}

#[tokio::test]
async fn suggested_flow_objects_come_back_but_for_specs_that_somebody_took_over() {
    let harness = Harness::start().await;
    let flows = "/apis/flowcontrol.apiserver.k8s.io/v1";
    let level = |name: &str| format!("{flows}/prioritylevelconfigurations/{name}");
    let shares = |count: i64| json!({"spec": {"limited": {"nominalConcurrencyShares": count}}});
    let untouched = harness.get(&level("workload-high")).await.expect(200);
    harness.ask("PATCH", &level("workload-low"), shares(7)).await.expect(200);
    let mut own = shares(7);
    own["metadata"] = json!({"annotations": {"apf.kubernetes.io/autoupdate-spec": "false"}});
    harness.ask("PATCH", &level("system"), own).await.expect(200);
    // Without the annotation, what was changed stays.
    let mut own = shares(7);
    own["metadata"] = json!({"annotations": {"apf.kubernetes.io/autoupdate-spec": null}});
    harness.ask("PATCH", &level("node-high"), own).await.expect(200);
    harness.ask("DELETE", &level("global-default"), Value::Null).await.expect(200);
    let harness = harness.restarted().await;
    for (name, count) in [("workload-low", 100), ("system", 7), ("node-high", 7), ("global-default", 20)] {
        let level = harness.get(&level(name)).await.expect(200);
        assert_eq!(level["spec"]["limited"]["nominalConcurrencyShares"], count, "{name}");
    }
    assert_eq!(harness.get(&level("workload-high")).await.expect(200), untouched);
}

#[tokio::test]
async fn flow_control_can_be_looked_at() {
    let harness = Harness::start().await;
    let path = "/debug/api_priority_and_fairness";
    let levels = harness.get(&format!("{path}/dump_priority_levels")).await;
    assert_eq!(
        (levels.code, levels.headers["content-type"].as_bytes()),
        (200, &b"text/plain; charset=utf-8"[..])
    );
    let lines: Vec<&str> = levels.text.lines().collect();
    assert!(lines[0].starts_with("PriorityLevelName, ActiveQueues, IsIdle, IsQuiescing, WaitingRequests,"));
    assert!(lines[1].starts_with("catch-all,         0,            true,   false,       0,"), "{}", lines[1]);
    assert_eq!(lines.len(), 9);
    // This request is one of the exempt level.
    assert!(
        lines[2].starts_with("exempt,            0,            false,  false,       0,               1,")
    );
    let queues = harness.get(&format!("{path}/dump_queues")).await.text;
    assert!(queues.starts_with("PriorityLevelName, Index,  PendingRequests, ExecutingRequests, SeatsInUse,"));
    assert_eq!(harness.get(&format!("{path}/nothing")).await.code, 404);
}

#[tokio::test]
async fn a_server_without_free_seats_says_so_and_requests_may_not_ask_nonsense() {
    let harness = protected(|protection, _| {
        protection.max_in_flight = 0;
        protection.max_mutating_in_flight = 0;
        // Of which a quarter may be spent waiting.
        protection.request_timeout = std::time::Duration::from_secs(4);
    })
    .await;
    let reject = json!({"spec": {"limited": {"limitResponse": {"type": "Reject", "queuing": null}}}});
    let level = "/apis/flowcontrol.apiserver.k8s.io/v1/prioritylevelconfigurations/global-default";
    harness.ask("PATCH", level, reject).await.expect(200);
    let full = async || {
        let answer = ask(&harness, "GET", "/version", &[], Value::Null).await;
        (answer.code, answer.text.clone(), answer.headers.get("retry-after").cloned())
    };
    let too_many = (
        429,
        "Too many requests, please try again later.\n".to_owned(),
        Some(http::HeaderValue::from_static("1")),
    );
    // The level is taken over shortly after its change.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(180);
    while full().await != too_many {
        assert!(std::time::Instant::now() < deadline);
        tokio::task::yield_now().await;
    }
    let page = harness.get("/metrics").await.text;
    assert!(
        page.contains("apiserver_request_terminations_total{code=\"429\",component=\"apiserver\""),
        "{page}"
    );
    assert_eq!(ask(&harness, "GET", "/livez", &[], Value::Null).await.code, 200, "probes are exempt");
    let wrong = harness.get("/api/v1/pods?timeout=soon").await;
    assert_eq!(
        (wrong.code, wrong.message().as_str()),
        (400, "invalid timeout specified in the request URL - time: invalid duration \"soon\"")
    );
}

#[tokio::test]
async fn a_list_holds_its_seat_until_it_is_read() {
    let harness = Harness::start().await;
    bind(&harness, "view", json!({"kind": "User", "name": "jane", "apiGroup": "rbac.authorization.k8s.io"}))
        .await;
    let executing = async || {
        let page = harness.get("/metrics").await.text;
        let series = "apiserver_flowcontrol_current_executing_requests{flow_schema=\"global-default\"";
        let line = page.lines().find(|line| line.starts_with(series)).unwrap_or_default().to_owned();
        line.rsplit(' ').next().unwrap_or_default().to_owned()
    };
    let jane = coracle_client::Identity { user: "jane".into(), groups: Vec::new() };
    let request = http::Request::builder().uri(PODS).body(Full::new(Bytes::new())).expect("request");
    let response = harness.send(Some(jane), request).await;
    assert_eq!((response.status().as_u16(), executing().await.as_str()), (200, "1"));
    assert_eq!(answer(response).await.json()["kind"], "PodList");
    assert_eq!(executing().await, "0");
}

#[tokio::test]
async fn a_watch_holds_its_seats_until_its_initial_events_are_sent() {
    let harness = Harness::start().await;
    bind(&harness, "view", json!({"kind": "User", "name": "jane", "apiGroup": "rbac.authorization.k8s.io"}))
        .await;
    let maps = "/api/v1/namespaces/default/configmaps";
    for at in 0..100 {
        let map = json!({"metadata": {"name": format!("m{at}")}, "data": {"k": "x".repeat(2200)}});
        harness.post(maps, map).await.expect(201);
    }
    // What jane's requests under way are: seats and verb.
    let requests = async || {
        let path = "/debug/api_priority_and_fairness/dump_requests?includeRequestDetails=yes";
        let page = harness.get(path).await.text;
        let row = |line: &str| {
            let cells: Vec<String> = line.split(',').map(|cell| cell.trim().to_owned()).collect();
            (cells[10] == "jane").then(|| format!("{} {}", cells[6], cells[11]))
        };
        page.lines().filter_map(row).collect::<Vec<_>>()
    };
    let jane = coracle_client::Identity { user: "jane".into(), groups: Vec::new() };
    let initial = "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    for (path, seats, last) in [
        // Each map has about 2,600 bytes.
        (format!("{maps}?{initial}"), "3 watch", "initial-events-end"),
        (format!("{maps}?{initial}&fieldSelector=metadata.name%3Dm7"), "1 watch", "initial-events-end"),
        (format!("{maps}?watch=1"), "3 watch", "\"m99\""),
    ] {
        let request = http::Request::builder().uri(&path).body(Full::new(Bytes::new())).expect("request");
        let mut body = harness.send(Some(jane.clone()), request).await.into_body();
        let mut sent = Vec::new();
        while !requests().await.is_empty() {
            assert_eq!(requests().await, [seats], "{path}");
            let frame = body.frame().await.expect("a frame").expect("its bytes");
            sent.extend(frame.into_data().expect("data"));
        }
        assert!(String::from_utf8_lossy(&sent).contains(last), "{path}");
    }
}
