//! What becomes of connections: kept, lost, switched, cut.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::{SinkExt, StreamExt};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Notify,
};
use tokio_tungstenite::tungstenite::Message;
use tokio_util::sync::CancellationToken;

use crate::{
    DEADLINE, backends, built,
    clients::{Client, eventually, get, request, send},
    proxy, site, slice,
};

#[tokio::test]
async fn connections_to_backends_are_used_again() {
    let web = backends::named("web").await;
    let proxy = proxy(site(&[web.address], json!({}))).await;
    let mut client = Client::connect(proxy.http).await;
    for _ in 0..20 {
        assert_eq!(client.get("/").await.unwrap().text(), "web");
        assert_eq!(get(proxy.http, "/").await.text(), "web");
    }
    assert_eq!(web.connections(), 1);
}

#[tokio::test]
async fn who_comes_before_the_routes_are_known_waits_for_them() {
    let web = backends::named("web").await;
    let (_api, ingress) = built(site(&[web.address], json!({}))).await;
    let (http, _) = ingress.addresses();
    let mut early = TcpStream::connect(http).await.unwrap();
    early.write_all(b"GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n").await.unwrap();
    let stop = CancellationToken::new();
    let running = tokio::spawn(ingress.run(stop.clone()));
    let mut answer = String::new();
    early.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    stop.cancel();
    running.await.unwrap();
}

#[tokio::test]
async fn a_backend_may_close_connections_at_rest() {
    let web = backends::raw(backends::answer_once).await;
    let proxy = proxy(site(&[web.address], json!({}))).await;
    let mut client = Client::connect(proxy.http).await;
    for _ in 0..50 {
        assert_eq!(client.get("/").await.unwrap().text(), "once");
    }
    assert_eq!(web.connections(), 50);
}

/// nginx too sends an idempotent request again; a POST may have had its effect.
#[tokio::test]
async fn what_is_lost_on_a_connection_that_rested_is_sent_again_when_it_is_small_and_idempotent() {
    for (method, bytes, status) in
        [("PUT", 4, 200), ("DELETE", 4, 200), ("PUT", 60_000, 200), ("PUT", 200_000, 502), ("POST", 4, 502)]
    {
        let web = backends::raw(backends::measure_once_and_lose_the_next).await;
        let proxy = proxy(site(&[web.address], json!({}))).await;
        assert_eq!(send(proxy.http, request("PUT", "/", "first")).await.text(), "5");
        let reply = send(proxy.http, request(method, "/", vec![b'x'; bytes])).await;
        assert_eq!(reply.status, status, "{method} of {bytes} bytes");
        if status == 200 {
            assert_eq!(reply.text(), bytes.to_string());
            assert_eq!(web.connections(), 2);
        }
    }
}

#[tokio::test]
async fn the_next_endpoint_is_tried_where_one_refuses() {
    let web = backends::measure().await;
    let refusing = backends::refusing(web.address);
    let proxy = proxy(site(&[refusing, web.address], json!({}))).await;
    for _ in 0..4 {
        assert_eq!(send(proxy.http, request("POST", "/", "four")).await.text(), "4");
    }
    proxy.api.put(slice("web", &[refusing]));
    eventually(|| async { get(proxy.http, "/").await.status == 502 }).await;
}

#[tokio::test]
async fn a_backend_that_gives_no_answer_is_a_bad_gateway() {
    let web = backends::raw(|mut stream| async move {
        let _ = stream.read(&mut [0; 1024]).await;
    })
    .await;
    let proxy = proxy(site(&[web.address], json!({}))).await;
    assert_eq!(send(proxy.http, request("POST", "/", "four")).await.status, 502);
    assert_eq!(web.connections(), 1);
    assert_eq!(get(proxy.http, "/").await.status, 502);
}

