//! Names outside the cluster.
//!
//! Reads: the node's /etc/resolv.conf, again when it changes (DHCP), unless servers are configured.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    time::{Duration, Instant, SystemTime},
};

use arc_swap::ArcSwap;
use hickory_resolver::{
    TokioResolver,
    config::{NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts},
    net::{DnsError, NetError, runtime::TokioRuntimeProvider},
};
use hickory_server::proto::{
    op::ResponseCode,
    rr::{Name, RData, Record, RecordType},
};
use tokio::net::UdpSocket;

use super::zone::Answer;

/// Pods ask for the same few names: a small cache is enough.
const CACHED_ANSWERS: u64 = 512;
/// Of one server; a client gives up after 5 s.
const TIMEOUT: Duration = Duration::from_secs(2);
/// How often a query looks at the file's time.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// A query that has no answer after this asks whether anybody listens. Most have one: they cost nothing more.
const SILENCE: Duration = Duration::from_millis(200);
const PORT: u16 = 53;

pub struct Upstream {
    configured: Vec<IpAddr>,
    file: PathBuf,
    /// Asking ourselves would never end.
    own: Ipv4Addr,
    current: ArcSwap<Current>,
}

struct Current {
    /// `None`: nobody to ask.
    resolver: Option<TokioResolver>,
    servers: Vec<SocketAddr>,
    modified: Option<SystemTime>,
    looked: Instant,
}

impl Upstream {
    pub fn new(configured: Vec<IpAddr>, file: PathBuf, own: Ipv4Addr) -> Upstream {
        let looked = Instant::now();
        let empty = Current { resolver: None, servers: Vec::new(), modified: None, looked };
        let empty = ArcSwap::from_pointee(empty);
        let upstream = Upstream { configured, file, own, current: empty };
        upstream.load();
        upstream
    }

    pub async fn lookup(&self, name: &Name, kind: RecordType) -> Answer {
        self.refresh();
        let current = self.current.load_full();
        let Some(resolver) = &current.resolver else { return failure(ResponseCode::ServFail) };
        let answer = tokio::select! {
            answer = resolver.lookup(name.clone(), kind) => answer,
            () = async {
                tokio::time::sleep(SILENCE).await;
                nobody_listens(&current.servers).await;
            } => Err(NetError::NoConnections),
        };
        match answer {
            Ok(found) => Answer { records: chain(name, found.answers()), ..Answer::default() },
            Err(NetError::Dns(DnsError::NoRecordsFound(none))) => Answer {
                code: none.response_code,
                authority: none.soa.map(|soa| soa.into_record_of_rdata()),
                ..Answer::default()
            },
            Err(NetError::Dns(DnsError::ResponseCode(code))) => failure(code),
            Err(error) => {
                tracing::debug!(%name, %kind, %error, "upstream DNS failed");
                failure(ResponseCode::ServFail)
            }
        }
    }

    fn refresh(&self) {
        let current = self.current.load();
        if !self.configured.is_empty() || current.looked.elapsed() < LOOK_AGAIN {
            return;
        }
        if self.modified() != current.modified {
            self.load();
        } else {
            let Current { resolver, servers, modified, .. } = &**current;
            let (resolver, servers) = (resolver.clone(), servers.clone());
            let looked = Instant::now();
            self.current.store(Current { resolver, servers, modified: *modified, looked }.into());
        }
    }

    fn modified(&self) -> Option<SystemTime> {
        std::fs::metadata(&self.file).and_then(|file| file.modified()).ok()
    }

    fn load(&self) {
        let modified = self.modified();
        let mut servers = self.configured.clone();
        if servers.is_empty() {
            servers = name_servers(&std::fs::read_to_string(&self.file).unwrap_or_default());
        }
        servers.retain(|server| *server != IpAddr::V4(self.own) && !server.is_unspecified());
        let servers: Vec<SocketAddr> = servers.into_iter().map(|server| (server, PORT).into()).collect();
        let resolver = (!servers.is_empty()).then(|| resolver(&servers)).and_then(|built| {
            built.inspect_err(|error| tracing::warn!(%error, "upstream DNS cannot be used")).ok()
        });
        self.current.store(Current { resolver, servers, modified, looked: Instant::now() }.into());
    }
}

fn resolver(servers: &[SocketAddr]) -> Result<TokioResolver, NetError> {
    let name_server = |server: &SocketAddr| {
        let mut name_server = NameServerConfig::udp_and_tcp(server.ip());
        name_server.connections.iter_mut().for_each(|connection| connection.port = server.port());
        name_server
    };
    let servers = servers.iter().map(name_server).collect();
    let mut options = ResolverOpts::default();
    options.ndots = 0;
    options.timeout = TIMEOUT;
    // Again, so that a server that is silent costs one query its timeout: it is then asked last.
    options.attempts = 1;
    // Of two that are asked at once, the second truncated answer ends a query before TCP is tried.
    options.num_concurrent_reqs = 1;
    options.cache_size = CACHED_ANSWERS;
    options.use_hosts_file = ResolveHosts::Never;
    options.preserve_intermediates = true;
    TokioResolver::builder_with_config(
        ResolverConfig::from_parts(None, Vec::new(), servers),
        TokioRuntimeProvider::default(),
    )
    .with_options(options)
    .build()
}

/// Ends when the last of the servers has turned out not to be there. Of a closed port the kernel tells a connected socket
/// alone, and hickory's are not connected. A datagram without content is enough to ask; servers pass over it.
async fn nobody_listens(servers: &[SocketAddr]) {
    for server in servers {
        let any: IpAddr =
            if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let listens = async {
            let socket = UdpSocket::bind((any, 0)).await?;
            socket.connect(server).await?;
            socket.send(&[]).await?;
            socket.recv(&mut [0]).await
        };
        if listens.await.is_ok() {
            std::future::pending().await
        }
    }
}

