//! Somebody that the API server calls: HTTPS (or HTTP) on 127.0.0.1, with a certificate authority of its own.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::harness::Harness;

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Received {
    pub method: String,
    /// With the query.
    pub path: String,
    pub headers: http::HeaderMap,
    pub body: Bytes,
}

impl Received {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }

    pub fn header(&self, name: &str) -> Vec<&str> {
        self.headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect()
    }
}

type Reply = http::Response<Full<Bytes>>;
type Handler = dyn Fn(&Received) -> Option<Reply> + Send + Sync;

pub struct Backend {
    pub address: SocketAddr,
    /// base64 of PEM, for `caBundle` fields.
    pub ca: String,
    log: Arc<Mutex<Vec<Received>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub fn reply(code: u16, body: &Value) -> Option<Reply> {
    let response = http::Response::builder().status(code).header("content-type", "application/json");
    Some(response.body(Full::new(body.to_string().into())).expect("response"))
}

impl Backend {
    /// The certificate holds for `names`. A handler that gives nothing leaves the request without an answer. With
    /// `client_ca` (PEM) only its clients are let in.
    pub async fn start(
        names: &[&str],
        client_ca: Option<&str>,
        handler: impl Fn(&Received) -> Option<Reply> + Send + Sync + 'static,
    ) -> Backend {
        let ca_key = KeyPair::generate().expect("key");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = params.self_signed(&ca_key).expect("authority");
        let issuer = Issuer::from_params(&params, &ca_key);
        let key = KeyPair::generate().expect("key");
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let own = CertificateParams::new(names).expect("names").signed_by(&key, &issuer).expect("signed");
        let builder = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions");
        let builder = match client_ca {
            None => builder.with_no_client_auth(),
            Some(pem) => {
                let mut roots = RootCertStore::empty();
                roots.add(CertificateDer::from_pem_slice(pem.as_bytes()).expect("PEM")).expect("authority");
                let provider = Arc::new(rustls::crypto::ring::default_provider());
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                builder.with_client_cert_verifier(verifier.build().expect("verifier"))
            }
        };
        let private = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        let config = builder.with_single_cert(vec![own.der().clone()], private).expect("certificate");
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let address = listener.local_addr().expect("address");
        let log: Arc<Mutex<Vec<Received>>> = Arc::default();
        let handler: Arc<Handler> = Arc::new(handler);
        let received = log.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(acceptor.clone(), stream, handler.clone(), received.clone()));
            }
        });
        Backend { address, ca: STANDARD.encode(ca.pem()), log, task }
    }

    pub fn received(&self) -> Vec<Received> {
        self.log.lock().expect("log").clone()
    }

    /// A `clientConfig` by URL.
    pub fn client(&self, path: &str) -> Value {
        json!({"url": format!("https://localhost:{}{path}", self.address.port()), "caBundle": self.ca})
    }

    /// Makes the Service `default/NAME` lead here.
    pub async fn service(&self, harness: &Harness, name: &str) {
        let service = json!({"metadata": {"name": name}, "spec": {"type": "ExternalName", "externalName": "localhost"}});
        harness.post("/api/v1/namespaces/default/services", service).await.expect(201);
    }
}

async fn serve(
    acceptor: TlsAcceptor,
    stream: TcpStream,
    handler: Arc<Handler>,
    log: Arc<Mutex<Vec<Received>>>,
) {
    let Ok(stream) = acceptor.accept(stream).await else { return };
    let service = hyper::service::service_fn(move |request: http::Request<hyper::body::Incoming>| {
        let (handler, log) = (handler.clone(), log.clone());
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await?.to_bytes();
            let path = parts.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
            let received = Received { method: parts.method.to_string(), path, headers: parts.headers, body };
            log.lock().expect("log").push(received.clone());
            match handler(&received) {
                Some(reply) => Ok::<_, hyper::Error>(reply),
                None => std::future::pending().await,
            }
        }
    });
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}
