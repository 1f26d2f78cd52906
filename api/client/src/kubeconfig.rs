//! A client over TLS, from a kubeconfig file that Coracle wrote.
//!
//! Each request has a connection of its own: who asks this way asks seldom. Not `kube::Client::try_from`: that brings a
//! pool, and every way to log in to a cloud, for a megabyte of the binary.

use std::{path::Path, sync::Arc};

use base64::{Engine, prelude::BASE64_STANDARD};
use http::{HeaderValue, Request, Response, header};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use kube::{client::Body, config::Kubeconfig};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

#[derive(Debug, thiserror::Error)]
#[error("read kubeconfig `{path}`")]
pub struct KubeconfigError {
    path: String,
    source: BoxError,
}

#[derive(Debug, thiserror::Error)]
pub enum MalformedKubeconfig {
    #[error(transparent)]
    Yaml(#[from] serde_saphyr::Error),
    #[error(transparent)]
    Shape(#[from] serde_json::Error),
}

/// By way of a JSON value: read straight from YAML, these types are a megabyte of the binary.
pub fn parse_kubeconfig(text: &str) -> Result<Kubeconfig, MalformedKubeconfig> {
    let value: serde_json::Value = serde_saphyr::from_str(text)?;
    Ok(serde_json::from_value(value)?)
}

/// The server of the kubeconfig's current context, and a client of it. Must be called inside a tokio runtime.
pub fn from_kubeconfig(path: &Path) -> Result<(String, kube::Client), KubeconfigError> {
    let read = || -> Result<_, BoxError> {
        let server = Arc::new(Server::of(&parse_kubeconfig(&std::fs::read_to_string(path)?)?)?);
        let url = format!("https://{}", server.authority);
        let service = tower::service_fn(move |request| server.clone().ask(request));
        Ok((url, kube::Client::new(service, "default")))
    };
    read().map_err(|source| KubeconfigError { path: path.display().to_string(), source })
}

struct Server {
    /// `HOST:PORT`
    authority: String,
    name: ServerName<'static>,
    tls: TlsConnector,
}

impl Server {
    fn of(config: &Kubeconfig) -> Result<Server, BoxError> {
        let current = config.current_context.as_deref().ok_or("it has no current context")?;
        let context = config.contexts.iter().find(|context| context.name == current);
        let context =
            context.and_then(|context| context.context.as_ref()).ok_or("its current context is not there")?;
        let cluster = config.clusters.iter().find(|cluster| cluster.name == context.cluster);
        let cluster = cluster.and_then(|named| named.cluster.as_ref()).ok_or("its cluster is not there")?;
        let user = config.auth_infos.iter().find(|user| Some(&user.name) == context.user.as_ref());
        let user = user.and_then(|named| named.auth_info.as_ref()).ok_or("its user is not there")?;

        let url: http::Uri = cluster.server.as_deref().ok_or("its cluster has no server")?.parse()?;
        let authority = url.authority().ok_or("its server has no address")?;
        let mut roots = RootCertStore::empty();
        for certificate in
            CertificateDer::pem_slice_iter(&decoded(cluster.certificate_authority_data.as_deref())?)
        {
            roots.add(certificate?)?;
        }
        let certificates = decoded(user.client_certificate_data.as_deref())?;
        let certificates = CertificateDer::pem_slice_iter(&certificates).collect::<Result<Vec<_>, _>>()?;
        let key =
            user.client_key_data.as_ref().map(|key| secrecy::ExposeSecret::expose_secret(key).to_owned());
        let key = PrivateKeyDer::from_pem_slice(&decoded(key.as_deref())?)?;
        let tls =
            ClientConfig::builder().with_root_certificates(roots).with_client_auth_cert(certificates, key)?;
        Ok(Server {
            authority: format!("{}:{}", authority.host(), authority.port_u16().unwrap_or(443)),
            name: ServerName::try_from(authority.host().trim_matches(['[', ']']).to_owned())?,
            tls: TlsConnector::from(Arc::new(tls)),
        })
    }

    async fn ask(self: Arc<Self>, mut request: Request<Body>) -> Result<Response<Incoming>, BoxError> {
        let stream = TcpStream::connect(&self.authority).await?;
        let stream = self.tls.connect(self.name.clone(), stream).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        // It ends with the answer, or when that is dropped.
        tokio::spawn(connection);
        request.headers_mut().insert(header::HOST, HeaderValue::from_str(&self.authority)?);
        Ok(sender.send_request(request).await?)
    }
}

fn decoded(data: Option<&str>) -> Result<Vec<u8>, BoxError> {
    Ok(BASE64_STANDARD.decode(data.ok_or("it lacks certificates or a key")?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absent_file_is_named_in_the_error() {
        let Err(error) = from_kubeconfig(Path::new("/nonexistent/kubeconfig")) else {
            panic!("a client came from nothing");
        };
        assert_eq!(error.to_string(), "read kubeconfig `/nonexistent/kubeconfig`");
    }
}
