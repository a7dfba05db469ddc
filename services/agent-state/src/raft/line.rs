//! Entries for one follower, in a call that lasts.
//!
//! A call of its own for each costs as much again as what it carries: headers on both sides, a stream of HTTP/2 made and
//! closed. Here each request is answered before the next is sent, and whatever goes wrong ends the call: an answer that
//! comes late must not be taken for that of another request.

use std::time::Duration;

use futures::channel::mpsc;
use tonic::transport::Channel;
use tonic::{Code, Request, Status, Streaming};
use trunkline_proto::agent_state::v1 as api;
use trunkline_proto::agent_state::v1::raft_service_client::RaftServiceClient;

/// The call to one follower, made when it is needed.
pub struct Line {
    client: RaftServiceClient<Channel>,
    call: Option<Call>,
    /// Whether the follower is of a version that takes each request in a call of its own.
    apart: bool,
}

struct Call {
    requests: mpsc::UnboundedSender<api::AppendStreamRequest>,
    answers: Streaming<api::AppendStreamResponse>,
}

impl Line {
    /// To whoever answers this client.
    pub fn new(client: RaftServiceClient<Channel>) -> Self {
        Self { client, call: None, apart: false }
    }

    /// What the follower answers within `time_max`. Cancel-safe: the call ends with a request that is given up.
    ///
    /// # Errors
    /// What it answers instead; DEADLINE_EXCEEDED when that takes too long.
    pub async fn ask(
        &mut self,
        request: api::AppendStreamRequest,
        time_max: Duration,
    ) -> Result<api::AppendStreamResponse, Status> {
        let answered = tokio::time::timeout(time_max, self.ask_for_long(request, time_max)).await;
        answered.unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer in time")))
    }

    async fn ask_for_long(
        &mut self,
        request: api::AppendStreamRequest,
        time_max: Duration,
    ) -> Result<api::AppendStreamResponse, Status> {
        if self.apart {
            let answered = self.ask_apart(request, time_max).await;
            // It may be of another version when it comes back.
            self.apart = answered.is_ok();
            return answered;
        }
        let answered = match self.call.take() {
            Some(call) => call.ask(request).await,
            None => match self.begin(request.clone()).await {
                Err(status) if status.code() == Code::Unimplemented => {
                    self.apart = true;
                    return self.ask_apart(request, time_max).await;
                }
                answered => answered,
            },
        };
        let (call, answer) = answered?;
        self.call = Some(call);
        Ok(answer)
    }

    /// Makes a call, with its first request.
    async fn begin(
        &mut self,
        request: api::AppendStreamRequest,
    ) -> Result<(Call, api::AppendStreamResponse), Status> {
        let (requests, sent) = mpsc::unbounded();
        let answers = self.client.append_stream(sent).await?.into_inner();
        Call { requests, answers }.ask(request).await
    }

    async fn ask_apart(
        &mut self,
        request: api::AppendStreamRequest,
        time_max: Duration,
    ) -> Result<api::AppendStreamResponse, Status> {
        let api::AppendStreamRequest { cluster, source_node_id, target_node_id, payload } = request;
        let request = api::AppendRequest { cluster, source_node_id, target_node_id, payload };
        let mut request = Request::new(request);
        request.set_timeout(time_max);
        let api::AppendResponse { node_id, payload } = self.client.append(request).await?.into_inner();
        Ok(api::AppendStreamResponse { node_id, payload })
    }
}

