use super::*;
use serde_json::json;

fn assert_rows(warn: impl Fn(&Value) -> Vec<String>, rows: &[(Value, &[&str])]) {
    for (object, expected) in rows {
        assert_eq!(warn(object), *expected, "{object}");
    }
}

#[test]
fn a_service_gets_the_stock_warnings() {
    let cluster = |mut spec: Value| {
        for (field, value) in [("type", "ClusterIP"), ("clusterIP", "10.43.0.9"), ("sessionAffinity", "None")]
        {
            if spec[field].is_null() {
                spec[field] = value.into();
            }
        }
        json!({"spec": spec})
    };
    assert_rows(
        service,
        &[
            (cluster(json!({"clusterIPs": ["10.43.0.9"], "trafficDistribution": "PreferSameZone"})), &[]),
            (
                json!({"metadata": {"annotations": {"service.kubernetes.io/topology-aware-hints": "auto"}}, "spec": {"type": "ClusterIP"}}),
                &[
                    "annotation service.kubernetes.io/topology-aware-hints is deprecated, please use service.kubernetes.io/topology-mode instead",
                ],
            ),
            (
                cluster(json!({"clusterIP": "fd00:0::9", "clusterIPs": ["fd00:0::9"]})),
                &[
                    "spec.clusterIPs[0]: IPv6 address \"fd00:0::9\" should be in RFC 5952 canonical format (\"fd00::9\")",
                ],
            ),
            (
                cluster(
                    json!({"clusterIP": "None", "clusterIPs": ["None"], "loadBalancerIP": "192.0.2.1", "externalIPs": ["192.0.2.1"], "sessionAffinity": "ClientIP"}),
                ),
                &[
                    "spec.loadBalancerIP is ignored for headless services",
                    "spec.externalIPs is ignored for headless services",
                    "spec.SessionAffinity is ignored for headless services",
                ],
            ),
            (
                cluster(json!({"externalIPs": ["192.0.2.1"], "externalName": "a.example"})),
                &[
                    "spec.externalIPs is deprecated and may no longer be implemented in some clusters",
                    "spec.externalName is ignored when spec.type is not \"ExternalName\"",
                ],
            ),
            (
                json!({"spec": {"type": "ExternalName", "externalName": "a.example", "externalIPs": ["192.0.2.1"]}}),
                &["spec.externalIPs is ignored when spec.type is \"ExternalName\""],
            ),
            (
                cluster(
                    json!({"type": "LoadBalancer", "loadBalancerIP": "fd00:0::1", "loadBalancerSourceRanges": ["fd00:0::/64"], "trafficDistribution": "PreferClose"}),
                ),
                &[
                    "spec.loadBalancerIP: IPv6 address \"fd00:0::1\" should be in RFC 5952 canonical format (\"fd00::1\")",
                    "spec.loadBalancerSourceRanges[0]: IPv6 CIDR value \"fd00:0::/64\" should be in RFC 5952 canonical format (\"fd00::/64\")",
                    "spec.trafficDistribution: \"PreferClose\" is deprecated; use \"PreferSameZone\"",
                ],
            ),
        ],
    );
}

#[test]
fn an_ingress_is_told_once_that_its_class_has_a_field() {
    let by_annotation = json!({"metadata": {"annotations": {INGRESS_CLASS: "nginx"}}, "spec": {}});
    let text = "annotation \"kubernetes.io/ingress.class\" is deprecated, please use 'spec.ingressClassName' instead";
    let mut with_both = by_annotation.clone();
    with_both["spec"]["ingressClassName"] = "nginx".into();
    assert_eq!(ingress(&by_annotation, true), [text]);
    assert!(ingress(&by_annotation, false).is_empty() && ingress(&with_both, true).is_empty());
}

