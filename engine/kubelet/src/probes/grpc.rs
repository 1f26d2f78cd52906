//! `grpc.health.v1.Health/Check` over HTTP/2 without TLS. Two messages of one field each are encoded by hand.
//!
//! Source:    https://github.com/grpc/grpc/blob/master/doc/health-checking.md

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use super::Attempt;
use super::tcp::join;

const SERVING: u64 = 1;
/// Between two attempts to connect.
const REDIAL: Duration = Duration::from_secs(1);

fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// HealthCheckRequest { service = 1: string } in its gRPC frame.
fn encode_request(service: &str) -> Vec<u8> {
    let mut message = Vec::new();
    if !service.is_empty() {
        message.push(0x0a);
        varint(service.len() as u64, &mut message);
        message.extend_from_slice(service.as_bytes());
    }
    let mut frame = vec![0];
    frame.extend_from_slice(&(message.len() as u32).to_be_bytes());
    frame.extend_from_slice(&message);
    frame
}

/// HealthCheckResponse { status = 1: enum }. Absent means UNKNOWN (0).
fn decode_status(frame: &[u8]) -> Option<u64> {
    let message = frame.get(5..)?;
    match message {
        [] => Some(0),
        [0x08, value, ..] => Some(u64::from(*value)),
        _ => None,
    }
}

fn status_name(status: u64) -> &'static str {
    match status {
        1 => "SERVING",
        2 => "NOT_SERVING",
        3 => "SERVICE_UNKNOWN",
        _ => "UNKNOWN",
    }
}

/// As Go writes them.
fn code_name(code: &str) -> String {
    const NAMES: [&str; 17] = [
        "OK",
        "Canceled",
        "Unknown",
        "InvalidArgument",
        "DeadlineExceeded",
        "NotFound",
        "AlreadyExists",
        "PermissionDenied",
        "ResourceExhausted",
        "FailedPrecondition",
        "Aborted",
        "OutOfRange",
        "Unimplemented",
        "Internal",
        "Unavailable",
        "DataLoss",
        "Unauthenticated",
    ];
    let name = code.parse::<usize>().ok().and_then(|number| NAMES.get(number));
    name.map_or_else(|| format!("Code({code})"), |name| (*name).to_owned())
}

/// Of `grpc-message`.
fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let digits = (*first == b'%').then(|| after.get(..2)).flatten();
        let code = digits.and_then(|d| u8::from_str_radix(std::str::from_utf8(d).ok()?, 16).ok());
        bytes.push(code.unwrap_or(*first));
        rest = if code.is_some() { &after[2..] } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// As gRPC clients do: until somebody listens.
async fn connect(address: &str) -> TcpStream {
    loop {
        match TcpStream::connect(address).await {
            Ok(stream) => return stream,
            Err(_) => tokio::time::sleep(REDIAL).await,
        }
    }
}

async fn call(stream: TcpStream, address: &str, service: &str) -> Result<u64, String> {
    let text = |e: &dyn std::fmt::Display| format!("error: health rpc probe failed: {e}");
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(|e| text(&e))?;
    let request = Request::post(format!("http://{address}/grpc.health.v1.Health/Check"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("user-agent", "kube-probe/1.36")
        .body(Full::new(Bytes::from(encode_request(service))))
        .map_err(|e| text(&e))?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(|e| text(&e))?;
        let (head, mut body) = response.into_parts();
        let of = |headers: &http::HeaderMap| {
            let text =
                |name: &str| headers.get(name).map(|v| String::from_utf8_lossy(v.as_bytes()).into_owned());
            text("grpc-status").map(|code| (code, text("grpc-message").unwrap_or_default()))
        };
        let mut status = of(&head.headers);
        let mut data = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|e| text(&e))?;
            if let Some(chunk) = frame.data_ref() {
                data.extend_from_slice(chunk);
            }
            if let Some(trailers) = frame.trailers_ref() {
                status = of(trailers).or(status);
            }
        }
        match status.as_ref().map(|(code, message)| (code.as_str(), percent_decoded(message))) {
            Some(("0", _)) => decode_status(&data).ok_or_else(|| text(&"malformed answer")),
            Some(("12", message)) => Err(format!(
                "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): {message}"
            )),
            Some((code, message)) => {
                Err(text(&format!("rpc error: code = {} desc = {message}", code_name(code))))
            }
            None => Err(text(&"rpc error: code = Unknown desc = the answer has no status")),
        }
    };
    tokio::pin!(exchange, connection);
    tokio::select! {
        biased;
        answer = &mut exchange => answer,
        ended = &mut connection => match ended {
            Ok(()) => exchange.await,
            Err(error) => Err(text(&error)),
        },
    }
}

pub async fn check(host: &str, port: u16, service: &str, timeout: Duration) -> Attempt {
    let address = join(host, port);
    let deadline = tokio::time::Instant::now() + timeout;
    let seconds = timeout.as_secs();
    let Ok(stream) = tokio::time::timeout_at(deadline, connect(&address)).await else {
        return Attempt::Failure(format!(
            "timeout: failed to connect service \"{address}\" within {seconds}s: context deadline exceeded"
        ));
    };
    match tokio::time::timeout_at(deadline, call(stream, &address, service)).await {
        Ok(Ok(SERVING)) => Attempt::Success,
        Ok(Ok(status)) => {
            Attempt::Failure(format!("service unhealthy (responded with \"{}\")", status_name(status)))
        }
        Ok(Err(message)) => Attempt::Failure(message),
        Err(_) => Attempt::Failure(format!("timeout: health rpc did not complete within {seconds}s")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_have_the_names_and_words_that_go_gives_them() {
        assert_eq!(
            (code_name("5"), code_name("16"), code_name("x")),
            ("NotFound".into(), "Unauthenticated".into(), "Code(x)".into())
        );
        assert_eq!(percent_decoded("unknown service: 100%25 %C3%A9 %"), "unknown service: 100% é %");
    }

    #[test]
    fn messages_are_framed_as_grpc_frames_them() {
        assert_eq!(encode_request(""), [0, 0, 0, 0, 0]);
        assert_eq!(encode_request("ab"), [0, 0, 0, 0, 4, 0x0a, 2, b'a', b'b']);
        assert_eq!(decode_status(&[0, 0, 0, 0, 2, 8, 1]), Some(1));
        assert_eq!(decode_status(&[0, 0, 0, 0, 0]), Some(0));
    }
}
