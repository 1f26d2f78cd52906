use serde_json::json;

use super::{super::checks::assert_cases, *};

#[test]
fn claims_get_the_stock_causes() {
    let exactly = |own: Value| {
        let mut whole = json!({"deviceClassName": "gpu", "allocationMode": "ExactCount", "count": 1});
        coracle_schema::json_merge_patch(&mut whole, &own);
        json!({"requests": [{"name": "r", "exactly": whole}]})
    };
    let at = "d.requests[0]";
    assert_cases(
        exactly(
            json!({"selectors": [{"cel": {"expression": "device.driver == 'a' && device.attributes['a'].model == 'b'"}}]}),
        ),
        |claim| devices(claim, "d"),
        &[
            (
                json!({"requests": [{"name": "r"}]}),
                &[&format!("{at}: Required value: exactly one of `exactly` or `firstAvailable` is required")],
            ),
            (
                exactly(json!({"deviceClassName": null})),
                &[&format!("{at}.exactly.deviceClassName: Required value")],
            ),
            (
                exactly(json!({"count": 0})),
                &[&format!("{at}.exactly.count: Invalid value: 0: must be greater than zero")],
            ),
            (
                exactly(json!({"allocationMode": "All"})),
                &[&format!(
                    "{at}.exactly.count: Invalid value: 1: must not be specified when allocationMode is 'All'"
                )],
            ),
            (
                exactly(json!({"allocationMode": "Some"})),
                &[&format!(
                    "{at}.exactly.allocationMode: Unsupported value: \"Some\": supported values: \"All\", \"ExactCount\""
                )],
            ),
            (
                exactly(json!({"selectors": [{}]})),
                &[&format!("{at}.exactly.selectors[0].cel: Required value")],
            ),
            (
                exactly(json!({"selectors": [{"cel": {"expression": "device.driver"}}]})),
                &[&format!(
                    "{at}.exactly.selectors[0].cel.expression: Invalid value: \"device.driver\": must evaluate to bool or the unknown type, not string"
                )],
            ),
            (
                json!({"constraints": [{"requests": ["x"], "matchAttribute": "a.b/c"}]}),
                &[
                    "d.constraints[0].requests[0]: Invalid value: \"x\": must be the name of a request in the claim or the name of a request and a subrequest separated by '/'",
                ],
            ),
            (json!({"config": [{"requests": ["r"]}]}), &["d.config[0].opaque: Required value"]),
            (
                json!({"constraints": [{"matchAttribute": "model"}]}),
                &[
                    "d.constraints[0].matchAttribute: Invalid value: \"model\": a fully qualified name must be a domain and a name separated by a slash",
                ],
            ),
            (
                json!({"config": [{"opaque": {"driver": "d", "parameters": [1]}}]}),
                &[
                    "d.config[0].opaque.parameters: Invalid value: \"<value omitted>\": must be a valid JSON object",
                ],
            ),
            (
                exactly(
                    json!({"tolerations": [{"operator": "Exists", "value": "v", "effect": "Never"}, {"operator": "Near"}]}),
                ),
                &[
                    &format!(
                        "{at}.exactly.tolerations[0].value: Invalid value: \"v\": must be empty for operator `Exists`"
                    ),
                    &format!(
                        "{at}.exactly.tolerations[0].effect: Unsupported value: \"Never\": supported values: \"NoExecute\", \"NoSchedule\", \"None\""
                    ),
                    &format!(
                        "{at}.exactly.tolerations[1].operator: Unsupported value: \"Near\": supported values: \"Equal\", \"Exists\""
                    ),
                ],
            ),
            (
                exactly(
                    json!({"selectors": [{"cel": {"expression": "device.attributes.all(a, device.attributes.all(b, device.attributes.all(c, device.attributes.all(d, a + b + c == d))))"}}]}),
                ),
                &[&format!(
                    "{at}.exactly.selectors[0].cel.expression: Forbidden: too complex, exceeds cost limit"
                )],
            ),
            (
                exactly(
                    json!({"selectors": [{"cel": {"expression": "cel.bind(own, device.attributes['dra.example.com'], own.one && own.two == 'x')"}}]}),
                ),
                &[],
            ),
            (
                json!({"requests": vec![json!({}); 33]}),
                &["d.requests: Too many: 33: must have at most 32 items"],
            ),
        ],
    );
    let old = json!({"spec": {"a": 1}, "status": {"allocation": {"a": 1}}});
    assert_cases(
        old.clone(),
        |new| allocation::status(new, &old),
        &[
            (
                json!({"status": {"allocation": null, "reservedFor": [{"resource": "pods", "name": "p", "uid": "u"}]}}),
                &["status.reservedFor: Forbidden: may not be specified when `allocated` is not set"],
            ),
            (
                json!({"status": {"allocation": {"a": 2}}}),
                &["status.allocation: Invalid value: {\"a\":2}: field is immutable"],
            ),
        ],
    );
}