/// The records of `name` and of what it is an alias of. hickory keeps those of other questions that led here as well.
fn chain(name: &Name, found: &[Record]) -> Vec<Record> {
    let mut names = vec![name.clone()];
    let target = |from: &Name| {
        found.iter().find_map(|record| match &record.data {
            RData::CNAME(target) if record.name == *from => Some(target.0.clone()),
            _ => None,
        })
    };
    while let Some(next) = target(&names[names.len() - 1]).filter(|next| !names.contains(next)) {
        names.push(next);
    }
    found.iter().filter(|record| names.contains(&record.name)).cloned().collect()
}

fn failure(code: ResponseCode) -> Answer {
    Answer { code, ..Answer::default() }
}

fn name_servers(resolv_conf: &str) -> Vec<IpAddr> {
    let words = |line: &str| {
        let mut words = line.split_whitespace();
        (words.next() == Some("nameserver")).then(|| words.next()?.parse().ok()).flatten()
    };
    resolv_conf.lines().filter_map(words).collect()
}

#[cfg(test)]
mod tests {
    use hickory_server::proto::{
        op::Message,
        rr::rdata::{A, CNAME},
    };
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

    /// Its UDP answers are cut to nothing; over TCP it has an address for every name.
    async fn truncating_server(ip: Ipv4Addr) -> SocketAddr {
        let (tcp, udp) = loop {
            let tcp = TcpListener::bind((ip, 0)).await.unwrap();
            if let Ok(udp) = UdpSocket::bind(tcp.local_addr().unwrap()).await {
                break (tcp, udp);
            }
        };
        let at = tcp.local_addr().unwrap();
        let answer = |query: &[u8]| Message::from_vec(query).unwrap().into_response();
        tokio::spawn(async move {
            let mut query = [0; 512];
            while let Ok((length, client)) = udp.recv_from(&mut query).await {
                let mut answer = answer(&query[..length]);
                answer.metadata.truncation = true;
                udp.send_to(&answer.to_vec().unwrap(), client).await.unwrap();
            }
        });
        tokio::spawn(async move {
            while let Ok((mut client, _)) = tcp.accept().await {
                let mut query = vec![0; client.read_u16().await.unwrap().into()];
                client.read_exact(&mut query).await.unwrap();
                let mut answer = answer(&query);
                let name = answer.queries[0].name().clone();
                answer.answers.push(Record::from_rdata(name, 60, RData::A(A(ADDRESS))));
                let answer = answer.to_vec().unwrap();
                client.write_u16(answer.len() as u16).await.unwrap();
                client.write_all(&answer).await.unwrap();
            }
        });
        at
    }

    #[tokio::test]
    async fn answers_that_all_servers_truncate_are_asked_for_over_tcp() {
        let hosts = [Ipv4Addr::LOCALHOST, Ipv4Addr::new(127, 0, 0, 2)];
        let servers = [truncating_server(hosts[0]).await, truncating_server(hosts[1]).await];
        let found = resolver(&servers).unwrap().lookup("large.test.", RecordType::A).await.unwrap();
        assert_eq!(found.answers()[0].data, RData::A(A(ADDRESS)));
    }

    #[tokio::test]
    async fn with_nobody_but_ourselves_to_ask_the_answer_is_a_failure_at_once() {
        let own = Ipv4Addr::new(10, 43, 0, 10);
        let upstream = Upstream::new(vec![own.into()], PathBuf::new(), own);
        let name = Name::from_ascii("example.com.").unwrap();
        assert_eq!(upstream.lookup(&name, RecordType::A).await.code, ResponseCode::ServFail);
    }

    #[tokio::test]
    async fn only_when_all_servers_are_absent_is_nobody_asked() {
        let bind = || UdpSocket::bind((Ipv4Addr::LOCALHOST, 0));
        let (present, absent) = (bind().await.unwrap(), bind().await.unwrap());
        let [here, gone] = [&present, &absent].map(|socket| socket.local_addr().unwrap());
        drop(absent);
        let deadline = Duration::from_secs(30);
        tokio::time::timeout(deadline, nobody_listens(&[gone, gone])).await.expect("told by the kernel");
        let servers = [gone, here];
        let mut asked = std::pin::pin!(nobody_listens(&servers));
        let mut content = [0; 1];
        tokio::select! {
            () = &mut asked => panic!("one is there"),
            received = present.recv(&mut content) => assert_eq!(received.unwrap(), 0),
        }
        assert!(futures::poll!(asked).is_pending());
    }

    #[test]
    fn aliases_of_other_names_are_left_out() {
        let name = |text: &str| Name::from_ascii(text).unwrap();
        let alias = |from: &str, to: &str| Record::from_rdata(name(from), 60, RData::CNAME(CNAME(name(to))));
        let address = Record::from_rdata(name("b.test."), 60, RData::A(A::new(192, 0, 2, 1)));
        let found = [alias("stranger.test.", "a.test."), alias("a.test.", "b.test."), address];
        for (asked, expected) in
            [("a.test.", &found[1..]), ("b.test.", &found[2..]), ("stranger.test.", &found)]
        {
            assert_eq!(chain(&name(asked), &found), expected, "{asked}");
        }
    }

    #[test]
    fn name_servers_are_read_from_resolv_conf() {
        let file = "# c\nsearch a b\nnameserver 192.0.2.53\n nameserver ::1 # x\nnameserver nonsense\noptions ndots:5\n";
        assert_eq!(name_servers(file), ["192.0.2.53".parse::<IpAddr>().unwrap(), "::1".parse().unwrap()]);
    }
}
