//! The services behind the gateway.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use prost_reflect::{DynamicMessage, Kind, ReflectMessage, Value};
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Channel;
use tonic::{Code, Request, Response, Status, Streaming};
use trunkline_runtime::agent_state_client::AgentStateClient;
use trunkline_runtime::grpc::{self, MESSAGE_BYTES_MAX};
use trunkline_runtime::mint::Mint;
use trunkline_runtime::platform::Platform;
use trunkline_runtime::telemetry;

use crate::codec::DynamicCodec;
use crate::surface::{Route, Service};

/// The field that makes a retry recognisable.
const COMMAND_ID: &str = "command_id";

/// The processes of one service, and which of them answered last.
struct Replicas {
    channels: Vec<Channel>,
    last: AtomicUsize,
}

impl Replicas {
    /// Asks who answered last; while it says that it cannot, the others in turn, each once.
    async fn ask<A, F>(
        &self,
        attempt: impl Fn(Channel, Duration) -> F,
        time_max: Duration,
    ) -> Result<A, Status>
    where
        F: Future<Output = Result<Response<A>, Status>>,
    {
        let first = self.last.load(Ordering::Relaxed);
        let mut refused = Status::unavailable("no address of the service is known");
        for place in (first..).take(self.channels.len()).map(|place| place % self.channels.len()) {
            match attempt(self.channels[place].clone(), time_max).await {
                Ok(answer) => {
                    self.last.store(place, Ordering::Relaxed);
                    return Ok(answer.into_inner());
                }
                // Nobody there, or a standby.
                Err(status) if status.code() == Code::Unavailable => refused = status,
                Err(status) => return Err(status),
            }
        }
        Err(refused)
    }
}

/// Connections to every service.
pub(crate) struct Upstreams {
    services: BTreeMap<Service, Replicas>,
    agent_state: AgentStateClient,
    mint: Mint,
    time_max: Duration,
}

impl Upstreams {
    pub(crate) fn new(platform: &Platform, time_max: Duration) -> Self {
        let endpoints = &platform.endpoints;
        let one = std::slice::from_ref;
        let services = [
            (Service::Billing, one(&endpoints.billing)),
            (Service::Directory, one(&endpoints.directory)),
            (Service::Reporting, one(&endpoints.reporting)),
            (Service::Routing, endpoints.routing.as_slice()),
        ];
        // Our own deadline comes first, so that it is one answer whichever side notices.
        let channel =
            |address: &String| grpc::channel_with_deadline(address, time_max + Duration::from_secs(1));
        let replicas = |addresses: &[String]| Replicas {
            channels: addresses.iter().map(channel).collect(),
            last: AtomicUsize::new(0),
        };
        Self {
            services: services.map(|(service, addresses)| (service, replicas(addresses))).into(),
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
            match self.services.get(&route.service) {
                Some(replicas) => replicas.ask(attempt, self.time_max).await,
                None => self.agent_state.follow(attempt).await,
            }
        };
        match tokio::time::timeout(self.time_max, call).await {
            Ok(answer) => answer,
            Err(_) => Err(Status::deadline_exceeded("no answer in time")),
        }
    }

    /// Opens the stream of a route; only its beginning has a deadline.
    ///
    /// # Errors
    /// As of [`Upstreams::call`].
    pub(crate) async fn open(
        &self,
        route: &Route,
        message: DynamicMessage,
        traceparent: &str,
    ) -> Result<Streaming<DynamicMessage>, Status> {
        let path = format!("/{}/{}", route.rpc.parent_service().full_name(), route.rpc.name());
        let path = PathAndQuery::try_from(path).map_err(|error| Status::internal(error.to_string()))?;
        let attempt = |channel: Channel, _: Duration| {
            let mut request = Request::new(message.clone());
            telemetry::inject(&mut request, traceparent);
            streaming(channel, request, path.clone(), DynamicCodec::decoding(route.rpc.output()))
        };
        let opened = async {
            match self.services.get(&route.service) {
                Some(replicas) => replicas.ask(attempt, self.time_max).await,
                None => self.agent_state.follow(attempt).await,
            }
        };
        match tokio::time::timeout(self.time_max, opened).await {
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

async fn streaming(
    channel: Channel,
    request: Request<DynamicMessage>,
    path: PathAndQuery,
    codec: DynamicCodec,
) -> Result<Response<Streaming<DynamicMessage>>, Status> {
    let mut client = Grpc::new(channel).max_decoding_message_size(4 * MESSAGE_BYTES_MAX);
    client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    client.server_streaming(request, path, codec).await
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
