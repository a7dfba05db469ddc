//! What people and peers send that is wrong: each is refused clearly, and nothing else suffers.
#![allow(clippy::unwrap_used, reason = "tests may unwrap")]

mod support;

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use support::cluster::{Cluster, Starting, ask, facts, int, list, text, told, trunkline, verify};
use support::operator::{ALPHA, ALPHA_KEY, Answer, BETA_KEY, DOCUMENT, OPERATOR_KEY, at_work};
use support::sip::Peer;
use support::sipp::call;
use support::{hold, until};
use tempfile::TempDir;

#[test]
fn a_wrong_document_is_refused_with_file_line_and_reason_and_nothing_is_applied() {
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("data");
    let cluster = Cluster::start(&data, &[]);
    let good = std::fs::read_to_string(DOCUMENT).unwrap();
    let path = dir.path().join("wrong.yaml");
    // What is replaced, by what, and which words must be told about the line it stands in.
    for (from, to, words) in [
        ("  name: Test Operator", "  name: [Test", "expected"),
        ("  time_zone: Europe/Berlin", "  time_zone: Europe/Atlantis", "Europe/Atlantis"),
        (
            "agt_3, name: Three, skills: [skl_voice]",
            "agt_3, name: Three, skills: [skl_juggling]",
            "skl_juggling",
        ),
        ("number: \"+49 30 23125 500\"", "number: \"+49 30 23125 400\"", "is used by cmp_alpha already"),
        ("price: 0.48 EUR per minute", "price: about half a euro", "price"),
        ("{ id: agt_8, name", "{ id: agt_8, nickname", "nickname"),
        ("sip_user: \"2002\"", "sip_user: \"2001\"", "2001"),
    ] {
        assert_eq!(good.matches(from).count(), 1, "`{from}` must stand in the good document once");
        std::fs::write(&path, good.replacen(from, to, 1)).unwrap();
        let line = 1 + good[..good.find(from).unwrap()].matches('\n').count();
        let file = path.display().to_string();
        let (code, stdout, stderr) = told(&trunkline(&["apply", "-f", &file, "--data", &cluster.data()]));
        assert_eq!((code, stdout.as_str()), (Some(64), ""), "{to}: {stderr}");
        let told = stderr.lines().any(|it| it.starts_with(&format!("{file}:{line}:")));
        assert!(told, "{to} is in line {line}: {stderr}");
        assert!(stderr.contains(words), "{to}: {stderr}");
        assert!(stderr.contains("nothing was applied"), "{to}: {stderr}");
    }
    assert_eq!(facts(&data, "directory").unwrap(), Vec::<Value>::new());
    cluster.apply_operator();
    cluster.stop();
}

#[test]
fn a_key_opens_its_own_company_alone() {
    let dir = TempDir::new().unwrap();
    let cluster = Cluster::with_operator(&dir.path().join("data"), &[]);
    let _phone = at_work(&cluster, dir.path(), "agt_1", &[Answer::Talk]);
    call(dir.path(), cluster.sip(), "+4917139200001", ALPHA, 2_500).ends_well();
    let contact_id = until("the contact's record", || {
        let listed = cluster.get("/v1/companies/cmp_alpha/contacts")?;
        let record = list(&listed, "contacts").first().ok_or("no contact")?;
        hold(int(record, "ended_at_ms") > 0, record)?;
        Ok(text(record, "contact_id").to_owned())
    });
    let alphas = format!("/v1/companies/cmp_alpha/contacts/{contact_id}");
    let betas = format!("/v1/companies/cmp_beta/contacts/{contact_id}");
    let unknown = "/v1/companies/cmp_alpha/contacts/ctc_nobody";
    let sign_out = json!({"reason": "none"});
    for (key, method, path, body, expected) in [
        (ALPHA_KEY, "GET", alphas.as_str(), None, 200),
        (OPERATOR_KEY, "GET", &alphas, None, 200),
        ("", "GET", &alphas, None, 401),
        ("wrong-key", "GET", &alphas, None, 401),
        (BETA_KEY, "GET", &alphas, None, 404),
        (BETA_KEY, "GET", &betas, None, 404),
        (OPERATOR_KEY, "GET", &betas, None, 404),
        (ALPHA_KEY, "GET", unknown, None, 404),
        (BETA_KEY, "GET", "/v1/companies/cmp_alpha/contacts", None, 404),
        (BETA_KEY, "GET", "/v1/companies/cmp_alpha/intervals", None, 404),
        (BETA_KEY, "GET", "/v1/companies/cmp_alpha/invoices/running", None, 404),
        (BETA_KEY, "GET", "/v1/companies/cmp_alpha/live", None, 404),
        (BETA_KEY, "POST", "/v1/agents/agt_1:signOut", Some(&sign_out), 403),
    ] {
        let (status, told) = ask(cluster.http(), method, path, key, body).unwrap();
        // Who may not know that something exists is told that it does not.
        let same = status == expected || (expected == 403 && status == 404);
        assert!(same, "{key} {method} {path}: {status} {told}");
        let told = told.to_string();
        assert_eq!(told.contains(&contact_id), status == 200, "{key} {method} {path}: {told}");
    }
    assert_ne!(cluster.agents().unwrap()["agt_1"], "signed_out");
    cluster.stop();
}