#[test]
fn slices_get_the_stock_causes() {
    assert_cases(
        json!({"spec": {"driver": "d.example.com", "nodeName": "n", "pool": {"name": "p", "resourceSliceCount": 1}, "devices": [{"name": "a", "attributes": {"x": {"bool": true}}}]}}),
        slice::check,
        &[
            (json!({"spec": {"driver": null}}), &["spec.driver: Required value"]),
            (
                json!({"spec": {"pool": {"resourceSliceCount": 0}}}),
                &["spec.pool.resourceSliceCount: Invalid value: 0: must be greater than zero"],
            ),
            (
                json!({"spec": {"devices": [{"name": "a"}, {"name": "a"}]}}),
                &["spec.devices[1]: Duplicate value: \"a\""],
            ),
            (
                json!({"spec": {"devices": [{"name": "a", "attributes": {"x": {}}}]}}),
                &["spec.devices[0].attributes[x]: Invalid value: \"\": exactly one value must be specified"],
            ),
        ],
    );
}

#[test]
fn classes_and_templates_get_the_stock_causes() {
    assert_cases(
        json!({"spec": {"extendedResourceName": "a.b/gpu"}}),
        class,
        &[
            (
                json!({"spec": {"extendedResourceName": "cpu"}}),
                &[
                    "spec.extendedResourceName: Invalid value: \"cpu\": must be a valid extended resource name",
                ],
            ),
            (json!({"spec": {"config": [{}]}}), &["spec.config[0].opaque: Required value"]),
        ],
    );
    assert_cases(
        json!({"spec": {"spec": {}}}),
        CLAIM_TEMPLATE.validate,
        &[(
            json!({"spec": {"metadata": {"annotations": {"/a": "b"}}}}),
            &["spec.metadata.annotations: Invalid value: \"/a\": prefix part must be non-empty"],
        )],
    );
}

#[test]
fn allocations_get_the_stock_causes() {
    let device = json!({"driver": "d.example.com", "pool": "p", "device": "a"});
    let with = |own: Value| {
        let mut whole = device.clone();
        coracle_schema::json_merge_patch(&mut whole, &own);
        json!([whole])
    };
    let results = |own: Value| json!({"status": {"allocation": {"devices": {"results": own}}}});
    let claim = json!({
        "spec": {"devices": {"requests": [{"name": "r"}]}},
        "status": {"allocation": {"devices": {"results": with(json!({"request": "r"}))}}, "devices": with(json!({}))},
    });
    let at = "status.allocation.devices";
    assert_cases(
        claim.clone(),
        |new| allocation::status(new, &json!({})),
        &[
            (
                results(with(json!({"request": "x"}))),
                &[&format!("{at}.results[0].request: Invalid value: \"x\": {REFERENCE}")],
            ),
            (
                results(with(json!({"request": "r", "shareID": "1", "bindingConditions": ["a.b/c"]}))),
                &[
                    "status.devices[0]: Invalid value: d.example.com/p/a: must be an allocated device in the claim",
                    &format!(
                        "{at}.results[0].bindingFailureConditions: Invalid value: null: bindingFailureConditions are required to use bindingConditions"
                    ),
                    &format!(
                        "{at}.results[0].shareID: Invalid value: \"1\": error validating uid: invalid UUID length: 1"
                    ),
                ],
            ),
            (
                json!({"status": {"allocation": {"devices": {"config": [{"opaque": {"driver": "d", "parameters": {}}}]}}}}),
                &[&format!("{at}.config[0].source: Required value")],
            ),
            (
                json!({"status": {"devices": [device, device]}}),
                &["status.devices[1]: Duplicate value: d.example.com/p/a"],
            ),
            (
                json!({"status": {"devices": with(json!({"data": 1, "networkData": {"interfaceName": "e".repeat(257), "ips": ["10.0.0.1", "2001:DB8::1/64"]}}))}}),
                &[
                    "status.devices[0].data: Invalid value: \"<value omitted>\": must be a valid JSON object",
                    "status.devices[0].networkData.interfaceName: Too long: may not be more than 256 bytes",
                    "status.devices[0].networkData.ips[0]: Invalid value: \"10.0.0.1\": must be a valid address in CIDR form, (e.g. 10.9.8.7/24 or 2001:db8::1/64)",
                    "status.devices[0].networkData.ips[1]: Invalid value: \"2001:DB8::1/64\": must be in canonical form (\"2001:db8::1/64\")",
                ],
            ),
        ],
    );
    // What drivers said goes with the allocation.
    let mut new = claim.clone();
    new["status"]["allocation"] = Value::Null;
    allocation::drop_deallocated(&mut new, &claim);
    assert_eq!(new["status"], json!({"allocation": null}));
}

