//! Heads and bodies on their way through.

use bytes::Bytes;
use serde_json::json;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};

use crate::{
    backends,
    clients::{exchange, head, request, send},
    proxy, site,
};

#[tokio::test]
async fn backends_learn_who_asks() {
    let web = backends::echo_head().await;
    let proxy = proxy(site(&[web.address], json!({}))).await;
    let mut request = request("GET", "/x?y=%20", "");
    for (name, value) in
        [("x-forwarded-for", "10.9.9.9"), ("connection", "keep-alive, x-mine"), ("x-mine", "1")]
    {
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    let reply = send(proxy.http, request).await;
    let seen: Vec<&str> = reply.text().lines().collect();
    for expected in [
        "GET /x?y=%20",
        "host: a.example",
        "x-forwarded-for: 127.0.0.1",
        "x-real-ip: 127.0.0.1",
        "x-original-forwarded-for: 10.9.9.9",
        "x-forwarded-proto: http",
        "x-forwarded-host: a.example",
    ] {
        assert!(seen.contains(&expected), "{expected} in {seen:?}");
    }
    assert!(
        !seen.iter().any(|line| line.starts_with("x-mine") || line.starts_with("connection")),
        "{seen:?}"
    );
}

#[tokio::test]
async fn requests_above_the_limit_are_refused() {
    let web = backends::measure().await;
    let key = "nginx.ingress.kubernetes.io/proxy-body-size";
    let mib = Bytes::from(vec![b'x'; 1 << 20]);
    let more = Bytes::from(vec![b'x'; (1 << 20) + 1]);
    let much = Bytes::from(vec![b'x'; 32 << 20]);
    let cases = [
        (json!({}), &mib, 200),
        (json!({}), &more, 413),
        (json!({}), &Bytes::from(vec![b'x'; 8 << 20]), 413),
        (json!({key: "2m"}), &more, 200),
        (json!({key: "0"}), &much, 200),
    ];
    for (annotations, body, expected) in cases {
        let proxy = proxy(site(&[web.address], annotations.clone())).await;
        let reply = send(proxy.http, request("POST", "/", body.clone())).await;
        assert_eq!(reply.status, expected, "{annotations} {}", body.len());
        if expected == 200 {
            assert_eq!(reply.text(), body.len().to_string());
        }
    }
}

#[tokio::test]
async fn a_body_of_unknown_length_is_counted() {
    let web = backends::measure().await;
    let annotations = json!({"nginx.ingress.kubernetes.io/proxy-body-size": "4"});
    let proxy = proxy(site(&[web.address], annotations)).await;
    let post = |chunk: &str| {
        format!(
            "POST / HTTP/1.1\r\nhost: a.example\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n{chunk}\r\n0\r\n\r\n"
        )
    };
    assert!(exchange(proxy.http, &post("4\r\nfour")).await.starts_with("HTTP/1.1 200"));
    assert!(exchange(proxy.http, &post("5\r\nfives")).await.starts_with("HTTP/1.1 413"));
    // Who is still sending can end, and then read the answer.
    let much = post(&format!("{:x}\r\n{}", 12 << 20, "x".repeat(12 << 20)));
    assert!(exchange(proxy.http, &much).await.starts_with("HTTP/1.1 413"));
    let nowhere = much.replace("a.example", "unknown.example");
    assert!(exchange(proxy.http, &nowhere).await.starts_with("HTTP/1.1 404"));
}

#[tokio::test]
async fn a_client_that_sends_no_body_as_it_should_is_told_so() {
    let annotations = json!({"nginx.ingress.kubernetes.io/proxy-send-timeout": "1"});
    let web = backends::measure().await;
    let proxy = proxy(site(&[web.address], annotations)).await;
    for (sent, status) in [
        ("transfer-encoding: chunked\r\n\r\n4\r\nfour\r\nx\r\n", "HTTP/1.1 400"),
        ("content-length: 10\r\n\r\nfour", "HTTP/1.1 408"),
        ("transfer-encoding: chunked\r\n\r\n", "HTTP/1.1 408"),
    ] {
        let sent = format!("POST / HTTP/1.1\r\nhost: a.example\r\n{sent}");
        assert_eq!(head(proxy.http, &sent).await, status, "{sent}");
    }
}

#[tokio::test]
async fn large_answers_arrive_whole() {
    let body: Bytes = (0..32_u32 << 20).map(|index| (index % 251) as u8).collect::<Vec<u8>>().into();
    let served = body.clone();
    let web = backends::serve(move |_| {
        let served = served.clone();
        async move { backends::text(served) }
    })
    .await;
    let proxy = proxy(site(&[web.address], json!({}))).await;
    for _ in 0..2 {
        assert!(send(proxy.http, request("GET", "/", "")).await.body == body);
    }
    assert_eq!(web.connections(), 1);
}

#[tokio::test]
async fn an_answer_without_a_body_keeps_its_length() {
    let web = backends::named("web").await;
    let proxy = proxy(site(&[web.address], json!({}))).await;
    let answer =
        exchange(proxy.http, "HEAD / HTTP/1.1\r\nhost: a.example\r\nconnection: close\r\n\r\n").await;
    assert!(answer.contains("content-length: 3\r\n") && answer.ends_with("\r\n\r\n"), "{answer}");
}

#[tokio::test]
async fn a_length_that_the_backend_does_not_name_is_not_made_up() {
    let web = backends::raw(|mut stream| async move {
        let mut head = [0; 1024];
        let _ = stream.read(&mut head).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n").await;
    })
    .await;
    let proxy = proxy(site(&[web.address], json!({}))).await;
    let answer =
        exchange(proxy.http, "HEAD / HTTP/1.1\r\nhost: a.example\r\nconnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200") && !answer.contains("content-length"), "{answer}");
}

