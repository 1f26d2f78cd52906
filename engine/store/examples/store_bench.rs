//! Durable puts per second, here and in etcd, with the same load; and watch fan-out.
//!
//!     store_bench store DIR WRITERS SECONDS    this store, in DIR
//!     store_bench etcd PORT WRITERS SECONDS    an etcd server on loopback, over gRPC
//!     store_bench watch DIR WATCHERS UPDATES   time until every watcher has every update
//!
//! A writer puts 2 KB values one after the other, each once the one before was acknowledged, to 1000 keys of its own.
//! What is compared is what a write costs its user in each design: here a call in the process, there one HTTP/2
//! connection shared by all writers, as an API server has it. The driver's own work (2 KB of copying, and for
//! etcd the framing) is in both. A line has: puts per second, p50 and p99 in milliseconds.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use bytes::Bytes;
use coracle_store::{
    Body, Change, Durability, Expect, Key, Meta, Reader, Resource, Revision, Scope, Store, StoreConfig,
    Write, Writer,
};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};

const VALUE_LEN: usize = 2048;
const KEYS_PER_WRITER: u64 = 1000;

type Error = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Error> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [mode, target, count, amount] = &args[..] else {
        return Err("usage: store_bench store|etcd|watch DIR|PORT COUNT SECONDS|UPDATES".into());
    };
    let (count, amount) = (count.parse()?, amount.parse()?);
    match mode.as_str() {
        "store" => {
            let store = open(target).await?;
            let load = Load::start(count, Duration::from_secs(amount), |n| Local {
                writer: store.writer(),
                reader: store.reader(),
                number: n,
            });
            load.await.print(mode, count);
            store.close().await;
        }
        "etcd" => {
            let client = connect(target.parse()?).await?;
            let load = Load::start(count, Duration::from_secs(amount), |n| Etcd {
                client: client.clone(),
                number: n,
            });
            load.await.print(mode, count);
        }
        "watch" => watch(target, count, amount).await?,
        _ => return Err(format!("unknown mode `{mode}`").into()),
    }
    Ok(())
}

async fn open(dir: &str) -> Result<Store, Error> {
    let config = StoreConfig { dir: dir.into(), encrypted: Vec::new(), history_events: 4096 };
    Ok(Store::open(config).await?)
}

trait Put: Send + 'static {
    fn put(&mut self, n: u64) -> impl Future<Output = Result<(), Error>> + Send;
}

/// The times of all puts, sorted.
struct Load(Vec<Duration>, Duration);

impl Load {
    async fn start<P: Put>(writers: u64, length: Duration, new: impl Fn(u64) -> P) -> Load {
        let times = Arc::new(Mutex::new(Vec::new()));
        let started = Instant::now();
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..writers {
            let (mut put, times) = (new(number), times.clone());
            tasks.spawn(async move {
                let mut own = Vec::new();
                let mut n = 0;
                loop {
                    let before = Instant::now();
                    put.put(n).await.expect("a put succeeds");
                    own.push(before.elapsed());
                    n += 1;
                    if started.elapsed() >= length {
                        break;
                    }
                }
                times.lock().expect("no writer panicked").extend(own);
            });
        }
        tasks.join_all().await;
        let length = started.elapsed();
        let mut times = std::mem::take(&mut *times.lock().expect("no writer panicked"));
        times.sort_unstable();
        Load(times, length)
    }

    fn print(&self, what: &str, writers: u64) {
        let Load(times, length) = self;
        let at = |part: f64| times[(times.len() as f64 * part) as usize].as_secs_f64() * 1000.0;
        let rate = times.len() as f64 / length.as_secs_f64();
        println!("{what} {writers} writers {rate:.0} puts/s p50 {:.2} ms p99 {:.2} ms", at(0.5), at(0.99));
    }
}

/// Letters that do not compress well, different each time.
fn value(number: u64, n: u64) -> Vec<u8> {
    let mut state = number << 32 | n;
    let mut value = Vec::with_capacity(VALUE_LEN);
    while value.len() < VALUE_LEN {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        value.extend((state ^ state >> 32).to_le_bytes().map(|byte| b'A' + byte % 26));
    }
    value
}

