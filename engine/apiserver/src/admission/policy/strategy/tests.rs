use super::*;
use crate::kinds::checks::assert_cases;
use serde_json::json;

fn rule(patch: Value) -> Value {
    let mut own =
        json!({"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]});
    coracle_schema::json_merge_patch(&mut own, &patch);
    own
}

fn constraints(rules: Value) -> Value {
    json!({"matchPolicy": "Equivalent", "namespaceSelector": {}, "objectSelector": {}, "resourceRules": rules})
}

fn validating() -> Value {
    json!({"kind": "ValidatingAdmissionPolicy", "metadata": {"name": "p"}, "spec": {
        "failurePolicy": "Fail", "matchConstraints": constraints(json!([rule(json!({}))])),
        "validations": [{"expression": "true"}]}})
}

fn spec(patch: Value) -> Value {
    json!({"spec": patch})
}

#[test]
fn validating_policies_get_the_stock_causes() {
    let one = |patch: Value| {
        let mut own = json!({"expression": "true"});
        coracle_schema::json_merge_patch(&mut own, &patch);
        spec(json!({"validations": [own]}))
    };
    let kind = |version: &str, kind: &str| spec(json!({"paramKind": {"apiVersion": version, "kind": kind}}));
    let annotation = |key: &str, expression: &str| json!({"key": key, "valueExpression": expression});
    let key = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
    let bad_key = format!("spec.auditAnnotations[0].key: Invalid value: \"p/a b\": {key}");
    let many: Vec<Value> = (0..21).map(|number| annotation(&format!("k{number}"), "'v'")).collect();
    let too_many = format!(
        "spec.auditAnnotations: Invalid value: {}: must not have more than 20 auditAnnotations",
        json!(many)
    );
    let long = format!("'{}'", "x".repeat(5 * 1024));
    assert_cases(
        validating(),
        policy,
        &[
            (spec(json!({"failurePolicy": null})), &["spec.failurePolicy: Required value"]),
            (
                spec(json!({"failurePolicy": "Open"})),
                &["spec.failurePolicy: Unsupported value: \"Open\": supported values: \"Fail\", \"Ignore\""],
            ),
            (
                kind("", ""),
                &["spec.paramKind.apiVersion: Required value", "spec.paramKind.kind: Required value"],
            ),
            (
                kind("a/b/c", "K"),
                &[
                    "spec.paramKind.apiVersion: Invalid value: \"a/b/c\": unexpected GroupVersion string: a/b/c",
                ],
            ),
            (
                kind("a/", "K"),
                &["spec.paramKind.apiVersion: Invalid value: \"a/\": version must be specified"],
            ),
            (
                kind("a/1", "K"),
                &[
                    "spec.paramKind.apiVersion: Invalid value: \"1\": a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')",
                ],
            ),
            (
                kind("a/v1", "1K"),
                &[
                    "spec.paramKind.kind: Invalid value: \"1K\": may have mixed case, but should otherwise match: a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')",
                ],
            ),
            (spec(json!({"matchConstraints": null})), &["spec.matchConstraints: Required value"]),
            (
                spec(json!({"matchConstraints": {"resourceRules": []}})),
                &["spec.matchConstraints.resourceRules: Required value"],
            ),
            (
                spec(
                    json!({"variables": [{"name": "", "expression": "1"}, {"name": "for", "expression": " "}]}),
                ),
                &[
                    "spec.variables[0].name: Required value: name is not specified",
                    "spec.variables[1].name: Invalid value: \"for\": must be a valid CEL identifier",
                    "spec.variables[1].expression: Required value: expression is not specified",
                ],
            ),
            (
                spec(json!({"validations": []})),
                &[
                    "spec.validations: Required value: validations or auditAnnotations must contain at least one item",
                    "spec.auditAnnotations: Required value: validations or auditAnnotations must contain at least one item",
                ],
            ),
            (
                one(json!({"expression": " "})),
                &["spec.validations[0].expression: Required value: expression is not specified"],
            ),
            (
                one(json!({"expression": "1"})),
                &["spec.validations[0].expression: Invalid value: \"1\": must evaluate to bool"],
            ),
            (one(json!({"expression": "true\n&& true"})), &[]),
            (
                one(json!({"messageExpression": " "})),
                &[
                    "spec.validations[0].messageExpression: Invalid value: \" \": must be non-empty if specified",
                ],
            ),
            (
                one(json!({"message": " "})),
                &["spec.validations[0].message: Invalid value: \" \": must be non-empty if specified"],
            ),
            (
                one(json!({"message": "a\rb"})),
                &["spec.validations[0].message: Invalid value: \"a\\rb\": must not contain line breaks"],
            ),
            (
                one(json!({"reason": "Unauthorized"})),
                &[
                    "spec.validations[0].reason: Unsupported value: \"Unauthorized\": supported values: \"Forbidden\", \"Invalid\", \"RequestEntityTooLarge\"",
                ],
            ),
            (spec(json!({"auditAnnotations": many})), &[too_many.as_str()]),
            (spec(json!({"auditAnnotations": [annotation("a b", "'v'")]})), &[bad_key.as_str()]),
            (
                spec(json!({"auditAnnotations": [annotation("a", " "), annotation("a", "'v'")]})),
                &[
                    "spec.auditAnnotations[0].valueExpression: Required value: valueExpression is not specified",
                    "spec.auditAnnotations[1].key: Duplicate value: \"a\"",
                ],
            ),
            (
                spec(json!({"auditAnnotations": [annotation("a", &long)]})),
                &[
                    "spec.auditAnnotations[0].valueExpression: Required value: must not exceed 5120 bytes in length",
                ],
            ),
            (
                spec(
                    json!({"auditAnnotations": [annotation("a", "authorizer.path('/x').check('get').reason()")]}),
                ),
                &[],
            ),
        ],
    );
}

#[test]
fn mutating_policies_get_the_stock_causes() {
    let merge = json!({"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": "Object{}"}});
    let base = json!({"kind": "MutatingAdmissionPolicy", "metadata": {"name": "p"}, "spec": {
        "failurePolicy": "Fail", "reinvocationPolicy": "Never",
        "matchConstraints": constraints(json!([rule(json!({}))])), "mutations": [merge]}});
    let with = |patch: Value| {
        let mut own = merge.clone();
        coracle_schema::json_merge_patch(&mut own, &patch);
        spec(json!({"mutations": [own]}))
    };
    assert_cases(
        base.clone(),
        policy,
        &[
            (
                spec(
                    json!({"matchConstraints": {"resourceRules": [rule(json!({"operations": ["DELETE"]}))]}}),
                ),
                &[
                    "spec.matchConstraints.resourceRules.operations: Unsupported value: \"DELETE\": supported values: \"*\", \"CONNECT\", \"CREATE\", \"UPDATE\"",
                ],
            ),
            (
                spec(json!({"mutations": []})),
                &["spec.mutations: Required value: mutations must contain at least one item"],
            ),
            (with(json!({"patchType": ""})), &["spec.mutations[0].patchType: Required value"]),
            (
                with(json!({"patchType": "Merge"})),
                &[
                    "spec.mutations[0].patchType: Unsupported value: \"Merge\": supported values: \"ApplyConfiguration\", \"JSONPatch\"",
                ],
            ),
            (
                with(json!({"patchType": "JSONPatch"})),
                &[
                    "spec.mutations[0].jsonPatch: Required value: must be specified when patchType is JSONPatch",
                    "spec.mutations[0].applyConfiguration: Invalid value: \"{applyConfiguration}\": must not be specified when patchType is JSONPatch",
                ],
            ),
            (
                with(json!({"jsonPatch": {"expression": "[]"}})),
                &[
                    "spec.mutations[0].jsonPatch: Invalid value: \"{jsonPatch}\": must not be specified when patchType is ApplyConfiguration",
                ],
            ),
            (
                with(json!({"applyConfiguration": {"expression": " "}})),
                &["spec.mutations[0].applyConfiguration.expression: Required value"],
            ),
            (spec(json!({"reinvocationPolicy": ""})), &["spec.reinvocationPolicy: Required value"]),
            (
                spec(json!({"reinvocationPolicy": "Twice"})),
                &[
                    "spec.reinvocationPolicy: Unsupported value: \"Twice\": supported values: \"IfNeeded\", \"Never\"",
                ],
            ),
        ],
    );
}

#[test]
fn bindings_get_the_stock_causes() {
    let actions = |list: Value| spec(json!({"validationActions": list}));
    let params = |patch: Value| {
        let mut own = json!({"name": "a", "parameterNotFoundAction": "Deny"});
        coracle_schema::json_merge_patch(&mut own, &patch);
        spec(json!({"paramRef": own}))
    };
    const EXCLUSIVE: [&str; 2] = [
        "spec.paramRef.name: Forbidden: name and selector are mutually exclusive",
        "spec.paramRef.selector: Forbidden: name and selector are mutually exclusive",
    ];
    let base = json!({"kind": "ValidatingAdmissionPolicyBinding", "spec": {"policyName": "p", "validationActions": ["Deny"]}});
    assert_cases(
        base,
        binding,
        &[
            (spec(json!({"policyName": ""})), &["spec.policyName: Required value"]),
            (
                spec(json!({"policyName": "P"})),
                &[
                    "spec.policyName: Invalid value: \"P\": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
                ],
            ),
            (
                params(json!({"name": "a/b"})),
                &["spec.paramRef.name: Invalid value: \"a/b\": may not contain '/'"],
            ),
            (params(json!({"selector": {}})), &EXCLUSIVE),
            (
                params(json!({"name": null})),
                &["spec.paramRef: Required value: one of name or selector must be specified"],
            ),
            (
                params(json!({"parameterNotFoundAction": null})),
                &["spec.paramRef.parameterNotFoundAction: Required value"],
            ),
            (
                params(json!({"parameterNotFoundAction": "Warn"})),
                &[
                    "spec.paramRef.parameterNotFoundAction: Unsupported value: \"Warn\": supported values: \"Deny\", \"Allow\"",
                ],
            ),
            (
                spec(json!({"matchResources": {"matchPolicy": "Exact", "namespaceSelector": {}}})),
                &["spec.matchResources.objectSelector: Required value"],
            ),
            (
                actions(json!([])),
                &["spec.validationActions: Required value: at least one validation action is required"],
            ),
            (
                actions(json!(["Deny", "Deny", "Shout"])),
                &[
                    "spec.validationActions[1]: Duplicate value: \"Deny\"",
                    "spec.validationActions[2]: Unsupported value: \"Shout\": supported values: \"Audit\", \"Deny\", \"Warn\"",
                ],
            ),
            (
                actions(json!(["Deny", "Warn"])),
                &[
                    "spec.validationActions: Invalid value: [\"Deny\",\"Warn\"]: must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)",
                ],
            ),
        ],
    );
    assert_cases(
        json!({"kind": "MutatingAdmissionPolicyBinding", "spec": {"policyName": "p"}}),
        binding,
        &[(
            spec(json!({"matchResources": constraints(json!([rule(json!({"operations": ["DELETE"]}))]))})),
            &[
                "spec.matchResources.resourceRules.operations: Unsupported value: \"DELETE\": supported values: \"*\", \"CONNECT\", \"CREATE\", \"UPDATE\"",
            ],
        )],
    );
}

#[test]
fn the_status_of_a_policy_gets_the_stock_causes() {
    let warning = |warning: &str, field: &str| json!({"status": {"typeChecking": {"expressionWarnings": [{"warning": warning, "fieldRef": field}]}}});
    const AT: &str = "status.typeChecking.expressionWarnings[0]";
    assert_cases(
        warning("w", "spec.validations[0].expression"),
        |new| status(new, &Value::Null),
        &[
            (warning("", "spec"), &[format!("{AT}.warning: Required value").as_str()]),
            (warning("w", " "), &[format!("{AT}.fieldRef: Required value").as_str()]),
            (
                json!({"status": {"conditions": [{"type": "Ready", "status": "True", "reason": "R"}]}}),
                &["status.conditions[0].lastTransitionTime: Required value"],
            ),
        ],
    );
}
