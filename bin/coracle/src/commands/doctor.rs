//! `coracle doctor`: says what this machine lacks, and the command that adds it.

use std::{io::ErrorKind, net::TcpListener, path::Path, process::ExitCode};

use anyhow::Result;
use clap::ArgMatches;
use coracle_network::Firewall;
use ipnet::Ipv4Net;

use crate::{
    settings::{UpOptions, Values},
    up::pid_file,
};

/// What a check found: `Err` carries what is wrong and what to do about it.
type Finding = Result<String, (String, String)>;

pub fn run(matches: &ArgMatches) -> Result<ExitCode> {
    let options = UpOptions::from_values(&Values::resolve(matches)?)?;
    // Without root that cannot be told; the list says what lacks then.
    let running = matches!(pid_file::running(&options.data.pid_file()), Ok(Some(_)));
    let mut checks = vec![
        ("root", root()),
        ("kernel", kernel()),
        ("cgroups", cgroups()),
        ("overlayfs", file_system("overlay")),
        ("nftables", module("nf_tables", "nf_tables")),
        ("nat", module("nft_chain_nat", "nft_chain_nat")),
        ("bridge", module("bridge", "bridge")),
        ("veth", module("veth", "veth")),
        ("memory", memory()),
        ("disk", disk(&options.data.data_dir)),
    ];
    if !running {
        for (name, port) in [
            ("api port", options.api_port),
            ("http port", options.http_port),
            ("https port", options.https_port),
        ] {
            checks.push((name, free_port(port)));
        }
    }
    let mut lacking = 0;
    for (name, finding) in checks {
        match finding {
            Ok(text) => println!("ok       {name:<11}{text}"),
            Err((text, hint)) => {
                lacking += 1;
                println!("lacking  {name:<11}{text}\n         hint: {hint}");
            }
        }
    }
    for (text, hint) in firewalls(options.pod_cidr) {
        println!("unsure   {:<11}{text}\n         hint: {hint}", "firewall");
    }
    Ok(if lacking == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Not counted as lacking: a rule for a link or for a larger network may let pods through.
fn firewalls(pods: Ipv4Net) -> Vec<(String, String)> {
    // Without root that cannot be told; the list says what lacks then.
    let found = Firewall::without_rule_for(pods).unwrap_or_default();
    let about = |firewall: Firewall| {
        let text =
            format!("`{firewall}` drops what no rule accepts, and none is for the pods' network {pods}");
        let hint = format!("{} (and in the firewall's own configuration, to stay)", firewall.remedy(pods));
        (text, hint)
    };
    found.into_iter().map(about).collect()
}

fn root() -> Finding {
    if nix::unistd::geteuid().is_root() {
        return Ok("running as root".into());
    }
    Err(("not running as root".into(), "sudo coracle doctor".into()))
}

/// The oldest kernel that has all that is used.
const OLDEST_KERNEL: (u32, u32) = (5, 10);

fn kernel() -> Finding {
    let release = nix::sys::utsname::uname()
        .map(|name| name.release().to_string_lossy().into_owned())
        .unwrap_or_default();
    let mut numbers =
        release.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse::<u32>().ok());
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if version >= OLDEST_KERNEL {
        return Ok(release);
    }
    Err((
        format!("{release}, needed is 5.10 or newer"),
        "apt-get install linux-image-amd64, then reboot".into(),
    ))
}

fn cgroups() -> Finding {
    let wanted = ["cpu", "memory", "pids"];
    let v2 = std::fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").unwrap_or_default();
    let v1 = std::fs::read_to_string("/proc/cgroups").unwrap_or_default();
    let has = |name: &&str| {
        let enabled_v1 =
            v1.lines().any(|line| line.starts_with(&format!("{name}\t")) && line.ends_with("\t1"));
        v2.split_whitespace().any(|controller| controller == *name)
            || (enabled_v1 && Path::new("/sys/fs/cgroup").join(name).is_dir())
    };
    let missing: Vec<&str> = wanted.iter().filter(|name| !has(name)).copied().collect();
    if missing.is_empty() {
        return Ok(if v2.is_empty() {
            "v1: cpu, memory, pids".into()
        } else {
            "v2: cpu, memory, pids".into()
        });
    }
    Err((
        format!("no controller {}", missing.join(", ")),
        "add cgroup_enable=memory to the kernel's command line (GRUB_CMDLINE_LINUX), update-grub, reboot"
            .into(),
    ))
}

fn file_system(name: &str) -> Finding {
    let known = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
    if known.lines().any(|line| line.trim_start_matches("nodev").trim() == name) {
        return Ok("available".into());
    }
    module(name, name)
}

/// A kernel feature that is built in, loaded, or can be loaded on demand.
fn module(feature: &str, module: &str) -> Finding {
    if Path::new("/sys/module").join(module).exists() || built_in(module) || loadable(module) {
        return Ok("available".into());
    }
    // A kernel without loadable modules lists none: what it has shows only in use.
    if !Path::new("/proc/modules").exists() {
        return Ok("built into the kernel, if at all".into());
    }
    Err((
        format!("the kernel has no {feature}"),
        format!("modprobe {module}, or install the full kernel package of your distribution"),
    ))
}

fn module_list(file: &str) -> String {
    let release = nix::sys::utsname::uname()
        .map(|name| name.release().to_string_lossy().into_owned())
        .unwrap_or_default();
    std::fs::read_to_string(format!("/lib/modules/{release}/{file}")).unwrap_or_default()
}

fn built_in(module: &str) -> bool {
    module_list("modules.builtin").lines().any(|line| line.ends_with(&format!("/{module}.ko")))
}

fn loadable(module: &str) -> bool {
    module_list("modules.dep")
        .lines()
        .any(|line| line.split(':').next().unwrap_or_default().contains(&format!("/{module}.ko")))
}

/// Less than this leaves no room for an app.
const LEAST_MEMORY_MIB: u64 = 256;

fn memory() -> Finding {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let available =
        line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0) / 1024;
    if available >= LEAST_MEMORY_MIB {
        return Ok(format!("{available} MiB available"));
    }
    Err((
        format!("{available} MiB available"),
        format!("free some: at least {LEAST_MEMORY_MIB} MiB are needed"),
    ))
}

/// Less than this fills up with the first image.
const LEAST_DISK_MIB: u64 = 1024;

fn disk(data_dir: &Path) -> Finding {
    let existing = data_dir.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
    let available = nix::sys::statvfs::statvfs(existing)
        .map(|stat| (stat.blocks_available() * stat.fragment_size()) >> 20)
        .unwrap_or(0);
    let text = format!("{available} MiB free at {}", existing.display());
    if available >= LEAST_DISK_MIB {
        return Ok(text);
    }
    Err((text, format!("free some: at least {LEAST_DISK_MIB} MiB are needed, or choose another --data-dir")))
}

fn free_port(port: u16) -> Finding {
    match TcpListener::bind(("0.0.0.0", port)) {
        Ok(_) => Ok(format!("{port} is free")),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Err((
            format!("{port}: only root may take it, or tell whether it is free"),
            "sudo coracle doctor".into(),
        )),
        Err(error) => {
            Err((format!("{port}: {error}"), format!("see who has it: ss -ltnp 'sport = :{port}'")))
        }
    }
}
