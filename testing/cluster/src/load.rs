//! Steady HTTP load on keep-alive connections, and the count of requests that failed.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use anyhow::{Context, Result, bail};

/// An answer that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// Between two requests of one connection: load, not a denial of service.
const PAUSE: Duration = Duration::from_millis(5);

/// Runs until [`Load::finish`].
pub struct Load {
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<Tally>>,
}

#[derive(Debug, Default)]
pub struct Tally {
    pub succeeded: usize,
    pub failures: Vec<String>,
}

impl Load {
    /// `connections` clients ask `address` for `path` of `host`, over and over.
    pub fn start(address: &str, host: &str, path: &str, connections: usize) -> Load {
        let stop = Arc::new(AtomicBool::new(false));
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let clients = (0..connections)
            .map(|_| {
                let (stop, address, request) = (stop.clone(), address.to_string(), request.clone());
                std::thread::spawn(move || client(&stop, &address, &request))
            })
            .collect();
        Load { stop, clients }
    }

    pub fn finish(self) -> Tally {
        self.stop.store(true, Ordering::Relaxed);
        let tallies = self.clients.into_iter().map(|client| client.join().expect("a client does not panic"));
        tallies.fold(Tally::default(), |mut sum, tally| {
            sum.succeeded += tally.succeeded;
            sum.failures.extend(tally.failures);
            sum
        })
    }
}

fn client(stop: &AtomicBool, address: &str, request: &str) -> Tally {
    let mut tally = Tally::default();
    let mut connection = None;
    while !stop.load(Ordering::Relaxed) {
        match exchange(&mut connection, address, request) {
            Ok(()) => tally.succeeded += 1,
            Err(error) => {
                connection = None;
                tally.failures.push(format!("{error:#}"));
            }
        }
        std::thread::sleep(PAUSE);
    }
    tally
}

fn exchange(connection: &mut Option<BufReader<TcpStream>>, address: &str, request: &str) -> Result<()> {
    if connection.is_none() {
        let stream = TcpStream::connect(address).context("connect")?;
        stream.set_read_timeout(Some(PATIENCE))?;
        *connection = Some(BufReader::new(stream));
    }
    let stream = connection.as_mut().context("just connected")?;
    stream.get_mut().write_all(request.as_bytes()).context("send")?;
    let (status, closes) = read_answer(stream)?;
    if closes {
        *connection = None;
    }
    if status != 200 {
        bail!("status {status}");
    }
    Ok(())
}

/// Reads one answer to its end; returns its status and whether the server closes the connection after it.
fn read_answer(stream: &mut BufReader<TcpStream>) -> Result<(u16, bool)> {
    let mut line = String::new();
    if stream.read_line(&mut line).context("read the status")? == 0 {
        bail!("connection closed without an answer");
    }
    let status = line
        .split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok())
        .with_context(|| format!("status line `{line}`"))?;
    let (mut length, mut chunked, mut closes) = (0, false, false);
    loop {
        line.clear();
        stream.read_line(&mut line).context("read a header")?;
        let header = line.trim_end().to_ascii_lowercase();
        if header.is_empty() {
            break;
        }
        if let Some(value) = header.strip_prefix("content-length:") {
            length = value.trim().parse().context("read the content length")?;
        }
        chunked |= header == "transfer-encoding: chunked";
        closes |= header == "connection: close";
    }
    if chunked {
        read_chunks(stream)?;
    } else {
        stream.read_exact(&mut vec![0; length]).context("read the body")?;
    }
    Ok((status, closes))
}

fn read_chunks(stream: &mut BufReader<TcpStream>) -> Result<()> {
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).context("read a chunk's size")?;
        let size =
            usize::from_str_radix(line.trim_end(), 16).with_context(|| format!("chunk size `{line}`"))?;
        stream.read_exact(&mut vec![0; size + 2]).context("read a chunk")?;
        if size == 0 {
            return Ok(());
        }
    }
}
