//! What goes over the wire to backends, byte by byte, and what becomes of answers that come at an odd time.

use bytes::Bytes;
use http::Request;
use http_body::Frame;
use http_body_util::StreamBody;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::mpsc,
};

use crate::{
    DEADLINE, Proxy,
    backends::{self, Backend},
    clients::{exchange, get, tls},
    proxy, site,
};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nfour";

/// Reads until what it read ends with `until`, gives that to the test, answers, and reads on to the end.
async fn recording(until: &'static str, answer: &'static str) -> (Backend, mpsc::UnboundedReceiver<String>) {
    let (seen, seen_by_test) = mpsc::unbounded_channel();
    let backend = backends::raw(move |mut stream| {
        let seen = seen.clone();
        async move {
            let mut bytes = Vec::new();
            while let Ok(byte) = stream.read_u8().await {
                bytes.push(byte);
                if bytes.ends_with(until.as_bytes()) {
                    let _ = seen.send(String::from_utf8_lossy(&std::mem::take(&mut bytes)).into_owned());
                    let _ = stream.write_all(answer.as_bytes()).await;
                }
            }
            let _ = seen.send(format!("{} and the end", String::from_utf8_lossy(&bytes)));
        }
    })
    .await;
    (backend, seen_by_test)
}

async fn ingress(backend: &Backend) -> Proxy {
    proxy(site(&[backend.address], json!({}))).await
}

#[tokio::test]
async fn bodies_are_framed_as_the_client_framed_them() {
    let cases = [
        ("GET", "", "\r\n\r\n", "GET / HTTP/1.1\r\nhost: a.example\r\n"),
        ("POST", "content-length: 0\r\n\r\n", "content-length: 0\r\n\r\n", "POST / HTTP/1.1\r\n"),
        ("POST", "content-length: 4\r\n\r\nfour", "content-length: 4\r\n\r\nfour", "POST / HTTP/1.1\r\n"),
        (
            "PUT",
            "transfer-encoding: chunked\r\n\r\n2\r\nfo\r\n2;x=y\r\nur\r\n0\r\n\r\n",
            "transfer-encoding: chunked\r\n\r\n2\r\nfo\r\n2\r\nur\r\n0\r\n\r\n",
            "PUT / HTTP/1.1\r\n",
        ),
        (
            "POST",
            "transfer-encoding: chunked\r\n\r\n4\r\nfour\r\n0\r\nx-sum: 1\r\ncontent-length: 9\r\n\r\n",
            "transfer-encoding: chunked\r\n\r\n4\r\nfour\r\n0\r\nx-sum: 1\r\n\r\n",
            "POST / HTTP/1.1\r\n",
        ),
    ];
    for (method, sent, until, begin) in cases {
        let (web, mut seen) = recording(until, OK).await;
        let proxy = ingress(&web).await;
        let head = format!("{method} / HTTP/1.1\r\nhost: a.example\r\nconnection: close\r\n");
        let sent = if sent.is_empty() { "\r\n" } else { sent };
        let answer = tokio::time::timeout(DEADLINE, exchange(proxy.http, &format!("{head}{sent}"))).await;
        assert!(answer.unwrap().ends_with("four"), "{method} {sent:?}");
        let seen = seen.recv().await.unwrap();
        assert!(seen.starts_with(begin), "{seen}");
        let framing = ["content-length", "transfer-encoding"].map(|name| seen.matches(name).count());
        assert_eq!(framing.iter().sum::<usize>(), usize::from(method != "GET"), "{seen}");
    }
}

#[tokio::test]
async fn a_client_on_http2_may_end_an_empty_body_late() {
    let (web, mut seen) = recording("content-length: 0\r\n\r\n", OK).await;
    let proxy = ingress(&web).await;
    let stream = tls(proxy.https, "a.example", "h2").await;
    let opened = http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (mut sender, connection) = opened.await.unwrap();
    tokio::spawn(connection);
    let body = StreamBody::new(futures::stream::empty::<Result<Frame<Bytes>, std::convert::Infallible>>());
    let request = Request::post("https://a.example/").header("content-length", "0").body(body).unwrap();
    let answer = tokio::time::timeout(DEADLINE, sender.send_request(request)).await.expect("in time");
    assert_eq!(answer.unwrap().status(), 200);
    assert!(seen.recv().await.unwrap().starts_with("POST / HTTP/1.1\r\nhost: a.example\r\n"));
}

