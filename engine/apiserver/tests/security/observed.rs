//! What can be seen of requests: metrics, health checks, the audit log.

use bytes::Bytes;
use http_body_util::Full;
use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::{Value, json};

use crate::{bearer, harness::Harness, protected};

#[tokio::test]
async fn metrics_have_the_stock_series_and_count_each_request_once() {
    let harness = Harness::start().await;
    harness.account("default").await;
    let maps = "/api/v1/namespaces/default/configmaps";
    harness.server.add_metrics(std::sync::Arc::new(|page: &mut String| {
        page.push_str(
            "# HELP workqueue_depth x\n# TYPE workqueue_depth gauge\nworkqueue_depth{name=\"x\"} 0\n",
        );
    }));
    harness.post(maps, json!({"metadata": {"name": "a"}})).await.expect(201);
    harness.post(maps, json!({"metadata": {"name": "a"}})).await.expect(409);
    assert_eq!(harness.get("/api/v1/namespaces/default/nothings").await.code, 404);
    let mut watch = harness.watch(&format!("{maps}?watch=true")).await;
    assert_eq!(watch.brief().await, "ADDED a");
    harness.get("/api/v1/namespaces/default/endpoints").await.expect(200);
    let page = harness.get("/metrics").await.text;
    let labels = |code: u16, verb: &str, scope: &str| {
        format!(
            "apiserver_request_total{{code=\"{code}\",component=\"apiserver\",dry_run=\"\",group=\"\",resource=\"configmaps\",scope=\"{scope}\",subresource=\"\",verb=\"{verb}\",version=\"v1\"}} 1\n"
        )
    };
    let gauge = "apiserver_longrunning_requests{component=\"apiserver\",group=\"\",resource=\"configmaps\",scope=\"namespace\",subresource=\"\",verb=\"WATCH\",version=\"v1\"}";
    for line in [
        labels(201, "POST", "resource"),
        labels(409, "POST", "resource"),
        format!("{gauge} 1\n"),
        "apiserver_watch_events_total{group=\"\",resource=\"configmaps\",version=\"v1\"} 1\n".into(),
        "apiserver_storage_objects{resource=\"configmaps\"} 3\n".into(),
        "apiserver_current_inflight_requests{request_kind=\"readOnly\"} 1\n".into(),
        "authorization_attempts_total{result=\"denied\"} 0\n".into(),
        "process_open_fds ".into(),
        "etcd_request_duration_seconds_count{group=\"\",operation=\"create\",resource=\"configmaps\"} 4\n".into(),
        "apiserver_admission_step_admission_duration_seconds_count{operation=\"CREATE\",rejected=\"false\",type=\"validate\"} ".into(),
        "apiserver_admission_controller_admission_duration_seconds_count{name=\"NamespaceLifecycle\",operation=\"CREATE\",rejected=\"false\",type=\"admit\"} ".into(),
        "apiserver_request_sli_duration_seconds_count{component=\"apiserver\",group=\"\",resource=\"configmaps\",scope=\"resource\",subresource=\"\",verb=\"POST\",version=\"v1\"} 2\n".into(),
        "workqueue_depth{name=\"x\"} 0\n".into(),
        "authenticated_user_requests{username=\"admin\"} ".into(),
        "apiserver_storage_size_bytes{storage_cluster_id=\"etcd-0\"} ".into(),
        "apiserver_requested_deprecated_apis{group=\"\",removed_release=\"\",resource=\"endpoints\",subresource=\"\",version=\"v1\"} 1\n".into(),
        "apiserver_flowcontrol_nominal_limit_seats{priority_level=\"workload-low\"} 245\n".into(),
    ] {
        assert!(page.contains(&line), "{line}{page}");
    }
    assert!(!page.contains("nothings"), "{page}");
    drop(watch);
    let page = harness.get("/metrics").await.text;
    assert!(page.contains(&format!("{gauge} 0\n")), "{page}");
    // Every family is described once, and every line has its family above it.
    let mut families = std::collections::HashSet::new();
    for line in page.lines() {
        if let Some(name) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split(' ').next()) {
            assert!(families.insert(name.to_owned()), "{name} twice");
        } else if !line.starts_with('#') {
            let name = line.split(['{', ' ']).next().unwrap_or_default();
            let base = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
            let known = families.contains(name) || base.is_some_and(|base| families.contains(base));
            assert!(
                known && line.rsplit(' ').next().is_some_and(|value| value.parse::<f64>().is_ok()),
                "{line}"
            );
        }
    }
}