#[tokio::test]
async fn a_backend_that_is_too_slow_is_a_gateway_timeout() {
    let web = backends::serve(|_| std::future::pending()).await;
    let annotations = json!({"nginx.ingress.kubernetes.io/proxy-read-timeout": "1"});
    let proxy = proxy(site(&[web.address], annotations)).await;
    assert_eq!(get(proxy.http, "/").await.status, 504);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changing_routes_fails_no_request() {
    let (one, two) = (backends::named("one").await, backends::named("two").await);
    let proxy = proxy(site(&[one.address], json!({}))).await;
    let done = Arc::new(AtomicBool::new(false));
    let clients = (0..8).map(|number| {
        let (http, done) = (proxy.http, done.clone());
        tokio::spawn(async move {
            let mut client = Client::connect(http).await;
            let mut asked = 0;
            while !done.load(Ordering::Relaxed) || asked < 100 {
                let method = if number % 2 == 0 { "GET" } else { "POST" };
                let reply = client.send(request(method, "/", "")).await.unwrap();
                assert!(["one", "two"].contains(&reply.text()), "{reply:?}");
                asked += 1;
            }
        })
    });
    let clients: Vec<_> = clients.collect();
    for turn in 0..100 {
        let (address, name) = if turn % 2 == 0 { (two.address, "two") } else { (one.address, "one") };
        proxy.api.put(slice("web", &[address]));
        if turn % 3 == 0 {
            eventually(|| async { get(proxy.http, "/").await.text() == name }).await;
        }
    }
    done.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.unwrap();
    }
}

#[tokio::test]
async fn a_stop_lets_answers_end() {
    let (asked, answer) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (has_asked, may_answer) = (asked.clone(), answer.clone());
    let web = backends::serve(move |_| {
        let (asked, answer) = (asked.clone(), answer.clone());
        async move {
            asked.notify_one();
            answer.notified().await;
            backends::text("slow")
        }
    })
    .await;
    let proxy = proxy(site(&[web.address], json!({}))).await;
    let mut idle = TcpStream::connect(proxy.http).await.unwrap();
    let http = proxy.http;
    let slow = tokio::spawn(async move { get(http, "/").await });
    has_asked.notified().await;
    proxy.stop.cancel();
    assert_eq!(tokio::time::timeout(DEADLINE, idle.read(&mut [0])).await.unwrap().unwrap_or(0), 0);
    may_answer.notify_one();
    assert_eq!(slow.await.unwrap().text(), "slow");
    tokio::time::timeout(DEADLINE, proxy.running).await.expect("stopped in time").unwrap();
    assert!(TcpStream::connect(http).await.is_err());
}

#[tokio::test]
async fn a_client_that_leaves_frees_the_backend() {
    let (asked, freed) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (has_asked, is_freed) = (asked.clone(), freed.clone());
    let web = backends::raw(move |mut stream| {
        let (asked, freed) = (asked.clone(), freed.clone());
        async move {
            let mut buffer = [0; 4096];
            while stream.read(&mut buffer).await.unwrap_or(0) > 0 {
                asked.notify_one();
            }
            freed.notify_one();
        }
    })
    .await;
    let proxy = proxy(site(&[web.address], json!({}))).await;
    let mut client = TcpStream::connect(proxy.http).await.unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nhost: a.example\r\n\r\n").await.unwrap();
    has_asked.notified().await;
    drop(client);
    tokio::time::timeout(DEADLINE, is_freed.notified()).await.expect("freed in time");
}

#[tokio::test]
async fn websockets_pass_and_end_with_the_ingress() {
    let web = backends::raw(|stream| async move {
        let Ok(socket) = tokio_tungstenite::accept_async(stream).await else { return };
        let (mut write, mut read) = socket.split();
        while let Some(Ok(message)) = read.next().await {
            if message.is_close() || write.send(message).await.is_err() {
                return;
            }
        }
    })
    .await;
    let proxy = proxy(site(&[web.address], json!({}))).await;
    let open = || async {
        let stream = TcpStream::connect(proxy.http).await.unwrap();
        tokio_tungstenite::client_async("ws://a.example/room", stream).await.unwrap().0
    };
    let mut socket = open().await;
    for text in ["hello".to_string(), "x".repeat(1 << 20)] {
        socket.send(Message::text(text.clone())).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap(), Message::text(text));
    }
    socket.close(None).await.unwrap();
    let mut left = open().await;
    proxy.stop.cancel();
    // Well before requests under way would be cut.
    tokio::time::timeout(Duration::from_millis(2500), proxy.running).await.expect("stopped in time").unwrap();
    assert!(!matches!(left.next().await, Some(Ok(message)) if !message.is_close()));
}
