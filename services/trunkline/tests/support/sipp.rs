//! Phones and callers, played by sipp: a program that is none of ours.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use super::cluster::free_port;
use super::operator::{Answer, Plan};
use super::until;

const SCENARIOS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/sipp");

/// A sipp process with its own files. Killed when dropped.
pub struct Sipp {
    child: Child,
    /// Every message it sent or got.
    messages: PathBuf,
    errors: PathBuf,
}

impl Sipp {
    fn start(dir: &Path, scenario: &str, args: &[&str]) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let file = |kind: &str| dir.join(format!("{scenario}-{number}.{kind}"));
        let (messages, errors) = (file("messages"), file("errors"));
        let child = Command::new("sipp")
            .args(["-sf", &format!("{SCENARIOS}/{scenario}.xml"), "-i", "127.0.0.1", "-nostdin"])
            .args(["-cp", &free_port().to_string(), "-mp", &free_port().to_string()])
            .args(["-trace_msg", "-message_file", &messages.display().to_string()])
            .args(["-trace_err", "-error_file", &errors.display().to_string()])
            .args(args)
            .current_dir(dir)
            .env("TERM", "dumb")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(file("stderr")).expect("a file"))
            .spawn()
            .expect("sipp (package sip-tester) is installed");
        Self { child, messages, errors }
    }

    /// Every message it sent or got so far.
    pub fn messages(&self) -> String {
        std::fs::read_to_string(&self.messages).unwrap_or_default()
    }

    fn errors(&self) -> String {
        std::fs::read_to_string(&self.errors).unwrap_or_default()
    }

    /// Waits for its end, which must be good.
    #[track_caller]
    pub fn ends_well(&mut self) {
        let status = until("the end of a call", || {
            self.child.try_wait().expect("the process is ours").ok_or_else(|| self.errors())
        });
        assert_eq!(status.code(), Some(0), "{}\n{}", self.errors(), self.messages());
    }
}

impl Drop for Sipp {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An agent's phone.
pub struct Phone {
    pub sipp: Sipp,
    pub port: u16,
}

impl Phone {
    pub fn start(dir: &Path, user: &str, plan: Plan) -> Self {
        let port = free_port();
        let csv = dir.join(format!("{user}-{port}.csv"));
        let mut lines = "SEQUENTIAL\n".to_owned();
        for answer in plan {
            lines.push_str(match answer {
                Answer::Talk => "0;\n",
                Answer::Decline => "1;\n",
                Answer::Ring => "2;\n",
            });
        }
        std::fs::write(&csv, lines).expect("a file");
        let args = ["-inf", &csv.display().to_string(), "-p", &port.to_string()];
        Self { sipp: Sipp::start(dir, "phone", &args), port }
    }
}

/// Registers a phone for an hour.
#[track_caller]
pub fn register(dir: &Path, sip: SocketAddr, user: &str, password: &str, phone_port: u16) {
    let (sip, phone_port) = (sip.to_string(), phone_port.to_string());
    let port = free_port().to_string();
    let args = [
        "-p",
        &port,
        "-s",
        user,
        "-au",
        user,
        "-ap",
        password,
        "-key",
        "phone_port",
        &phone_port,
        "-m",
        "1",
        &sip,
    ];
    Sipp::start(dir, "register", &args).ends_well();
}

/// Calls a number and stays for `stay_ms` after the answer, unless the other side hangs up before.
pub fn call(dir: &Path, sip: SocketAddr, caller: &str, dialled: &str, stay_ms: u64) -> Sipp {
    let (sip, stay) = (sip.to_string(), stay_ms.to_string());
    let port = free_port().to_string();
    let args =
        ["-p", &port, "-s", dialled, "-key", "caller", caller, "-recv_timeout", &stay, "-m", "1", &sip];
    Sipp::start(dir, "caller", &args)
}
