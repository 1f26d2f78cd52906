use std::time::Duration;

use http::Method;

use super::*;
use crate::request_info::RequestInfo;

fn info(method: Method, path: &str) -> RequestInfo {
    RequestInfo::parse(&method, &path.parse().expect("uri"))
}

#[test]
fn requests_get_the_stock_labels() {
    for (method, path, expected) in [
        (Method::GET, "/api/v1/namespaces/a/pods", "LIST namespace pods "),
        (Method::GET, "/api/v1/pods?watch=1", "WATCH cluster pods "),
        (Method::POST, "/api/v1/namespaces/a/pods", "POST resource pods "),
        (Method::PUT, "/api/v1/namespaces/a/pods/b/status", "PUT resource pods status"),
        (Method::POST, "/api/v1/namespaces/a/pods/b/exec", "CONNECT resource pods exec"),
        (Method::GET, "/readyz/ping", "GET   /readyz"),
        (Method::GET, "/anything/else", "GET   "),
    ] {
        let info = info(method, path);
        let labels = Labels::of(&info, false);
        let seen = [labels.verb, labels.scope, labels.resource, labels.subresource].join(" ");
        assert_eq!(seen, expected, "{path}");
    }
}

#[test]
fn what_is_not_served_makes_no_series() {
    let metrics = Metrics::default();
    for path in ["/api/v1/namespaces/a/x1", "/api/v1/namespaces/a/x2", "/apis/a.b/v1/x"] {
        let info = info(Method::GET, path);
        let series = metrics.series(Labels::of(&info, false), || false);
        series.answered(404, false, Duration::from_millis(1), Duration::ZERO, Some(9));
    }
    let all = metrics.all();
    assert_eq!(all.len(), 1);
    assert_eq!(all[0].counts().collect::<Vec<_>>(), [(404, false, 3)]);
}

#[test]
fn buckets_add_up() {
    let histogram = Histogram::<3>::default();
    for value in [1.0, 2.0, 2.5, 9.0] {
        histogram.observe(&[1.0, 2.5], value, (value * 10.0) as u64);
    }
    let mut out = String::new();
    histogram.render(&mut out, "x", "a=\"b\"", &[1.0, 2.5], 0.1);
    assert_eq!(
        out,
        "x_bucket{a=\"b\",le=\"1\"} 1\nx_bucket{a=\"b\",le=\"2.5\"} 3\nx_bucket{a=\"b\",le=\"+Inf\"} 4\nx_sum{a=\"b\"} 14.5\nx_count{a=\"b\"} 4\n"
    );
}

#[test]
fn what_others_took_is_not_in_the_servers_own_time() {
    let series = Series::new(&Labels::default());
    let seconds = Duration::from_secs;
    series.answered(200, false, seconds(5), seconds(3), None);
    series.answered(200, false, seconds(1), seconds(2), None);
    let mut out = String::new();
    series.sli_durations.render(&mut out, "x", "", &series::SLI_DURATIONS, 1e-9);
    assert!(out.contains("x_bucket{le=\"1.5\"} 1\nx_bucket{le=\"2\"} 2\n"), "{out}");
    assert!(out.contains("x_sum{} 2\n"), "{out}");
}
