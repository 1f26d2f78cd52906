use http::{HeaderMap, Method};
use serde_json::Value;

use super::{log::Rotated, *};
use crate::{request_info::RequestInfo, types::UserInfo};

fn decide(policy: &Policy, user: (&str, &[&str]), method: Method, path: &str) -> Level {
    let uri: http::Uri = path.parse().expect("uri");
    let info = RequestInfo::parse(&method, &uri);
    let groups = user.1.iter().map(|group| group.to_string()).collect();
    let user = UserInfo { name: user.0.into(), groups, ..UserInfo::default() };
    let headers = HeaderMap::new();
    let subject = Subject {
        user: Some(&user),
        info: &info,
        uri: &uri,
        headers: &headers,
        peer: None,
        id: "",
        received: jiff::Timestamp::UNIX_EPOCH,
    };
    policy.decide(&subject).level
}

#[test]
fn by_default_changes_and_reads_of_secrets_are_recorded_and_heartbeats_are_not() {
    let policy = Policy::builtin();
    let jane: (&str, &[&str]) = ("jane", &["system:authenticated"]);
    let node: (&str, &[&str]) = ("system:node:a", &["system:nodes", "system:authenticated"]);
    let account: (&str, &[&str]) =
        ("system:serviceaccount:kube-system:deployment-controller", &["system:serviceaccounts:kube-system"]);
    let pods = "/api/v1/namespaces/a/pods";
    for (user, method, path, level) in [
        (jane, Method::GET, pods, Level::None),
        (jane, Method::POST, pods, Level::Metadata),
        (jane, Method::DELETE, "/api/v1/namespaces/a/pods/b", Level::Metadata),
        (jane, Method::GET, "/api/v1/namespaces/a/secrets", Level::Metadata),
        (jane, Method::GET, "/api/v1/namespaces/a/pods/b/exec", Level::Metadata),
        (jane, Method::POST, "/api/v1/namespaces/a/events", Level::None),
        (jane, Method::GET, "/metrics", Level::None),
        (jane, Method::PUT, "/apis/coordination.k8s.io/v1/namespaces/a/leases/leader", Level::None),
        (node, Method::PUT, "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/a", Level::None),
        (node, Method::PATCH, "/api/v1/nodes/a/status", Level::None),
        (node, Method::GET, "/api/v1/namespaces/a/secrets/b", Level::None),
        (account, Method::GET, "/api/v1/namespaces/a/secrets/b", Level::None),
        (account, Method::PUT, "/apis/apps/v1/namespaces/a/deployments/b/status", Level::None),
        (account, Method::POST, "/apis/apps/v1/namespaces/a/replicasets", Level::Metadata),
    ] {
        assert_eq!(decide(&policy, user, method.clone(), path), level, "{method} {path}");
    }
}

#[test]
fn rules_match_as_in_a_stock_policy() {
    let policy = |rule: &str| {
        let text = format!("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n- {rule}\n");
        Policy::parse(&text, "x").expect("policy")
    };
    let jane: (&str, &[&str]) = ("jane", &["devs"]);
    let status = "/api/v1/namespaces/a/pods/b/status";
    for (rule, path, matches) in [
        ("{level: Request}", status, true),
        ("{level: Request, users: [joe]}", status, false),
        ("{level: Request, userGroups: [devs]}", status, true),
        ("{level: Request, verbs: [list]}", status, false),
        ("{level: Request, namespaces: [a]}", status, true),
        ("{level: Request, namespaces: [b]}", status, false),
        ("{level: Request, resources: [{group: ''}]}", status, true),
        ("{level: Request, resources: [{group: apps}]}", status, false),
        ("{level: Request, resources: [{group: '', resources: [pods]}]}", status, false),
        ("{level: Request, resources: [{group: '', resources: [pods/*]}]}", status, true),
        ("{level: Request, resources: [{group: '', resources: ['*/status']}]}", status, true),
        ("{level: Request, resources: [{resources: [pods/status], resourceNames: [c]}]}", status, false),
        ("{level: Request, nonResourceURLs: ['/health*']}", "/healthz", true),
        ("{level: Request, nonResourceURLs: ['/health*']}", status, false),
    ] {
        let level = decide(&policy(rule), jane, Method::GET, path);
        assert_eq!(level == Level::Request, matches, "{rule} {path}");
    }
}

#[test]
fn a_policy_with_unknown_words_is_refused() {
    for text in [
        "kind: Policy",
        "apiVersion: audit.k8s.io/v1\nkind: Policy\nrule: []",
        "apiVersion: v1\nkind: Policy",
    ] {
        assert!(Policy::parse(text, "x").is_err(), "{text}");
    }
}

