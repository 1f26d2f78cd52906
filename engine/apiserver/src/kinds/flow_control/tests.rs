use super::{super::checks::assert_cases, *};

#[test]
fn the_objects_of_a_new_cluster_are_valid_and_the_mandatory_ones_fixed() {
    for object in flow_control::objects() {
        let causes = if object["kind"] == "FlowSchema" { schema(&object) } else { level(&object) };
        assert_eq!(causes, [], "{object}");
    }
    let of = |kind: &str, name: &str| {
        let is_it = |own: &Value| own["kind"] == kind && object::name(own) == name;
        flow_control::mandatory().find(is_it).expect("one")
    };
    let mut changed = of("FlowSchema", "exempt");
    changed["spec"]["rules"] = json!([]);
    assert!(schema(&changed)[0].message.ends_with("spec of 'exempt' must equal the fixed value"));
    let mut changed = of("PriorityLevelConfiguration", "exempt");
    changed["spec"]["exempt"]["lendablePercent"] = 7.into();
    assert_eq!(level(&changed), []);
    changed["spec"]["limited"] = json!({});
    let causes: Vec<String> = level(&changed).iter().map(ToString::to_string).collect();
    assert_eq!(causes[0], "spec.limited: Forbidden: must be nil if the type is not Limited");
    // An empty one is as good as none, as far as the rest goes.
    assert_eq!(causes.len(), 1);
    changed["spec"]["type"] = "Limited".into();
    let causes = level(&changed);
    let last = &causes.last().expect("one").message;
    assert!(
        last.ends_with("spec of 'exempt' except the 'spec.exempt' field must equal the fixed value"),
        "{last}"
    );
}

