//! A node and what is around it. Every machine is a network namespace; code runs in one by a thread that enters it.

use std::{
    fs::File,
    io::{Read, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::fd::{AsFd, AsRawFd},
    path::PathBuf,
    process::Command,
    sync::Arc,
    thread,
    time::Duration,
};

use k8s_openapi::api::{core::v1::Service, discovery::v1::EndpointSlice};
use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, setns, unshare},
};
use parking_lot::Mutex;
use serde_json::Value;

use crate::{
    Config, HostPort, PodLinks, environment,
    service::{Owner, Plan, Rules, endpoints_of, plan_service},
};

pub const NODE_IP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
pub const CLIENT_IP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
const PATIENCE: Duration = Duration::from_secs(10);

/// A network namespace.
#[derive(Clone)]
pub struct Machine(Arc<File>);

impl Machine {
    pub fn new() -> Machine {
        let made = thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).expect("these tests need root");
            File::open("/proc/thread-self/ns/net").unwrap()
        });
        Machine(Arc::new(made.join().unwrap()))
    }

    pub fn path(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.0.as_raw_fd()).into()
    }

    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let entered = scope.spawn(|| {
                setns(self.0.as_fd(), CloneFlags::CLONE_NEWNET).unwrap();
                work()
            });
            entered.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Answers every connection and datagram with its own name and the caller's address.
    pub fn serve(&self, name: &str, port: u16) {
        self.run(|| serve_here(name, port));
    }

    /// What the server at `to` answered, or the kind of error.
    pub fn ask(&self, to: (Ipv4Addr, u16)) -> Result<String, std::io::ErrorKind> {
        self.run(|| ask(to)).map_err(|error| error.kind())
    }

    pub fn ask_udp(&self, socket: &UdpSocket, to: (Ipv4Addr, u16)) -> Result<String, std::io::ErrorKind> {
        ask_udp(socket, to).map_err(|error| error.kind())
    }

    pub fn udp_socket(&self) -> UdpSocket {
        self.run(|| {
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            socket
        })
    }
}

/// [`Machine::serve`] on the machine of this thread.
pub fn serve_here(name: &str, port: u16) {
    let at = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
    let (tcp, udp) = (TcpListener::bind(at).unwrap(), UdpSocket::bind(at).unwrap());
    let (tcp_name, udp_name) = (name.to_owned(), name.to_owned());
    thread::spawn(move || {
        while let Ok((mut stream, peer)) = tcp.accept() {
            let _ = stream.write_all(format!("{tcp_name} {}", peer.ip()).as_bytes());
        }
    });
    thread::spawn(move || {
        let mut buffer = [0; 16];
        while let Ok((_, peer)) = udp.recv_from(&mut buffer) {
            let _ = udp.send_to(format!("{udp_name} {}", peer.ip()).as_bytes(), peer);
        }
    });
}

pub fn ask(to: (Ipv4Addr, u16)) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&to.into(), PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

fn ask_udp(socket: &UdpSocket, to: (Ipv4Addr, u16)) -> std::io::Result<String> {
    socket.connect(SocketAddr::from(to))?;
    socket.send(b"?")?;
    let mut buffer = [0; 64];
    let len = socket.recv(&mut buffer)?;
    Ok(String::from_utf8_lossy(&buffer[..len]).into_owned())
}

/// A node with an uplink to a client. The thread of the test is on the node.
pub struct Node {
    pub config: Config,
    pub client: Machine,
    pub rules: Arc<Mutex<Rules>>,
    pub links: PodLinks,
    pub runtime: tokio::runtime::Runtime,
    _state: tempfile::TempDir,
}

