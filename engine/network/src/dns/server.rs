//! The DNS sockets and what happens to a query: our zone, aliases out of it, upstream.

use std::{
    io,
    net::SocketAddr,
    path::PathBuf,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use async_trait::async_trait;
use coracle_store::Reader;
use hickory_server::{
    net::{runtime::Time, xfer::Protocol},
    proto::{
        ProtoError,
        op::{Edns, Header, HeaderCounts, Metadata, OpCode, ResponseCode},
        rr::{DNSClass, Name, Record, RecordType},
        serialize::binary::BinEncoder,
    },
    server::{Request, RequestHandler, ResponseHandler, ResponseInfo},
    zone_handler::MessageResponseBuilder,
};
use tokio::net::{TcpListener, UdpSocket};
use tokio_util::sync::CancellationToken;

use super::{
    upstream::Upstream,
    zone::{Answer, Zone},
};
use crate::{Config, NetworkError};

const PORT: u16 = 53;
/// Of an idle TCP connection.
const TCP_TIMEOUT: Duration = Duration::from_secs(10);
/// Answers of one TCP connection that wait to be sent.
const TCP_PIPELINE: usize = 32;
/// Survives any path without fragments: https://www.dnsflagday.net/2020/
const UDP_PAYLOAD: u16 = 1232;
/// Of a client that does not say how much it takes: RFC 1035, 4.2.1.
const UDP_PLAIN: u16 = 512;
/// Aliases to aliases: enough for everything that is not a loop.
const MOST_ALIASES: usize = 8;

/// Sockets are bound, nothing is answered yet.
pub struct Server {
    udp: UdpSocket,
    tcp: TcpListener,
    handler: Handler,
}

impl Server {
    pub async fn build(config: &Config, store: Reader) -> Result<Server, NetworkError> {
        let at = SocketAddr::from((config.dns_ip, PORT));
        let taken = |protocol| move |source| NetworkError::DnsPort { protocol, at, source };
        let udp = UdpSocket::bind(at).await.map_err(taken("UDP"))?;
        let tcp = TcpListener::bind(at).await.map_err(taken("TCP"))?;
        let origin = Name::from_ascii(&config.cluster_domain).map(|mut name| {
            name.set_fqdn(true);
            name
        });
        let origin = origin.map_err(|error| NetworkError::Failed {
            action: "use cluster domain for DNS",
            subject: config.cluster_domain.clone(),
            source: io::Error::other(error),
        })?;
        let networks = [config.service_cidr, config.pod_cidr];
        let zone = Zone { origin, store, dns_ip: config.dns_ip, networks };
        let resolv_conf = PathBuf::from("/etc/resolv.conf");
        let upstream = Upstream::new(config.upstream_dns.clone(), resolv_conf, config.dns_ip);
        Ok(Server { udp, tcp, handler: Handler { zone, upstream, turn: AtomicUsize::new(0) } })
    }

    pub async fn run(self, stop: CancellationToken) {
        let mut server = hickory_server::Server::new(self.handler);
        server.register_socket(self.udp);
        server.register_listener(self.tcp, TCP_TIMEOUT, TCP_PIPELINE);
        tokio::select! {
            () = stop.cancelled() => {}
            result = server.block_until_done() => tracing::error!(?result, "cluster DNS ended"),
        }
        if let Err(error) = server.shutdown_gracefully().await {
            tracing::debug!(%error, "cluster DNS stopped with an error");
        }
    }
}

struct Handler {
    zone: Zone,
    upstream: Upstream,
    /// Whose turn it is to be first among several addresses.
    turn: AtomicUsize,
}

impl Handler {
    async fn answer(&self, name: &Name, kind: RecordType) -> Result<(Answer, bool), ProtoError> {
        let Some(mut answer) = self.zone.lookup(name, kind)? else {
            return Ok((self.upstream.lookup(name, kind).await, false));
        };
        let mut followed = 0;
        while let Some(target) = answer.alias.take().filter(|_| followed < MOST_ALIASES) {
            followed += 1;
            let next = match self.zone.lookup(&target, kind)? {
                Some(next) => next,
                None => self.upstream.lookup(&target, kind).await,
            };
            answer.code = next.code;
            answer.records.extend(next.records);
            answer.authority = next.authority;
            answer.alias = next.alias;
        }
        self.rotate(&mut answer.records);
        Ok((answer, true))
    }

    /// Clients take the first address: give each its turn. Aliases stay in front.
    fn rotate(&self, records: &mut [Record]) {
        let aliases = records.iter().take_while(|record| record.record_type() == RecordType::CNAME).count();
        let addresses = &mut records[aliases..];
        if addresses.len() > 1 {
            let turn = self.turn.fetch_add(1, Ordering::Relaxed) % addresses.len();
            addresses.rotate_left(turn);
        }
    }

    async fn respond<R: ResponseHandler>(
        &self,
        request: &Request,
        mut send: R,
        (answer, is_authoritative): (Answer, bool),
    ) -> ResponseInfo {
        let mut metadata = Metadata::response_from_request(&request.metadata);
        metadata.response_code = answer.code;
        metadata.authoritative = is_authoritative;
        metadata.recursion_available = true;
        let edns = request.edns.as_ref().map(|asked| {
            let mut edns = Edns::new();
            edns.set_max_payload(asked.max_payload().clamp(UDP_PLAIN, UDP_PAYLOAD)).set_version(0);
            edns
        });
        let build = |metadata: Metadata, shown: Shown| {
            let mut builder = MessageResponseBuilder::from_message_request(request);
            if let Some(edns) = &edns {
                builder.edns(edns);
            }
            let records = (&answer.records[..shown.answers], &answer.authority.as_slice()[..shown.authority]);
            builder.build(metadata, records.0, [], records.1, &answer.additional[..shown.additional])
        };
        let all = Shown {
            answers: answer.records.len(),
            authority: answer.authority.as_slice().len(),
            additional: answer.additional.len(),
        };
        let most = match request.protocol() {
            Protocol::Udp => edns.as_ref().map_or(UDP_PLAIN, Edns::max_payload),
            _ => u16::MAX,
        };
        let shown = fitting(all, |shown| {
            let mut bytes = Vec::new();
            let mut encoder = BinEncoder::new(&mut bytes);
            encoder.set_max_size(most);
            build(metadata, shown).destructive_emit(&mut encoder).ok()
        });
        metadata.truncation = shown != all;
        let response = build(metadata, shown);
        match send.send_response(response).await {
            Ok(info) => info,
            Err(error) => {
                tracing::debug!(%error, "DNS answer was not sent");
                Header { metadata, counts: HeaderCounts::default() }.into()
            }
        }
    }
}

/// How many records of each section an answer has.
#[derive(Clone, Copy, PartialEq)]
struct Shown {
    answers: usize,
    authority: usize,
    additional: usize,
}

/// What fits into one message. Of a record that does not, hickory would leave the beginning behind the others.
fn fitting(mut shown: Shown, encode: impl Fn(Shown) -> Option<ResponseInfo>) -> Shown {
    while let Some(info) = encode(shown).filter(|info| info.truncation) {
        let written = usize::from(info.counts().answers);
        let (had_others, answers) = (shown.authority + shown.additional > 0, shown.answers);
        shown = Shown { answers: written.min(answers), authority: 0, additional: 0 };
        if !had_others && written >= answers {
            // No room for what closes the message.
            shown.answers = answers.saturating_sub(1);
        }
        if shown.answers == 0 {
            break;
        }
    }
    shown
}

#[async_trait]
impl RequestHandler for Handler {
    async fn handle_request<R: ResponseHandler, T: Time>(&self, request: &Request, send: R) -> ResponseInfo {
        let refusal = |code| (Answer { code, ..Answer::default() }, false);
        let answer = match request.request_info() {
            _ if request.metadata.op_code != OpCode::Query => refusal(ResponseCode::NotImp),
            Err(_) => refusal(ResponseCode::FormErr),
            Ok(info) if info.query.query_class() != DNSClass::IN => refusal(ResponseCode::Refused),
            Ok(info) => {
                let query = info.query.original();
                match self.answer(query.name(), query.query_type()).await {
                    Ok(answer) => answer,
                    Err(error) => {
                        tracing::debug!(name = %query.name(), %error, "DNS answer cannot be made");
                        refusal(ResponseCode::ServFail)
                    }
                }
            }
        };
        self.respond(request, send, answer).await
    }
}

#[cfg(test)]
mod tests {
    use hickory_server::{
        proto::{
            op::{Message, MessageType},
            rr::{RData, rdata::A},
            serialize::binary::BinDecoder,
        },
        zone_handler::Queries,
    };

    use super::*;

    #[test]
    fn an_answer_that_is_cut_ends_with_a_whole_record() {
        let name = Name::from_ascii("big.example.com.").unwrap();
        let records: Vec<Record> = (0..200)
            .map(|last| Record::from_rdata(name.clone(), 5, RData::A(A::new(192, 0, 2, last))))
            .collect();
        let queries = Queries::read(&mut BinDecoder::new(&[]), 0).unwrap();
        for (edns, most) in
            [(None, UDP_PLAIN), (Some(Edns::new()), UDP_PLAIN), (None, UDP_PAYLOAD), (None, u16::MAX)]
        {
            let encode = |shown: Shown| {
                let mut bytes = Vec::new();
                let mut encoder = BinEncoder::new(&mut bytes);
                encoder.set_max_size(most);
                let builder = MessageResponseBuilder::new(&queries, edns.as_ref());
                let metadata = Metadata::new(1, MessageType::Response, OpCode::Query);
                let response = builder.build(metadata, &records[..shown.answers], [], [], []);
                let info = response.destructive_emit(&mut encoder).unwrap();
                (info, bytes)
            };
            let all = Shown { answers: records.len(), authority: 0, additional: 0 };
            let shown = fitting(all, |shown| Some(encode(shown).0));
            let (info, bytes) = encode(shown);
            let read = Message::from_vec(&bytes).unwrap();
            assert_eq!((read.answers.len(), read.edns.is_some()), (shown.answers, edns.is_some()), "{most}");
            assert_eq!(read.to_vec().unwrap().len(), bytes.len(), "nothing follows");
            assert!(!info.truncation && (shown.answers == 200) == (most == u16::MAX), "{most}");
        }
    }
}
