//! What the built-in signers accept, how long their certificates hold, and when a request is old. No clock, no I/O.
//!
//! Source: https://github.com/kubernetes/kubernetes/blob/master/pkg/apis/certificates/helpers.go and
//!         https://github.com/kubernetes/kubernetes/tree/master/pkg/controller/certificates

use std::{collections::BTreeSet, time::Duration};

use k8s_openapi::api::certificates::v1::{CertificateSigningRequest, CertificateSigningRequestSpec};

use super::{has, is_issued};

pub const CLIENT: &str = "kubernetes.io/kube-apiserver-client";
pub const KUBELET_CLIENT: &str = "kubernetes.io/kube-apiserver-client-kubelet";
pub const KUBELET_SERVING: &str = "kubernetes.io/kubelet-serving";
const LEGACY: &str = "kubernetes.io/legacy-unknown";

/// As `--cluster-signing-duration` is by default.
const MAX_VALIDITY: Duration = Duration::from_secs(365 * 24 * 3600);
const MIN_VALIDITY: Duration = Duration::from_secs(10 * 60);

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// The parts of a PKCS#10 request that signers judge.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Requested {
    pub common_name: String,
    pub organizations: Vec<String>,
    pub dns_names: usize,
    pub ip_addresses: usize,
    pub emails: usize,
    pub uris: usize,
}

/// Whether the signer named by the request is ours; then whether its rules allow it, or why not.
pub fn signable(spec: &CertificateSigningRequestSpec, asked: &Requested) -> Option<Result<(), String>> {
    let usages: BTreeSet<&str> = spec.usages.iter().flatten().map(String::as_str).collect();
    Some(match spec.signer_name.as_str() {
        CLIENT => client_usages(&usages),
        KUBELET_CLIENT => kubelet_client(asked, &usages),
        KUBELET_SERVING => kubelet_serving(asked, &usages),
        LEGACY => Ok(()),
        _ => return None,
    })
}

fn client_usages(usages: &BTreeSet<&str>) -> Result<(), String> {
    let optional = ["digital signature", "key encipherment", "client auth"];
    if let Some(usage) = usages.iter().find(|usage| !optional.contains(usage)) {
        return Err(format!("invalid usage for client certificate: {usage}"));
    }
    if !usages.contains("client auth") {
        return Err("missing required usage for client certificate: client auth".into());
    }
    Ok(())
}

fn kubelet_client(asked: &Requested, usages: &BTreeSet<&str>) -> Result<(), String> {
    of_nodes(asked)?;
    for (count, what) in
        [(asked.dns_names, "DNS"), (asked.emails, "Email"), (asked.ip_addresses, "IP"), (asked.uris, "URI")]
    {
        if count > 0 {
            return Err(format!("{what} subjectAltNames are not allowed"));
        }
    }
    named_as_node(asked)?;
    exactly(usages, "client auth")
}

fn kubelet_serving(asked: &Requested, usages: &BTreeSet<&str>) -> Result<(), String> {
    of_nodes(asked)?;
    if asked.dns_names + asked.ip_addresses == 0 {
        return Err("DNS or IP subjectAltName is required".into());
    }
    for (count, what) in [(asked.emails, "Email"), (asked.uris, "URI")] {
        if count > 0 {
            return Err(format!("{what} subjectAltNames are not allowed"));
        }
    }
    named_as_node(asked)?;
    exactly(usages, "server auth")
}

fn of_nodes(asked: &Requested) -> Result<(), String> {
    if asked.organizations == ["system:nodes"] {
        return Ok(());
    }
    Err("subject organization is not system:nodes".into())
}

fn named_as_node(asked: &Requested) -> Result<(), String> {
    if asked.common_name.starts_with("system:node:") {
        return Ok(());
    }
    Err("subject common name does not begin with system:node:".into())
}

/// Digital signature and this usage, with or without key encipherment (which keys of elliptic curves do not have).
fn exactly(usages: &BTreeSet<&str>, usage: &str) -> Result<(), String> {
    let without = BTreeSet::from(["digital signature", usage]);
    let mut with = without.clone();
    with.insert("key encipherment");
    if *usages == with || *usages == without {
        return Ok(());
    }
    let wanted: Vec<&str> = with.into_iter().collect();
    Err(format!("usages did not match [{}]", wanted.join(" ")))
}

/// How a request for a node's client certificate is approved by itself: the subresource that its owner must be allowed to
/// create, and the text. The first that is allowed counts.
pub fn recognized(
    spec: &CertificateSigningRequestSpec,
    asked: &Requested,
) -> Vec<(&'static str, &'static str)> {
    let usages: BTreeSet<&str> = spec.usages.iter().flatten().map(String::as_str).collect();
    if spec.signer_name != KUBELET_CLIENT || kubelet_client(asked, &usages).is_err() {
        return Vec::new();
    }
    let mut ways = Vec::new();
    if spec.username.as_deref() == Some(&asked.common_name) {
        let text = "Auto approving self kubelet client certificate after SubjectAccessReview.";
        ways.push(("selfnodeclient", text));
    }
    ways.push(("nodeclient", "Auto approving kubelet client certificate after SubjectAccessReview."));
    ways
}

