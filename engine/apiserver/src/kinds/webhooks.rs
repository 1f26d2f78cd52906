//! MutatingWebhookConfigurations and ValidatingWebhookConfigurations.
//!
//! Source: https://github.com/kubernetes/kubernetes/blob/master/pkg/apis/admissionregistration/validation/validation.go

use serde_json::Value;

use super::{
    admission_rules::{FAILURE_POLICIES, MATCH_POLICIES, REINVOCATIONS, rule},
    checked::Checked,
    checks::{Causes, indexed, label_selector, one_of},
    webhook_client::{client, duplicate_names, qualified_name, review_versions},
};
use crate::{admission::conditions::Conditions, status::Cause};

const SIDE_EFFECTS: [&str; 2] = ["None", "NoneOnDryRun"];

pub static WEBHOOKS: Checked = Checked::new(webhooks);

fn webhooks(configuration: &Value) -> Causes {
    let mut out = Vec::new();
    for (at, hook) in indexed(&configuration["webhooks"], "webhooks") {
        webhook(&mut out, hook, &at);
    }
    duplicate_names(&mut out, &configuration["webhooks"], "webhooks");
    out
}

fn webhook(out: &mut Causes, hook: &Value, at: &str) {
    let field = |name: &str| format!("{at}.{name}");
    qualified_name(out, &hook["name"], &field("name"));
    for (at, own) in indexed(&hook["rules"], &field("rules")) {
        rule(out, own, &at);
    }
    one_of(out, &hook["failurePolicy"], &field("failurePolicy"), &FAILURE_POLICIES);
    one_of(out, &hook["matchPolicy"], &field("matchPolicy"), &MATCH_POLICIES);
    if hook["sideEffects"].is_null() {
        out.push(Cause::required(field("sideEffects"), "must specify one of None, NoneOnDryRun"));
    }
    one_of(out, &hook["sideEffects"], &field("sideEffects"), &SIDE_EFFECTS);
    if let Some(seconds) = hook["timeoutSeconds"].as_i64().filter(|seconds| !(1..=30).contains(seconds)) {
        let why = "the timeout value must be between 1 and 30 seconds";
        out.push(Cause::invalid(field("timeoutSeconds"), seconds, why));
    }
    for selector in ["namespaceSelector", "objectSelector"] {
        if !hook[selector].is_null() {
            label_selector(out, &hook[selector], &field(selector));
        }
    }
    one_of(out, &hook["reinvocationPolicy"], &field("reinvocationPolicy"), &REINVOCATIONS);
    client(out, &hook["clientConfig"], &field("clientConfig"));
    out.extend(Conditions::of_webhook(hook, at).1);
    let versions = &hook["admissionReviewVersions"];
    review_versions(out, versions, &field("admissionReviewVersions"), "must specify one of v1, v1beta1");
}

#[cfg(test)]
mod tests {
    use super::{super::checks::assert_cases, *};
    use serde_json::json;

    fn with(patch: Value) -> Value {
        let mut own = json!({"name": "a.b.c", "sideEffects": "None", "admissionReviewVersions": ["v1"], "clientConfig": {"url": "https://x"}});
        coracle_schema::json_merge_patch(&mut own, &patch);
        json!({"webhooks": [own]})
    }