#[tokio::test]
async fn a_body_that_is_cut_short_ends_the_connection() {
    for sent in ["content-length: 10\r\n\r\nfour", "transfer-encoding: chunked\r\n\r\na\r\nfour"] {
        let (web, mut seen) = recording("never", OK).await;
        let proxy = ingress(&web).await;
        let mut client = TcpStream::connect(proxy.http).await.unwrap();
        let head = format!("POST / HTTP/1.1\r\nhost: a.example\r\n{sent}");
        client.write_all(head.as_bytes()).await.unwrap();
        drop(client);
        let seen = tokio::time::timeout(DEADLINE, seen.recv()).await.expect("ended in time").unwrap();
        assert!(seen.ends_with(" and the end") && !seen.contains("\r\n0\r\n"), "{seen}");
    }
}

#[tokio::test]
async fn an_answer_may_come_before_the_body() {
    let refused = "HTTP/1.1 403 Forbidden\r\ncontent-length: 4\r\n\r\ngone";
    let (web, _seen) = recording("\r\n\r\n", refused).await;
    let proxy = ingress(&web).await;
    let head = "POST / HTTP/1.1\r\nhost: a.example\r\ncontent-length: 100000\r\n\r\n";
    let answer = tokio::time::timeout(DEADLINE, exchange(proxy.http, head)).await.expect("in time");
    assert!(answer.starts_with("HTTP/1.1 403") && answer.ends_with("gone"), "{answer}");
    // The rest of that body may still be awaited there.
    assert_eq!(get(proxy.http, "/").await.status, 403);
    assert_eq!(web.connections(), 2);
}

#[tokio::test]
async fn a_backend_that_refuses_a_body_and_closes_is_heard() {
    let web = backends::raw(|mut stream| async move {
        let _ = stream.read(&mut [0; 1024]).await;
        let refused = "HTTP/1.1 403 Forbidden\r\nconnection: close\r\ncontent-length: 4\r\n\r\ngone";
        let _ = stream.write_all(refused.as_bytes()).await;
        let _ = stream.shutdown().await;
        // Reads nothing more, but does not reset the connection either.
        let mut rest = [0; 1024];
        while stream.read(&mut rest).await.unwrap_or(0) > 0 {}
    })
    .await;
    let proxy = ingress(&web).await;
    let body = "x".repeat(500_000);
    let sent = format!("POST / HTTP/1.1\r\nhost: a.example\r\ncontent-length: 500000\r\n\r\n{body}");
    let mut client = TcpStream::connect(proxy.http).await.unwrap();
    let (mut read, mut write) = client.split();
    let mut answer = [0; 12];
    // The ingress closes once it has answered: not all of the body may be taken.
    let (_, heard) = tokio::join!(write.write_all(sent.as_bytes()), read.read_exact(&mut answer));
    heard.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 403");
}

#[tokio::test]
async fn misleading_answers_are_bad_gateways() {
    for answer in [
        "HTTP/1.1 200 OK\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n4\r\nfour\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 4\r\ncontent-length: 9\r\n\r\nfour",
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
        "SSH-2.0-OpenSSH\r\n\r\n",
    ] {
        let (web, _seen) = recording("\r\n\r\n", answer).await;
        let proxy = ingress(&web).await;
        assert_eq!(get(proxy.http, "/").await.status, 502, "{answer}");
        assert_eq!(web.connections(), 1, "{answer}");
    }
}

#[tokio::test]
async fn bytes_behind_an_answer_never_answer_another_request() {
    let split =
        "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nfourHTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil";
    let (web, _seen) = recording("\r\n\r\n", split).await;
    let proxy = ingress(&web).await;
    for _ in 0..5 {
        assert_eq!(get(proxy.http, "/").await.text(), "four");
    }
    assert_eq!(web.connections(), 5);
}

#[tokio::test]
async fn what_comes_right_behind_a_switch_of_protocols_arrives() {
    let switch = "HTTP/1.1 101 Switching Protocols\r\nupgrade: echo\r\nconnection: upgrade\r\n\r\nfirst";
    let (web, mut seen) = recording("\r\n\r\n", switch).await;
    let proxy = ingress(&web).await;
    let mut client = TcpStream::connect(proxy.http).await.unwrap();
    let ask = "GET / HTTP/1.1\r\nhost: a.example\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n";
    client.write_all(ask.as_bytes()).await.unwrap();
    let mut answer = String::new();
    while !answer.ends_with("first") {
        answer.push(char::from(client.read_u8().await.unwrap()));
    }
    assert!(answer.contains("upgrade: echo\r\n"), "{answer}");
    client.write_all(b"bytes").await.unwrap();
    client.shutdown().await.unwrap();
    assert!(seen.recv().await.unwrap().contains("upgrade: echo\r\n"));
    let rest = tokio::time::timeout(DEADLINE, seen.recv()).await.expect("in time");
    assert_eq!(rest.unwrap(), "bytes and the end");
}
