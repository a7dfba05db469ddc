//! Which processes a rig has, on which ports, with which settings.

use std::fmt::Write as _;
use std::net::{TcpListener, UdpSocket};
use std::path::PathBuf;

use super::{Brokers, Process, Rig, Shape};
use crate::Failure;

/// Ports are taken from here on, below those the system gives out on its own.
const FIRST_PORT: u16 = 10_200;
const LAST_PORT: u16 = 19_800;

/// Free ports, one after the other.
pub(crate) struct Ports(u16);

impl Ports {
    /// Begins somewhere else in each process, so that two rigs rarely ask for the same.
    pub(crate) fn new() -> Self {
        let span = u32::from(LAST_PORT - FIRST_PORT);
        let start = std::process::id().wrapping_mul(97) % span;
        Self(FIRST_PORT + u16::try_from(start).unwrap_or(0))
    }

    fn next(&mut self) -> Result<u16, Failure> {
        for _ in FIRST_PORT..LAST_PORT {
            self.0 = if self.0 >= LAST_PORT { FIRST_PORT } else { self.0 + 1 };
            let at = ("127.0.0.1", self.0);
            if TcpListener::bind(at).is_ok() && UdpSocket::bind(at).is_ok() {
                return Ok(self.0);
            }
        }
        Err(Failure::new(format!("no port from {FIRST_PORT} to {LAST_PORT} is free")))
    }

    /// The next, with the address of loopback before it.
    pub(crate) fn address(&mut self) -> Result<String, Failure> {
        Ok(format!("127.0.0.1:{}", self.next()?))
    }
}

/// Gives every process its directory and ports, and writes the settings all of them have in common.
pub(super) fn lay_out(
    dir: PathBuf,
    program: PathBuf,
    shape: Shape,
    brokers: Brokers,
) -> Result<Rig, Failure> {
    let mut ports = Ports::new();
    let mut processes = Vec::new();
    let services = [
        ("agent-state", shape.voters),
        ("directory", 1),
        ("routing", shape.routing),
        ("billing", 1),
        ("reporting", 1),
        ("media", shape.media),
        ("gateway", 1),
    ];
    for (service, count) in services {
        for number in 1..=count {
            let name = if count == 1 { service.to_owned() } else { format!("{service}-{number}") };
            processes.push(Process {
                data: dir.join(&name),
                config: dir.join("trunkline.toml"),
                name,
                service: service.to_owned(),
                grpc: if service == "gateway" { String::new() } else { ports.address()? },
                http: if service == "gateway" { ports.address()? } else { String::new() },
                sip: if service == "media" { ports.address()? } else { String::new() },
                ops: ports.address()?,
                settings: Vec::new(),
            });
        }
    }
    let addresses = |service: &str| -> Vec<String> {
        processes.iter().filter(|it| it.service == service).map(|it| it.grpc.clone()).collect()
    };
    let quoted = |list: Vec<String>| {
        list.iter().map(|address| format!("\"{address}\"")).collect::<Vec<_>>().join(", ")
    };
    let one = |service: &str| addresses(service).into_iter().next().unwrap_or_default();
    let mut settings = String::new();
    let cluster = format!("cls_{:016x}", u64::from(std::process::id()) << 32 | nanos());
    let _ = write!(
        settings,
        "# Every process of this cluster reads this file.\n\
         [log]\nkind = \"kafka\"\nbrokers = \"{}\"\ncluster = \"{cluster}\"\ncells = 1\n\n\
         [endpoints]\nagent_state = [{}]\nrouting = [{}]\ndirectory = \"{}\"\nbilling = \"{}\"\nreporting = \"{}\"\n",
        brokers.addresses(),
        quoted(addresses("agent-state")),
        quoted(addresses("routing")),
        one("directory"),
        one("billing"),
        one("reporting"),
    );
    std::fs::write(dir.join("trunkline.toml"), settings)?;
    let voters = addresses("agent-state");
    for process in &mut processes {
        process.settings = own_settings(process, &voters);
    }
    Ok(Rig { dir, program, shape, processes, brokers })
}

/// What a process has for itself.
pub(super) fn own_settings(process: &Process, voters: &[String]) -> Vec<String> {
    let mut settings = vec![format!("process.ops_listen={}", process.ops)];
    if !process.grpc.is_empty() {
        settings.push(format!("listen.{}={}", process.service.replace('-', "_"), process.grpc));
    }
    if process.service == "agent-state" {
        settings.push(format!("agent_state.advertise={}", process.grpc));
        settings.push(format!("agent_state.peers={}", voters.join(",")));
    }
    if !process.http.is_empty() {
        settings.push(format!("gateway.http_listen={}", process.http));
    }
    if !process.sip.is_empty() {
        settings.push(format!("media.sip_listen={}", process.sip));
    }
    settings
}

fn nanos() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::from(since.subsec_nanos())
}