    #[test]
    fn webhooks_get_the_stock_causes() {
        let mut twice = with(json!({}));
        let again = twice["webhooks"][0].clone();
        twice["webhooks"].as_array_mut().expect("list").push(again);
        assert_cases(
            with(json!({})),
            webhooks,
            &[
                (with(json!({"name": ""})), &["webhooks[0].name: Required value"]),
                (
                    with(json!({"name": "a.b"})),
                    &[
                        "webhooks[0].name: Invalid value: \"a.b\": should be a domain with at least three segments separated by dots",
                    ],
                ),
                (twice, &["webhooks[1].name: Duplicate value: \"a.b.c\""]),
                (
                    with(json!({"rules": [{}]})),
                    &[
                        "webhooks[0].rules[0].operations: Required value",
                        "webhooks[0].rules[0].apiGroups: Required value",
                        "webhooks[0].rules[0].apiVersions: Required value",
                        "webhooks[0].rules[0].resources: Required value",
                    ],
                ),
                (
                    with(json!({"failurePolicy": "x", "matchPolicy": "y"})),
                    &[
                        "webhooks[0].failurePolicy: Unsupported value: \"x\": supported values: \"Fail\", \"Ignore\"",
                        "webhooks[0].matchPolicy: Unsupported value: \"y\": supported values: \"Equivalent\", \"Exact\"",
                    ],
                ),
                (
                    with(json!({"sideEffects": null})),
                    &["webhooks[0].sideEffects: Required value: must specify one of None, NoneOnDryRun"],
                ),
                (
                    with(json!({"sideEffects": "Some"})),
                    &[
                        "webhooks[0].sideEffects: Unsupported value: \"Some\": supported values: \"None\", \"NoneOnDryRun\"",
                    ],
                ),
                (
                    with(json!({"timeoutSeconds": 31})),
                    &[
                        "webhooks[0].timeoutSeconds: Invalid value: 31: the timeout value must be between 1 and 30 seconds",
                    ],
                ),
                (
                    with(json!({"reinvocationPolicy": "Twice"})),
                    &[
                        "webhooks[0].reinvocationPolicy: Unsupported value: \"Twice\": supported values: \"IfNeeded\", \"Never\"",
                    ],
                ),
                (
                    with(
                        json!({"matchConditions": [{"name": "c", "expression": "true"}, {"name": "c", "expression": " "}, {"name": "-", "expression": "true"}]}),
                    ),
                    &[
                        "webhooks[0].matchConditions[1].expression: Required value",
                        "webhooks[0].matchConditions[1].name: Duplicate value: \"c\"",
                        "webhooks[0].matchConditions[2].name: Invalid value: \"-\": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')",
                    ],
                ),
                (
                    with(json!({"admissionReviewVersions": []})),
                    &["webhooks[0].admissionReviewVersions: Required value: must specify one of v1, v1beta1"],
                ),
                (
                    with(json!({"admissionReviewVersions": ["v2", "v2"]})),
                    &[
                        "webhooks[0].admissionReviewVersions[1]: Invalid value: \"v2\": duplicate version",
                        "webhooks[0].admissionReviewVersions: Invalid value: [\"v2\",\"v2\"]: must include at least one of v1, v1beta1",
                    ],
                ),
            ],
        );
    }

    #[test]
    fn clients_get_the_stock_causes() {
        let url = |url: &str| with(json!({"clientConfig": {"url": url}}));
        let path = |path: &str| {
            with(
                json!({"clientConfig": {"url": null, "service": {"name": "s", "namespace": "n", "port": 443, "path": path}}}),
            )
        };
        const FORM: &str = "desired format: https://host[/path]";
        let form = |own: &str, why: &str| {
            format!("webhooks[0].clientConfig.url: Invalid value: {own}: {why}; {FORM}")
        };
        let (scheme, host) = (
            form("\"http\"", "'https' is the only allowed URL scheme"),
            form("\"\"", "host must be specified"),
        );
        let none = form("\"\"", "'https' is the only allowed URL scheme");
        assert_cases(
            url("https://x:8443/y"),
            webhooks,
            &[
                (
                    with(json!({"clientConfig": {"url": null}})),
                    &["webhooks[0].clientConfig: Required value: exactly one of url or service is required"],
                ),
                (url("http://x"), &[scheme.as_str()]),
                (url("https:///x"), &[host.as_str()]),
                (url("x"), &[none.as_str(), host.as_str()]),
                (
                    url("https://me@x/y?z#a"),
                    &[
                        "webhooks[0].clientConfig.url: Invalid value: \"me\": user information is not permitted in the URL",
                        "webhooks[0].clientConfig.url: Invalid value: \"a\": fragments are not permitted in the URL",
                        "webhooks[0].clientConfig.url: Invalid value: \"z\": query parameters are not permitted in the URL",
                    ],
                ),
                (
                    with(json!({"clientConfig": {"url": null, "service": {"port": 0}}})),
                    &[
                        "webhooks[0].clientConfig.service.name: Required value: service name is required",
                        "webhooks[0].clientConfig.service.namespace: Required value: service namespace is required",
                        "webhooks[0].clientConfig.service.port: Invalid value: 0: port is not valid: must be between 1 and 65535, inclusive",
                    ],
                ),
                (path("/a/b/"), &[]),
                (
                    path("//"),
                    &[
                        "webhooks[0].clientConfig.service.path: Invalid value: \"//\": segment[0] may not be empty",
                    ],
                ),
                (
                    path("/a//b"),
                    &[
                        "webhooks[0].clientConfig.service.path: Invalid value: \"/a//b\": segment[1] may not be empty",
                    ],
                ),
                (
                    path("ab"),
                    &["webhooks[0].clientConfig.service.path: Invalid value: \"ab\": must start with a '/'"],
                ),
                (
                    path("/A"),
                    &[
                        "webhooks[0].clientConfig.service.path: Invalid value: \"/A\": segment[0]: a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
                    ],
                ),
            ],
        );
    }
}
