//! CertificateApproval, CertificateSigning, CertificateSubjectRestriction: who may decide about and issue certificates,
//! and what nobody gets.
//!
//! Source: https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/#certificateapproval and the two after it

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;

use super::{Operation, Request};
use crate::{authz, pki::request, status::Status};

const GROUP: &str = "certificates.k8s.io";
const CLIENT_SIGNER: &str = "kubernetes.io/kube-apiserver-client";

type Outcome = Result<(), Status>;

pub fn approval(request: &Request<'_>, _: Option<&Value>) -> Outcome {
    if is_step(request, Operation::Update, "approval") { require(request, "approve") } else { Ok(()) }
}

pub fn signing(request: &Request<'_>, object: Option<&Value>) -> Outcome {
    let signs = is_step(request, Operation::Update, "status");
    if signs && object.is_some_and(|object| issues(request, object)) {
        require(request, "sign")
    } else {
        Ok(())
    }
}

pub fn subject(request: &Request<'_>, object: Option<&Value>) -> Outcome {
    match object {
        Some(object) if is_step(request, Operation::Create, "") => restrict_subject(request, object),
        _ => Ok(()),
    }
}

fn is_step(request: &Request<'_>, operation: Operation, subresource: &str) -> bool {
    let api = &request.target.served.api;
    request.operation == operation
        && request.target.subresource == subresource
        && &*api.gvk.group == GROUP
        && &*api.plural == "certificatesigningrequests"
}

fn issues(request: &Request<'_>, object: &Value) -> bool {
    let none = Value::Null;
    let old = request.old.unwrap_or(&none);
    ["certificate", "conditions"].iter().any(|field| old["status"][*field] != object["status"][*field])
}

fn refuse(request: &Request<'_>, why: &str) -> Status {
    let name = &request.target.name;
    Status::forbidden(request.target.served.group_resource(), name, why)
}

/// Nobody becomes `system:masters` by a certificate of the API.
fn restrict_subject(request: &Request<'_>, object: &Value) -> Result<(), Status> {
    if object["spec"]["signerName"] != CLIENT_SIGNER {
        return Ok(());
    }
    let encoded = object["spec"]["request"].as_str().unwrap_or_default();
    let decoded = STANDARD.decode(encoded).unwrap_or_default();
    // What cannot be read was refused by validation.
    let asked = request::inspect(&decoded).unwrap_or_default();
    if asked.organizations.iter().any(|group| group == authz::MASTERS) {
        let why = format!("use of {CLIENT_SIGNER} signer with {} group is not allowed", authz::MASTERS);
        return Err(request.forbid(object, why));
    }
    Ok(())
}

/// The verb on this signer, or on all of its domain.
fn require(request: &Request<'_>, verb: &str) -> Result<(), Status> {
    let signer = request.old.and_then(|old| old["spec"]["signerName"].as_str()).unwrap_or_default();
    let domain = signer.split('/').next().unwrap_or_default();
    let may = |name: &str| {
        let attributes = authz::Attributes {
            verb: verb.into(),
            group: GROUP.into(),
            version: "*".into(),
            resource: "signers".into(),
            name: name.into(),
            ..authz::Attributes::default()
        };
        request.state.authorizer.authorize(request.user, &attributes).allowed
    };
    if may(signer) || may(&format!("{domain}/*")) {
        return Ok(());
    }
    Err(refuse(request, &format!("user not permitted to {verb} requests with signerName {signer:?}")))
}
