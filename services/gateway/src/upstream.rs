//! The services behind the gateway.

use std::collections::BTreeMap;
use std::time::Duration;

use prost_reflect::{DynamicMessage, Kind, ReflectMessage, Value};
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};
use trunkline_runtime::agent_state_client::AgentStateClient;
use trunkline_runtime::grpc::{self, MESSAGE_BYTES_MAX};
use trunkline_runtime::mint::Mint;
use trunkline_runtime::platform::Platform;
use trunkline_runtime::telemetry;

use crate::codec::DynamicCodec;
use crate::surface::{Route, Service};

/// The field that makes a retry recognisable.
const COMMAND_ID: &str = "command_id";

/// Connections to every service.
pub(crate) struct Upstreams {
    channels: BTreeMap<Service, Channel>,
    agent_state: AgentStateClient,
    mint: Mint,
    time_max: Duration,
}

impl Upstreams {
    pub(crate) fn new(platform: &Platform, time_max: Duration) -> Self {
        let endpoints = &platform.endpoints;
        let services = [
            (Service::Billing, &endpoints.billing),
            (Service::Directory, &endpoints.directory),
            (Service::Reporting, &endpoints.reporting),
            (Service::Routing, &endpoints.routing),
        ];
        // Our own deadline comes first, so that it is one answer whichever side notices.
        let channel = |address: &str| grpc::channel_with_deadline(address, time_max + Duration::from_secs(1));
        Self {
            channels: services.map(|(service, address)| (service, channel(address))).into(),
            agent_state: AgentStateClient::new(&endpoints.agent_state, platform.mint.clone())
                .with_time_max(time_max),
            mint: platform.mint.clone(),
            time_max,
        }
    }

    /// Calls the service of a route, at most for the time a request has.
    ///
    /// # Errors
    /// The service's refusal, UNAVAILABLE or DEADLINE_EXCEEDED.
    pub(crate) async fn call(
        &self,
        route: &Route,
        mut message: DynamicMessage,
        traceparent: &str,
    ) -> Result<DynamicMessage, Status> {
        self.name_command(&mut message);
        let path = format!("/{}/{}", route.rpc.parent_service().full_name(), route.rpc.name());
        let path = PathAndQuery::try_from(path).map_err(|error| Status::internal(error.to_string()))?;
        let attempt = |channel: Channel, time_max: Duration| {
            let mut request = Request::new(message.clone());
            request.set_timeout(time_max);
            telemetry::inject(&mut request, traceparent);
            unary(channel, request, path.clone(), DynamicCodec::decoding(route.rpc.output()))
        };
        let call = async {
            match self.channels.get(&route.service) {
                Some(channel) => attempt(channel.clone(), self.time_max).await.map(Response::into_inner),
                None => self.agent_state.follow(attempt).await,
            }
        };
        match tokio::time::timeout(self.time_max, call).await {
            Ok(answer) => answer,
            Err(_) => Err(Status::deadline_exceeded("no answer in time")),
        }
    }

    /// How long a call may take.
    pub(crate) fn time_max(&self) -> Duration {
        self.time_max
    }

    /// A command without an id gets one here, so that the attempts of this request are one command.
    fn name_command(&self, message: &mut DynamicMessage) {
        let Some(field) = message.descriptor().get_field_by_name(COMMAND_ID) else { return };
        if field.kind() == Kind::String && !message.has_field(&field) {
            message.set_field(&field, Value::String(self.mint.command().to_string()));
        }
    }
}

async fn unary(
    channel: Channel,
    request: Request<DynamicMessage>,
    path: PathAndQuery,
    codec: DynamicCodec,
) -> Result<Response<DynamicMessage>, Status> {
    let mut client = Grpc::new(channel).max_decoding_message_size(4 * MESSAGE_BYTES_MAX);
    client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    client.unary(request, path, codec).await
}