#[test]
fn devices_get_the_stock_causes() {
    let one = |own: Value| {
        let mut whole = json!({"name": "a", "allowMultipleAllocations": true});
        coracle_schema::json_merge_patch(&mut whole, &own);
        json!({"spec": {"devices": [whole]}})
    };
    let policy = |own: Value| one(json!({"capacity": {"m": {"value": "10", "requestPolicy": own}}}));
    let at = "spec.devices[0]";
    let range = format!("{at}.capacity[m].requestPolicy.validRange");
    assert_cases(
        json!({"spec": {"driver": "d", "allNodes": true, "pool": {"name": "p", "resourceSliceCount": 1}}}),
        slice::check,
        &[
            (
                json!({"spec": {"nodeName": "n"}}),
                &[
                    "spec: Invalid value: \"{`nodeName`, `allNodes`}\": exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required, but multiple fields are set",
                ],
            ),
            (
                json!({"spec": {"allNodes": null}}),
                &[
                    "spec: Required value: exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required",
                ],
            ),
            (
                json!({"spec": {"allNodes": null, "perDeviceNodeSelection": true, "devices": [{"name": "a"}]}}),
                &[
                    "spec.devices[0]: Required value: exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required when `perDeviceNodeSelection` is set to true in the ResourceSlice spec",
                ],
            ),
            (
                one(json!({"nodeName": "n"})),
                &[
                    "spec.devices[0]: Invalid value: null: `nodeName`, `nodeSelector` and `allNodes` can only be set if `perDeviceNodeSelection` is set to true in the ResourceSlice spec",
                ],
            ),
            (
                one(json!({"attributes": {"1x": {"int": 1}, "b.c/": {"version": "1.2"}}})),
                &[
                    &format!(
                        "{at}.attributes: Invalid value: \"1x\": a valid C identifier must start with alphabetic character or '_', followed by a string of alphanumeric characters or '_' (e.g. 'my_name',  or 'MY_NAME',  or 'MyName', regex used for validation is '[A-Za-z_][A-Za-z0-9_]*')"
                    ),
                    &format!("{at}.attributes: Invalid value: \"\": the name must not be empty"),
                    &format!(
                        "{at}.attributes[b.c/].version: Invalid value: \"1.2\": must be a string compatible with semver.org spec 2.0.0"
                    ),
                ],
            ),
            (
                one(json!({"taints": [{"key": "k"}], "consumesCounters": [{"counterSet": "s"}]})),
                &[
                    &format!("{at}.taints[0].effect: Required value"),
                    &format!("{at}.consumesCounters[0].counters: Required value"),
                ],
            ),
            (
                json!({"spec": {"sharedCounters": [{"name": "s", "counters": {"C": {"value": "1"}}}], "devices": [{"name": "a"}]}}),
                &[
                    "spec: Invalid value: \"\": only one of `sharedCounters` or `devices` is allowed",
                    "spec.sharedCounters[0].counters: Invalid value: \"C\": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')",
                ],
            ),
            (
                one(json!({"bindingConditions": ["c", "c"], "bindingFailureConditions": ["c"]})),
                &[
                    &format!("{at}.bindingConditions[1]: Duplicate value: \"c\""),
                    &format!(
                        "{at}.bindingFailureConditions[0]: Invalid value: \"c\": bindingFailureConditions must not overlap with bindingConditions"
                    ),
                ],
            ),
            (policy(json!({"default": "4", "validRange": {"min": "2", "step": "2"}})), &[]),
            (
                policy(json!({"default": "5", "validRange": {"min": "2", "max": "12", "step": "9"}})),
                &[
                    &format!("{range}.max: Invalid value: \"12\": max is larger than capacity value: 10"),
                    &format!(
                        "{range}.step: Invalid value: \"9\": one step 11 is larger than capacity value: 10"
                    ),
                    &format!(
                        "{range}.step: Invalid value: \"5\": value is not a multiple of a given step (9) from (2)"
                    ),
                    &format!(
                        "{range}.step: Invalid value: \"12\": value is not a multiple of a given step (9) from (2)"
                    ),
                ],
            ),
            (
                policy(json!({"validValues": ["1"]})),
                &[&format!(
                    "{at}.capacity[m].requestPolicy.default: Required value: required when validValues is defined"
                )],
            ),
            (
                policy(json!({"default": "3", "validValues": ["20", "1"]})),
                &[
                    &format!(
                        "{at}.capacity[m].requestPolicy.validValues[1]: Invalid value: \"1\": values must be sorted in ascending order"
                    ),
                    &format!(
                        "{at}.capacity[m].requestPolicy.validValues[0]: Invalid value: \"20\": option is larger than capacity value: 10"
                    ),
                    &format!(
                        "{at}.capacity[m].requestPolicy.validValues: Invalid value: \"3\": default value is not valid according to the requestPolicy"
                    ),
                ],
            ),
            (
                one(
                    json!({"allowMultipleAllocations": null, "capacity": {"m": {"value": "1", "requestPolicy": {}}}}),
                ),
                &[&format!(
                    "{at}.capacity[m].requestPolicy: Forbidden: allowMultipleAllocations must be true"
                )],
            ),
        ],
    );
}
