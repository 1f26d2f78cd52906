use std::sync::Arc;

use coracle_kinds::Kind;
use http::Method;
use k8s_openapi::api::flowcontrol::v1::{FlowSchema, PriorityLevelConfiguration};

use super::*;
use crate::bootstrap::flow_control;

fn control(seats: u32) -> FlowControl {
    let control = FlowControl::new(seats);
    let (mut schemas, mut levels) = (Vec::new(), Vec::new());
    for object in flow_control::objects() {
        if object["kind"] == "FlowSchema" {
            schemas.push(Arc::new(FlowSchema::from_value(&object).expect("schema")));
        } else {
            levels.push(Arc::new(PriorityLevelConfiguration::from_value(&object).expect("level")));
        }
    }
    control.configure(&schemas, &levels);
    control
}

fn user(name: &str, groups: &[&str]) -> UserInfo {
    let groups = groups.iter().map(|group| group.to_string()).collect();
    UserInfo { name: name.into(), groups, ..UserInfo::default() }
}

fn info(method: Method, path: &str) -> Arc<RequestInfo> {
    Arc::new(RequestInfo::parse(&method, &path.parse().expect("uri")))
}

/// Somebody's request for one seat.
fn arrive(control: &FlowControl, schema: &Arc<Schema>) -> Arrival {
    let asked = Asked {
        schema: schema.clone(),
        user: "jane".into(),
        info: info(Method::GET, "/api/v1/namespaces/a/pods"),
        arrived: Timestamp::now(),
    };
    control.shared.arrive(asked, 1, || 1)
}

#[test]
fn requests_are_classified_as_in_a_stock_cluster() {
    let control = control(600);
    let compiled = control.compiled.load();
    let authenticated = "system:authenticated";
    let lease = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/x";
    let pods = "/api/v1/namespaces/a/pods";
    for (user, method, path, expected) in [
        (user("admin", &["system:masters", authenticated]), Method::GET, pods, "exempt exempt"),
        (user("jane", &[authenticated]), Method::GET, "/livez", "probes exempt"),
        (user("jane", &[authenticated]), Method::GET, pods, "global-default global-default"),
        (
            user("system:kube-scheduler", &[authenticated]),
            Method::PUT,
            lease,
            "system-leader-election leader-election",
        ),
        (user("system:kube-scheduler", &[authenticated]), Method::GET, pods, "kube-scheduler workload-high"),
        (
            user("system:node:a", &["system:nodes", authenticated]),
            Method::PATCH,
            "/api/v1/nodes/a/status",
            "system-node-high node-high",
        ),
        (user("system:node:a", &["system:nodes", authenticated]), Method::GET, pods, "system-nodes system"),
        (
            user("system:serviceaccount:kube-system:x", &["system:serviceaccounts", authenticated]),
            Method::GET,
            pods,
            "kube-system-service-accounts workload-high",
        ),
        (
            user("system:serviceaccount:a:x", &["system:serviceaccounts", authenticated]),
            Method::GET,
            pods,
            "service-accounts workload-low",
        ),
        (
            user("system:anonymous", &["system:unauthenticated"]),
            Method::GET,
            "/version",
            "global-default global-default",
        ),
    ] {
        let schema = compiled.classify(&user, &info(method, path)).expect("a schema");
        assert_eq!(format!("{} {}", schema.name, schema.level_name), expected, "{} {path}", user.name);
    }
}

#[test]
fn seats_are_shared_out_as_in_a_stock_cluster() {
    let control = control(600);
    let nominal: Vec<(String, u32)> = control
        .shared
        .levels()
        .into_iter()
        .filter_map(|level| match level.limit {
            level::Limit::Limited { nominal, .. } => Some((level.name.to_string(), nominal)),
            level::Limit::Exempt => None,
        })
        .collect();
    let of = |name: &str| nominal.iter().find(|(own, _)| own == name).map(|(_, seats)| *seats);
    // The shares are 245 together.
    assert_eq!((of("catch-all"), of("workload-low"), of("leader-election")), (Some(13), Some(245), Some(25)));
}

#[tokio::test]
async fn who_finds_no_seat_waits_for_one_and_leaves_without_a_trace() {
    // global-default has 1 seat and may borrow what others lend; with 1 seat in all nobody lends.
    let control = Arc::new(control(1));
    let jane = user("jane", &["system:authenticated"]);
    let pods = info(Method::GET, "/api/v1/namespaces/a/pods");
    let minute = Duration::from_secs(60);
    let mut held = Vec::new();
    let schema = control.compiled.load().classify(&jane, &pods).expect("a schema").clone();
    while let Arrival::Seated(seat) = arrive(&control, &schema) {
        held.push(seat);
    }
    assert!(!held.is_empty());
    let impatient = control.admit(&jane, &pods, Duration::from_millis(4), 1).await.expect("classified");
    assert!(impatient.seat.is_none());
    let (waiting, owner) = (control.clone(), jane.clone());
    let task = tokio::spawn(async move {
        let pods = info(Method::GET, "/api/v1/namespaces/a/pods");
        waiting.admit(&owner, &pods, minute, 1).await.expect("classified").seat.is_some()
    });
    while schema.counters.waiting.load(Relaxed) == 0 {
        tokio::task::yield_now().await;
    }
    held.pop();
    assert!(task.await.expect("task"));
    drop(held);
    let in_use: u32 = control.shared.levels().iter().map(|level| level.executing).sum();
    assert_eq!(in_use, 0);
}

