//! The way of a request through the proxy, over real sockets.

use std::sync::Arc;

use http::HeaderMap;
use http_body_util::BodyExt;
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyPair, SanType};
use rustls::{
    ServerConfig,
    pki_types::{PrivateKeyDer, ServerName},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tokio_util::sync::CancellationToken;

use super::{
    ClientIdentity, Outbound, Peer, Trust,
    forward::{Route, forward},
    tls,
};
use crate::types::Body;

async fn outbound(dir: &std::path::Path) -> Outbound {
    let config =
        coracle_store::StoreConfig { dir: dir.join("store"), encrypted: Vec::new(), history_events: 10 };
    let store = coracle_store::Store::open(config).await.expect("store opens");
    let key = rcgen::KeyPair::generate().expect("key");
    let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    Outbound::new(store.reader(), ClientIdentity { chain: Vec::new(), key })
}

/// Answers each connection's first request by what it asks for, and then sends back what it gets.
async fn backend() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let address = listener.local_addr().expect("address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream));
        }
    });
    address
}

async fn answer(mut stream: TcpStream) {
    let head = head(&mut stream).await;
    let page = "<a href=\"/rewriteme\">test</a>";
    let reply = match head.split(' ').nth(1).unwrap_or_default() {
        "/page" => format!(
            "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{page}",
            page.len()
        ),
        "/away" => "HTTP/1.1 302 Found\r\nlocation: /login\r\naccess-control-allow-origin: *\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".into(),
        _ => "HTTP/1.1 101 Switching Protocols\r\nupgrade: echo\r\nconnection: Upgrade\r\n\r\n".to_owned(),
    };
    stream.write_all(reply.as_bytes()).await.expect("write");
    let (mut read, mut write) = stream.split();
    let _ = tokio::io::copy(&mut read, &mut write).await;
}

/// What stands before the empty line.
async fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.expect("a byte"));
    }
    String::from_utf8(head).expect("text")
}

/// A server that passes everything on, as the API server does under `/p`.
async fn proxy(outbound: Arc<Outbound>, base: String) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let address = listener.local_addr().expect("address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (outbound, base) = (outbound.clone(), base.clone());
            let service = hyper::service::service_fn(move |request: http::Request<hyper::body::Incoming>| {
                let (outbound, base) = (outbound.clone(), base.clone());
                async move {
                    let route = Route {
                        peer: Peer { trust: Trust::Anyone, front_proxy: false },
                        base,
                        path: request.uri().path().to_owned(),
                        prefix: "/p".into(),
                        own_host: false,
                        refuse_redirects: false,
                        headers: HeaderMap::new(),
                    };
                    let request = request.map(|body| -> Body { body.map_err(Into::into).boxed_unsync() });
                    forward(&outbound, &CancellationToken::new(), route, request).await
                }
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .with_upgrades();
            tokio::spawn(connection);
        }
    });
    address
}

#[tokio::test]
async fn pages_redirects_and_upgrades_pass_through() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let outbound = Arc::new(outbound(dir.path()).await);
    let address = proxy(outbound, format!("http://{}", backend().await)).await;
    let ask = async |path: &str, more: &str| {
        let mut stream = TcpStream::connect(address).await.expect("connects");
        let request = format!("GET {path} HTTP/1.1\r\nhost: here\r\n{more}\r\n");
        stream.write_all(request.as_bytes()).await.expect("write");
        let head = head(&mut stream).await;
        (head, stream)
    };
    let close = "connection: close\r\n";
    let (_, mut stream) = ask("/page", close).await;
    let mut page = String::new();
    stream.read_to_string(&mut page).await.expect("a body");
    assert!(page.contains("<a href=\"/p/rewriteme\">test</a>"), "{page}");
    let (head, _) = ask("/away", close).await;
    assert!(head.contains("location: /p/login\r\n") && !head.contains("access-control"), "{head}");
    let (head, mut stream) = ask("/socket", "connection: Upgrade\r\nupgrade: echo\r\n").await;
    assert!(head.starts_with("HTTP/1.1 101") && head.contains("upgrade: echo"), "{head}");
    stream.write_all(b"ping").await.expect("write");
    let mut back = [0; 4];
    stream.read_exact(&mut back).await.expect("an echo");
    assert_eq!(&back, b"ping");
}

/// One handshake with a server whose certificate is its own authority's; what the client has against it.
async fn handshake(name: &str, is_trusted: bool, change: fn(&mut CertificateParams)) -> Option<String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key = KeyPair::generate().expect("key");
    let mut params = CertificateParams::new(["localhost".to_owned()]).expect("names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let other = params.self_signed(&KeyPair::generate().expect("key")).expect("certificate");
    change(&mut params);
    let own = params.self_signed(&key).expect("certificate");
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let private = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let builder = builder.expect("versions").with_no_client_auth();
    let server = builder.with_single_cert(vec![own.der().clone()], private).expect("certificate");
    let bundle = if is_trusted { own.pem() } else { other.pem() };
    let client = tls::config(&Trust::Bundle(bundle.into_bytes().into()), None).expect("configuration");
    let (near, far) = tokio::io::duplex(1 << 14);
    let name = ServerName::try_from(name.to_owned()).expect("name");
    let (answer, _) = tokio::join!(
        TlsConnector::from(Arc::new(client)).connect(name.clone(), near),
        TlsAcceptor::from(Arc::new(server)).accept(far)
    );
    let error = answer.err()?;
    let cause = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    Some(tls::go_text(cause.expect("a TLS error"), &name.to_str()))
}

#[tokio::test]
async fn an_authority_that_is_trusted_itself_may_serve() {
    type Change = fn(&mut CertificateParams);
    let plain: Change = |_| {};
    let address: Change = |params| {
        let addresses = [2, 3].map(|last| SanType::IpAddress([10, 0, 0, last].into()));
        params.subject_alt_names.extend(addresses);
    };
    let past: Change = |params| params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    let future: Change = |params| params.not_before = rcgen::date_time_ymd(2200, 1, 1);
    let client: Change = |params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    for (name, is_trusted, change, expected) in [
        ("localhost", true, plain, None),
        ("example.com", true, plain, Some("certificate is valid for localhost, not example.com")),
        (
            "10.0.0.1",
            true,
            plain,
            Some("cannot validate certificate for 10.0.0.1 because it doesn't contain any IP SANs"),
        ),
        ("10.0.0.1", true, address, Some("certificate is valid for 10.0.0.2, 10.0.0.3, not 10.0.0.1")),
        ("example.com", true, address, Some("certificate is valid for localhost, not example.com")),
        ("localhost", true, past, Some("certificate has expired or is not yet valid")),
        ("localhost", true, future, Some("certificate has expired or is not yet valid")),
        ("localhost", true, client, Some("certificate specifies an incompatible key usage")),
        (
            "localhost",
            false,
            plain,
            Some(
                "certificate signed by unknown authority (it is an authority's own, which must be in the bundle)",
            ),
        ),
    ] {
        let text = handshake(name, is_trusted, change).await;
        let expected = expected.map(|why| format!("tls: failed to verify certificate: x509: {why}"));
        assert_eq!(text, expected, "{name}");
    }
}