#[test]
fn schemas_get_the_stock_causes() {
    let resource = |patch: Value| {
        let mut own =
            json!({"verbs": ["get"], "apiGroups": [""], "resources": ["pods"], "namespaces": ["default"]});
        coracle_schema::json_merge_patch(&mut own, &patch);
        json!({"resourceRules": [own]})
    };
    let rule = |patch: Value| {
        let mut own = resource(json!({}));
        own["subjects"] = json!([{"kind": "User", "user": {"name": "u"}}]);
        coracle_schema::json_merge_patch(&mut own, &patch);
        json!({"spec": {"rules": [own]}})
    };
    let subject = |own: Value| rule(json!({"subjects": [own]}));
    let account = |own: Value| subject(json!({"kind": "ServiceAccount", "serviceAccount": own}));
    let url = |list: Value| {
        rule(json!({"resourceRules": null, "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": list}]}))
    };
    const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
    const VERBS: &str = "supported values: \"create\", \"delete\", \"deletecollection\", \"get\", \"list\", \"patch\", \"proxy\", \"update\", \"watch\"";
    let at = "spec.rules[0].resourceRules[0]";
    let urls = "spec.rules[0].nonResourceRules[0].nonResourceURLs";
    let own = json!({"metadata": {"name": "x"}, "spec": {"matchingPrecedence": 5, "priorityLevelConfiguration": {"name": "y"}}});
    assert_cases(
        own,
        schema,
        &[
            (
                json!({"spec": {"matchingPrecedence": 0}}),
                &["spec.matchingPrecedence: Invalid value: 0: must be a positive value"],
            ),
            (
                json!({"spec": {"matchingPrecedence": 10001}}),
                &["spec.matchingPrecedence: Invalid value: 10001: must not be greater than 10000"],
            ),
            (
                json!({"spec": {"matchingPrecedence": 1}}),
                &["spec.matchingPrecedence: Invalid value: 1: only the schema named 'exempt' may have matchingPrecedence 1"],
            ),
            (
                json!({"spec": {"distinguisherMethod": {"type": "ByMood"}}}),
                &["spec.distinguisherMethod.type: Unsupported value: {\"Type\":\"ByMood\"}: supported values: \"ByNamespace\", \"ByUser\""],
            ),
            (
                json!({"spec": {"priorityLevelConfiguration": {"name": ""}}}),
                &["spec.priorityLevelConfiguration.name: Required value: must reference a priority level"],
            ),
            (rule(json!({})), &[]),
            (
                rule(json!({"subjects": null})),
                &["spec.rules[0].subjects: Required value: subjects must contain at least one value"],
            ),
            (
                rule(json!({"resourceRules": null})),
                &["spec.rules[0]: Required value: at least one of resourceRules and nonResourceRules has to be non-empty"],
            ),
            (
                subject(json!({"kind": "User"})),
                &["spec.rules[0].subjects[0].user: Required value: user is required when subject kind is 'User'"],
            ),
            (
                subject(json!({"kind": "Robot", "user": {}})),
                &["spec.rules[0].subjects[0].kind: Unsupported value: \"Robot\": supported values: \"Group\", \"ServiceAccount\", \"User\""],
            ),
            (
                subject(json!({"kind": "Group", "group": {"name": ""}, "user": {"name": "u"}, "serviceAccount": {}})),
                &[
                    "spec.rules[0].subjects[0].group.name: Required value",
                    "spec.rules[0].subjects[0].serviceAccount: Forbidden: serviceAccount is forbidden when subject kind is not 'ServiceAccount'",
                    "spec.rules[0].subjects[0].user: Forbidden: user is forbidden when subject kind is not 'User'",
                ],
            ),
            (account(json!({"name": "*", "namespace": "n"})), &[]),
            (
                account(json!({"name": ""})),
                &[
                    "spec.rules[0].subjects[0].serviceAccount.name: Required value",
                    "spec.rules[0].subjects[0].serviceAccount.namespace: Required value: must specify namespace for service account",
                ],
            ),
            (
                account(json!({"name": "a", "namespace": "N"})),
                &[format!("spec.rules[0].subjects[0].serviceAccount.namespace: Invalid value: \"N\": {LABEL}").as_str()],
            ),
            (
                rule(resource(json!({"verbs": null, "apiGroups": null, "resources": null, "namespaces": null}))),
                &[
                    format!("{at}.verbs: Required value: verbs must contain at least one value").as_str(),
                    format!("{at}.apiGroups: Required value: resource rules must supply at least one api group").as_str(),
                    format!("{at}.resources: Required value: resource rules must supply at least one resource").as_str(),
                    format!("{at}.namespaces: Required value: resource rules that are not cluster scoped must supply at least one namespace").as_str(),
                ],
            ),
            (
                rule(resource(json!({"verbs": ["*", "get"], "apiGroups": ["*", ""]}))),
                &[
                    format!("{at}.verbs: Invalid value: [\"*\",\"get\"]: if '*' is present, must not specify other verbs").as_str(),
                    format!("{at}.apiGroups: Invalid value: [\"*\",\"\"]: if '*' is present, must not specify other api groups").as_str(),
                ],
            ),
            (
                rule(resource(json!({"verbs": ["get", "steal"]}))),
                &[format!("{at}.verbs: Unsupported value: [\"get\",\"steal\"]: {VERBS}").as_str()],
            ),
            (rule(resource(json!({"namespaces": null, "clusterScope": true}))), &[]),
            (
                rule(resource(json!({"namespaces": ["*", "a"]}))),
                &[format!("{at}.namespaces: Invalid value: [\"*\",\"a\"]: if '*' is present, must not specify other namespaces").as_str()],
            ),
            (
                rule(resource(json!({"namespaces": ["A"]}))),
                &[format!("{at}.namespaces[0]: Invalid value: \"A\": each member of this list must be '*' or a DNS-1123 label; {LABEL}").as_str()],
            ),
            (url(json!(["/", "/a/*", "/b"])), &[]),
            (
                url(json!(["", "a", "/a b", "/a//b", "/a*", "/*/*"])),
                &[
                    format!("{urls}[0]: Invalid value: \"\": must not be empty").as_str(),
                    format!("{urls}[1]: Invalid value: \"a\": must start with slash").as_str(),
                    format!("{urls}[2]: Invalid value: \"/a b\": must not contain white-space").as_str(),
                    format!("{urls}[3]: Invalid value: \"/a//b\": must not contain double slash").as_str(),
                    format!("{urls}[4]: Invalid value: \"/a*\": wildcard can only do suffix matching").as_str(),
                    format!("{urls}[5]: Invalid value: \"/*/*\": wildcard can only do suffix matching").as_str(),
                ],
            ),
            (
                url(json!(["*", "/a"])),
                &[format!("{urls}: Invalid value: [\"*\",\"/a\"]: if '*' is present, must not specify other non-resource URLs").as_str()],
            ),
            (
                json!({"status": {"conditions": [{"type": "Dangling"}, {"type": "Dangling"}, {}]}}),
                &[
                    "status.conditions[1].type: Duplicate value: \"Dangling\"",
                    "status.conditions[2].type: Required value",
                ],
            ),
        ],
    );
}

