use super::*;
use crate::kinds::checks::assert_cases;
use serde_json::json;

fn version(name: &str, patch: Value) -> Value {
    let mut own = json!({"name": name, "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object", "properties": {
        "spec": {"type": "object", "properties": {"color": {"type": "string"}}}}}}});
    coracle_schema::json_merge_patch(&mut own, &patch);
    own
}

fn one(patch: Value) -> Value {
    json!({"versions": [version("v1", patch)]})
}

fn two(second: Value) -> Value {
    json!({"versions": [version("v1", json!({})), version("v2", second)]})
}

fn base() -> Value {
    json!({"group": "a.b", "scope": "Namespaced", "names": {"plural": "things", "singular": "thing", "kind": "Thing", "listKind": "ThingList"},
        "versions": [version("v1", json!({}))], "conversion": {"strategy": "None"}})
}

fn of(spec: &Value) -> Causes {
    let mut out = Vec::new();
    check(&mut out, spec, None);
    out
}

const DNS_1035: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";

#[test]
fn names_get_the_stock_causes() {
    let names = |patch: Value| json!({"names": patch});
    let bad =
        |field: &str, value: &str| format!("spec.names.{field}: Invalid value: \"{value}\": {DNS_1035}");
    let mixed = |field: &str, value: &str| {
        format!(
            "spec.names.{field}: Invalid value: \"{value}\": may have mixed case, but should otherwise match: {DNS_1035}"
        )
    };
    assert_cases(
        base(),
        of,
        &[
            (json!({"group": ""}), &["spec.group: Required value"]),
            (
                json!({"group": "a"}),
                &["spec.group: Invalid value: \"a\": should be a domain with at least one dot"],
            ),
            (json!({"scope": ""}), &["spec.scope: Required value"]),
            (
                json!({"scope": "All"}),
                &["spec.scope: Unsupported value: \"All\": supported values: \"Cluster\", \"Namespaced\""],
            ),
            (names(json!({"plural": ""})), &["spec.names.plural: Required value"]),
            (names(json!({"kind": ""})), &["spec.names.kind: Required value"]),
            (names(json!({"singular": ""})), &["spec.names.singular: Required value"]),
            (names(json!({"plural": "Things"})), &[bad("plural", "Things").as_str()]),
            (names(json!({"kind": "1Thing"})), &[mixed("kind", "1Thing").as_str()]),
            (
                names(json!({"listKind": "Thing"})),
                &["spec.names.listKind: Invalid value: \"Thing\": kind and listKind may not be the same"],
            ),
            (names(json!({"shortNames": ["t", "T"]})), &[bad("shortNames[1]", "T").as_str()]),
            (names(json!({"categories": ["All"]})), &[bad("categories[0]", "All").as_str()]),
        ],
    );
}

#[test]
fn versions_get_the_stock_causes() {
    let name = |at: &str| format!("{at}: Invalid value: \"V\": {DNS_1035}");
    let starts = |patch: Value, expected: &str| {
        let mut spec = base();
        coracle_schema::json_merge_patch(&mut spec, &patch);
        let all: Vec<String> = of(&spec).iter().map(ToString::to_string).collect();
        assert!(all.len() == 1 && all[0].ends_with(expected), "{all:?}");
    };
    starts(json!({"versions": []}), "must have exactly one version marked as storage version");
    starts(two(json!({})), "must have exactly one version marked as storage version");
    starts(two(json!({"name": "v1", "storage": false})), "must contain unique version names");
    let printable = "must only contain printable UTF-8 characters; non-printable character found at index 1";
    assert_cases(
        base(),
        of,
        &[
            (
                json!({"versions": [version("V", json!({}))]}),
                &[name("spec.versions[0].name").as_str(), name("spec.version").as_str()],
            ),
            (
                one(json!({"schema": null})),
                &["spec.versions[0].schema.openAPIV3Schema: Required value: schemas are required"],
            ),
            (
                two(json!({"storage": false, "schema": null})),
                &["spec.versions[1].schema.openAPIV3Schema: Required value: schemas are required"],
            ),
            (
                one(json!({"deprecationWarning": "w"})),
                &[
                    "spec.versions[0].deprecationWarning: Invalid value: \"w\": can only be set for deprecated versions",
                ],
            ),
            (
                one(json!({"deprecated": true, "deprecationWarning": ""})),
                &["spec.versions[0].deprecationWarning: Invalid value: \"\": must not be an empty string"],
            ),
            (
                one(json!({"deprecated": true, "deprecationWarning": "a\n"})),
                &[format!("spec.versions[0].deprecationWarning: Invalid value: \"a\\n\": {printable}")
                    .as_str()],
            ),
        ],
    );
}