#[tokio::test]
async fn health_endpoints_tell_their_checks_and_what_they_were_asked_to_leave_out() {
    let harness = Harness::start().await;
    let text = async |path: &str| harness.get(path).await.text;
    assert_eq!(text("/livez").await, "ok");
    let livez = text("/livez?verbose").await;
    assert!(livez.starts_with("[+]ping ok\n[+]log ok\n[+]etcd ok\n[+]poststarthook/"), "{livez}");
    assert!(livez.ends_with(" ok\nlivez check passed\n") && !livez.contains("-readiness"), "{livez}");
    let readyz = text("/readyz?verbose&exclude=log&exclude=x").await;
    for part in [
        "[+]log excluded: ok\n[+]etcd ok\n[+]etcd-readiness ok\n[+]informer-sync ok\n",
        "\n[+]poststarthook/scheduling/bootstrap-system-priority-classes ok\n",
        "\n[+]shutdown ok\nwarn: some health checks cannot be excluded: no matches for \"x\"\nreadyz check passed\n",
    ] {
        assert!(readyz.contains(part), "{part}: {readyz}");
    }
    let hook = "/livez/poststarthook/rbac/bootstrap-roles";
    assert_eq!((text("/livez/etcd").await, text(hook).await), ("ok".into(), "ok".into()));
    for unknown in ["/livez/shutdown", "/livez/poststarthook", "/livez/poststarthook/none"] {
        assert_eq!(harness.get(unknown).await.code, 404, "{unknown}");
    }
    assert!(harness.get("/").await.expect(200)["paths"].as_array().expect("paths").contains(&hook.into()));
    let page = harness.get("/metrics/slis").await.text;
    for line in [
        "# TYPE kubernetes_healthcheck gauge\n",
        "kubernetes_healthcheck{name=\"etcd\",type=\"readyz\"} 1\n",
        "kubernetes_healthchecks_total{name=\"etcd\",status=\"success\",type=\"readyz\"} ",
    ] {
        assert!(page.contains(line), "{line}{page}");
    }
    assert!(!page.contains("name=\"shutdown\",type=\"livez\""), "{page}");
}

fn log_at(path: std::path::PathBuf) -> coracle_apiserver::audit::LogConfig {
    coracle_apiserver::audit::LogConfig { path, max_size_mib: 1, max_backups: 1, max_age_days: 1 }
}

