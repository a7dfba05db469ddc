//! A network and mounts of our own: the program begins again within new namespaces, where each voter has a network
//! namespace and an address on one bridge. Nothing of it is seen outside, and it is gone when the program ends.

use std::os::unix::process::CommandExt;
use std::process::Command;

use trunkline_loadtest::Failure;
use trunkline_loadtest::rig::Place;

/// Set for the program within.
const WITHIN: &str = "TRUNKLINE_WITHIN_NAMESPACES";

/// Begins the program again within namespaces of its own, unless it is.
///
/// # Errors
/// When this machine does not let us.
pub fn enter() -> Result<(), Failure> {
    if std::env::var_os(WITHIN).is_some() {
        return run(&["ip", "link", "set", "lo", "up"]);
    }
    let own = rustix::process::getuid().is_root();
    let flags = if own { "-mn" } else { "-rmn" };
    let mut again = Command::new("unshare");
    again.arg(flags).arg(std::env::current_exe()?).args(std::env::args_os().skip(1)).env(WITHIN, "1");
    let error = again.exec();
    Err(Failure::new(format!(
        "could not run unshare (util-linux) for networks and disks of our own: {error}"
    )))
}

/// Makes a bridge and a namespace a voter; gives where each runs.
///
/// # Errors
/// When a step is refused.
pub fn open(count: usize) -> Result<Vec<Place>, Failure> {
    // Names of namespaces are files; those of others are not ours.
    run(&["mount", "-t", "tmpfs", "tmpfs", "/run"])?;
    std::fs::create_dir_all("/run/netns")?;
    run(&["ip", "link", "add", "bridge", "type", "bridge"])?;
    run(&["ip", "addr", "add", "10.99.0.254/24", "dev", "bridge"])?;
    run(&["ip", "link", "set", "bridge", "up"])?;
    let mut places = Vec::new();
    for place in 0..count {
        let (name, port, host) = (name(place), format!("port-{place}"), host(place));
        run(&["ip", "netns", "add", &name])?;
        run(&["ip", "link", "add", &port, "type", "veth", "peer", "name", "eth0", "netns", &name])?;
        run(&["ip", "link", "set", &port, "master", "bridge", "up"])?;
        run(&["ip", "-n", &name, "addr", "add", &format!("{host}/24"), "dev", "eth0"])?;
        run(&["ip", "-n", &name, "link", "set", "eth0", "up"])?;
        run(&["ip", "-n", &name, "link", "set", "lo", "up"])?;
        let wrap = ["ip", "netns", "exec", &name].map(ToOwned::to_owned).to_vec();
        places.push(Place { host, wrap, ..Place::default() });
    }
    Ok(places)
}

fn name(place: usize) -> String {
    format!("voter-{}", place + 1)
}

fn host(place: usize) -> String {
    format!("10.99.0.{}", place + 1)
}

/// One direction between two voters, by place, in which nothing arrives.
#[derive(Debug, Clone, Copy)]
pub struct Cut {
    pub from: usize,
    pub to: usize,
}

impl Cut {
    /// From now on.
    ///
    /// # Errors
    /// When the route is refused.
    pub fn begin(self) -> Result<(), Failure> {
        self.route("add")
    }

    /// No longer.
    ///
    /// # Errors
    /// When there was no such route.
    pub fn end(self) -> Result<(), Failure> {
        self.route("del")
    }

    fn route(self, action: &str) -> Result<(), Failure> {
        let to = format!("{}/32", host(self.to));
        run(&["ip", "-n", &name(self.from), "route", action, "blackhole", &to])
    }
}

/// Runs a command of the system.
///
/// # Errors
/// When it fails, with what it said.
pub fn run(words: &[&str]) -> Result<(), Failure> {
    let failed = |said: String| Failure::new(format!("`{}` failed: {said}", words.join(" ")));
    let (program, arguments) = words.split_first().ok_or_else(|| Failure::new("no command"))?;
    let output = Command::new(program).args(arguments).output().map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        return Ok(());
    }
    Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
}
