//! REST at the edge: who may see what, what a request becomes, and how each thing that can go wrong is said.
#![allow(clippy::unwrap_used, reason = "tests may unwrap")]

mod support;

use std::sync::Arc;

use async_trait::async_trait;
use support::{AURORA, BOREAL, OPERATOR, PATIENCE, Scene};
use trunkline_domain::vocabulary::{Cell, LogName, Position};
use trunkline_gateway::{BODY_BYTES_MAX, GatewayConfig};
use trunkline_runtime::event_log::{AppendTicket, EventLog, LogError, ReadFrom, Record, RecordStream};

fn problem(status: u16, reason: &str) -> (u16, String) {
    (status, reason.to_owned())
}

#[tokio::test]
async fn no_key_and_an_unknown_key_are_401_whatever_is_asked() {
    let scene = Scene::new().await;
    for target in ["/v1/queues", "/v1/companies/cmp_aurora/live", "/v1/nothing", "/session"] {
        for key in ["", "key-of-nobody", "key of aurora"] {
            let answer = scene.get(key, target).await;
            assert_eq!(answer.problem(), problem(401, "UNAUTHENTICATED"), "{key:?} {target}");
            assert_eq!(answer.headers["www-authenticate"], "Bearer");
        }
    }
    let basic = format!(
        "GET /v1/queues HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Basic {OPERATOR}\r\n\r\n"
    );
    assert_eq!(scene.raw(&basic).await.problem(), problem(401, "UNAUTHENTICATED"));
    assert_eq!(scene.asked.count(), 0, "nobody behind the gateway was asked");
}

#[tokio::test]
async fn a_company_sees_its_own_and_nothing_tells_it_what_else_there_is() {
    let scene = Scene::new().await;
    let own = scene.get(AURORA, "/v1/companies/cmp_aurora/contacts/ctc_a").await;
    assert_eq!((own.status, &own.json()["contact"]["contactId"]), (200, &"ctc_a".into()));

    // Another company's contact, under its own name: the same as a contact that nobody has.
    let others = scene.get(AURORA, "/v1/companies/cmp_aurora/contacts/ctc_b").await;
    assert_eq!(others.problem(), problem(404, "CONTACT_UNKNOWN"));
    let nobodys = scene.get(AURORA, "/v1/companies/cmp_aurora/contacts/ctc_z").await;
    assert_eq!(others.body, nobodys.body);

    // Outside its own paths there is nothing, whatever is there.
    let nothing = scene.get(AURORA, "/v1/companies/cmp_nobody/live").await;
    assert_eq!(nothing.problem(), problem(404, "NOT_FOUND"));
    let asked = scene.asked.count();
    for (method, target) in [
        ("GET", "/v1/companies/cmp_boreal/live"),
        ("GET", "/v1/companies/cmp_boreal/contacts/ctc_b"),
        ("POST", "/v1/companies/cmp_boreal/live"),
        ("GET", "/v1/companies/cmp_boreal%2Flive"),
        ("GET", "/v1/queues"),
        ("GET", "/v1/queues?company_id=cmp_aurora"),
        ("POST", "/v1/agents/agt_anna:signIn"),
        ("GET", "/v1/timesheets"),
        ("GET", "/v1/nothing"),
        ("GET", "/trunkline.reporting.v1.ReportingService/GetLiveBoard"),
    ] {
        let answer = scene.send(method, AURORA, target, None).await;
        assert_eq!((answer.status, &answer.body), (404, &nothing.body), "{method} {target}");
    }
    assert_eq!(scene.asked.count(), asked, "nobody behind the gateway was asked");
    assert_eq!(scene.get(BOREAL, "/v1/companies/cmp_boreal/live").await.status, 200);
    assert_eq!(scene.get(OPERATOR, "/v1/companies/cmp_boreal/live").await.status, 200);
}

#[tokio::test]
async fn path_and_query_become_the_request_and_64_bit_numbers_come_back_as_strings() {
    let scene = Scene::new().await;
    let answer =
        scene.get(AURORA, "/v1/companies/cmp_aurora/intervals?fromMs=-900000&to_ms=9007199254740993").await;
    assert_eq!(
        scene.asked.last(),
        r#"ListIntervalsRequest { company_id: "cmp_aurora", from_ms: -900000, to_ms: 9007199254740993 }"#
    );
    assert_eq!((answer.status, answer.headers["content-type"].as_str()), (200, "application/json"));
    assert_eq!(answer.headers["cache-control"], "no-store");
    let cell = &answer.json()["cells"][0];
    assert_eq!((&cell["fromMs"], &cell["enteredCount"]), (&"-900000".into(), &u64::MAX.to_string().into()));
    assert_eq!(cell["queueId"], "", "a field without a value is there");

    let live = scene.get(AURORA, "/v1/companies/cmp_aurora/live").await.json();
    assert_eq!(
        (&live["waitingCount"], &live["longestWaitingSinceMs"]),
        (&2.into(), &i64::MAX.to_string().into())
    );
}

