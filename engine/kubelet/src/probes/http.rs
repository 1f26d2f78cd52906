//! An HTTP GET as probes and lifecycle hooks make it.
//!
//! Invariant: certificates are not verified, redirects are followed on the same host only, nothing is kept alive.
//! Source:    https://kubernetes.io/docs/tasks/configure-pod-container/configure-liveness-readiness-startup-probes/#http-probes

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper::{Request, Uri, header};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::{HTTPGetAction, HTTPHeader};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use tokio::net::TcpStream;

use super::Attempt;
use super::tcp::{dial_error, join};

const MAX_BODY_BYTES: usize = 10 * 1024;
const MAX_REDIRECTS: usize = 10;
const PLAIN_HTTP: &str = "http: server gave HTTP response to HTTPS client";

struct Answer {
    status: u16,
    location: Option<String>,
    body: Vec<u8>,
}

enum GetError {
    /// There was no answer.
    Io(String),
    /// The answer broke off.
    Body(String),
}

/// What is escaped in a path, besides all that is not ASCII. Source: Go's net/url, `shouldEscape`.
const IN_PATH: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'<')
    .add(b'>')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');
/// A path that is no URL is taken literally.
const LITERAL: &AsciiSet = &IN_PATH.add(b'%').add(b'?').add(b'#');

/// A manifest's path as a request line can carry it: `/a b?c=1#d` is `/a%20b?c=1`.
fn target(whole: &str) -> String {
    let shown = whole.split_once('#').map_or(whole, |(shown, _)| shown);
    let (path, query) = shown.split_once('?').map_or((shown, None), |(path, query)| (path, Some(query)));
    let is_hex = |at: usize| path.as_bytes().get(at).is_some_and(u8::is_ascii_hexdigit);
    let is_escaped = path.char_indices().all(|(at, c)| c != '%' || (is_hex(at + 1) && is_hex(at + 2)));
    if !is_escaped || whole.contains(|c: char| c.is_ascii_control()) {
        return utf8_percent_encode(whole, LITERAL).to_string();
    }
    let query = query.map(|query| format!("?{}", utf8_percent_encode(query, IN_PATH)));
    format!("{}{}", utf8_percent_encode(path, IN_PATH), query.unwrap_or_default())
}

/// `scheme://host:port/path`
pub fn url(get: &HTTPGetAction, ip: &str, port: u16) -> String {
    let scheme = get.scheme.as_deref().unwrap_or("HTTP").to_lowercase();
    let host = get.host.as_deref().filter(|h| !h.is_empty()).unwrap_or(ip);
    let path = target(get.path.as_deref().unwrap_or("/"));
    let slash = if path.starts_with('/') { "" } else { "/" };
    format!("{scheme}://{}{slash}{path}", join(host, port))
}

fn request(uri: &Uri, headers: &[HTTPHeader]) -> Result<Request<Empty<Bytes>>, String> {
    let target = uri.path_and_query().map_or("/", |p| p.as_str());
    let mut builder = Request::get(target);
    let named = |name: &str| headers.iter().any(|h| h.name.eq_ignore_ascii_case(name));
    if !named("host") {
        builder = builder.header(header::HOST, uri.authority().map_or("", |a| a.as_str()));
    }
    if !named("user-agent") {
        builder = builder.header(header::USER_AGENT, "kube-probe/1.36");
    }
    if !named("accept") {
        builder = builder.header(header::ACCEPT, "*/*");
    }
    for own in headers.iter().filter(|h| !h.value.is_empty() || !h.name.eq_ignore_ascii_case("accept")) {
        builder = builder.header(&own.name, &own.value);
    }
    builder.header(header::CONNECTION, "close").body(Empty::new()).map_err(|e| e.to_string())
}

