//! The scenarios against each other, without a cluster: what sipp makes of them, and what the recount makes of its logs.

use std::time::Duration;

use crate::plan::{Intent, Plan};
use crate::recount::{AgentLog, CallerLog, Recount};
use crate::sipp::{self, Scenarios, Sipp, Start};

fn args(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_owned).collect()
}

#[tokio::test]
async fn a_phone_and_its_callers_end_as_planned_and_are_recounted_from_their_logs() {
    if std::process::Command::new("sipp").arg("-v").output().is_err() {
        println!("sipp is not installed (package sip-tester): nothing was tested");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let scenarios = Scenarios::write(&dir.path().join("scenarios")).unwrap();
    let phone_dir = dir.path().join("phone");
    std::fs::create_dir_all(&phone_dir).unwrap();
    // Answers at once and hangs up after 2 s; answers and is hung up on; answers.
    std::fs::write(phone_dir.join("plan.csv"), "SEQUENTIAL\n0;0;0\n0;0;3\n0;1;0\n").unwrap();
    let audio = sipp::free_port(4).unwrap();
    let phone_args = args(&format!(
        "-inf plan.csv -rtp_echo -mp {audio} -key payload_type 0 -key codec PCMU -trace_screen -screen_file screens.txt"
    ));
    let start =
        Start { scenario: "agent", dir: phone_dir.clone(), port: None, args: phone_args, server: None };
    let phone = Sipp::start(&scenarios, start).unwrap();
    sipp::listening(phone.port).await.unwrap();

    let mut plan = Plan::new(1, 3, |_| 0);
    let server = format!("127.0.0.1:{}", phone.port);
    let mut logs = Vec::new();
    for (call, stay_ms) in plan.calls.iter_mut().zip([60_000, 500, 60_000]) {
        call.intent = Intent::Talk;
        let dir = dir.path().join(format!("caller-{}", call.index));
        let text = format!(
            "-s 4930 -m 1 -key caller {} -key audio_port 9 -recv_timeout {stay_ms} -cid_str call-{:02}-%u@%s",
            call.caller, call.index
        );
        let start = Start { scenario: "caller", dir, port: None, args: args(&text), server: Some(&server) };
        let mut caller = Sipp::start(&scenarios, start).unwrap();
        let code = caller.ended(Duration::from_secs(30)).await.unwrap();
        let text = std::fs::read_to_string(caller.dir.join("timeline.txt")).unwrap();
        logs.push(CallerLog { code, messages: sipp::timeline(&text) });
    }
    let (code, _) = phone.finish().await.unwrap();
    let read = |name: &str| std::fs::read_to_string(phone_dir.join(name)).unwrap();
    let phone = AgentLog {
        code,
        messages: sipp::timeline(&read("timeline.txt")),
        callers: sipp::callers(&read("messages.txt")),
        echo_count: 0,
    };
    assert_eq!((logs.iter().map(|log| log.code).collect::<Vec<_>>(), code), (vec![0, 0, 0], 0));
    let recount = Recount::of(&plan, &logs, &[phone], |_| 0);
    let told: Vec<String> = recount
        .calls
        .iter()
        .map(|call| {
            call.as_ref().map_or("nonsense".to_owned(), |it| format!("{} by {}", it.cause, it.ended_by))
        })
        .collect();
    assert_eq!(told, ["completed by agent", "completed by caller", "completed by agent"]);
    assert_eq!((recount.overlap_count(), recount.cancelled_count(), recount.refused_count(486)), (0, 0, 0));
    assert!(logs.iter().all(|log| log.messages.iter().all(|it| it.call_id.starts_with("call-"))));
}