/// The SIP messages of the data directory; `None` when it is not there, which in CI must not be.
fn messages() -> Option<Vec<PathBuf>> {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data");
    let data = std::env::var_os("TRUNKLINE_DATA").map_or_else(|| PathBuf::from(default), PathBuf::from);
    let dir = data.join("sip-messages");
    let mut found = Vec::new();
    for kind in ["rfc4475", "kamailio", "pjsip-seeds"] {
        files(&dir.join(kind), &mut found);
    }
    if found.len() > 100 {
        return Some(found);
    }
    assert!(std::env::var_os("CI").is_none(), "no SIP messages in {}: set TRUNKLINE_DATA", dir.display());
    eprintln!("NO SIP MESSAGES IN {}: SET TRUNKLINE_DATA; ONLY NOISE IS SENT", dir.display());
    None
}

fn files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            files(&entry, found);
        } else {
            found.push(entry);
        }
    }
}

fn send_over_tcp(to: SocketAddr, bytes: &[u8]) {
    if let Ok(mut stream) = TcpStream::connect(to) {
        // The other side may close when it has seen enough.
        let _ = stream.write_all(bytes);
    }
}

#[test]
fn garbage_on_the_sip_port_changes_nothing_for_the_next_caller() {
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("data");
    let cluster = Cluster::with_operator(&data, &[]);
    let mut peer = Peer::new(cluster.sip());
    assert_eq!(peer.options(), Ok(200));
    let mut garbage: Vec<Vec<u8>> = vec![vec![], vec![0; 2_000], vec![0xff; 65_000], b"\r\n\r\n".to_vec()];
    for path in messages().unwrap_or_default() {
        garbage.push(std::fs::read(path).unwrap());
    }
    // Noise that repeats: every length, every byte, and halves of something real.
    let mut noise = 1_u64;
    for len in 0..200 {
        let byte = |noise: &mut u64| {
            *noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (*noise >> 56) as u8
        };
        garbage.push((0..len * 7).map(|_| byte(&mut noise)).collect());
        let real = b"INVITE sip:+493023125400@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:9\r\nContent-Length: 99999\r\n\r\n";
        garbage.push(real[..real.len() * len / 200].to_vec());
    }
    for (number, bytes) in garbage.iter().enumerate() {
        peer.send(bytes);
        send_over_tcp(cluster.sip(), bytes);
        // The port answers all along.
        if number % 100 == 0 {
            assert_eq!(peer.options(), Ok(200), "behind message {number}");
        }
    }
    assert_eq!(peer.options(), Ok(200));
    let _phone = at_work(&cluster, dir.path(), "agt_1", &[Answer::Talk]);
    call(dir.path(), cluster.sip(), "+4917139200001", ALPHA, 2_500).ends_well();
    until("the call's record", || {
        let records = cluster.contacts()?;
        let talked = records.iter().any(|it| int(it, "talked_ms") > 0 && int(it, "ended_at_ms") > 0);
        hold(talked, records)
    });
    assert_eq!(cluster.readiness().unwrap().0, 200);
    assert!(!cluster.logged().contains("panicked"), "{}", cluster.logged());
    cluster.stop();
    verify(&data);
}

#[test]
fn a_wrong_setting_ends_the_start_with_one_sentence_before_any_socket_opens() {
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("data");
    for (setting, words) in [
        ("media.sip_prot=5060", "sip_prot"),
        ("telephony.port=1", "telephony"),
        ("log.cells=none", "log.cells"),
        ("log.cells=0", "a log has 1 to 1,024 cells"),
        ("log.record_bytes_max=999999999999", "a record has 1 byte to 64 MiB"),
        ("log.pending_count_max=0", "at least one record must be able to wait"),
        ("log.segment_bytes=2000000000", "at most 1 GiB"),
        ("process.ops_listen=somewhere", "process.ops_listen"),
        ("process.grpc_ip=banana", "process.grpc_ip"),
        ("reporting.checkpoint_every_ms=1", "checkpoint_every_ms"),
        ("nonsense", "nonsense"),
    ] {
        let output = trunkline(&["dev", "--data", &data.display().to_string(), "--set", setting]);
        let (code, stdout, stderr) = told(&output);
        assert_eq!((code, stdout.as_str()), (Some(64), ""), "{setting}: {stderr}");
        assert!(stderr.starts_with("trunkline: ") && stderr.contains(words), "{setting}: {stderr}");
        assert_eq!(stderr.lines().count(), 1, "{setting}: {stderr}");
        assert!(!data.exists(), "{setting}");
    }
}

#[test]
fn a_second_process_on_the_same_data_is_refused_and_the_first_goes_on() {
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("data");
    let first = Cluster::with_operator(&data, &[]);
    let mut second = Starting::new(&data, &[]);
    let code = until("the end of the second process", || second.ended().ok_or("it runs".to_owned()));
    assert_eq!(code, Some(1));
    let logged = second.logged();
    let sentence = format!("is in use by process {}", first.pid());
    assert!(
        logged.lines().any(|line| line.starts_with("trunkline: ") && line.contains(&sentence)),
        "{logged}"
    );
    assert_eq!(first.readiness().unwrap().0, 200);
    assert_eq!(Peer::new(first.sip()).options(), Ok(200));
    first.stop();
}