#[tokio::test]
async fn a_body_becomes_the_request_and_its_command_finds_the_leader_under_a_name() {
    let scene = Scene::new().await;
    let answer = scene.post(OPERATOR, "/v1/agents/agt_anna:signIn", r#"{"siteId":"sit_a"}"#).await;
    assert_eq!((answer.status, answer.body.as_str()), (200, r#"{"sessionId":"ses_1"}"#));
    let asked = scene.asked.last();
    assert!(asked.starts_with("cmd_") && asked.ends_with(" agt_anna"), "{asked}");
    scene.post(OPERATOR, "/v1/agents/agt_anna:signIn", r#"{"commandId":"cmd_mine"}"#).await;
    assert_eq!(scene.asked.last(), "cmd_mine agt_anna");
    // The rules' own no, with the reason for machines.
    let refused = scene.post(OPERATOR, "/v1/agents/agt_anna:goReady", "").await;
    assert_eq!(refused.problem(), problem(400, "NOT_SIGNED_IN"));
    assert_eq!(refused.json()["detail"], "agent is not signed in");
}

#[tokio::test]
async fn a_request_that_is_wrong_is_told_how() {
    let scene = Scene::new().await;
    let sign_in = "/v1/agents/agt_anna:signIn";
    assert_eq!(scene.post(OPERATOR, sign_in, "{").await.problem(), problem(400, "INVALID_JSON"));
    assert_eq!(scene.post(OPERATOR, sign_in, r#"{"x":1}"#).await.problem(), problem(400, "INVALID_ARGUMENT"));
    let text = Some(("text/plain", "{}"));
    assert_eq!(scene.send("POST", OPERATOR, sign_in, text).await.problem(), problem(415, "NOT_JSON"));
    let query = scene.get(OPERATOR, "/v1/queues?colour=red").await;
    assert_eq!(query.problem(), problem(400, "INVALID_QUERY"));

    let method = scene.send("DELETE", OPERATOR, "/v1/queues", None).await;
    assert_eq!(method.problem(), problem(405, "METHOD_NOT_ALLOWED"));
    assert_eq!(method.headers["allow"], "GET");
    let own = scene.post(AURORA, "/v1/companies/cmp_aurora/live", "").await;
    assert_eq!(own.problem(), problem(405, "METHOD_NOT_ALLOWED"));
    assert_eq!(scene.get(OPERATOR, "/v1/nothing").await.problem(), problem(404, "NOT_FOUND"));
    assert_eq!(scene.asked.count(), 0);
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_413_with_and_without_its_length_said() {
    let scene = Scene::new().await;
    let sign_in = "/v1/agents/agt_anna:signIn";
    let fits = format!(r#"{{"siteId":"{}"}}"#, "x".repeat(BODY_BYTES_MAX - 13));
    assert_eq!(fits.len(), BODY_BYTES_MAX);
    assert_eq!(scene.post(OPERATOR, sign_in, &fits).await.status, 200);
    let beyond = format!("{fits} ");
    assert_eq!(scene.post(OPERATOR, sign_in, &beyond).await.problem(), problem(413, "BODY_TOO_LARGE"));
    let chunked = format!(
        "POST {sign_in} HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer {OPERATOR}\r\n\
         content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{beyond}\r\n0\r\n\r\n",
        beyond.len()
    );
    assert_eq!(scene.raw(&chunked).await.problem(), problem(413, "BODY_TOO_LARGE"));
    let head = format!("GET /v1/queues HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "y".repeat(20_000));
    assert_eq!(scene.raw(&head).await.status, 431);
}

#[tokio::test]
async fn a_client_that_does_not_finish_its_request_is_sent_away() {
    let config = GatewayConfig { receive_ms_max: 100, ..GatewayConfig::default() };
    let scene = Scene::with(config).await;
    let slow = format!(
        "POST /v1/agents/agt_anna:signIn HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
         authorization: Bearer {OPERATOR}\r\ncontent-length: 10\r\n\r\n{{"
    );
    assert_eq!(scene.raw(&slow).await.problem(), problem(408, "BODY_TOO_SLOW"));
}

#[tokio::test]
async fn what_goes_wrong_behind_the_gateway_is_said_without_its_inside() {
    let config = GatewayConfig { request_ms_max: 300, ..GatewayConfig::default() };
    let scene = Scene::with(config).await;
    let down = scene.get(AURORA, "/v1/companies/cmp_aurora/invoices/running").await;
    assert_eq!(down.problem(), problem(503, "UNAVAILABLE"));
    assert_eq!(
        (down.headers["retry-after"].as_str(), &down.json()["detail"]),
        ("1", &"billing does not answer now".into())
    );
    let page = |token: &str| format!("/v1/companies/cmp_aurora/contacts?page_token={token}");
    let slow = scene.get(AURORA, &page("slow")).await;
    assert_eq!(slow.problem(), problem(504, "DEADLINE_EXCEEDED"));
    let broken = scene.get(AURORA, &page("broken")).await;
    assert_eq!(broken.problem(), problem(500, "INTERNAL"));
    assert!(!broken.body.contains("secret"), "{broken:?}");
    let forbidden = scene.get(AURORA, &page("forbidden")).await;
    assert_eq!(forbidden.problem(), problem(404, "NOT_FOUND"), "never 403");
    assert_eq!(scene.get(AURORA, &page("busy")).await.problem(), problem(429, "TOO_MANY"));
}

#[tokio::test]
async fn the_page_and_the_document_need_no_key_and_the_session_says_whose_key_it_is() {
    let scene = Scene::new().await;
    let page = scene.get("", "/").await;
    assert_eq!((page.status, page.headers["content-type"].as_str()), (200, "text/html; charset=utf-8"));
    assert!(page.headers["content-security-policy"].starts_with("default-src 'none'"));
    for asset in ["/page.js", "/page.css"] {
        assert!(page.body.contains(asset) && scene.get("", asset).await.status == 200, "{asset}");
    }
    for external in ["http://", "https://", "//cdn"] {
        assert!(!page.body.contains(external), "{external}");
    }
    let document = scene.get("", "/openapi.json").await.json();
    assert_eq!(document["openapi"], "3.1.0");
    assert!(document["paths"]["/v1/companies/{company_id}/live"]["get"].is_object());

    let own = scene.get(AURORA, "/session").await;
    assert_eq!(
        own.body,
        r#"{"companies":[{"companyId":"cmp_aurora","companyName":"aurora Ltd"}],"scope":"company"}"#
    );
    let all = scene.get(OPERATOR, "/session").await.json();
    assert_eq!((&all["scope"], all["companies"].as_array().unwrap().len()), (&"operator".into(), 2));
}

#[tokio::test]
async fn the_request_is_part_of_the_clients_trace() {
    let scene = Scene::new().await;
    let request = format!(
        "GET /v1/companies/cmp_aurora/live HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: bearer {AURORA}\r\n\
         traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n\r\n"
    );
    assert_eq!(scene.raw(&request).await.status, 200);
    assert!(scene.asked.last().contains("4bf92f3577b34da6a3ce929d0e0e4736"), "{}", scene.asked.last());
}

/// A log whose directory cannot be read.
struct Damaged;

#[async_trait]
impl EventLog for Damaged {
    fn append(&self, log: LogName, cell: Cell, _: Record) -> Result<AppendTicket, LogError> {
        Err(LogError::Closed { log, cell })
    }

    async fn read(&self, log: LogName, cell: Cell, _: ReadFrom) -> Result<Box<dyn RecordStream>, LogError> {
        Err(LogError::Closed { log, cell })
    }

    async fn end(&self, log: LogName, cell: Cell) -> Result<Option<Position>, LogError> {
        Err(LogError::Closed { log, cell })
    }

    fn cell_count(&self) -> u32 {
        1
    }
}

#[tokio::test]
async fn a_gateway_that_cannot_know_the_keys_says_so_and_lets_nobody_in() {
    let data = tempfile::tempdir().unwrap();
    let scene = Scene::over(GatewayConfig::default(), Arc::new(Damaged), data).await;
    let answer = scene.get(OPERATOR, "/v1/queues").await;
    assert_eq!(answer.problem(), problem(503, "NOT_READY"));
    assert!(!scene.health.ready());
    assert!(scene.shutdown.drained(PATIENCE).await.is_empty());
}

#[tokio::test]
async fn a_stream_of_changes_comes_as_events_that_can_be_resumed() {
    let scene = Scene::new().await;
    let watch = |headers: &str| {
        let head = format!("GET /v1/agents:watch HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}\r\n");
        let scene = &scene;
        async move { scene.raw(&head).await }
    };
    let key = format!("authorization: Bearer {OPERATOR}\r\n");
    let answer = watch(&key).await;
    assert_eq!((answer.status, answer.headers["content-type"].as_str()), (200, "text/event-stream"));
    assert_eq!(scene.asked.last(), "watch 0 false");
    let body = answer.body;
    let ids: Vec<&str> = body.lines().filter_map(|line| line.strip_prefix("id: ")).collect();
    assert_eq!(ids, ["7", "9"], "what is not complete cannot be resumed from: {body}");
    assert_eq!(body.matches("data: {").count(), 4, "{body}");
    assert!(body.contains("event: problem"), "{body}");
    assert!(body.contains("agent-state does not answer now"), "{body}");

    watch(&format!("{key}last-event-id: 7\r\n")).await;
    assert_eq!(scene.asked.last(), "watch 7 false");
    let again = watch(&format!("{key}last-event-id: soon\r\n")).await;
    assert_eq!(again.problem(), (400, "INVALID_ARGUMENT".to_owned()));
    // It is the operator's: for a company there is nothing.
    let company = format!("authorization: Bearer {AURORA}\r\n");
    assert_eq!(watch(&company).await.problem(), (404, "NOT_FOUND".to_owned()));
    assert_eq!(watch("").await.problem(), (401, "UNAUTHENTICATED".to_owned()));
}
