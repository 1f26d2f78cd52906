//! The way of a request through the proxy, over real sockets.

use std::sync::Arc;

use http::HeaderMap;
use http_body_util::BodyExt;
use hyper_util::rt::TokioIo;
use rustls::pki_types::PrivateKeyDer;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_util::sync::CancellationToken;

use super::{
    ClientIdentity, Outbound, Peer, Trust,
    forward::{Route, forward},
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
