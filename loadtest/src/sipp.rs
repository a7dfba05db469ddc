//! sipp processes: the scenarios, how they are started and ended, and what their logs say.

use std::collections::BTreeMap;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

use crate::Failure;

const CALLER: &str = include_str!("../sipp/caller.xml");
const REFUSED: &str = include_str!("../sipp/refused.xml");
const AGENT: &str = include_str!("../sipp/agent.xml");
const REGISTER: &str = include_str!("../sipp/register.xml");

/// The scenarios, written out where sipp can read them.
#[derive(Debug, Clone)]
pub struct Scenarios {
    dir: PathBuf,
}

impl Scenarios {
    /// Writes the scenarios into a directory.
    ///
    /// # Errors
    /// When the directory cannot be written.
    pub fn write(dir: &Path) -> Result<Self, Failure> {
        std::fs::create_dir_all(dir)?;
        for (name, text) in
            [("caller", CALLER), ("refused", REFUSED), ("agent", AGENT), ("register", REGISTER)]
        {
            std::fs::write(dir.join(format!("{name}.xml")), text)?;
        }
        Ok(Self { dir: dir.to_owned() })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.xml"))
    }
}

/// A running sipp with its own directory of logs.
#[derive(Debug)]
pub struct Sipp {
    /// Where its logs are.
    pub dir: PathBuf,
    /// Where it listens for SIP.
    pub port: u16,
    child: Child,
}

/// How a sipp is started.
#[derive(Debug)]
pub struct Start<'a> {
    /// Which scenario.
    pub scenario: &'a str,
    /// Where its logs go.
    pub dir: PathBuf,
    /// Its SIP port; a free one when absent.
    pub port: Option<u16>,
    /// Further arguments.
    pub args: Vec<String>,
    /// Whom it calls; nobody when it only listens.
    pub server: Option<&'a str>,
}

impl Sipp {
    /// Starts one.
    ///
    /// # Errors
    /// When its directory cannot be made or sipp is not installed.
    pub fn start(scenarios: &Scenarios, start: Start<'_>) -> Result<Self, Failure> {
        let Start { scenario, dir, port, args, server } = start;
        std::fs::create_dir_all(&dir)?;
        let port = match port {
            Some(port) => port,
            None => free_port(1)?,
        };
        let output = std::fs::File::create(dir.join("output.txt"))?;
        let mut command = Command::new("sipp");
        command.args(["-sf", &scenarios.path(scenario).display().to_string()]);
        command.args(["-i", "127.0.0.1", "-mi", "127.0.0.1", "-p", &port.to_string(), "-nostdin", "-aa"]);
        command.args(["-timer_resol", "1", "-trace_err", "-error_file", "errors.txt"]);
        command.args(["-trace_msg", "-message_file", "messages.txt"]);
        command.args(["-trace_shortmsg", "-shortmessage_file", "timeline.txt"]);
        command.args(args).args(server);
        command.current_dir(&dir).stdin(Stdio::null()).kill_on_drop(true);
        command.stdout(output.try_clone()?).stderr(output);
        let child = command
            .spawn()
            .map_err(|error| Failure::new(format!("could not start sipp (package sip-tester): {error}")))?;
        Ok(Self { dir, port, child })
    }