#[tokio::test]
async fn changes_and_reads_of_secrets_are_audited() {
    let path = std::sync::OnceLock::new();
    let harness = protected(|protection, dir| {
        let log = dir.join("audit/audit.log");
        _ = path.set(log.clone());
        protection.audit.log = Some(log_at(log));
    })
    .await;
    let maps = "/api/v1/namespaces/default/configmaps";
    let headers = [("audit-id", "mine"), ("impersonate-user", "jane"), ("content-type", "application/json")];
    let refused = harness.ask_with("POST", maps, &headers, r#"{"metadata":{"name":"a"}}"#).await;
    assert_eq!((refused.code, &refused.headers["audit-id"]), (403, &http::HeaderValue::from_static("mine")));
    let made = harness.post(maps, json!({"metadata": {"generateName": "a-"}})).await;
    assert_eq!(made.headers["audit-id"].len(), 36);
    let name = made.json()["metadata"]["name"].clone();
    harness.get(maps).await.expect(200);
    harness.get("/api/v1/namespaces/default/secrets").await.expect(200);
    drop(harness.watch("/api/v1/secrets?watch=true").await);
    bearer(&harness, maps, "wrong").await;
    harness.server.flush_audit().await;
    let text = std::fs::read_to_string(path.get().expect("path")).expect("log");
    let brief: Vec<String> = text
        .lines()
        .map(|line| {
            let event: Value = serde_json::from_str(line).expect("event");
            let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
            [
                text(&event["stage"]),
                text(&event["verb"]),
                text(&event["objectRef"]["resource"]),
                text(&event["objectRef"]["name"]).replace(name.as_str().unwrap_or_default(), "NAME"),
                text(&event["impersonatedUser"]["username"]),
                text(&event["annotations"]["authorization.k8s.io/decision"]),
                event["responseStatus"]["code"].to_string(),
            ]
            .join(" ")
        })
        .collect();
    assert_eq!(
        brief,
        [
            "ResponseComplete create configmaps - jane forbid 403",
            "ResponseComplete create configmaps NAME - allow 201",
            "ResponseComplete list secrets - - allow 200",
            "ResponseStarted watch secrets - - allow 200",
            "ResponseComplete watch secrets - - allow 200",
        ]
    );
    assert!(text.contains("\"auditID\":\"mine\""));

    let label = json!({"metadata": {"labels": {"pod-security.kubernetes.io/audit": "baseline"}}});
    harness.ask("PATCH", "/api/v1/namespaces/default", label).await.expect(200);
    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": {
        "hostNetwork": true, "containers": [{"name": "c", "image": "i"}],
    }});
    let spec = json!({"selector": {"matchLabels": {"a": "b"}}, "template": template});
    let deployment = json!({"metadata": {"name": "d"}, "spec": spec});
    harness.post("/apis/apps/v1/namespaces/default/deployments", deployment).await.expect(201);
    harness.server.flush_audit().await;
    let text = std::fs::read_to_string(path.get().expect("path")).expect("log");
    let event: Value = serde_json::from_str(text.lines().last().expect("a line")).expect("event");
    assert_eq!(
        event["annotations"]["pod-security.kubernetes.io/audit-violations"],
        "would violate PodSecurity \"baseline:latest\": host namespaces (hostNetwork=true)"
    );

    let own: kube::Api<ConfigMap> = kube::Api::namespaced(harness.client(), "default");
    own.delete(name.as_str().expect("a name"), &kube::api::DeleteParams::default()).await.expect("deleted");
    harness.server.flush_audit().await;
    let text = std::fs::read_to_string(path.get().expect("path")).expect("log");
    let event: Value = serde_json::from_str(text.lines().last().expect("a line")).expect("event");
    assert_eq!(
        [&event["requestURI"], &event["sourceIPs"], &event["userAgent"]],
        [
            &json!(format!("{maps}/{}", name.as_str().expect("a name"))),
            &json!(["127.0.0.1"]),
            &json!(concat!("coracle/", env!("CARGO_PKG_VERSION")))
        ]
    );
}

#[tokio::test]
async fn a_request_whose_client_leaves_is_audited_and_counted() {
    let path = std::sync::OnceLock::new();
    let harness = protected(|protection, dir| {
        // Who is not exempt waits.
        protection.max_in_flight = 0;
        protection.max_mutating_in_flight = 0;
        let log = path.get_or_init(|| dir.join("audit.log")).clone();
        protection.audit.log = Some(log_at(log));
    })
    .await;
    let jane = coracle_client::Identity { user: "jane".into(), groups: Vec::new() };
    let body = Full::new(Bytes::from_static(br#"{"metadata":{"name":"a"}}"#));
    let request = http::Request::post("/api/v1/namespaces/default/configmaps")
        .header("content-type", "application/json")
        .body(body)
        .expect("request");
    let mut sending = Box::pin(harness.send(Some(jane), request));
    let queued = "apiserver_flowcontrol_current_inqueue_requests{flow_schema=\"global-default\",priority_level=\"global-default\"} 1\n";
    while {
        assert!(futures::poll!(&mut sending).is_pending());
        !harness.get("/metrics").await.text.contains(queued)
    } {}
    drop(sending);
    harness.server.flush_audit().await;
    let text = std::fs::read_to_string(path.get().expect("path")).expect("log");
    let event: Value = serde_json::from_str(text.trim()).expect("one event");
    assert_eq!(
        [&event["stage"], &event["verb"], &event["user"]["username"], &event["responseStatus"]["code"]],
        [&json!("ResponseComplete"), &json!("create"), &json!("jane"), &json!(504)]
    );
    let page = harness.get("/metrics").await.text;
    let counted = page.lines().find(|line| {
        line.starts_with("apiserver_request_total{code=\"504\"") && line.contains("resource=\"configmaps\"")
    });
    assert!(counted.is_some_and(|line| line.ends_with(" 1")), "{counted:?}");
}