#[test]
fn levels_get_the_stock_causes() {
    let queuing = |patch: Value| {
        let mut own = json!({"queues": 64, "handSize": 6, "queueLengthLimit": 50});
        coracle_schema::json_merge_patch(&mut own, &patch);
        json!({"spec": {"limited": {"limitResponse": {"type": "Queue", "queuing": own}}}})
    };
    let limited = |patch: Value| json!({"spec": {"limited": patch}});
    const AT: &str = "spec.limited.limitResponse.queuing";
    let own = json!({"metadata": {"name": "x"}, "spec": {"type": "Limited", "limited": {"limitResponse": {"type": "Reject"}}}});
    assert_cases(
        own,
        level,
        &[
            (
                json!({"spec": {"type": "Exempt", "limited": null}}),
                &["spec.type: Invalid value: \"Exempt\": must be 'Exempt' if and only if `name` is 'exempt'"],
            ),
            (
                json!({"spec": {"type": "Some"}}),
                &["spec.type: Unsupported value: \"Some\": supported values: \"Exempt\", \"Limited\""],
            ),
            (limited(Value::Null), &["spec.limited: Required value: must not be empty when type is Limited"]),
            (
                json!({"spec": {"exempt": {}}}),
                &["spec.exempt: Forbidden: must be nil if the type is Limited"],
            ),
            (
                limited(json!({"nominalConcurrencyShares": -1, "lendablePercent": 101, "borrowingLimitPercent": -1})),
                &[
                    "spec.limited.nominalConcurrencyShares: Invalid value: -1: must be a non-negative integer",
                    "spec.limited.lendablePercent: Invalid value: 101: must be between 0 and 100, inclusive",
                    "spec.limited.borrowingLimitPercent: Invalid value: -1: if specified, must be a non-negative integer",
                ],
            ),
            (
                limited(json!({"limitResponse": {"queuing": {}}})),
                &[format!("{AT}: Forbidden: must be nil if limited.limitResponse.type is not Limited").as_str()],
            ),
            (
                limited(json!({"limitResponse": {"type": "Queue"}})),
                &[format!("{AT}: Required value: must not be empty if limited.limitResponse.type is Limited").as_str()],
            ),
            (
                limited(json!({"limitResponse": {"type": "Wait"}})),
                &["spec.limited.limitResponse.type: Unsupported value: \"Wait\": supported values: \"Queue\", \"Reject\""],
            ),
            (queuing(json!({})), &[]),
            (
                queuing(json!({"queues": 2, "handSize": 3, "queueLengthLimit": 0})),
                &[
                    format!("{AT}.queueLengthLimit: Invalid value: 0: must be positive").as_str(),
                    format!("{AT}.handSize: Invalid value: 3: should not be greater than queues (2)").as_str(),
                ],
            ),
            (
                queuing(json!({"queues": 10_000_001, "handSize": 0})),
                &[
                    format!("{AT}.queues: Invalid value: 10000001: must not be greater than 10000000").as_str(),
                    format!("{AT}.handSize: Invalid value: 0: must be positive").as_str(),
                ],
            ),
            (
                queuing(json!({"queues": 512, "handSize": 8})),
                &[format!("{AT}.handSize: Invalid value: 8: required entropy bits of deckSize 512 and handSize 8 should not be greater than 60").as_str()],
            ),
        ],
    );
}