struct Local {
    writer: Writer,
    reader: Reader,
    number: u64,
}

impl Put for Local {
    async fn put(&mut self, n: u64) -> Result<(), Error> {
        let name = format!("w{}-{}", self.number, n % KEYS_PER_WRITER);
        let key = Key::new(Resource::new("configmaps"), "default", &name);
        let write = write_of(&self.reader, key, &value(self.number, n));
        self.writer.commit(write).await?;
        Ok(())
    }
}

fn write_of(reader: &Reader, key: Key, value: &[u8]) -> Write {
    let expect = reader.get(&key).map_or(Expect::Absent, |object| Expect::Revision(object.revision));
    let mut json = br#"{"metadata":{"resourceVersion":""#.to_vec();
    let revision_at = json.len();
    json.extend_from_slice(br#""},"data":""#);
    json.extend_from_slice(value);
    json.extend_from_slice(br#""}"#);
    let change = Change::Put { meta: Meta::default(), body: Body { json, revision_at } };
    Write { key, expect, change, durability: Durability::Durable }
}

struct Etcd {
    client: SendRequest<Full<Bytes>>,
    number: u64,
}

async fn connect(port: u16) -> Result<SendRequest<Full<Bytes>>, Error> {
    let stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await?;
    stream.set_nodelay(true)?;
    let (client, connection) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
        .initial_max_send_streams(1000)
        .handshake(TokioIo::new(stream))
        .await?;
    tokio::spawn(connection); // lives as long as the process
    Ok(client)
}

impl Put for Etcd {
    /// `etcdserverpb.KV/Put` with a `PutRequest` of key (field 1) and value (field 2).
    async fn put(&mut self, n: u64) -> Result<(), Error> {
        let key = format!("/registry/configmaps/default/w{}-{}", self.number, n % KEYS_PER_WRITER);
        let mut message = vec![0; 5];
        for (field, bytes) in [(1, key.as_bytes()), (2, &value(self.number, n)[..])] {
            message.push(field << 3 | 2);
            let mut len = bytes.len();
            while len >= 0x80 {
                message.push(len as u8 | 0x80);
                len >>= 7;
            }
            message.push(len as u8);
            message.extend_from_slice(bytes);
        }
        let len = message.len() as u32 - 5;
        message[1..5].copy_from_slice(&len.to_be_bytes());
        let request = hyper::Request::post("http://127.0.0.1/etcdserverpb.KV/Put")
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(Full::new(Bytes::from(message)))?;
        let answer = self.client.send_request(request).await?.into_body().collect().await?;
        match answer.trailers().and_then(|trailers| trailers.get("grpc-status")) {
            Some(status) if status == "0" => Ok(()),
            status => Err(format!("etcd refused a put: {status:?}").into()),
        }
    }
}

async fn watch(dir: &str, watchers: u64, updates: u64) -> Result<(), Error> {
    let store = open(dir).await?;
    let (reader, writer) = (store.reader(), store.writer());
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..watchers {
        let (_, mut watch) = reader.list_watch(Scope::all(Resource::new("configmaps")));
        tasks.spawn(async move {
            let mut last = Revision(0);
            for _ in 0..updates {
                last = watch.next().await.expect("no watcher falls behind").object.revision;
            }
            last
        });
    }
    let started = Instant::now();
    for n in 0..updates {
        let key = Key::new(Resource::new("configmaps"), "default", &format!("o{}", n % 100));
        writer.commit(write_of(&reader, key, &value(0, n))).await?;
    }
    let committed = started.elapsed();
    tasks.join_all().await;
    let seen = started.elapsed();
    let events = watchers * updates;
    println!(
        "watch {watchers} watchers {updates} updates: committed in {committed:.1?}, {events} events by {seen:.1?}"
    );
    store.close().await;
    Ok(())
}
