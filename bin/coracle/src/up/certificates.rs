//! The API server's certificate authority, as the certificate controllers want it.

use std::{sync::Arc, time::Duration};

pub struct Authority(pub Arc<coracle_apiserver::pki::Authority>);

impl coracle_controllers::CertificateAuthority for Authority {
    fn inspect(&self, request: &[u8]) -> Result<coracle_controllers::Requested, String> {
        let asked = coracle_apiserver::pki::request::inspect(request).map_err(|error| error.to_string())?;
        Ok(coracle_controllers::Requested {
            common_name: asked.common_name,
            organizations: asked.organizations,
            dns_names: asked.dns_names,
            ip_addresses: asked.ip_addresses,
            emails: asked.emails,
            uris: asked.uris,
        })
    }

    fn sign(&self, request: &[u8], usages: &[String], validity: Duration) -> Result<String, String> {
        self.0.sign_request(request, usages, validity).map_err(|error| error.to_string())
    }
}