#[test]
fn volumes_and_classes_get_the_stock_warnings() {
    let old = json!([{"key": "beta.kubernetes.io/os"}]);
    assert_rows(
        |object| volume(object, true),
        &[
            (
                json!({"metadata": {"annotations": {"volume.beta.kubernetes.io/storage-class": "a", "volume.beta.kubernetes.io/mount-options": "ro"}}}),
                &[
                    "metadata.annotations[volume.beta.kubernetes.io/storage-class]: deprecated since v1.8; use \"storageClassName\" attribute instead",
                    "metadata.annotations[volume.beta.kubernetes.io/mount-options]: deprecated since v1.31; use \"mountOptions\" attribute instead",
                ],
            ),
            (
                json!({"spec": {"persistentVolumeReclaimPolicy": "Recycle", "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": old}]}}, "storageos": {}}}),
                &[
                    "spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. Instead, the recommended approach is to use dynamic provisioning.",
                    "spec.nodeAffinity.required.nodeSelectorTerms[0].matchExpressions[0].key: beta.kubernetes.io/os is deprecated since v1.14; use \"kubernetes.io/os\" instead",
                    "spec.storageOS: deprecated in v1.22, non-functional in v1.25+",
                ],
            ),
            (json!({"spec": {"hostPath": {"path": "/x"}, "persistentVolumeReclaimPolicy": "Retain"}}), &[]),
        ],
    );
    assert_rows(
        |object| storage_class(object, true),
        &[(
            json!({"allowedTopologies": [{"matchLabelExpressions": [{"key": "topology.kubernetes.io/zone"}]}, {"matchLabelExpressions": old}]}),
            &[
                "allowedTopologies[1].matchLabelExpressions[0].key: deprecated since v1.14; use \"kubernetes.io/os\" instead",
            ],
        )],
    );
    assert_rows(
        |object| storage_capacity(object, true),
        &[(
            json!({"nodeTopology": {"matchExpressions": old, "matchLabels": {"beta.kubernetes.io/arch": "amd64"}}}),
            &[
                "nodeTopology.matchExpressions[0].key: beta.kubernetes.io/os is deprecated since v1.14; use \"kubernetes.io/os\" instead",
                "nodeTopology.matchLabels.beta.kubernetes.io/arch: deprecated since v1.14; use \"kubernetes.io/arch\" instead",
            ],
        )],
    );
}

#[test]
fn nodes_and_runtime_classes_get_the_stock_warnings() {
    assert_rows(
        |object| node(object, true),
        &[
            (
                json!({"spec": {"configSource": {}, "externalID": "i-1"}}),
                &[
                    "spec.configSource: the feature is removed",
                    "spec.externalID: this field is deprecated, and is unused by Kubernetes",
                ],
            ),
            (json!({"spec": {"podCIDR": "10.42.0.0/24"}}), &[]),
        ],
    );
    assert_rows(
        |object| runtime_class(object, true),
        &[(
            json!({"scheduling": {"nodeSelector": {"disk": "ssd", "node-role.kubernetes.io/master": ""}}}),
            &["scheduling.nodeSelector: use \"node-role.kubernetes.io/control-plane\" instead"],
        )],
    );
}

#[test]
fn an_account_that_begins_to_enforce_secrets_is_told() {
    let with = json!({"metadata": {"annotations": {ENFORCE_SECRETS: "true"}}});
    let without = json!({"metadata": {}});
    let text = "metadata.annotations[kubernetes.io/enforce-mountable-secrets]: deprecated in v1.32+; prefer separate namespaces to isolate access to mounted secrets";
    for (account, old, told) in [
        (&with, None, true),
        (&with, Some(&without), true),
        (&with, Some(&with), false),
        (&without, Some(&with), false),
    ] {
        let expected = if told { vec![text] } else { Vec::new() };
        assert_eq!(service_account(account, old), expected, "{account} {old:?}");
    }
}

#[test]
fn endpoints_and_policies_are_told_of_unusual_addresses() {
    let unusual = |at: &str| {
        format!("{at}: IPv6 address \"fd00:0::1\" should be in RFC 5952 canonical format (\"fd00::1\")")
    };
    let subset = json!({"addresses": [{"ip": "10.0.0.1"}], "notReadyAddresses": [{"ip": "fd00:0::1"}]});
    assert_eq!(
        endpoints(&json!({"subsets": [subset]}), true),
        [unusual("subsets[0].notReadyAddresses[0].ip")]
    );
    let slice = json!({"addressType": "IPv6", "endpoints": [{"addresses": ["fd00:0::1"]}]});
    assert_eq!(endpoint_slice(&slice, Some(&slice)), [unusual("endpoints[0].addresses[0]")]);
    let names = json!({"addressType": "FQDN", "endpoints": [{"addresses": ["a.example"]}]});
    assert_eq!(endpoint_slice(&names, None), ["spec.addressType: FQDN endpoints are deprecated"]);
    assert!(endpoint_slice(&names, Some(&names)).is_empty());
    let block = json!({"ipBlock": {"cidr": "fd00:0::/64", "except": ["fd00::/65"]}});
    assert_eq!(
        network_policy(&json!({"spec": {"egress": [{"to": [{"podSelector": {}}, block]}]}}), None),
        [
            "spec.egress[0].to[1].ipBlock.cidr: IPv6 CIDR value \"fd00:0::/64\" should be in RFC 5952 canonical format (\"fd00::/64\")"
        ]
    );
}

#[test]
fn a_tls_secret_without_a_pair_is_told() {
    let data = json!({"tls.crt": "eA==", "tls.key": "eA=="});
    let told = "tls: failed to find any PEM data in certificate input";
    for (kind, expected) in [("kubernetes.io/tls", vec![told]), ("Opaque", vec![])] {
        assert_eq!(secret(&json!({"type": kind, "data": data}), true), expected, "{kind}");
    }
}
