//! The HTTP client for registries: TLS by rustls, names by /etc/hosts, then by hickory (a static binary has no name
//! service switch).

use std::{
    fs::File,
    future::Future,
    io::{self, Write},
    net::{IpAddr, SocketAddr},
    path::Path,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use hickory_resolver::TokioResolver;
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{
        Client,
        connect::{HttpConnector, dns::Name},
    },
    rt::TokioExecutor,
};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject},
};

use super::digest::Hashing;
use crate::causes::chain;

/// Until the head of an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// A download that stands still for so long is given up.
const STALL_TIMEOUT: Duration = Duration::from_secs(60);

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Registries send downloads elsewhere, at times more than once.
const MAX_REDIRECTS: usize = 5;

/// Manifests and tokens are small; what is larger is none.
const MAX_DOCUMENT_BYTES: usize = 8 << 20;

/// Certificates that the machine's owner trusts besides the built-in ones.
const SYSTEM_ROOTS: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Read at each connection, as its owner may change it at any time.
const HOSTS: &str = "/etc/hosts";

type Connection = HttpsConnector<HttpConnector<Names>>;

/// Set up at the first use: a node that pulls nothing pays nothing.
#[derive(Default)]
pub struct Http(OnceLock<Client<Connection, Empty<Bytes>>>);

#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    #[error("{0}")]
    Connect(String),
    /// In Go's words, and what to do.
    #[error(
        "http: server gave HTTP response to HTTPS client (to speak plain HTTP with it, name it in the setting \
         `plain-http-registries`: {host})"
    )]
    PlainHttp { host: String },
    #[error("no answer within {ANSWER_TIMEOUT:?}")]
    Timeout,
    #[error("the download stood still for {0:?}")]
    Stalled(Duration),
    #[error("{0}")]
    Protocol(String),
    #[error("write download")]
    Write(#[from] io::Error),
}

impl Http {
    /// Follows redirects; the authorization is not shown to another host.
    pub async fn request(
        &self,
        method: Method,
        url: &str,
        headers: &HeaderMap,
    ) -> Result<Response<Incoming>, HttpError> {
        let mut url: Uri =
            url.parse().map_err(|error| HttpError::Protocol(format!("`{url}` is no address: {error}")))?;
        let mut headers = headers.clone();
        for _ in 0..=MAX_REDIRECTS {
            let mut request = Request::builder().method(method.clone()).uri(url.clone());
            *request.headers_mut().expect("a method and an address are valid") = headers.clone();
            let request =
                request.body(Empty::new()).map_err(|error| HttpError::Protocol(error.to_string()))?;
            let answer = tokio::time::timeout(ANSWER_TIMEOUT, self.client().request(request)).await;
            let response = match answer.map_err(|_| HttpError::Timeout)? {
                Ok(response) => response,
                Err(error) if is_no_tls(&error) && self.speaks_plain_http(&url).await => {
                    let host = url.authority().map(ToString::to_string).unwrap_or_default();
                    return Err(HttpError::PlainHttp { host });
                }
                Err(error) => return Err(HttpError::Connect(innermost(&error))),
            };
            if !response.status().is_redirection() || response.status() == StatusCode::NOT_MODIFIED {
                return Ok(response);
            }
            let location = response
                .headers()
                .get(header::LOCATION)
                .and_then(|value| value.to_str().ok())
                .unwrap_or_default();
            let next = join(&url, location)?;
            if next.authority() != url.authority() {
                headers.remove(header::AUTHORIZATION);
            }
            url = next;
        }
        Err(HttpError::Protocol(format!("more than {MAX_REDIRECTS} redirects, the last to `{url}`")))
    }

    /// Whether a server that speaks no TLS answers in plain HTTP, to a request that tells it nothing.
    async fn speaks_plain_http(&self, url: &Uri) -> bool {
        let address = url.authority().map(|authority| format!("http://{authority}/v2/"));
        let Some(address) = address.and_then(|address| address.parse().ok()) else { return false };
        let answer = tokio::time::timeout(CONNECT_TIMEOUT, self.client().get(address)).await;
        matches!(answer, Ok(Ok(_)))
    }

    fn client(&self) -> &Client<Connection, Empty<Bytes>> {
        self.0.get_or_init(|| {
            let mut http = HttpConnector::new_with_resolver(Names::default());
            http.enforce_http(false);
            http.set_connect_timeout(Some(CONNECT_TIMEOUT));
            let https = HttpsConnectorBuilder::new()
                .with_tls_config(tls())
                .https_or_http()
                .enable_http1()
                .wrap_connector(http);
            Client::builder(TokioExecutor::new()).pool_idle_timeout(Duration::from_secs(10)).build(https)
        })
    }
}

/// A small document, whole.
pub async fn document(response: Response<Incoming>) -> Result<Bytes, HttpError> {
    let body =
        tokio::time::timeout(STALL_TIMEOUT, Limited::new(response.into_body(), MAX_DOCUMENT_BYTES).collect())
            .await;
    let body = body
        .map_err(|_| HttpError::Stalled(STALL_TIMEOUT))?
        .map_err(|error| HttpError::Protocol(format!("read answer: {error}")))?;
    Ok(body.to_bytes())
}