async fn exchange(uri: &Uri, headers: &[HTTPHeader]) -> Result<Answer, GetError> {
    let tls = uri.scheme_str() == Some("https");
    let host = uri.host().unwrap_or_default();
    let address = join(host.trim_matches(['[', ']']), uri.port_u16().unwrap_or(if tls { 443 } else { 80 }));
    let io = |e: String| GetError::Io(e);
    let request = request(uri, headers).map_err(io)?;
    let stream = TcpStream::connect(&address).await.map_err(|e| io(dial_error(&address, &e)))?;
    let other = |e: &dyn std::fmt::Display| GetError::Io(e.to_string());
    if tls {
        let connector = tokio_rustls::TlsConnector::from(insecure_tls());
        let name = host.trim_matches(['[', ']']).to_owned();
        let name = rustls::pki_types::ServerName::try_from(name).map_err(|e| other(&e))?;
        let stream = connector.connect(name, stream).await.map_err(|e| io(tls_error(&e)))?;
        converse(TokioIo::new(stream), request).await
    } else {
        converse(TokioIo::new(stream), request).await
    }
}

/// What answers without TLS on a port that probes by HTTPS is an HTTP server.
fn tls_error(error: &std::io::Error) -> String {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
    match cause {
        Some(rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType)) => {
            PLAIN_HTTP.to_owned()
        }
        _ => error.to_string(),
    }
}

async fn converse<T>(io: T, request: Request<Empty<Bytes>>) -> Result<Answer, GetError>
where
    T: hyper::rt::Read + hyper::rt::Write + Unpin,
{
    let words = |e: hyper::Error| {
        GetError::Io(if e.is_incomplete_message() { "EOF".to_owned() } else { e.to_string() })
    };
    // Servers that compare names by case were written against the title case that a stock kubelet sends.
    let mut client = hyper::client::conn::http1::Builder::new();
    let (mut sender, connection) = client.title_case_headers(true).handshake(io).await.map_err(words)?;
    let answer = async move {
        let response = sender.send_request(request).await.map_err(words)?;
        let (head, body) = response.into_parts();
        let location = head.headers.get(header::LOCATION).and_then(|l| l.to_str().ok()).map(str::to_owned);
        // A longer body is cut, not an error.
        let body = match Limited::new(body, MAX_BODY_BYTES).collect().await {
            Ok(body) => body.to_bytes().to_vec(),
            Err(error) if error.is::<LengthLimitError>() => Vec::new(),
            Err(_) => return Err(GetError::Body("unexpected EOF".to_owned())),
        };
        Ok(Answer { status: head.status.as_u16(), location, body })
    };
    tokio::pin!(answer, connection);
    tokio::select! {
        biased;
        answer = &mut answer => answer,
        ended = &mut connection => match ended {
            Ok(()) => answer.await,
            Err(error) => Err(words(error)),
        },
    }
}

fn resolve(base: &Uri, location: &str) -> Option<Uri> {
    if let Ok(uri) = location.parse::<Uri>()
        && uri.scheme().is_some()
    {
        return Some(uri);
    }
    let (scheme, authority) = (base.scheme_str()?, base.authority()?);
    let path = if location.starts_with('/') {
        location.to_owned()
    } else {
        let parent = base.path().rsplit_once('/').map_or("", |(p, _)| p);
        format!("{parent}/{location}")
    };
    format!("{scheme}://{authority}{path}").parse().ok()
}

async fn follow(first: Uri, headers: &[HTTPHeader]) -> Result<Attempt, GetError> {
    let mut uri = first.clone();
    for _ in 0..MAX_REDIRECTS {
        let answer = exchange(&uri, headers).await?;
        let body = String::from_utf8_lossy(&answer.body).into_owned();
        match (answer.status, answer.location.as_deref().and_then(|l| resolve(&uri, l))) {
            (301 | 302 | 303 | 307 | 308, Some(next)) if next.host() == first.host() => uri = next,
            (300..400, _) => {
                return Ok(Attempt::Warning(format!("Probe terminated redirects, Response body: {body}")));
            }
            (200..300, _) => return Ok(Attempt::Success),
            (status, _) => {
                return Ok(Attempt::Failure(format!("HTTP probe failed with statuscode: {status}")));
            }
        }
    }
    Err(GetError::Io(format!("stopped after {MAX_REDIRECTS} redirects")))
}

