//! The gRPC face: reads documents, hands them to the owner, and says what came of it.

use std::sync::{Arc, Mutex, PoisonError};

use serde::Deserialize;
use tokio::sync::{mpsc, oneshot};
use tonic::service::Routes;
use tonic::{Request, Response, Status};
use trunkline_domain::directory::{self as core, ApplyRevision};
use trunkline_domain::vocabulary::{Millis, Timestamp};
use trunkline_proto::directory::v1 as pb;
use trunkline_proto::directory::v1::directory_service_server::{DirectoryService, DirectoryServiceServer};
use trunkline_runtime::config::within;
use trunkline_runtime::grpc::{self, RejectionKind};
use trunkline_runtime::platform::Platform;
use trunkline_runtime::shutdown::Shutdown;
use trunkline_runtime::{lease, telemetry};

use crate::document::{Document, PlacedProblem};
use crate::owner;

/// Requests that may wait for the owner; the next is refused as overloaded.
const ASKS_MAX: usize = 32;
/// The longest author accepted, in bytes.
const AUTHOR_LEN_MAX: usize = 200;

/// What directory can be told at its start.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DirectoryConfig {
    /// How long the lease `directory/0` lasts without renewal, in ms, 300 to 60,000.
    pub lease_ttl_ms: i64,
}

impl Default for DirectoryConfig {
    fn default() -> Self {
        Self { lease_ttl_ms: lease::TTL_DEFAULT.0 }
    }
}

impl DirectoryConfig {
    /// Whether the service can run with it.
    ///
    /// # Errors
    /// One sentence that begins with the wrong setting.
    pub fn check(&self) -> Result<(), String> {
        within("lease_ttl_ms", self.lease_ttl_ms, 300..=60_000)
    }
}