#[test]
fn schemas_stand_beside_their_versions_when_all_have_the_same() {
    let string = json!({"schema": {"openAPIV3Schema": {"properties": {"spec": {"type": "text"}}}}});
    let apart =
        json!({"storage": false, "schema": {"openAPIV3Schema": {"properties": {"spec": {"type": "text"}}}}});
    const KINDS: &str = "properties[spec].type: Unsupported value: \"text\": supported values: \"array\", \"boolean\", \"integer\", \"number\", \"object\", \"string\"";
    let status =
        |root: Value| one(json!({"subresources": {"status": {}}, "schema": {"openAPIV3Schema": root}}));
    assert_cases(
        base(),
        of,
        &[
            (one(string), &[format!("spec.validation.openAPIV3Schema.{KINDS}").as_str()]),
            (two(apart), &[format!("spec.versions[1].schema.openAPIV3Schema.{KINDS}").as_str()]),
            (
                status(json!({"type": "array", "items": {"type": "string"}})),
                &[
                    "spec.validation.openAPIV3Schema.type: Invalid value: \"array\": only \"object\" is allowed as the type at the root of the schema if the status subresource is enabled",
                    "spec.validation.openAPIV3Schema.type: Invalid value: \"array\": must be object at the root",
                ],
            ),
            (status(json!({"description": "d", "required": ["spec"]})), &[]),
        ],
    );
    let mut refused = base();
    coracle_schema::json_merge_patch(&mut refused, &status(json!({"maxProperties": 3})));
    let causes = of(&refused);
    assert!(
        causes[0].message.contains("XValidations] fields are allowed at the root of the schema"),
        "{causes:?}"
    );
}

#[test]
fn columns_and_subresources_get_the_stock_causes() {
    let column = |patch: Value| {
        let mut own = json!({"name": "C", "type": "string", "jsonPath": ".spec.color"});
        coracle_schema::json_merge_patch(&mut own, &patch);
        one(json!({"additionalPrinterColumns": [own]}))
    };
    let scale = |patch: Value| {
        let mut own = json!({"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"});
        coracle_schema::json_merge_patch(&mut own, &patch);
        one(json!({"subresources": {"scale": own}}))
    };
    const TYPES: &str = "must be one of boolean,date,integer,number,string";
    let fields = |paths: &[&str]| {
        let fields: Vec<Value> = paths.iter().map(|path| json!({"jsonPath": path})).collect();
        json!({"selectableFields": fields})
    };
    let mut apart = fields(&[".spec.color"]);
    apart["storage"] = false.into();
    assert_cases(
        base(),
        of,
        &[
            (column(json!({"name": ""})), &["spec.additionalPrinterColumns[0].name: Required value"]),
            (
                column(json!({"type": ""})),
                &[format!("spec.additionalPrinterColumns[0].type: Required value: {TYPES}").as_str()],
            ),
            (
                column(json!({"type": "object"})),
                &[format!("spec.additionalPrinterColumns[0].type: Invalid value: \"object\": {TYPES}")
                    .as_str()],
            ),
            (
                column(json!({"format": "int16"})),
                &[
                    "spec.additionalPrinterColumns[0].format: Invalid value: \"int16\": must be one of byte,date,date-time,double,float,int32,int64,password",
                ],
            ),
            (column(json!({"jsonPath": ""})), &["spec.additionalPrinterColumns[0].JSONPath: Required value"]),
            (
                column(json!({"jsonPath": "spec"})),
                &[
                    "spec.additionalPrinterColumns[0].JSONPath: Invalid value: \"spec\": must be a simple json path starting with .",
                ],
            ),
            (
                scale(json!({"specReplicasPath": "", "statusReplicasPath": ""})),
                &[
                    "spec.subresources.scale.specReplicasPath: Required value",
                    "spec.subresources.scale.statusReplicasPath: Required value",
                ],
            ),
            (
                scale(json!({"specReplicasPath": ".status.replicas", "statusReplicasPath": "status"})),
                &[
                    "spec.subresources.scale.specReplicasPath: Invalid value: \".status.replicas\": should be a json path under .spec",
                    "spec.subresources.scale.statusReplicasPath: Invalid value: \"status\": must be a simple json path starting with .",
                ],
            ),
            (scale(json!({"labelSelectorPath": ".spec.selector"})), &[]),
            (
                scale(json!({"labelSelectorPath": ".selector"})),
                &[
                    "spec.subresources.scale.labelSelectorPath: Invalid value: \".selector\": should be a json path under either .spec or .status",
                ],
            ),
            (one(fields(&[""])), &["spec.selectableFields[0].jsonPath: Required value"]),
            (
                one(fields(&[".spec.color", ".spec.color"])),
                &["spec.selectableFields[1].jsonPath: Duplicate value: \".spec.color\""],
            ),
            (
                one(fields(&[".spec"])),
                &[
                    "spec.selectableFields[0].jsonPath: Invalid value: \".spec\": must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed.",
                ],
            ),
        ],
    );
}

