//! What becomes of each kind of answer, over a real connection to a backend of a few bytes.

use http::Request;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::*;
use crate::headers::Arrival;

/// `200 four kept`: status, body, headers in `[]` that are not `content-length`, trailers in `{}`, and whether the
/// connection may be used again. `byte_by_byte` has them arrive so.
async fn outcome(method: &str, answer: &str, byte_by_byte: bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (answer, closes) = (answer.replace("<close>", ""), answer.ends_with("<close>"));
    let backend = async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        for piece in answer.as_bytes().chunks(if byte_by_byte { 1 } else { answer.len() }) {
            // The peer leaves where it understands no more.
            if stream.write_all(piece).await.is_err() {
                return;
            }
            tokio::task::yield_now().await;
        }
        if !closes {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        outcome = ask(method, address) => outcome.unwrap_or_else(|error| {
            std::error::Error::source(&error).map_or(error.to_string(), |source| source.to_string())
        }),
        outcome = async { backend.await; std::future::pending().await } => outcome,
    }
}

async fn ask(method: &str, address: SocketAddr) -> Result<String, ExchangeError> {
    let stream = TcpStream::connect(address).await.unwrap();
    let mut connection = Connection::over(stream, address);
    let (parts, ()) = Request::builder().method(method).uri("/").body(()).unwrap().into_parts();
    let arrival = Arrival::new(address, false, 80);
    let request = Forwarded { parts: &parts, arrival: &arrival, upgrade: false };
    let answer = connection.ask(&request, RequestBody::default()).await?;
    if answer.status() == 101 {
        let rest = connection.into_switched().1;
        return Ok(format!("101 {}", String::from_utf8_lossy(&rest)));
    }
    let mut told = answer.status().as_u16().to_string();
    let mut body = Vec::new();
    let mut trailers = String::new();
    while let Some(frame) = std::future::poll_fn(|context| connection.poll_frame(context)).await {
        match frame?.into_data() {
            Ok(data) => body.extend_from_slice(&data),
            Err(frame) => {
                for name in frame.into_trailers().unwrap().keys() {
                    trailers = format!(" {{{name}}}");
                }
            }
        }
    }
    if !body.is_empty() {
        told += &format!(" {}", String::from_utf8(body).unwrap());
    }
    for name in answer.headers().keys().filter(|name| *name != "content-length") {
        told += &format!(" [{name}]");
    }
    Ok(format!("{told}{trailers} {}", if connection.rest() { "kept" } else { "dropped" }))
}

#[tokio::test]
async fn answers_end_where_http_says() {
    let cases = [
        ("GET", "200 OK|content-length: 4||four", "200 four kept"),
        ("GET", "200 OK|Content-Length: 4|Content-Length: 4||four", "200 four kept"),
        ("GET", "200 OK|content-length: 0||", "200 kept"),
        ("GET", "200 Fine|content-length: 0||", "200 kept"),
        ("GET", "200 OK|x-a: 1|keep-alive: 5|content-length: 0||", "200 [x-a] kept"),
        ("GET", "200 OK|connection: X-Mine|x-mine: 1|x-a: 1|content-length: 0||", "200 [x-a] kept"),
        ("HEAD", "200 OK|content-length: 4||", "200 kept"),
        ("HEAD", "200 OK|transfer-encoding: chunked||", "200 kept"),
        ("GET", "204 No Content||", "204 kept"),
        ("GET", "304 Not Modified|content-length: 4||", "304 kept"),
        ("GET", "100 Continue||HTTP/1.1 200 OK|content-length: 4||four", "200 four kept"),
        ("GET", "103 Early Hints|link: x||HTTP/1.1 200 OK|content-length: 4||four", "200 four kept"),
        ("GET", "101 Switching Protocols|upgrade: x|connection: upgrade||", "101 "),
        ("GET", "200 OK||four<close>", "200 four dropped"),
        ("GET", "200 OK|content-length: 4|connection: close||four", "200 four dropped"),
        ("GET", "200 OK|content-length: 4|connection: x, Close||four", "200 four dropped"),
        ("GET", "200 OK|transfer-encoding: chunked||4|four|0||", "200 four kept"),
        ("GET", "200 OK|transfer-encoding: Chunked||2;a=b|fo|02 ;c=\"d\"|ur|0;e||", "200 four kept"),
        ("GET", "200 OK|transfer-encoding: chunked||4|four|0|x-sum: 1||", "200 four {x-sum} kept"),
        ("GET", "200 OK|transfer-encoding: chunked||4|four|0|content-length: 1||", "200 four kept"),
        ("GET", "200 OK|transfer-encoding: chunked||000000000000000a|0123456789|0||", "200 0123456789 kept"),
    ];
    check(&cases.map(|(method, answer, outcome)| (method, format!("HTTP/1.1 {answer}"), outcome))).await;
    check(&[
        ("GET", "HTTP/1.0 200 OK|content-length: 4||four".to_string(), "200 four dropped"),
        ("GET", "HTTP/1.0 200 OK||four<close>".to_string(), "200 four dropped"),
        ("GET", "HTTP/1.1 200|content-length: 4||four".to_string(), "200 four kept"),
    ])
    .await;
}