#[tokio::test]
async fn a_client_that_leaves_the_queue_is_counted_as_cancelled() {
    let control = Arc::new(control(1));
    let jane = user("jane", &["system:authenticated"]);
    let pods = info(Method::GET, "/api/v1/namespaces/a/pods");
    let schema = control.compiled.load().classify(&jane, &pods).expect("a schema").clone();
    let mut held = Vec::new();
    while let Arrival::Seated(seat) = arrive(&control, &schema) {
        held.push(seat);
    }
    let waiting = control.clone();
    let task =
        tokio::spawn(async move { waiting.admit(&jane, &pods, Duration::from_secs(600), 3).await.is_some() });
    while schema.counters.waiting.load(Relaxed) == 0 {
        tokio::task::yield_now().await;
    }
    let row = |what: &str| {
        let text = control.dump(what, Some("includeRequestDetails=1")).expect("a dump");
        let row = text.lines().find(|line| line.starts_with("global-default,"));
        row.map(|row| row.split_whitespace().collect::<Vec<_>>().join(" ")).unwrap_or_default()
    };
    // The one that waits comes before those that have a seat.
    let request = row("dump_requests");
    let cells: Vec<&str> = request.split(", ").collect();
    assert_eq!((&cells[..2], &cells[3..5]), (&["global-default", "global-default"][..], &["0", "jane"][..]));
    assert_eq!(
        cells[6..].join(", "),
        "1, 0, 0s, 0001-01-01T00:00:00Z, jane, list, /api/v1/namespaces/a/pods, a, , v1, pods,"
    );
    let seated = control.dump("dump_requests", None).expect("a dump");
    let seated = seated.lines().last().expect("a request").split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(seated.starts_with("global-default, global-default, -1, -1, jane, 20"), "{seated}");
    let executing = held.len();
    assert_eq!(
        row("dump_priority_levels"),
        format!("global-default, 1, false, false, 1, {executing}, 0, 0, 0, 0")
    );
    task.abort();
    assert!(task.await.expect_err("aborted").is_cancelled());
    assert_eq!(schema.counters.waiting.load(Relaxed), 0);
    assert_eq!(
        row("dump_priority_levels"),
        format!("global-default, 0, false, false, 0, {executing}, 0, 0, 0, 1")
    );
}

#[test]
fn a_level_that_is_no_longer_configured_is_shown_until_its_last_request_ended() {
    let control = control(245);
    let jane = user("jane", &["system:authenticated"]);
    let pods = info(Method::GET, "/api/v1/namespaces/a/pods");
    let schema = control.compiled.load().classify(&jane, &pods).expect("a schema").clone();
    let Arrival::Seated(seat) = arrive(&control, &schema) else { panic!("no seat") };
    control.configure(&[], &[]);
    let quiescing = || -> Vec<(String, bool)> {
        control.shared.levels().iter().map(|level| (level.name.to_string(), level.quiescing)).collect()
    };
    let mandatory = [("catch-all".to_owned(), false), ("exempt".to_owned(), false)];
    let mut expected = mandatory.to_vec();
    expected.push(("global-default".to_owned(), true));
    assert_eq!(quiescing(), expected);
    drop(seat);
    assert_eq!(quiescing(), mandatory);
}

#[test]
fn a_level_borrows_what_others_do_not_use_but_not_what_they_keep() {
    let control = control(245);
    let jane = user("jane", &["system:authenticated"]);
    let pods = info(Method::GET, "/api/v1/namespaces/a/pods");
    let schema = control.compiled.load().classify(&jane, &pods).expect("a schema").clone();
    let mut held = Vec::new();
    while let Arrival::Seated(seat) = arrive(&control, &schema) {
        held.push(seat);
    }
    // 20 of its own; lent are 10 (system), 10 (node-high), 20 (workload-high), 90 (workload-low).
    assert_eq!(held.len(), 150);
    let node = user("system:node:a", &["system:nodes"]);
    let of_node = control.compiled.load().classify(&node, &pods).expect("a schema").clone();
    let mut own = Vec::new();
    while let Arrival::Seated(seat) = arrive(&control, &of_node) {
        own.push(seat);
    }
    assert_eq!(own.len(), 20, "what the level does not lend");
}