impl Call {
    async fn ask(
        mut self,
        request: api::AppendStreamRequest,
    ) -> Result<(Self, api::AppendStreamResponse), Status> {
        // Nobody reads them any more: why is among the answers.
        drop(self.requests.unbounded_send(request));
        let answer = self.answers.message().await?;
        let answer = answer.ok_or_else(|| Status::unavailable("the replica has ended the call"))?;
        Ok((self, answer))
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::stream::BoxStream;
    use futures::{FutureExt, StreamExt};
    use tonic::{Response, Streaming};
    use trunkline_proto::agent_state::v1::raft_service_server::{RaftService, RaftServiceServer};
    use trunkline_runtime::grpc;
    use trunkline_runtime::health::Health;
    use trunkline_runtime::shutdown::Shutdown;

    use super::*;

    /// Answers with what it was asked: at once, or never when that is `never`.
    #[derive(Clone, Default)]
    struct Echo {
        /// Whether it is of the version that knows no call that lasts.
        old: bool,
        /// How many of the calls that last there were, and how many of the others.
        calls: Arc<(AtomicUsize, AtomicUsize)>,
    }

    fn unused<T>() -> Result<Response<T>, Status> {
        Err(Status::internal("nobody asks"))
    }

    #[tonic::async_trait]
    impl RaftService for Echo {
        async fn append(
            &self,
            request: Request<api::AppendRequest>,
        ) -> Result<Response<api::AppendResponse>, Status> {
            self.calls.1.fetch_add(1, Ordering::Relaxed);
            Ok(Response::new(api::AppendResponse { node_id: 1, payload: request.into_inner().payload }))
        }

        type AppendStreamStream = BoxStream<'static, Result<api::AppendStreamResponse, Status>>;

        async fn append_stream(
            &self,
            request: Request<Streaming<api::AppendStreamRequest>>,
        ) -> Result<Response<Self::AppendStreamStream>, Status> {
            self.calls.0.fetch_add(1, Ordering::Relaxed);
            if self.old {
                return Err(Status::unimplemented("of an old version"));
            }
            let answers = request.into_inner().then(async |request| {
                let payload = request?.payload;
                match &payload[..] {
                    b"never" => std::future::pending().await,
                    b"end" => Err(Status::unavailable("ends")),
                    _ => Ok(api::AppendStreamResponse { node_id: 1, payload }),
                }
            });
            Ok(Response::new(answers.boxed()))
        }

        async fn vote(&self, _: Request<api::VoteRequest>) -> Result<Response<api::VoteResponse>, Status> {
            unused()
        }

        async fn install_snapshot(
            &self,
            _: Request<api::InstallSnapshotRequest>,
        ) -> Result<Response<api::InstallSnapshotResponse>, Status> {
            unused()
        }

        async fn identify(
            &self,
            _: Request<api::IdentifyRequest>,
        ) -> Result<Response<api::IdentifyResponse>, Status> {
            unused()
        }

        async fn take_over(
            &self,
            _: Request<api::TakeOverRequest>,
        ) -> Result<Response<api::TakeOverResponse>, Status> {
            unused()
        }
    }

    impl Echo {
        fn serve(&self, listener: TcpListener, until: &Shutdown) -> tokio::task::JoinHandle<()> {
            let routes = tonic::service::Routes::new(RaftServiceServer::new(self.clone()));
            let until = until.clone();
            let served = async move { grpc::serve(listener, routes, &Health::new(), &until).map(drop).await };
            tokio::spawn(served)
        }

        fn counts(&self) -> (usize, usize) {
            (self.calls.0.load(Ordering::Relaxed), self.calls.1.load(Ordering::Relaxed))
        }
    }

    async fn ask(line: &mut Line, text: &str) -> Result<String, Code> {
        // No more than a request that is never answered has to wait.
        let time_max = Duration::from_millis(if text == "never" { 20 } else { 20_000 });
        let request = api::AppendStreamRequest { payload: text.to_owned().into(), ..Default::default() };
        let answer = line.ask(request, time_max).await.map_err(|status| status.code())?;
        Ok(String::from_utf8(answer.payload.into()).unwrap())
    }

    #[tokio::test]
    async fn one_call_takes_all_requests_until_one_is_not_answered() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut line =
            Line::new(RaftServiceClient::new(grpc::channel(&listener.local_addr().unwrap().to_string())));
        let echo = Echo::default();
        let server = echo.serve(listener, &Shutdown::new());
        for text in ["a", "b", "c"] {
            assert_eq!(ask(&mut line, text).await.as_deref(), Ok(text));
        }
        assert_eq!(echo.counts(), (1, 0));
        assert_eq!(ask(&mut line, "never").await, Err(Code::DeadlineExceeded));
        assert_eq!(ask(&mut line, "d").await.as_deref(), Ok("d"));
        assert_eq!(echo.counts(), (2, 0));
        assert_eq!(ask(&mut line, "end").await, Err(Code::Unavailable));
        assert_eq!(ask(&mut line, "e").await.as_deref(), Ok("e"));
        assert_eq!(echo.counts(), (3, 0));
        server.abort();
    }

    #[tokio::test]
    async fn a_follower_of_an_old_version_is_asked_in_calls_of_their_own_until_it_is_a_newer_one() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut line = Line::new(RaftServiceClient::new(grpc::channel(&address.to_string())));
        let (old, stop) = (Echo { old: true, ..Echo::default() }, Shutdown::new());
        let server = old.serve(listener, &stop);
        for text in ["a", "b"] {
            assert_eq!(ask(&mut line, text).await.as_deref(), Ok(text));
        }
        assert_eq!(old.counts(), (1, 2));
        stop.begin();
        server.await.unwrap();
        assert!(ask(&mut line, "c").await.is_err(), "nobody is there");
        let (new, listener) = (Echo::default(), TcpListener::bind(address).unwrap());
        let server = new.serve(listener, &Shutdown::new());
        assert_eq!(ask(&mut line, "d").await.as_deref(), Ok("d"));
        assert_eq!(new.counts(), (1, 0));
        server.abort();
    }
}
