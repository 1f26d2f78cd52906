//! What is accepted in kinds other than pods, and warned about: deprecated, or without effect.
//!
//! Kept true: nothing here refuses; each rule is one row of a table or one line, in the stock server's order.
//! Source: https://github.com/kubernetes/kubernetes/tree/master/pkg/api (`warnings.go` and `util.go` of each kind) and
//! the `WarningsOnCreate` and `WarningsOnUpdate` of https://github.com/kubernetes/kubernetes/tree/master/pkg/registry

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;

use super::{
    checks::{indexed, is_set, text},
    ip::{address_warning, network_warnings},
    key_pair,
    pod_warnings::{deprecation, of_node_term},
};

const INGRESS_CLASS: &str = "kubernetes.io/ingress.class";
const ENFORCE_SECRETS: &str = "kubernetes.io/enforce-mountable-secrets";
const TOPOLOGY_HINTS: &str = "service.kubernetes.io/topology-aware-hints";

const VOLUME_ANNOTATIONS: [(&str, &str); 2] = [
    (
        "volume.beta.kubernetes.io/storage-class",
        "deprecated since v1.8; use \"storageClassName\" attribute instead",
    ),
    (
        "volume.beta.kubernetes.io/mount-options",
        "deprecated since v1.31; use \"mountOptions\" attribute instead",
    ),
];
/// (The source, how the stock server spells it, what of it)
const VOLUME_SOURCES: [(&str, &str, &str); 6] = [
    ("cephfs", "cephfs", "deprecated in v1.28, non-functional in v1.31+"),
    ("photonPersistentDisk", "photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+"),
    ("scaleIO", "scaleIO", "deprecated in v1.16, non-functional in v1.22+"),
    ("storageos", "storageOS", "deprecated in v1.22, non-functional in v1.25+"),
    ("glusterfs", "glusterfs", "deprecated in v1.25, non-functional in v1.26+"),
    ("rbd", "rbd", "deprecated in v1.28, non-functional in v1.31+"),
];

/// Those of `texts` whose condition holds.
fn those(texts: impl IntoIterator<Item = (bool, String)>) -> Vec<String> {
    texts.into_iter().filter(|(holds, _)| *holds).map(|(_, text)| text).collect()
}

fn annotation<'a>(object: &'a Value, key: &str) -> &'a Value {
    &object["metadata"]["annotations"][key]
}

fn keys(map: &Value) -> impl Iterator<Item = &str> {
    map.as_object().into_iter().flatten().map(|(key, _)| key.as_str())
}

pub fn ingress(ingress: &Value, is_new: bool) -> Vec<String> {
    let by_annotation =
        !annotation(ingress, INGRESS_CLASS).is_null() && ingress["spec"]["ingressClassName"].is_null();
    let text =
        format!("annotation \"{INGRESS_CLASS}\" is deprecated, please use 'spec.ingressClassName' instead");
    those([(is_new && by_annotation, text)])
}

pub fn service(service: &Value) -> Vec<String> {
    let spec = &service["spec"];
    let addresses = |field: &str| -> Vec<String> {
        indexed(&spec[field], &format!("spec.{field}"))
            .filter_map(|(at, address)| address_warning(text(address), &at))
            .collect()
    };
    let (has_external, is_named) = (is_set(&spec["externalIPs"]), spec["type"] == "ExternalName");
    let is_headless = spec["type"] == "ClusterIP" && spec["clusterIP"] == "None";
    let mut out = those([(
        !annotation(service, TOPOLOGY_HINTS).is_null(),
        format!(
            "annotation {TOPOLOGY_HINTS} is deprecated, please use service.kubernetes.io/topology-mode instead"
        ),
    )]);
    if is_set(&spec["clusterIP"]) && spec["clusterIP"] != "None" {
        out.extend(addresses("clusterIPs"));
    }
    for (holds, field) in [
        (is_set(&spec["loadBalancerIP"]), "loadBalancerIP"),
        (has_external, "externalIPs"),
        // Upstream spells it so.
        (spec["sessionAffinity"] != "None", "SessionAffinity"),
    ] {
        out.extend(those([(is_headless && holds, format!("spec.{field} is ignored for headless services"))]));
    }
    out.extend(addresses("externalIPs"));
    out.extend(those([(
        has_external && !is_headless && !is_named,
        "spec.externalIPs is deprecated and may no longer be implemented in some clusters".to_owned(),
    )]));
    out.extend(address_warning(text(&spec["loadBalancerIP"]), "spec.loadBalancerIP"));
    for (at, range) in indexed(&spec["loadBalancerSourceRanges"], "spec.loadBalancerSourceRanges") {
        out.extend(network_warnings(text(range), &at));
    }
    out.extend(those([
        (
            is_named && has_external,
            "spec.externalIPs is ignored when spec.type is \"ExternalName\"".to_owned(),
        ),
        (
            !is_named && is_set(&spec["externalName"]),
            "spec.externalName is ignored when spec.type is not \"ExternalName\"".to_owned(),
        ),
        (
            spec["trafficDistribution"] == "PreferClose",
            "spec.trafficDistribution: \"PreferClose\" is deprecated; use \"PreferSameZone\"".to_owned(),
        ),
    ]));
    out
}

