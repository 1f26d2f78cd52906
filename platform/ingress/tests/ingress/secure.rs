//! TLS, HTTP/2 and gRPC.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use futures::StreamExt;
use http::Request;
use http_body::Frame;
use http_body_util::{Full, StreamBody};
use serde_json::{Value, json};

use crate::{
    backends,
    clients::{certificate, eventually, http2, reply, request},
    ingress, proxy, service, site, slice,
};

fn secret(made: &rcgen::CertifiedKey<rcgen::KeyPair>) -> Value {
    json!({"kind": "Secret", "type": "Opaque", "metadata": {"name": "tls", "namespace": "default"},
        "data": {"tls.crt": BASE64_STANDARD.encode(made.cert.pem()),
            "tls.key": BASE64_STANDARD.encode(made.signing_key.serialize_pem())}})
}

#[tokio::test]
async fn certificates_follow_their_secret() {
    let secure = ingress("web", json!({}), json!({"tls": [{"hosts": ["a.example"], "secretName": "tls"}]}));
    let proxy = proxy(vec![service("web"), slice("web", &[]), secure]).await;
    let self_signed = certificate(proxy.https, "a.example").await;
    for _ in 0..2 {
        let made = rcgen::generate_simple_self_signed(vec!["a.example".to_string()]).unwrap();
        proxy.api.put(secret(&made));
        eventually(|| async { certificate(proxy.https, "a.example").await == *made.cert.der() }).await;
        assert_eq!(certificate(proxy.https, "b.example").await, self_signed);
    }
}

/// More than any window of flow control, less than what is dropped of a refused request.
const CHUNKS: usize = 192;
static CHUNK: [u8; 64 << 10] = [b'x'; 64 << 10];

fn at(path: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    let uri = format!("https://a.example{path}");
    Request::builder().method("POST").uri(uri).body(Full::new(body.into())).unwrap()
}

#[tokio::test]
async fn http2_over_tls_reaches_http1_backends() {
    let web = backends::echo_head().await;
    let proxy = proxy(site(&[web.address], json!({}))).await;
    let sender = http2(proxy.https).await;
    let asked =
        (0..50).map(|number| {
            let mut sender = sender.clone();
            async move {
                reply(sender.send_request(at(&format!("/{number}"), "body")).await.unwrap()).await.unwrap()
            }
        });
    for (number, reply) in futures::future::join_all(asked).await.into_iter().enumerate() {
        assert!(reply.text().starts_with(&format!("POST /{number}\n")), "{}", reply.text());
        for expected in ["\nhost: a.example\n", "\nx-forwarded-proto: https\n", "\ncontent-length: 4\n"] {
            assert!(reply.text().contains(expected), "{expected} in {}", reply.text());
        }
    }
}

#[tokio::test]
async fn an_answer_to_head_has_no_body_over_http2() {
    let proxy = proxy(site(&[], json!({}))).await;
    let mut sender = http2(proxy.https).await;
    let head = Request::head("https://a.example/").body(Full::default()).unwrap();
    let reply = reply(sender.send_request(head).await.unwrap()).await.unwrap();
    assert_eq!((reply.status.as_u16(), reply.text()), (503, ""));
}

/// curl 7.88 forgets the answer when its upload is cut off.
#[tokio::test]
async fn a_refused_upload_is_read_to_its_end_over_http2() {
    let web = backends::measure().await;
    let proxy = proxy(site(&[web.address], json!({}))).await;
    let whole = Some(CHUNKS * CHUNK.len());
    let cases = [("a", whole, 413), ("a", None, 413), ("unknown", whole, 404), ("unknown", None, 404)];
    for (host, length, expected) in cases {
        let sent = Arc::new(AtomicUsize::new(0));
        let counted = sent.clone();
        let chunks = futures::stream::iter(0..CHUNKS).map(move |_| {
            counted.fetch_add(1, Ordering::Relaxed);
            Ok::<_, Infallible>(Frame::data(Bytes::from_static(&CHUNK)))
        });
        let mut request =
            Request::post(format!("https://{host}.example/")).body(StreamBody::new(chunks)).unwrap();
        if let Some(length) = length {
            request.headers_mut().insert(http::header::CONTENT_LENGTH, length.into());
        }
        let mut sender = http2(proxy.https).await;
        let reply = reply(sender.send_request(request).await.unwrap()).await.unwrap();
        assert_eq!(reply.status, expected);
        eventually(|| async { sent.load(Ordering::Relaxed) == CHUNKS }).await;
    }
}

#[tokio::test]
async fn grpc_keeps_its_trailers() {
    let web = backends::grpc().await;
    let annotations = json!({"nginx.ingress.kubernetes.io/backend-protocol": "GRPC"});
    let proxy = proxy(site(&[backends::refusing(web.address), web.address], annotations)).await;
    let mut sender = http2(proxy.https).await;
    for _ in 0..4 {
        let reply = reply(sender.send_request(at("/Echo/Say", "message")).await.unwrap()).await.unwrap();
        assert_eq!(reply.text(), "message");
        assert_eq!(reply.trailers.unwrap()["grpc-status"], "0");
    }
    assert_eq!(web.connections(), 1);
    let plain = crate::clients::send(proxy.http, request("POST", "/Echo/Say", "message")).await;
    assert_eq!(plain.text(), "message");
}
