//! Messages and programs that others made: SIP torture messages, and sipp as caller and as agent's phone.

#![allow(clippy::unwrap_used, reason = "in a test an unwrap is an assertion")]

mod support;

use std::path::{Path, PathBuf};
use std::process::Stdio;

use support::ua::Ua;
use support::*;
use tokio::process::Command;
use trunkline_domain::facts::*;
use trunkline_domain::vocabulary::*;
use trunkline_media::sip::message::Method;

/// Where the shared test data is; `None`, loudly, when it is not there. In CI that is a failure.
fn data(name: &str) -> Option<PathBuf> {
    let root = std::env::var("TRUNKLINE_DATA")
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data").to_owned());
    let path = Path::new(&root).join(name);
    if path.is_dir() {
        return Some(path);
    }
    absent(&format!("test data {} is not there: set TRUNKLINE_DATA", path.display()));
    None
}

fn absent(what: &str) {
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{what}");
    eprintln!("\n!!! NOT TESTED: {what}\n");
}

fn files(dir: &Path, into: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            files(&path, into);
        } else {
            into.push(path);
        }
    }
}

/// Whether an OPTIONS is still answered.
async fn alive(ua: &mut Ua, what: &str) {
    let mut options = ua.invite("4930111111", SALES, &format!("alive-{what}"));
    options.start = trunkline_media::sip::message::Start::Request {
        method: Method::Options,
        uri: options.uri().unwrap().to_owned(),
    };
    for (name, value) in &mut options.headers {
        if name == "CSeq" {
            *value = "1 OPTIONS".to_owned();
        }
    }
    ua.send(&options).await;
    let wanted = format!("alive-{what}");
    let answer = ua.until(|m| m.call_id() == wanted).await;
    assert_eq!(answer.status(), Some(200), "behind {what}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_comes_the_node_lives_and_takes_the_next_call() {
    let Some(data) = data("sip-messages") else { return };
    let world = World::new().await;
    let node = world.start(world.config()).await;
    let mut ua = Ua::new(node.sip).await;
    let mut messages = Vec::new();
    for dir in ["rfc4475", "kamailio", "pjsip-seeds"] {
        files(&data.join(dir), &mut messages);
    }
    assert!(messages.len() > 100, "only {} messages", messages.len());
    for path in &messages {
        let bytes = std::fs::read(path).unwrap();
        let bytes = &bytes[..bytes.len().min(60_000)];
        ua.raw(bytes).await;
        // Cut anywhere, and with one byte turned, over UDP.
        ua.raw(&bytes[..bytes.len() / 2]).await;
        let mut turned = bytes.to_vec();
        if let Some(byte) = turned.get_mut(bytes.len() / 3) {
            *byte ^= 0xff;
        }
        ua.raw(&turned).await;
        // And over TCP, where the stream behind it is lost.
        let mut stream = tokio::net::TcpStream::connect(node.sip).await.unwrap();
        let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, bytes).await;
        drop(stream);
        alive(&mut ua, &path.file_name().unwrap().to_string_lossy().replace(' ', "-")).await;
    }
    let mut caller = Ua::new(node.sip).await;
    let (invite, ok) = caller.call("4930111111", SALES, "behind-the-garbage").await;
    caller.bye(&invite, &ok).await;
    let facts = world
        .facts_until("the call behind the garbage", |facts| {
            let arrived = facts.iter().find(|f| matches!(&f.fact, ContactFact::ContactArrived { sip_call_id, .. } if sip_call_id == "behind-the-garbage"));
            arrived.is_some_and(|arrived| {
                facts.iter().any(|f| {
                    f.meta.stream == arrived.meta.stream && matches!(f.fact, ContactFact::ContactEnded { .. })
                })
            })
        })
        .await;
    assert!(!facts.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_valid_messages_of_rfc_4475_are_answered_and_the_invalid_ones_refused() {
    let Some(data) = data("sip-messages/rfc4475") else { return };
    let world = World::new().await;
    let node = world.start(world.config()).await;
    // What comes back over one TCP connection a message: the first status, or nothing.
    let expected = [
        // Valid: understood, and judged as any request.
        ("wsinv", "4xx"),
        ("intmeth", "501"),
        ("esc01", "4xx"),
        ("escnull", "4xx"),
        ("esc02", "501"),
        ("lwsdisp", "200"),
        ("longreq", "4xx"),
        ("semiuri", "200"),
        ("transports", "200"),
        ("mpart01", "405"),
        // Invalid.
        ("badinv01", "400"),
        ("clerr", "400"),
        ("ncl", "400"),
        ("scalar02", "400"),
        ("ltgtruri", "400"),
        ("lwsruri", "400"),
        ("lwsstart", "400"),
        ("trws", "400"),
        ("badvers", "505"),
        ("mismatch01", "400"),
        ("mismatch02", "400"),
        ("bext01", "420"),
        ("mcl01", "400"),
        ("multi01", "400"),
        ("insuf", "400"),
        ("unkscm", "416"),
        ("novelsc", "416"),
    ];
    let mut wrong = Vec::new();
    for (name, then) in expected {
        let path = data.join(format!("{name}.dat"));
        let Ok(bytes) = std::fs::read(&path) else { continue };
        let ua = Ua::new(node.sip).await;
        // Over UDP the answer goes to the port in Via: only the door's own socket can show it, so ask for rport.
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let with_rport = add_rport(&bytes);
        ua.raw(&with_rport).await;
        let got = tokio::time::timeout(std::time::Duration::from_secs(3), async {
            loop {
                let message = ua.next().await;
                if message.status() != Some(100) {
                    return message.status().map(|status| status.to_string());
                }
            }
        })
        .await
        .ok()
        .flatten()
        .unwrap_or_else(|| "nothing".to_owned());
        let fits = match then {
            "4xx" => got.starts_with('4'),
            exact => got == exact,
        };
        if !fits {
            wrong.push(format!("{name}: {then} expected, {got} came\n{}", &text[..text.len().min(200)]));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n---\n"));
}

/// The same bytes with `;rport` on the first Via line.
fn add_rport(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut done = false;
    for line in bytes.split_inclusive(|b| *b == b'\n') {
        let lower: Vec<u8> = line.iter().map(u8::to_ascii_lowercase).collect();
        let via = lower.starts_with(b"via") || lower.starts_with(b"v:");
        if via && !done {
            done = true;
            let end =
                line.iter().position(|b| *b == b';' || *b == b'\r' || *b == b'\n').unwrap_or(line.len());
            out.extend_from_slice(&line[..end]);
            out.extend_from_slice(b";rport");
            out.extend_from_slice(&line[end..]);
        } else {
            out.extend_from_slice(line);
        }
    }
    out
}

/// A phone's registration, as sipp plays it.
const REGISTER: &str = r#"<?xml version="1.0" encoding="UTF-8" ?>
<scenario name="register">
  <send><![CDATA[
REGISTER sip:trunkline SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
Max-Forwards: 70
From: <sip:anna@trunkline>;tag=[call_number]
To: <sip:anna@trunkline>
Call-ID: [call_id]
CSeq: 1 REGISTER
Contact: <sip:anna@[local_ip]:[local_port]>
Expires: 60
Content-Length: 0

]]></send>
  <recv response="401" auth="true"></recv>
  <send><![CDATA[
REGISTER sip:trunkline SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
Max-Forwards: 70
From: <sip:anna@trunkline>;tag=[call_number]
To: <sip:anna@trunkline>
Call-ID: [call_id]
CSeq: 2 REGISTER
Contact: <sip:anna@[local_ip]:[local_port]>
Expires: 60
[authentication username=anna password=secret]
Content-Length: 0

]]></send>
  <recv response="200"></recv>
</scenario>
"#;

fn sipp(world: &World, args: &[&str]) -> Command {
    let mut command = Command::new("sipp");
    command
        .args(["-i", "127.0.0.1", "-nostdin", "-timeout", "30", "-timeout_error"])
        .args(args)
        .current_dir(world.dir.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// Runs sipp to its end; its own count is the judge.
async fn succeeds(mut command: Command) {
    let run = command.output().await.unwrap();
    let text = String::from_utf8_lossy(&run.stdout).into_owned();
    let tail = &text[text.len().saturating_sub(2_500)..];
    assert!(run.status.success(), "{tail}\n{}", String::from_utf8_lossy(&run.stderr));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sipp_registers_as_a_phone_and_answers_a_sipp_caller() {
    if !sipp_is_there().await {
        return;
    }
    let world = World::new().await;
    let mut node = world.start(world.config()).await;
    std::fs::write(world.dir.path().join("register.xml"), REGISTER).unwrap();
    let (sip, port) = (node.sip.to_string(), free_port());
    succeeds(sipp(&world, &["-sf", "register.xml", "-p", &port, "-m", "1", &sip])).await;
    let mut phone = sipp(&world, &["-sn", "uas", "-p", &port, "-m", "1"]);
    let phone = tokio::spawn(async move { phone.output().await.unwrap() });
    let caller = sipp(&world, &["-sn", "uac", "-s", SALES, "-d", "3000", "-m", "1", &sip]);
    let caller = tokio::spawn(succeeds(caller));
    let contact_id = world.fact("ContactQueueRequested").await.fact.contact_id().clone();
    for number in 1..100 {
        let offer = trunkline_proto::media::v1::OfferContactRequest {
            offer_id: format!("ofr_{number}"),
            contact_id: contact_id.to_string(),
            agent_id: "agt_anna".to_owned(),
            token: 7,
            cell: 0,
            routing_epoch: 1,
            expires_at_ms: i64::MAX,
            visit: 1,
        };
        node.rpc.offer_contact(offer).await.unwrap();
        // sipp may still be opening its port: then this offer fails and the next one rings.
        let facts = world
            .facts_until("the offer's end", |facts| {
                facts.iter().any(|f| match &f.fact {
                    ContactFact::OfferFailed { offer_id, .. }
                    | ContactFact::OfferAlerting { offer_id, .. } => {
                        offer_id.as_str() == format!("ofr_{number}")
                    }
                    _ => false,
                })
            })
            .await;
        if names(&facts).contains(&"OfferAlerting") {
            break;
        }
    }
    caller.await.unwrap();
    let phone = phone.await.unwrap();
    assert!(phone.status.success(), "{}", String::from_utf8_lossy(&phone.stdout));
    let facts = world.ended(1).await;
    assert_eq!(causes(&facts), [ContactEndCause::Completed]);
    assert!(names(&facts).contains(&"ContactConnected"));
}

/// A port nobody had a moment ago: sipp cannot be told to choose and say which.
fn free_port() -> String {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.local_addr().unwrap().port().to_string()
}

async fn sipp_is_there() -> bool {
    let there =
        Command::new("sipp").arg("-v").stdout(Stdio::null()).stderr(Stdio::null()).status().await.is_ok();
    if !there {
        absent("sipp is not installed (package sip-tester)");
    }
    there
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sipp_calls_over_udp_and_tcp_reach_the_queue() {
    if !sipp_is_there().await {
        return;
    }
    let world = World::new().await;
    let node = world.start(world.config()).await;
    for (transport, ended) in [("u1", 10), ("t1", 20)] {
        let sip = node.sip.to_string();
        let args = ["-sn", "uac", "-s", SALES, "-t", transport, "-m", "10", "-r", "20", "-d", "500", &sip];
        succeeds(sipp(&world, &args)).await;
        let facts = world.ended(ended).await;
        let queued = names(&facts).iter().filter(|name| **name == "ContactQueueRequested").count();
        assert_eq!(queued, ended);
        assert_eq!(causes(&facts), vec![ContactEndCause::Abandoned; ended]);
    }
}