pub fn volume(volume: &Value, _: bool) -> Vec<String> {
    let spec = &volume["spec"];
    let annotations = VOLUME_ANNOTATIONS.map(|(key, why)| {
        (!annotation(volume, key).is_null(), format!("metadata.annotations[{key}]: {why}"))
    });
    let mut out = those(annotations);
    let policy = "spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. Instead, the recommended approach is to use dynamic provisioning.";
    out.extend(those([(spec["persistentVolumeReclaimPolicy"] == "Recycle", policy.to_owned())]));
    let terms = &spec["nodeAffinity"]["required"]["nodeSelectorTerms"];
    for (at, term) in indexed(terms, "spec.nodeAffinity.required.nodeSelectorTerms") {
        out.extend(of_node_term(term, &at, false));
    }
    out.extend(those(
        VOLUME_SOURCES.map(|(source, shown, why)| (!spec[source].is_null(), format!("spec.{shown}: {why}"))),
    ));
    out
}

pub fn node(node: &Value, _: bool) -> Vec<String> {
    let spec = &node["spec"];
    let external_id = "spec.externalID: this field is deprecated, and is unused by Kubernetes";
    those([
        (!spec["configSource"].is_null(), "spec.configSource: the feature is removed".to_owned()),
        (is_set(&spec["externalID"]), external_id.to_owned()),
    ])
}

pub fn runtime_class(class: &Value, _: bool) -> Vec<String> {
    let labels = keys(&class["scheduling"]["nodeSelector"]).filter_map(deprecation);
    labels.map(|why| format!("scheduling.nodeSelector: {why}")).collect()
}

pub fn storage_class(class: &Value, _: bool) -> Vec<String> {
    let terms = indexed(&class["allowedTopologies"], "allowedTopologies");
    terms
        .flat_map(|(at, term)| {
            indexed(&term["matchLabelExpressions"], &format!("{at}.matchLabelExpressions"))
        })
        .filter_map(|(at, own)| Some(format!("{at}.key: {}", deprecation(text(&own["key"]))?)))
        .collect()
}

pub fn storage_capacity(capacity: &Value, _: bool) -> Vec<String> {
    let topology = &capacity["nodeTopology"];
    let mut out = of_node_term(topology, "nodeTopology", false);
    out.extend(
        keys(&topology["matchLabels"])
            .filter_map(|key| Some(format!("nodeTopology.matchLabels.{key}: {}", deprecation(key)?))),
    );
    out
}

/// `old`: who keeps the annotation is not told again.
pub fn service_account(account: &Value, old: Option<&Value>) -> Vec<String> {
    let has = |account: &Value| !annotation(account, ENFORCE_SECRETS).is_null();
    let text = format!(
        "metadata.annotations[{ENFORCE_SECRETS}]: deprecated in v1.32+; prefer separate namespaces to isolate access to mounted secrets"
    );
    those([(has(account) && !old.is_some_and(has), text)])
}

pub fn endpoints(endpoints: &Value, _: bool) -> Vec<String> {
    let lists = indexed(&endpoints["subsets"], "subsets").flat_map(|(at, subset)| {
        ["addresses", "notReadyAddresses"].map(|list| (format!("{at}.{list}"), &subset[list]))
    });
    lists
        .flat_map(|(at, list)| indexed(list, &at))
        .filter_map(|(at, address)| address_warning(text(&address["ip"]), &format!("{at}.ip")))
        .collect()
}

pub fn endpoint_slice(slice: &Value, old: Option<&Value>) -> Vec<String> {
    let names = slice["addressType"] == "FQDN";
    // Upstream looks for it in the spec, which a slice does not have.
    let mut out =
        those([(names && old.is_none(), "spec.addressType: FQDN endpoints are deprecated".to_owned())]);
    let addresses = indexed(&slice["endpoints"], "endpoints")
        .flat_map(|(at, endpoint)| indexed(&endpoint["addresses"], &format!("{at}.addresses")));
    out.extend(addresses.filter_map(|(at, address)| address_warning(text(address), &at)));
    out
}

pub fn network_policy(policy: &Value, _: Option<&Value>) -> Vec<String> {
    let mut out = Vec::new();
    for (rules, peers) in [("ingress", "from"), ("egress", "to")] {
        let peers = indexed(&policy["spec"][rules], &format!("spec.{rules}"))
            .flat_map(|(at, rule)| indexed(&rule[peers], &format!("{at}.{peers}")));
        for (at, peer) in peers.filter(|(_, peer)| peer["ipBlock"].is_object()) {
            let (at, block) = (format!("{at}.ipBlock"), &peer["ipBlock"]);
            out.extend(network_warnings(text(&block["cidr"]), &format!("{at}.cidr")));
            for (at, except) in indexed(&block["except"], &format!("{at}.except")) {
                out.extend(network_warnings(text(except), &at));
            }
        }
    }
    out
}

pub fn secret(secret: &Value, _: bool) -> Vec<String> {
    let part = |key: &str| STANDARD.decode(text(&secret["data"][key])).unwrap_or_default();
    let is_tls = secret["type"] == "kubernetes.io/tls";
    let problem = is_tls.then(|| key_pair::problem(&part("tls.crt"), &part("tls.key")));
    problem.flatten().into_iter().collect()
}

#[cfg(test)]
mod tests;