pub fn validity(seconds: Option<i32>) -> Duration {
    match seconds.and_then(|seconds| u64::try_from(seconds).ok()) {
        None => MAX_VALIDITY,
        Some(seconds) => Duration::from_secs(seconds).clamp(MIN_VALIDITY, MAX_VALIDITY),
    }
}

/// How long a request stays as it is: undecided ones a day, finished ones an hour. `None`: approved ones wait for their
/// signer, however long it takes.
pub fn lifetime(request: &CertificateSigningRequest) -> Option<Duration> {
    let conditions = request.status.as_ref().and_then(|status| status.conditions.as_ref());
    let is_over = has(request, "Denied") || has(request, "Failed");
    if is_over || (has(request, "Approved") && is_issued(request)) {
        return Some(HOUR);
    }
    conditions.is_none_or(Vec::is_empty).then_some(DAY)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(signer: &str, usages: &[&str]) -> CertificateSigningRequestSpec {
        CertificateSigningRequestSpec {
            signer_name: signer.into(),
            usages: Some(usages.iter().map(|usage| usage.to_string()).collect()),
            username: Some("system:node:a".into()),
            ..Default::default()
        }
    }

    fn node() -> Requested {
        Requested {
            common_name: "system:node:a".into(),
            organizations: vec!["system:nodes".into()],
            ..Requested::default()
        }
    }

    #[test]
    fn signers_refuse_what_their_rules_do_not_allow() {
        let client = ["digital signature", "client auth"];
        let serving = ["digital signature", "key encipherment", "server auth"];
        let no = |why: &str| Some(Err(why.to_owned()));
        for (signer, usages, asked, expected) in [
            (CLIENT, &client[..], Requested::default(), Some(Ok(()))),
            (CLIENT, &serving, Requested::default(), no("invalid usage for client certificate: server auth")),
            (
                CLIENT,
                &client[..1],
                Requested::default(),
                no("missing required usage for client certificate: client auth"),
            ),
            (KUBELET_CLIENT, &client, node(), Some(Ok(()))),
            (
                KUBELET_CLIENT,
                &serving,
                node(),
                no("usages did not match [client auth digital signature key encipherment]"),
            ),
            (
                KUBELET_CLIENT,
                &client,
                Requested { dns_names: 1, ..node() },
                no("DNS subjectAltNames are not allowed"),
            ),
            (
                KUBELET_CLIENT,
                &client,
                Requested { organizations: Vec::new(), ..node() },
                no("subject organization is not system:nodes"),
            ),
            (
                KUBELET_CLIENT,
                &client,
                Requested { common_name: "a".into(), ..node() },
                no("subject common name does not begin with system:node:"),
            ),
            (KUBELET_SERVING, &serving, node(), no("DNS or IP subjectAltName is required")),
            (KUBELET_SERVING, &serving, Requested { ip_addresses: 1, ..node() }, Some(Ok(()))),
            ("example.com/own", &serving, node(), None),
        ] {
            assert_eq!(signable(&spec(signer, usages), &asked), expected, "{signer} {usages:?}");
        }
    }

    #[test]
    fn only_client_certificates_of_nodes_are_approved_by_themselves() {
        let client = ["digital signature", "client auth"];
        let ways = |spec: &CertificateSigningRequestSpec| -> Vec<&str> {
            recognized(spec, &node()).into_iter().map(|(way, _)| way).collect()
        };
        assert_eq!(ways(&spec(KUBELET_CLIENT, &client)), ["selfnodeclient", "nodeclient"]);
        let by_other = CertificateSigningRequestSpec {
            username: Some("system:bootstrap:abcdef".into()),
            ..spec(KUBELET_CLIENT, &client)
        };
        assert_eq!(ways(&by_other), ["nodeclient"]);
        assert!(ways(&spec(CLIENT, &client)).is_empty());
    }

    #[test]
    fn requests_go_when_they_are_finished_or_nobody_decides() {
        let condition = |kind: &&str| super::super::condition(kind, "", "");
        for (conditions, certificate, expected) in [
            (&[][..], false, Some(DAY)),
            (&["Denied"], false, Some(HOUR)),
            (&["Approved", "Failed"], false, Some(HOUR)),
            (&["Approved"], true, Some(HOUR)),
            (&["Approved"], false, None),
        ] {
            let mut request = CertificateSigningRequest::default();
            let status = request.status.get_or_insert_default();
            status.conditions = Some(conditions.iter().map(condition).collect());
            status.certificate = certificate.then(|| k8s_openapi::ByteString(b"x".to_vec()));
            assert_eq!(lifetime(&request), expected, "{conditions:?}");
        }
    }

    #[test]
    fn certificates_hold_between_ten_minutes_and_a_year() {
        let hours = |seconds| validity(seconds).as_secs_f64() / 3600.0;
        assert_eq!([hours(None), hours(Some(7200)), hours(Some(i32::MAX))], [8760.0, 2.0, 8760.0]);
        assert_eq!(validity(Some(1)), MIN_VALIDITY);
    }
}