#[tokio::test]
async fn answers_that_mislead_are_errors() {
    const LENGTH: &str = "`Content-Length` is no number, or several";
    const ENCODING: &str = "`Transfer-Encoding` is not `chunked`, or has no place here";
    const SIZE: &str = "the size of a chunk is not valid";
    const CLOSED: &str = "the backend closed the connection before the end of its answer";
    let cases = [
        ("200 OK|content-length: 4|content-length: 5||four", LENGTH),
        ("200 OK|content-length: 4, 4||four", LENGTH),
        ("200 OK|content-length: +4||four", LENGTH),
        ("200 OK|content-length: -4||four", LENGTH),
        ("200 OK|content-length:||four", LENGTH),
        ("200 OK|content-length: 99999999999999999999||four", LENGTH),
        ("200 OK|content-length: 4|transfer-encoding: chunked||4|four|0||", ENCODING),
        ("200 OK|transfer-encoding: chunked|content-length: 4||4|four|0||", ENCODING),
        ("200 OK|transfer-encoding: gzip, chunked||4|four|0||", ENCODING),
        ("200 OK|transfer-encoding: chunked|transfer-encoding: chunked||4|four|0||", ENCODING),
        ("200 OK|transfer-encoding: identity||four<close>", ENCODING),
        ("200 OK|transfer-encoding: chunked||+4|four|0||", SIZE),
        ("200 OK|transfer-encoding: chunked||0x4|four|0||", SIZE),
        ("200 OK|transfer-encoding: chunked|||four|0||", SIZE),
        ("200 OK|transfer-encoding: chunked||4 four|0||", SIZE),
        ("200 OK|transfer-encoding: chunked||4\nfour|0||", SIZE),
        ("200 OK|transfer-encoding: chunked||4;a\rb|four|0||", SIZE),
        ("200 OK|transfer-encoding: chunked||10000000000000000|four|0||", SIZE),
        ("200 OK|transfer-encoding: chunked||4|fourteen|0||", "a chunk is longer than its size says"),
        ("200 OK|transfer-encoding: chunked||4|four<close>", CLOSED),
        ("200 OK|transfer-encoding: chunked||4|four|0|<close>", CLOSED),
        ("200 OK|content-length: 5||four<close>", CLOSED),
        ("200 OK|content-le<close>", CLOSED),
        ("200 OK|x-a: 1| x-b: 2|content-length: 0||", "invalid header name"),
        ("200 OK|x-a : 1|content-length: 0||", "invalid header name"),
        ("200 OK|x-a: \0|content-length: 0||", "invalid header value"),
        ("200 OK|x-a: 1\r2|content-length: 0||", "invalid header value"),
        ("2000 OK|content-length: 0||", "invalid response status"),
    ];
    check(&cases.map(|(answer, outcome)| ("GET", format!("HTTP/1.1 {answer}"), outcome))).await;
    check(&[
        ("GET", "HTTP/1.0 200 OK|transfer-encoding: chunked||4|four|0||".to_string(), ENCODING),
        ("GET", "SSH-2.0-OpenSSH||".to_string(), "invalid HTTP version"),
        ("GET", "|||".to_string(), "a header's name or value is not valid"),
    ])
    .await;
}

#[tokio::test]
async fn what_comes_behind_an_answer_ends_the_connection() {
    for (answer, expected) in [
        ("HTTP/1.1 200 OK|content-length: 4||fourHTTP/1.1 200 OK", "200 four dropped"),
        ("HTTP/1.1 204 No Content||four", "204 dropped"),
        ("HTTP/1.1 200 OK|transfer-encoding: chunked||4|four|0|||", "200 four dropped"),
        ("HTTP/1.1 101 Switching Protocols|upgrade: x||first", "101 first"),
    ] {
        assert_eq!(outcome("GET", &answer.replace('|', "\r\n"), false).await, expected, "{answer}");
    }
}

#[tokio::test]
async fn a_peer_that_closes_or_speaks_at_rest_is_noticed() {
    for unasked in ["", "HTTP/1.1 408 Request Timeout\r\n\r\n"] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connection = Connection::over(TcpStream::connect(address).await.unwrap(), address);
        let (mut peer, _) = listener.accept().await.unwrap();
        assert!(connection.is_open());
        peer.write_all(unasked.as_bytes()).await.unwrap();
        drop(peer);
        let noticed = async {
            while connection.is_open() {
                tokio::task::yield_now().await
            }
        };
        tokio::time::timeout(Duration::from_secs(20), noticed).await.expect("in time");
    }
}

#[tokio::test]
async fn heads_have_limits() {
    let head = |lines: String| format!("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n{lines}\r\n");
    let many = |count| (0..count).map(|number| format!("x-{number}: 1\r\n")).collect::<String>();
    let long = |size| format!("x-long: {}\r\n", "x".repeat(size));
    assert!(outcome("GET", &head(many(99)), false).await.ends_with("kept"));
    assert_eq!(outcome("GET", &head(many(100)), false).await, "too many headers");
    assert!(outcome("GET", &head(long(32_000)), false).await.ends_with("kept"));
    assert_eq!(outcome("GET", &head(long(33_000)), false).await, "the head is larger than 32768 bytes");
    let endless = format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4;{}", "x".repeat(5000));
    assert_eq!(outcome("GET", &endless, false).await, "the size of a chunk is not valid");
    let trailers = head(String::new()).replace("content-length: 0", "transfer-encoding: chunked");
    let trailers = format!("{trailers}0\r\n{}", long(33_000));
    assert_eq!(outcome("GET", &trailers, false).await, "the trailers are too large");
}

/// `|` ends a line.
async fn check(cases: &[(&str, String, &str)]) {
    for (method, answer, expected) in cases {
        for byte_by_byte in [false, true] {
            let seen = outcome(method, &answer.replace('|', "\r\n"), byte_by_byte).await;
            assert_eq!(seen, *expected, "{method} {answer:?}, byte by byte: {byte_by_byte}");
        }
    }
}
