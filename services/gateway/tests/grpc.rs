//! gRPC on the same port, with the same keys.
#![allow(clippy::unwrap_used, reason = "tests may unwrap")]

mod support;

use support::{AURORA, OPERATOR, PATIENCE, Scene};
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use trunkline_proto::agent_state::v1::agent_state_service_client::AgentStateServiceClient;
use trunkline_proto::agent_state::v1::{ReserveAgentsRequest, SignInRequest};
use trunkline_proto::billing::v1::GetRunningInvoiceRequest;
use trunkline_proto::billing::v1::billing_service_client::BillingServiceClient;
use trunkline_proto::reporting::v1::reporting_service_client::ReportingServiceClient;
use trunkline_proto::reporting::v1::{GetContactRequest, GetLiveBoardRequest, ListTimesheetsRequest};
use trunkline_runtime::grpc;

fn with_key<T>(key: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    if !key.is_empty() {
        let value = MetadataValue::try_from(format!("Bearer {key}")).unwrap();
        request.metadata_mut().insert("authorization", value);
    }
    request
}

fn reporting(scene: &Scene) -> ReportingServiceClient<Channel> {
    ReportingServiceClient::new(grpc::channel(&scene.address))
}

async fn live(scene: &Scene, key: &str, company_id: &str) -> Result<u32, Status> {
    let request = with_key(key, GetLiveBoardRequest { company_id: company_id.to_owned() });
    Ok(reporting(scene).get_live_board(request).await?.into_inner().waiting_count)
}

#[tokio::test]
async fn a_key_sees_over_grpc_what_it_sees_over_rest() {
    let scene = Scene::new().await;
    assert_eq!(live(&scene, AURORA, "cmp_aurora").await.unwrap(), 2);
    assert_eq!(live(&scene, OPERATOR, "cmp_boreal").await.unwrap(), 2);
    let asked = scene.asked.count();
    for key in ["", "key-of-nobody"] {
        assert_eq!(live(&scene, key, "cmp_aurora").await.unwrap_err().code(), Code::Unauthenticated);
    }
    let others = live(&scene, AURORA, "cmp_boreal").await.unwrap_err();
    let nobodys = live(&scene, AURORA, "cmp_nobody").await.unwrap_err();
    assert_eq!((others.code(), others.message()), (Code::NotFound, nobodys.message()));
    assert_eq!(live(&scene, AURORA, "").await.unwrap_err().code(), Code::NotFound);
    let timesheets =
        reporting(&scene).list_timesheets(with_key(AURORA, ListTimesheetsRequest::default())).await;
    assert_eq!(timesheets.unwrap_err().code(), Code::Unimplemented, "it is the operator's alone");
    assert_eq!(scene.asked.count(), asked, "nobody behind the gateway was asked");

    let contact = |contact_id: &str| GetContactRequest {
        company_id: "cmp_aurora".to_owned(),
        contact_id: contact_id.to_owned(),
    };
    let mut client = reporting(&scene);
    assert!(client.get_contact(with_key(AURORA, contact("ctc_a"))).await.is_ok());
    let unknown = client.get_contact(with_key(AURORA, contact("ctc_b"))).await.unwrap_err();
    assert_eq!(grpc::reason_of(&unknown), Some("CONTACT_UNKNOWN"));
}

#[tokio::test]
async fn what_is_not_annotated_is_not_there_even_for_the_operator() {
    let scene = Scene::new().await;
    let mut client = AgentStateServiceClient::new(grpc::channel(&scene.address));
    let reserve = client.reserve_agents(with_key(OPERATOR, ReserveAgentsRequest::default())).await;
    assert_eq!(reserve.unwrap_err().code(), Code::Unimplemented);
    assert_eq!(scene.asked.count(), 0);
    let sign_in = SignInRequest { agent_id: "agt_anna".to_owned(), ..SignInRequest::default() };
    let answer = client.sign_in(with_key(OPERATOR, sign_in)).await.unwrap();
    assert_eq!(answer.into_inner().session_id, "ses_1");
}

#[tokio::test]
async fn a_service_that_is_down_and_a_message_beyond_the_limit_are_statuses() {
    let scene = Scene::new().await;
    let invoice = GetRunningInvoiceRequest { company_id: "cmp_aurora".to_owned(), month: String::new() };
    let mut billing = BillingServiceClient::new(grpc::channel(&scene.address));
    let down = billing.get_running_invoice(with_key(AURORA, invoice)).await.unwrap_err();
    assert_eq!((down.code(), down.message()), (Code::Unavailable, "billing does not answer now"));
    let large = GetLiveBoardRequest { company_id: "x".repeat(trunkline_gateway::BODY_BYTES_MAX) };
    let refused = reporting(&scene).get_live_board(with_key(OPERATOR, large)).await.unwrap_err();
    assert_eq!(refused.code(), Code::OutOfRange);
    assert!(scene.shutdown.drained(PATIENCE).await.is_empty(), "open connections end with the gateway");
}