/// What a probe makes of it.
pub async fn get(action: &HTTPGetAction, ip: &str, port: u16, timeout: Duration) -> Attempt {
    answered(action, ip, port, timeout).await.unwrap_or_else(|failure| failure)
}

/// As a lifecycle hook: any answer will do, and who speaks no TLS is asked again without it, and without credentials.
pub async fn call(action: &HTTPGetAction, ip: &str, port: u16, timeout: Duration) -> Result<(), String> {
    let why = match answered(action, ip, port, timeout).await {
        Err(Attempt::Failure(why) | Attempt::Error(why)) => why,
        _ => return Ok(()),
    };
    if !why.ends_with(PLAIN_HTTP) {
        return Err(why);
    }
    let mut plain = HTTPGetAction { scheme: Some("HTTP".into()), ..action.clone() };
    plain
        .http_headers
        .iter_mut()
        .for_each(|all| all.retain(|own| !own.name.eq_ignore_ascii_case("authorization")));
    match answered(&plain, ip, port, timeout).await {
        Err(_) => Err(why),
        Ok(_) => Ok(()),
    }
}

/// Err: there was no answer.
async fn answered(
    action: &HTTPGetAction,
    ip: &str,
    port: u16,
    timeout: Duration,
) -> Result<Attempt, Attempt> {
    let url = url(action, ip, port);
    let uri: Uri = url.parse().map_err(|error| Attempt::Error(format!("parse \"{url}\": {error}")))?;
    let headers = action.http_headers.as_deref().unwrap_or_default();
    match tokio::time::timeout(timeout, follow(uri, headers)).await {
        Ok(Ok(attempt)) => Ok(attempt),
        Ok(Err(GetError::Body(message))) => Ok(Attempt::Error(message)),
        Ok(Err(GetError::Io(message))) => Err(Attempt::Failure(format!("Get \"{url}\": {message}"))),
        Err(_) => Err(Attempt::Failure(format!(
            "Get \"{url}\": context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
        ))),
    }
}

/// Probes accept any certificate, as the documentation says.
#[derive(Debug)]
struct AnyCertificate(Arc<rustls::crypto::CryptoProvider>);