#[tokio::test]
async fn old_clients_are_answered_in_their_version() {
    let web = backends::named("web").await;
    let proxy = proxy(site(&[web.address], json!({}))).await;
    let answer = exchange(proxy.http, "GET / HTTP/1.0\r\nhost: a.example\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.0 200 OK\r\n") && answer.ends_with("\r\n\r\nweb"), "{answer}");
}

#[tokio::test]
async fn misleading_requests_are_refused() {
    let web = backends::named("web").await;
    let proxy = proxy(site(&[web.address], json!({}))).await;
    let many = "x".repeat(40_000);
    let cases = [
        (
            "GET / HTTP/1.1\r\nhost: a.example\r\nhost: b.example\r\nconnection: close\r\n\r\n".to_string(),
            "400",
        ),
        ("GET / HTTP/1.1\r\nconnection: close\r\n\r\n".to_string(), "400"),
        ("TRACE / HTTP/1.1\r\nhost: a.example\r\nconnection: close\r\n\r\n".to_string(), "405"),
        (
            "POST / HTTP/1.1\r\nhost: a.example\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n"
                .to_string(),
            "400",
        ),
        ("POST / HTTP/1.1\r\nhost: a.example\r\ntransfer-encoding: gzip\r\n\r\n".to_string(), "400"),
        (format!("GET / HTTP/1.1\r\nhost: a.example\r\nx-many: {many}\r\n\r\n"), "431"),
    ];
    for (sent, status) in cases {
        let answer = head(proxy.http, &sent).await;
        assert_eq!(answer.get(9..12), Some(status), "{} => {answer}", &sent[..sent.len().min(100)]);
    }
}

#[tokio::test]
async fn a_client_that_waits_for_leave_gets_it() {
    let web = backends::measure().await;
    let proxy = proxy(site(&[web.address], json!({}))).await;
    let mut stream = BufReader::new(TcpStream::connect(proxy.http).await.unwrap());
    let head = "POST / HTTP/1.1\r\nhost: a.example\r\nconnection: close\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut line = String::new();
    stream.read_line(&mut line).await.unwrap();
    assert_eq!(line, "HTTP/1.1 100 Continue\r\n");
    stream.write_all(b"four").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.ends_with("\r\n\r\n4"), "{answer}");
    let large = head.replace("content-length: 4", "content-length: 4000000");
    assert!(exchange(proxy.http, &large).await.starts_with("HTTP/1.1 413"));
}