/// Runs a test on a thread that is a machine of its own.
pub fn on_node(test: impl FnOnce(&mut Node) + Send + 'static) {
    let thread = thread::spawn(|| test(&mut boot()));
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

pub fn enter_private_network() -> Machine {
    unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).expect("these tests need root");
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>).unwrap();
    let client = Machine::new();
    ip("link set lo up");
    ip("link add up0 type veth peer name eth0");
    ip(&format!("addr add {NODE_IP}/24 dev up0"));
    ip("link set up0 up");
    ip(&format!("route add default via {CLIENT_IP}"));
    let path = format!("/proc/{}/fd/{}", std::process::id(), client.0.as_raw_fd());
    ip(&format!("link set eth0 netns {path}"));
    client.run(|| {
        ip("link set lo up");
        ip(&format!("addr add {CLIENT_IP}/24 dev eth0"));
        ip("link set eth0 up");
        ip(&format!("route add default via {NODE_IP}"));
    });
    client
}

fn boot() -> Node {
    let client = enter_private_network();
    let state = tempfile::tempdir().unwrap();
    let config = config(state.path().to_owned());
    let (rules, links) = network(&config);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    Node { config, client, rules, links, runtime, _state: state }
}

pub fn config(state_dir: PathBuf) -> Config {
    Config {
        node_ip: IpAddr::V4(NODE_IP),
        pod_cidr: "10.42.0.0/16".parse().unwrap(),
        service_cidr: "10.43.0.0/16".parse().unwrap(),
        dns_ip: Ipv4Addr::new(10, 43, 0, 10),
        cluster_domain: "cluster.local".to_owned(),
        bridge: "coracle0".to_owned(),
        state_dir,
        upstream_dns: vec![],
        own_ports: vec![],
    }
}

/// What `Network::build` does, without a store.
fn network(config: &Config) -> (Arc<Mutex<Rules>>, PodLinks) {
    let rules = Arc::new(Mutex::new(Rules::new(environment(config)).unwrap()));
    let links = PodLinks::build(config, rules.clone()).unwrap();
    rules.lock().replace_all().unwrap();
    (rules, links)
}

impl Node {
    pub fn attach(&self, uid: &str, machine: &Machine, host_ports: &[HostPort]) -> Ipv4Addr {
        self.runtime.block_on(self.links.attach(uid, &machine.path(), host_ports)).unwrap()
    }

    pub fn detach(&self, uid: &str) {
        self.runtime.block_on(self.links.detach(uid)).unwrap();
    }

    pub fn retain(&self, uids: &[&str]) {
        let uids = uids.iter().map(ToString::to_string).collect();
        self.runtime.block_on(self.links.retain(&uids)).unwrap();
    }

    /// A pod that answers on `port` with its name.
    pub fn pod(&self, name: &str, port: u16) -> (Machine, Ipv4Addr) {
        let machine = Machine::new();
        let address = self.attach(&uid(name), &machine, &[]);
        machine.serve(name, port);
        (machine, address)
    }

    /// As if Coracle had been started anew.
    pub fn restart(&mut self) {
        (self.rules, self.links) = network(&self.config);
    }

    pub fn apply(&self, service: Value, slices: Vec<Value>) {
        let service: Service = serde_json::from_value(service).unwrap();
        let slices: Vec<EndpointSlice> =
            slices.into_iter().map(|slice| serde_json::from_value(slice).unwrap()).collect();
        let name = service.metadata.name.clone().unwrap();
        let env = environment(&self.config);
        let plan = plan_service(&service, &env, |port, protocol| endpoints_of(slices.iter(), port, protocol));
        self.rules.lock().update(vec![(owner(&name), plan)]).unwrap();
    }

    pub fn delete_service(&self, name: &str) {
        self.rules.lock().update(vec![(owner(name), Plan::default())]).unwrap();
    }
}

pub fn owner(name: &str) -> Owner {
    Owner::Service { namespace: "default".into(), name: name.into() }
}

/// A uid whose first digits differ from any other name's.
pub fn uid(name: &str) -> String {
    let digits: String = name.bytes().rev().map(|byte| format!("{byte:02x}")).collect();
    format!("{digits:0<8}-0000")
}

pub fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).status().unwrap();
    assert!(status.success(), "ip {arguments}");
}

pub fn nft(arguments: &str) -> String {
    let output = Command::new("nft").args(arguments.split(' ')).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}