/// Why directory ended before it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// Its socket or server failed.
    #[error("directory could not serve")]
    Serve(#[from] grpc::ServeError),
    /// Its socket has no address.
    #[error("directory could not tell its own address")]
    Address(#[source] std::io::Error),
}

/// Runs the service until shutdown begins.
///
/// # Errors
/// When the socket cannot be used or the server fails. A log or lease that fails is not an error here: the owner tells
/// health, and begins again.
pub async fn run(
    config: DirectoryConfig,
    listener: std::net::TcpListener,
    platform: Platform,
    shutdown: Shutdown,
) -> Result<(), DirectoryError> {
    let platform = platform.for_service("directory");
    let address = listener.local_addr().map_err(DirectoryError::Address)?.to_string();
    let gate = Gate::default();
    let api = Api { gate: gate.clone(), platform: platform.clone() };
    let server = DirectoryServiceServer::new(api).max_decoding_message_size(grpc::MESSAGE_BYTES_MAX);
    let own = owner::run(&platform, Millis(config.lease_ttl_ms), &address, &gate, &shutdown);
    let serve = grpc::serve(listener, Routes::new(server), &platform.health, &shutdown);
    let (served, ()) = tokio::join!(
        async {
            let served = serve.await;
            // Without a server there is nothing to own for.
            shutdown.begin();
            served
        },
        own
    );
    Ok(served?)
}

/// What the owner is asked.
pub(crate) enum Ask {
    /// What a document would change.
    Plan { document: Box<Document>, answer: oneshot::Sender<Result<Planned, Status>> },
    /// To change it.
    Apply { order: Box<Order>, answer: oneshot::Sender<Result<Planned, Status>> },
}

/// A document to apply.
pub(crate) struct Order {
    /// Where the parts of `command.wanted` stand.
    pub document: Document,
    pub command: ApplyRevision,
    pub traceparent: String,
}

/// What came of a plan or an apply: the revision, and the changes or the problems.
pub(crate) struct Planned {
    pub revision: u64,
    pub result: Result<Vec<core::Change>, Vec<PlacedProblem>>,
}

/// The way to the owner: open while this process owns the directory.
#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<Mutex<Option<mpsc::Sender<Ask>>>>);

impl Gate {
    /// Opens the gate; what comes through is in the receiver.
    pub(crate) fn open(&self) -> mpsc::Receiver<Ask> {
        let (sender, receiver) = mpsc::channel(ASKS_MAX);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(sender);
        receiver
    }

    pub(crate) fn close(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    async fn ask(
        &self,
        ask: impl FnOnce(oneshot::Sender<Result<Planned, Status>>) -> Ask,
    ) -> Result<Planned, Status> {
        let not_owner = || {
            let reason = "this process does not own the directory now";
            grpc::status_of(RejectionKind::Unavailable, "NOT_OWNER", reason)
        };
        let sender = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone().ok_or_else(not_owner)?;
        let (answer, answered) = oneshot::channel();
        sender.try_send(ask(answer)).map_err(|error| match error {
            mpsc::error::TrySendError::Closed(_) => not_owner(),
            mpsc::error::TrySendError::Full(_) => {
                let reason = format!("{ASKS_MAX} requests wait already");
                grpc::status_of(RejectionKind::ResourceExhausted, "OVERLOADED", reason)
            }
        })?;
        // The owner drops the question when it loses the lease: whether it was applied shows in the log.
        answered.await.map_err(|_| not_owner())?
    }
}

struct Api {
    gate: Gate,
    platform: Platform,
}

/// Reads a document away from the threads that serve: a large one takes a while.
async fn read(text: String) -> Result<(Result<Document, Vec<PlacedProblem>>, String), Status> {
    tokio::task::spawn_blocking(move || {
        use sha2::Digest;
        let source_sha256 = hex::encode(sha2::Sha256::digest(&text));
        (Document::read(&text), source_sha256)
    })
    .await
    .map_err(|_| Status::internal("reading the document did not end"))
}

#[tonic::async_trait]
impl DirectoryService for Api {
    async fn plan_directory(
        &self,
        request: Request<pb::PlanDirectoryRequest>,
    ) -> Result<Response<pb::PlanDirectoryResponse>, Status> {
        let request = request.into_inner();
        let (document, _) = read(request.document).await?;
        let notices = noticed(&document, &request.file_name);
        let planned = match document {
            Ok(document) => {
                let document = Box::new(document);
                self.gate.ask(|answer| Ask::Plan { document, answer }).await?
            }
            Err(problems) => Planned { revision: 0, result: Err(problems) },
        };
        let (changes, problems) = told(planned.result, &request.file_name);
        let base_revision = planned.revision;
        Ok(Response::new(pb::PlanDirectoryResponse { base_revision, changes, problems, notices }))
    }

    async fn apply_directory(
        &self,
        request: Request<pb::ApplyDirectoryRequest>,
    ) -> Result<Response<pb::ApplyDirectoryResponse>, Status> {
        let traceparent = telemetry::extract(&request);
        let request = request.into_inner();
        let author = request.author.trim().to_owned();
        if author.is_empty() || author.len() > AUTHOR_LEN_MAX {
            let reason = format!("a revision has an author of 1 to {AUTHOR_LEN_MAX} bytes");
            return Err(grpc::status_of(RejectionKind::InvalidArgument, "AUTHOR_MISSING", reason));
        }
        let effective_at = (request.effective_at_ms != 0).then_some(Timestamp(request.effective_at_ms));
        let (document, source_sha256) = read(request.document).await?;
        let notices = noticed(&document, &request.file_name);
        let applied = match document {
            Ok(document) => {
                let command = ApplyRevision {
                    wanted: document.wanted.clone(),
                    author,
                    effective_at,
                    base_revision: request.base_revision,
                    source_sha256,
                    cell_count: self.platform.log.cell_count(),
                };
                let order = Box::new(Order { document, command, traceparent });
                self.gate.ask(|answer| Ask::Apply { order, answer }).await?
            }
            Err(problems) => Planned { revision: request.base_revision, result: Err(problems) },
        };
        let (changes, problems) = told(applied.result, &request.file_name);
        let revision = applied.revision;
        Ok(Response::new(pb::ApplyDirectoryResponse { revision, changes, problems, notices }))
    }
}

fn told(
    result: Result<Vec<core::Change>, Vec<PlacedProblem>>,
    file_name: &str,
) -> (Vec<pb::Change>, Vec<pb::Problem>) {
    let change = |it: core::Change| pb::Change {
        kind: match it.kind {
            core::ChangeKind::Added => pb::ChangeKind::Added,
            core::ChangeKind::Changed => pb::ChangeKind::Changed,
            core::ChangeKind::Retired => pb::ChangeKind::Retired,
        }
        .into(),
        subject_kind: it.subject.as_str().to_owned(),
        subject_key: it.key,
        detail: it.detail,
    };
    match result {
        Ok(changes) => (changes.into_iter().map(change).collect(), Vec::new()),
        Err(problems) => (Vec::new(), problems.into_iter().map(|it| problem(it, file_name)).collect()),
    }
}

/// What may be a mistake in a document that could be read.
fn noticed(document: &Result<Document, Vec<PlacedProblem>>, file_name: &str) -> Vec<pb::Problem> {
    let notices = |document: &Document| document.place(&core::notices(&document.wanted));
    let notices = document.as_ref().map(notices).unwrap_or_default();
    notices.into_iter().map(|it| problem(it, file_name)).collect()
}

fn problem(it: PlacedProblem, file_name: &str) -> pb::Problem {
    pb::Problem {
        file_name: file_name.to_owned(),
        line_number: it.line_number,
        column_number: it.column_number,
        reason: it.reason,
    }
}
