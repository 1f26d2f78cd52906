//! Servers behind the ingress. They end with the runtime of their test.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};

pub type Answer = Response<BoxBody<Bytes, hyper::Error>>;

pub struct Backend {
    pub address: SocketAddr,
    pub connections: Arc<AtomicUsize>,
}

impl Backend {
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

pub fn text(text: impl Into<Bytes>) -> Answer {
    Response::new(Full::new(text.into()).map_err(|never| match never {}).boxed())
}

/// An HTTP/1.1 server.
pub async fn serve<F, A>(handle: F) -> Backend
where
    F: Fn(Request<Incoming>) -> A + Clone + Send + 'static,
    A: Future<Output = Answer> + Send + 'static,
{
    raw(move |stream| {
        let handle = handle.clone();
        async move {
            let service = service_fn(move |request| {
                let answer = handle(request);
                async move { Ok::<_, std::convert::Infallible>(answer.await) }
            });
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        }
    })
    .await
}

/// A server that answers with its name.
pub async fn named(name: &'static str) -> Backend {
    serve(move |_| async move { text(name) }).await
}

/// A server that answers with the head of the request.
pub async fn echo_head() -> Backend {
    serve(|request| async move {
        let mut lines = format!("{} {}\n", request.method(), request.uri());
        for (name, value) in request.headers() {
            lines += &format!("{name}: {}\n", value.to_str().unwrap());
        }
        text(lines)
    })
    .await
}

/// A server that answers with the number of bytes it received.
pub async fn measure() -> Backend {
    serve(|request| async move {
        let mut body = request.into_body();
        let mut size = 0;
        while let Some(Ok(frame)) = body.frame().await {
            size += frame.data_ref().map_or(0, Bytes::len);
        }
        text(size.to_string())
    })
    .await
}

/// HTTP/2 without TLS, as gRPC servers speak it: the answer to a message is the message, and a status in trailers.
pub async fn grpc() -> Backend {
    raw(|stream| async move {
        let service = service_fn(|request: Request<Incoming>| async move {
            assert_eq!(request.headers()["te"], "trailers");
            assert_eq!(request.uri().authority().unwrap(), "a.example");
            let message = request.into_body().collect().await.unwrap().to_bytes();
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", "0".parse().unwrap());
            let frames = [Frame::data(message), Frame::trailers(trailers)].map(Ok::<_, hyper::Error>);
            Ok::<_, std::convert::Infallible>(Response::new(StreamBody::new(futures::stream::iter(frames))))
        });
        let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
            .serve_connection(TokioIo::new(stream), service)
            .await;
    })
    .await
}

/// A server for connections as they come.
pub async fn raw<F, A>(handle: F) -> Backend
where
    F: Fn(TcpStream) -> A + Send + 'static,
    A: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = connections.clone();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            counted.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(handle(stream));
        }
    });
    Backend { address, connections }
}

/// Reads a request without a body, answers it, and closes without having said so.
pub async fn answer_once(stream: TcpStream) {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    while stream.read_line(&mut line).await.unwrap_or(0) > 2 {
        line.clear();
    }
    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nonce").await;
}

/// Answers a request with the size of its body; the next one is read to its end, and the connection closed.
pub async fn measure_once_and_lose_the_next(stream: TcpStream) {
    let mut stream = BufReader::new(stream);
    let size = read_request(&mut stream).await.to_string();
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{size}", size.len());
    stream.write_all(answer.as_bytes()).await.unwrap();
    read_request(&mut stream).await;
}

/// The size of its body.
async fn read_request(stream: &mut BufReader<TcpStream>) -> usize {
    let (mut line, mut size) = (String::new(), 0);
    while stream.read_line(&mut line).await.unwrap_or(0) > 2 {
        if let Some(value) = line.to_lowercase().strip_prefix("content-length: ") {
            size = value.trim().parse().unwrap();
        }
        line.clear();
    }
    stream.read_exact(&mut vec![0; size]).await.unwrap();
    size
}

/// An address that nobody listens on, at the port of `other`.
pub fn refusing(other: SocketAddr) -> SocketAddr {
    SocketAddr::new("127.0.0.2".parse().unwrap(), other.port())
}