#[test]
fn a_full_file_is_rotated_and_the_oldest_goes() {
    let dir = tempfile::tempdir().expect("directory");
    let path = dir.path().join("audit/audit.log");
    let config = LogConfig { path: path.clone(), max_size_mib: 1, max_backups: 2, max_age_days: 1 };
    let mut log = Rotated::new(config);
    let now = jiff::Timestamp::now();
    for round in 0..5u8 {
        log.write(&vec![b'0' + round; 700 * 1024]).expect("written");
        // All in one millisecond, and one by itself, since the next would not fit.
        if round < 3 {
            log.rotate(now).expect("rotated");
        }
    }
    let mut kept: Vec<(String, u8)> = std::fs::read_dir(path.parent().expect("parent"))
        .expect("directory")
        .flatten()
        .map(|entry| {
            let first = std::fs::read(entry.path()).expect("file")[0];
            (entry.file_name().to_string_lossy().into_owned(), first)
        })
        .collect();
    kept.sort_by_key(|(_, first)| *first);
    let firsts: Vec<u8> = kept.iter().map(|(_, first)| *first).collect();
    assert_eq!(firsts, b"234");
    assert_eq!(kept[2].0, "audit.log");
}

#[test]
fn a_dash_is_standard_output_and_no_file() {
    let mut log =
        Rotated::new(LogConfig { path: "-".into(), max_size_mib: 1, max_backups: 1, max_age_days: 0 });
    log.write(b"{}\n").expect("written");
    assert!(!std::path::Path::new("-").exists());
}

#[tokio::test]
async fn an_event_tells_who_did_what_and_how_it_ended() {
    let dir = tempfile::tempdir().expect("directory");
    let path = dir.path().join("audit.log");
    let log = LogConfig { path: path.clone(), max_size_mib: 1, max_backups: 1, max_age_days: 0 };
    let audit = Audit::open(&Config { policy_file: None, log: Some(log) }).expect("opens");
    let uri: http::Uri = "/api/v1/namespaces/a/pods?dryRun=All".parse().expect("uri");
    let info = RequestInfo::parse(&Method::POST, &uri);
    let mut headers = HeaderMap::new();
    headers.insert("user-agent", "kubectl".parse().expect("value"));
    headers.insert("x-forwarded-for", "192.0.2.7, 192.0.2.8".parse().expect("value"));
    let user = UserInfo { name: "jane".into(), groups: vec!["devs".into()], ..UserInfo::default() };
    let received = jiff::Timestamp::from_microsecond(1_700_000_000_123_456).expect("time");
    let subject = Subject {
        user: Some(&user),
        info: &info,
        uri: &uri,
        headers: &headers,
        peer: Some("192.0.2.9:1".parse().expect("address")),
        id: "an-id",
        received,
    };
    let mut record = audit.begin(&subject).expect("recorded");
    record.annotate("authorization.k8s.io/decision", "allow");
    record.log(&audit, Stage::RequestReceived, 0, None, None);
    let body = (None, bytes::Bytes::from_static(br#"{"metadata":{"name":"b"}}"#));
    record.log(&audit, Stage::ResponseComplete, 201, None, Some(body));
    audit.flush().await;
    let text = std::fs::read_to_string(&path).expect("log");
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("event")).collect();
    assert_eq!(lines.len(), 1, "the first stage is omitted by default");
    let mut event = lines[0].clone();
    assert!(event["stageTimestamp"].as_str().is_some_and(|time| time.ends_with('Z')));
    event["stageTimestamp"] = Value::Null;
    let expected = serde_json::json!({
        "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "Metadata", "auditID": "an-id",
        "stage": "ResponseComplete", "requestURI": "/api/v1/namespaces/a/pods?dryRun=All", "verb": "create",
        "user": {"username": "jane", "groups": ["devs"]},
        "sourceIPs": ["192.0.2.7", "192.0.2.8", "192.0.2.9"], "userAgent": "kubectl",
        "objectRef": {"resource": "pods", "namespace": "a", "name": "b", "apiVersion": "v1"},
        "responseStatus": {"metadata": {}, "code": 201},
        "requestReceivedTimestamp": "2023-11-14T22:13:20.123456Z", "stageTimestamp": null,
        "annotations": {"authorization.k8s.io/decision": "allow"},
    });
    assert_eq!(event, expected);
}