#[test]
fn conversions_get_the_stock_causes() {
    let conversion = |own: Value| json!({"conversion": own});
    let webhook = |own: Value| conversion(json!({"strategy": "Webhook", "webhook": own}));
    let client = json!({"url": "https://x"});
    assert_cases(
        base(),
        of,
        &[
            (conversion(json!({"strategy": ""})), &["spec.conversion.strategy: Required value"]),
            (
                conversion(json!({"strategy": "Magic"})),
                &[
                    "spec.conversion.strategy: Unsupported value: \"Magic\": supported values: \"None\", \"Webhook\"",
                ],
            ),
            (
                conversion(json!({"webhook": {"clientConfig": {}, "conversionReviewVersions": ["v1"]}})),
                &[
                    "spec.conversion.webhookClientConfig: Forbidden: should not be set when strategy is not set to Webhook",
                    "spec.conversion.conversionReviewVersions: Forbidden: should not be set when strategy is not set to Webhook",
                ],
            ),
            (
                webhook(json!({})),
                &[
                    "spec.conversion.webhookClientConfig: Required value: required when strategy is set to Webhook",
                    "spec.conversion.conversionReviewVersions: Required value",
                ],
            ),
            (
                webhook(json!({"clientConfig": {"url": "http://x"}, "conversionReviewVersions": ["v9"]})),
                &[
                    "spec.conversion.webhookClientConfig.url: Invalid value: \"http\": 'https' is the only allowed URL scheme; desired format: https://host[/path]",
                    "spec.conversion.conversionReviewVersions: Invalid value: [\"v9\"]: must include at least one of v1, v1beta1",
                ],
            ),
            (webhook(json!({"clientConfig": client, "conversionReviewVersions": ["v1"]})), &[]),
        ],
    );
}

#[test]
fn what_a_served_definition_had_is_left_alone() {
    // Each rule may cost too much, where nothing bounds the list.
    let costly = json!({"schema": {"openAPIV3Schema": {"properties": {"list": {"type": "array", "items": {"type": "string"},
        "x-kubernetes-validations": [{"rule": "self.all(x, self.exists_one(y, x == y))"}]}}}}});
    let (mut old, mut new) = (base(), base());
    coracle_schema::json_merge_patch(&mut old, &one(costly.clone()));
    coracle_schema::json_merge_patch(&mut new, &one(costly));
    let before = Before { spec: &old, established: true };
    let after = |new: &Value, before: &Before<'_>| {
        let mut out = Vec::new();
        check(&mut out, new, Some(before));
        out
    };
    assert!(of(&new).iter().any(|cause| cause.message.contains("estimated rule cost exceeds budget")));
    new["names"]["shortNames"] = json!(["t"]);
    assert_eq!(after(&new, &before), []);
    // A schema that changes is looked at as a whole.
    new["versions"][0]["schema"]["openAPIV3Schema"]["description"] = "d".into();
    assert!(!after(&new, &before).is_empty());

    let bundle = |bundle: &str| {
        let mut spec = base();
        let webhook = json!({"clientConfig": {"url": "https://x", "caBundle": bundle}, "conversionReviewVersions": ["v1"]});
        spec["conversion"] = json!({"strategy": "Webhook", "webhook": webhook});
        spec
    };
    let (good, broken) = (base(), bundle("YQ=="));
    assert_eq!(of(&broken), []);
    assert_eq!(after(&broken, &Before { spec: &good, established: false }), []);
    assert_eq!(after(&broken, &Before { spec: &broken, established: true }), []);
    assert_eq!(
        after(&broken, &Before { spec: &good, established: true })[0].to_string(),
        "spec.conversion.webhookClientConfig.caBundle: Invalid value: \"YQ==\": unable to load root certificates: unable to parse bytes as PEM block"
    );
}