/// Streams a body into a file; returns digest and size.
pub async fn download(response: Response<Incoming>, file: &Path) -> Result<(String, u64), HttpError> {
    download_with(STALL_TIMEOUT, response, file).await
}

async fn download_with(
    patience: Duration,
    response: Response<Incoming>,
    file: &Path,
) -> Result<(String, u64), HttpError> {
    let mut body = response.into_body();
    let mut file = Hashing::new(File::create(file)?);
    loop {
        let frame = tokio::time::timeout(patience, body.frame()).await;
        let Some(frame) = frame.map_err(|_| HttpError::Stalled(patience))? else {
            return Ok((file.digest(), file.bytes));
        };
        let frame = frame.map_err(|error| HttpError::Protocol(format!("read answer: {}", chain(&error))))?;
        if let Some(data) = frame.data_ref() {
            tokio::task::block_in_place(|| file.write_all(data))?;
        }
    }
}

fn tls() -> ClientConfig {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    if let Ok(certificates) = CertificateDer::pem_file_iter(SYSTEM_ROOTS) {
        roots.add_parsable_certificates(certificates.flatten());
    }
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider supports the default versions")
        .with_root_certificates(roots)
        .with_no_client_auth()
}

fn join(base: &Uri, location: &str) -> Result<Uri, HttpError> {
    let text = match (location.starts_with('/'), base.scheme_str(), base.authority()) {
        (true, Some(scheme), Some(authority)) => format!("{scheme}://{authority}{location}"),
        _ => location.to_string(),
    };
    text.parse().map_err(|_| HttpError::Protocol(format!("redirect to `{location}`")))
}

/// Whether the server's first words were none of TLS.
fn is_no_tls(error: &(dyn std::error::Error + 'static)) -> bool {
    if let Some(error) = error.downcast_ref::<rustls::Error>() {
        return matches!(error, rustls::Error::InvalidMessage(_));
    }
    // What is wrapped in an `io::Error` is not its source.
    match error.downcast_ref::<io::Error>() {
        Some(error) => error.get_ref().is_some_and(|wrapped| is_no_tls(wrapped)),
        None => error.source().is_some_and(is_no_tls),
    }
}

/// The cause that says most: the last of the chain.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

/// Resolves names for the connector. The resolver is set up at the first name.
#[derive(Clone, Default)]
struct Names(Arc<OnceLock<Option<TokioResolver>>>);

impl tower_service::Service<Name> for Names {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, io::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), io::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let names = self.0.clone();
        Box::pin(async move {
            let hosts = std::fs::read_to_string(HOSTS).unwrap_or_default();
            let listed = addresses_in(&hosts, name.as_str());
            if !listed.is_empty() {
                return Ok(sockets(listed));
            }
            let resolver = names.get_or_init(|| TokioResolver::builder_tokio().ok()?.build().ok());
            let resolver = resolver
                .as_ref()
                .ok_or_else(|| io::Error::other("no name server: /etc/resolv.conf is not usable"))?;
            let found = resolver.lookup_ip(name.as_str()).await;
            let found = found
                .map_err(|_| io::Error::other(format!("dial tcp: lookup {}: no such host", name.as_str())))?;
            Ok(sockets(found.iter().collect()))
        })
    }
}

fn sockets(addresses: Vec<IpAddr>) -> std::vec::IntoIter<SocketAddr> {
    addresses.into_iter().map(|address| SocketAddr::new(address, 0)).collect::<Vec<_>>().into_iter()
}

/// What hosts(5) lists for a name. Asking a name server too would make a listed name wait for one that is silent.
fn addresses_in(hosts: &str, name: &str) -> Vec<IpAddr> {
    let name = name.trim_end_matches('.');
    let lines = hosts.lines().map(|line| line.split('#').next().unwrap_or_default());
    let listed = lines.filter_map(|line| {
        let mut words = line.split_whitespace();
        let address = words.next()?.parse().ok()?;
        words.any(|known| known.eq_ignore_ascii_case(name)).then_some(address)
    });
    listed.collect()
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};

    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_download_that_stands_still_or_has_no_room_says_so() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            let mut open = Vec::new();
            for mut stream in listener.incoming().flatten() {
                let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
                assert!(lines.any(|line| line.is_empty()));
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf").unwrap();
                open.push(stream);
            }
        });
        for (file, expected) in [
            ("/dev/null", "the download stood still for 200ms"),
            ("/dev/full", "write download: No space left on device (os error 28)"),
        ] {
            let response = Http::default().request(Method::GET, &url, &HeaderMap::new()).await.unwrap();
            let patience = Duration::from_millis(200);
            let error = download_with(patience, response, Path::new(file)).await.unwrap_err();
            assert_eq!(chain(&error), expected, "{file}");
        }
    }

    #[test]
    fn a_name_in_the_hosts_file_needs_no_name_server() {
        let hosts = "127.0.0.1 localhost\n# 10.0.0.9 registry.lan\n10.0.0.1\tregistry.lan  Mirror # mirror.lan\nfd00::1 registry.lan\n";
        let found = |name| addresses_in(hosts, name).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(found("registry.lan"), ["10.0.0.1", "fd00::1"]);
        assert_eq!(found("mirror."), ["10.0.0.1"]);
        assert!(found("mirror.lan").is_empty());
    }
}