    /// Waits for its end and gives its exit code; ends it when it takes longer.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub async fn ended(&mut self, within: Duration) -> Result<i32, Failure> {
        match tokio::time::timeout(within, self.child.wait()).await {
            Ok(status) => Ok(status?.code().unwrap_or(-1)),
            Err(_) => {
                self.child.kill().await?;
                Ok(-2)
            }
        }
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Asks a listening sipp for its counters, then lets it finish its calls and end; gives exit code and the packets that
    /// its echo sent back.
    ///
    /// # Errors
    /// When it cannot be signalled or waited for.
    pub async fn finish(mut self) -> Result<(i32, u64), Failure> {
        let mut echoed = None;
        if self.runs() {
            self.signal(Signal::USR2)?; // writes its screens into the screen file, when it comes to it
            for _ in 0..200 {
                let screens = std::fs::read_to_string(self.dir.join("screens.txt")).unwrap_or_default();
                echoed = echo_count(&screens);
                if echoed.is_some() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            self.signal(Signal::USR1)?;
        }
        let code = self.ended(Duration::from_secs(15)).await?;
        Ok((code, echoed.unwrap_or(0)))
    }

    fn signal(&self, signal: Signal) -> Result<(), Failure> {
        let pid = self.child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        let pid = pid.ok_or_else(|| Failure::new("sipp has ended"))?;
        kill_process(pid, signal).map_err(|error| Failure::new(format!("could not signal sipp: {error}")))
    }
}

/// A free UDP port of 127.0.0.1 that is a multiple of `step`, with the two after it free when `step` is 4 (sipp's echo takes
/// two). Another process may take it before its user does; then that one says so.
///
/// # Errors
/// When none was found.
pub fn free_port(step: u16) -> Result<u16, Failure> {
    let free = |port: u16| UdpSocket::bind(("127.0.0.1", port)).is_ok();
    for _ in 0..200 {
        let port = UdpSocket::bind(("127.0.0.1", 0))?.local_addr()?.port();
        if port.is_multiple_of(step) && (step != 4 || free(port + 2)) {
            return Ok(port);
        }
    }
    Err(Failure::new("found no free UDP port"))
}

/// Waits until somebody listens on a UDP port of 127.0.0.1.
///
/// # Errors
/// When nobody does within five seconds.
pub async fn listening(port: u16) -> Result<(), Failure> {
    for _ in 0..250 {
        if UdpSocket::bind(("127.0.0.1", port)).is_err() {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Err(Failure::new(format!("no sipp came up on port {port}")))
}

/// "Total echo RTP pckts 1st stream" of the last screen that has it.
fn echo_count(screens: &str) -> Option<u64> {
    let lines = screens.lines().filter(|line| line.contains("echo RTP pckts 1st stream"));
    lines.filter_map(|line| line.split_whitespace().next()?.parse().ok()).next_back()
}

/// One SIP message as sipp's timeline has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Unix time, in µs.
    pub at_us: i64,
    /// Sent by this sipp, or received.
    pub sent: bool,
    /// Call-ID.
    pub call_id: String,
    /// The method of CSeq.
    pub method: String,
    /// The status, for a response.
    pub status: Option<u16>,
}

/// Reads sipp's timeline (`-trace_shortmsg`): date, time, Unix time, S or R, Call-ID, CSeq, first line; by tabs.
pub fn timeline(text: &str) -> Vec<Message> {
    text.lines().filter_map(message).collect()
}

fn message(line: &str) -> Option<Message> {
    let mut fields = line.split('\t').skip(2);
    let (seconds, micros) = fields.next()?.split_once('.')?;
    let at_us = seconds.parse::<i64>().ok()? * 1_000_000 + micros.parse::<i64>().ok()?;
    let sent = fields.next()? == "S";
    let call_id = fields.next()?.to_owned();
    let method = fields.next()?.split_whitespace().last()?.to_owned();
    let first = fields.next()?;
    let status = first.strip_prefix("SIP/2.0 ").and_then(|rest| rest.get(..3)?.parse().ok());
    Some(Message { at_us, sent, call_id, method, status })
}

/// The user part of From of every INVITE in sipp's message log (`-trace_msg`), by Call-ID: who is calling.
pub fn callers(text: &str) -> BTreeMap<String, String> {
    let mut callers = BTreeMap::new();
    let (mut in_invite, mut from, mut call_id) = (false, None, None);
    for line in text.lines() {
        if line.starts_with("----") {
            (in_invite, from, call_id) = (false, None, None);
        } else if line.starts_with("INVITE ") {
            in_invite = true;
        } else if let Some((name, value)) = line.split_once(':').filter(|_| in_invite) {
            match name.to_ascii_lowercase().as_str() {
                "from" | "f" => {
                    from = value.split_once("sip:").and_then(|(_, rest)| rest.split(['@', '>']).next())
                }
                "call-id" | "i" => call_id = Some(value.trim()),
                _ => {}
            }
            if let (Some(user), Some(id)) = (from, call_id) {
                callers.insert(id.to_owned(), user.to_owned());
                in_invite = false;
            }
        }
    }
    callers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeline_is_read_and_broken_lines_are_not() {
        let text = "2026-11-22\t06:46:31.005354\t1795329991.005354\tS\t1-1@a\tCSeq:1 INVITE\tINVITE sip:4930@a SIP/2.0\n\
                    2026-11-22\t06:46:31.713885\t1795329991.713885\tR\t1-1@a\tCSeq:1 INVITE\tSIP/2.0 200 OK\n\
                    2026-11-22\t06:46:31.7\tcut\n";
        let message = |at_us, sent, status| Message {
            at_us,
            sent,
            call_id: "1-1@a".to_owned(),
            method: "INVITE".to_owned(),
            status,
        };
        let expected =
            [message(1_795_329_991_005_354, true, None), message(1_795_329_991_713_885, false, Some(200))];
        assert_eq!(timeline(text), expected);
    }

    #[test]
    fn callers_are_found_in_invites_alone() {
        let text = "----------------------------------------------- 2026-11-22\nUDP message received [9] bytes :\n\n\
                    INVITE sip:1001@a SIP/2.0\nFrom: \"x\" <sip:+4917@b>;tag=1\nCall-ID: 1-1@a\n\n\
                    ----------------------------------------------- 2026-11-22\nUDP message sent (9 bytes):\n\n\
                    BYE sip:x SIP/2.0\nFrom: <sip:1001@b>;tag=1\nCall-ID: 1-2@a\n\n\
                    ----------------------------------------------- 2026-11-22\nUDP message received [9] bytes :\n\n\
                    INVITE sip:1001@a SIP/2.0\ni: 1-3@a\nf: sip:anonymous@b;tag=1\n";
        let expected = [("1-1@a", "+4917"), ("1-3@a", "anonymous")];
        let expected = expected.map(|(id, user)| (id.to_owned(), user.to_owned()));
        assert_eq!(callers(text), expected.into());
    }

    #[test]
    fn the_echo_count_is_of_the_last_screen() {
        let screens = "  7 Total echo RTP pckts 1st stream     34.4 rate\n  0 Total echo RTP pckts 2nd stream\n\
                       100 Total echo RTP pckts 1st stream     34.4 rate\n";
        assert_eq!((echo_count(screens), echo_count("")), (Some(100), None));
    }
}