impl rustls::client::danger::ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &[rustls::pki_types::CertificateDer<'_>],
        _: &rustls::pki_types::ServerName<'_>,
        _: &[u8],
        _: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &rustls::pki_types::CertificateDer<'_>,
        dss: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &rustls::pki_types::CertificateDer<'_>,
        dss: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

fn insecure_tls() -> Arc<rustls::ClientConfig> {
    static CONFIG: OnceLock<Arc<rustls::ClientConfig>> = OnceLock::new();
    CONFIG
        .get_or_init(|| {
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let builder = rustls::ClientConfig::builder_with_provider(provider.clone())
                .with_safe_default_protocol_versions()
                .expect("ring supports the default TLS versions");
            let verifier = Arc::new(AnyCertificate(provider));
            Arc::new(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
        })
        .clone()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    /// Answers each connection with the next of `answers` and gives the requests it saw.
    async fn server(answers: Vec<&'static str>) -> (u16, tokio::task::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let task = tokio::spawn(async move {
            let mut seen = Vec::new();
            for answer in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut buffer = vec![0; 4096];
                let n = stream.read(&mut buffer).await.unwrap();
                seen.push(String::from_utf8_lossy(&buffer[..n]).into_owned());
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
            seen
        });
        (port, task)
    }

    fn action(path: &str) -> HTTPGetAction {
        let header = HTTPHeader { name: "X-A".into(), value: "b".into() };
        HTTPGetAction { path: Some(path.to_owned()), http_headers: Some(vec![header]), ..Default::default() }
    }

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn success_is_200_to_399_and_redirects_are_followed() {
        let (port, task) = server(vec![
            "HTTP/1.1 302 Found\r\nlocation: /ok\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n",
        ])
        .await;
        assert_eq!(get(&action("/start"), "127.0.0.1", port, LONG).await, Attempt::Success);
        assert_eq!(
            get(&action("x"), "127.0.0.1", port, LONG).await,
            Attempt::Failure("HTTP probe failed with statuscode: 503".into())
        );
        let seen = task.await.unwrap();
        assert!(seen[0].starts_with("GET /start HTTP/1.1\r\n"), "{}", seen[0]);
        assert!(seen[0].contains("X-A: b\r\n") && seen[0].contains("User-Agent: kube-probe/1.36\r\n"));
        assert!(seen[1].starts_with("GET /ok ") && seen[2].starts_with("GET /x "));
    }

    #[tokio::test]
    async fn an_answer_that_breaks_off_or_leads_nowhere_is_no_success() {
        let (port, _task) = server(vec![
            "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\ncut",
            "HTTP/1.1 302 Found\r\ncontent-length: 4\r\n\r\nlost",
        ])
        .await;
        let words = "Probe terminated redirects, Response body: lost".to_owned();
        for expected in [Attempt::Error("unexpected EOF".into()), Attempt::Warning(words)] {
            assert_eq!(get(&action("/"), "127.0.0.1", port, LONG).await, expected);
        }
    }

    #[test]
    fn a_path_is_escaped_as_go_does() {
        for (path, expected) in [
            ("/healthz?full=1", "/healthz?full=1"),
            ("/a b/é?x=1#there", "/a%20b/%C3%A9?x=1"),
            ("/a%20b[1]", "/a%20b[1]"),
            ("/100%?x", "/100%25%3Fx"),
            ("/a?x=%zz", "/a?x=%zz"),
        ] {
            assert_eq!(target(path), expected);
        }
    }

    #[tokio::test]
    async fn a_server_without_tls_is_told_in_stock_words() {
        let (port, _task) = server(vec!["HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n"]).await;
        let action = HTTPGetAction { scheme: Some("HTTPS".into()), ..action("/") };
        let words = "http: server gave HTTP response to HTTPS client";
        assert_eq!(
            get(&action, "127.0.0.1", port, LONG).await,
            Attempt::Failure(format!("Get \"https://127.0.0.1:{port}/\": {words}"))
        );
    }

    #[tokio::test]
    async fn a_hook_takes_any_answer_and_asks_again_without_tls() {
        let busy = "HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n";
        let (port, task) = server(vec![busy, busy, busy]).await;
        assert_eq!(call(&action("/"), "127.0.0.1", port, LONG).await, Ok(()));
        let secret = HTTPHeader { name: "Authorization".into(), value: "secret".into() };
        let action =
            HTTPGetAction { scheme: Some("HTTPS".into()), http_headers: Some(vec![secret]), ..action("/") };
        assert_eq!(call(&action, "127.0.0.1", port, LONG).await, Ok(()));
        let seen = task.await.unwrap();
        assert!(seen[2].starts_with("GET / ") && !seen[2].contains("secret"), "{}", seen[2]);
        let refused = call(&action, "127.0.0.1", port, LONG).await.unwrap_err();
        assert!(refused.ends_with("connect: connection refused"), "{refused}");
    }

    #[tokio::test]
    async fn a_refused_connection_is_told_in_stock_words() {
        let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
        let url = format!("http://127.0.0.1:{port}/");
        assert_eq!(
            get(&action("/"), "127.0.0.1", port, LONG).await,
            Attempt::Failure(format!(
                "Get \"{url}\": dial tcp 127.0.0.1:{port}: connect: connection refused"
            ))
        );
    }
}
