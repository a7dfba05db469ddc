//! etcd as a peer: three members on loopback, and the two calls of its gRPC API that a bench needs.
//!
//! The messages are written out by hand from etcd's `api/etcdserverpb/rpc.proto` (3.4), with the fields that are used.

use std::fs::File;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use http::uri::PathAndQuery;
use prost::Message;
use tokio::process::{Child, Command};
use tonic::client::Grpc;
use tonic::transport::Channel;
use tonic::{Request, Status};
use tonic_prost::ProstCodec;
use trunkline_runtime::grpc;

use crate::Failure;
use crate::rig::{Ports, cpu_ms};

/// Members of the group.
const MEMBER_COUNT: usize = 3;
/// How long it may take until all of them have a leader.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// The name of the group.
const TOKEN: &str = "bench";

/// Puts one value under one key, if the key was last written at this revision; 0 for a key that is not there.
pub(super) fn compare_and_swap(key: &[u8], mod_revision: i64, value: Vec<u8>) -> TxnRequest {
    let compare = Compare {
        result: COMPARE_EQUAL,
        target: COMPARE_MOD_REVISION,
        key: key.to_vec(),
        mod_revision: Some(mod_revision),
    };
    let put = RequestOp { request_put: Some(PutRequest { key: key.to_vec(), value }) };
    TxnRequest { compare: vec![compare], success: vec![put] }
}

/// A running group. It is ended when this is dropped.
pub(super) struct Etcd {
    members: Vec<Member>,
}

struct Member {
    child: Child,
    client: Client,
}

impl Etcd {
    /// Starts three members below `dir`, with the defaults of the program, and waits until all of them know who leads.
    ///
    /// # Errors
    /// When the program cannot be run or one does not come up.
    pub async fn start(dir: &Path, program: &Path) -> Result<Self, Failure> {
        std::fs::create_dir_all(dir)?;
        let mut ports = Ports::new();
        let mut addresses = Vec::new();
        for number in 1..=MEMBER_COUNT {
            addresses.push((format!("member-{number}"), ports.address()?, ports.address()?));
        }
        let group: Vec<_> = addresses.iter().map(|(name, _, peer)| format!("{name}=http://{peer}")).collect();
        let group = group.join(",");
        let mut members = Vec::new();
        for (name, client, peer) in &addresses {
            let data = dir.join(name);
            let child = member(program, &data, name, client, peer, &group)?;
            members.push(Member { child, client: Client(grpc::channel(client)) });
        }
        let mut etcd = Self { members };
        etcd.ready(dir).await?;
        Ok(etcd)
    }

    /// A client of the member that leads.
    ///
    /// # Errors
    /// When none of them does.
    pub async fn leader(&self) -> Result<Client, Failure> {
        for member in &self.members {
            let status = member.client.status().await.map_err(refused)?;
            if status.header.is_some_and(|it| it.member_id == status.leader) {
                return Ok(member.client.clone());
            }
        }
        Err(Failure::new("no member of etcd leads"))
    }

    /// The version, as it says itself.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn version(&self) -> Result<String, Failure> {
        let member = self.members.first().ok_or_else(|| Failure::new("etcd has no member"))?;
        Ok(member.client.status().await.map_err(refused)?.version)
    }

    /// CPU time that its members have used, in ms.
    pub fn cpu_ms(&self) -> u64 {
        self.members.iter().filter_map(|member| cpu_ms(member.child.id()?)).sum()
    }

    async fn ready(&mut self, dir: &Path) -> Result<(), Failure> {
        let until = Instant::now() + READY_WITHIN;
        loop {
            let mut leading = 0;
            for member in &mut self.members {
                if let Some(status) = member.child.try_wait()? {
                    let log = dir.display();
                    return Err(Failure::new(format!("a member of etcd ended with {status}; see {log}")));
                }
                leading += usize::from(member.client.status().await.is_ok_and(|it| it.leader != 0));
            }
            if leading == MEMBER_COUNT {
                return Ok(());
            }
            if Instant::now() > until {
                return Err(Failure::new(format!("etcd has no leader after {} s", READY_WITHIN.as_secs())));
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

fn member(
    program: &Path,
    data: &Path,
    name: &str,
    client: &str,
    peer: &str,
    group: &str,
) -> Result<Child, Failure> {
    std::fs::create_dir_all(data)?;
    let (client, peer) = (format!("http://{client}"), format!("http://{peer}"));
    let mut command = Command::new(program);
    command.args(["--name", name]).arg("--data-dir").arg(data.join("data"));
    command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
    command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
    command.args(["--initial-cluster", group, "--initial-cluster-state", "new"]);
    command.args(["--initial-cluster-token", TOKEN, "--logger", "zap", "--log-level", "warn"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(data.join("log"))?);
    // Only what is said here counts, whatever is set where the bench is run.
    for (variable, _) in std::env::vars_os().filter(|(it, _)| it.to_string_lossy().starts_with("ETCD_")) {
        command.env_remove(variable);
    }
    command.process_group(0).kill_on_drop(true);
    command.spawn().map_err(|error| Failure::new(format!("could not run {}: {error}", program.display())))
}

fn refused(status: Status) -> Failure {
    Failure::new(format!("etcd refused: {status}"))
}

/// Speaks to one member. Cheap to clone; clones share a connection.
#[derive(Clone)]
pub(super) struct Client(Channel);

impl Client {
    /// One transaction; gives the revision it made, which is that of the key it put.
    ///
    /// # Errors
    /// When it is refused, or what it compared was otherwise.
    pub async fn swap(&self, request: TxnRequest) -> Result<i64, Failure> {
        let path = PathAndQuery::from_static("/etcdserverpb.KV/Txn");
        let answer: TxnResponse = self.call(path, request).await.map_err(refused)?;
        match answer.header {
            Some(header) if answer.succeeded => Ok(header.revision),
            _ => Err(Failure::new("a key of etcd was written by somebody else")),
        }
    }

    async fn status(&self) -> Result<StatusResponse, Status> {
        let path = PathAndQuery::from_static("/etcdserverpb.Maintenance/Status");
        self.call(path, StatusRequest {}).await
    }

    async fn call<Q, A>(&self, path: PathAndQuery, request: Q) -> Result<A, Status>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let mut client = Grpc::new(self.0.clone());
        client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
        let answer = client.unary(Request::new(request), path, ProstCodec::<Q, A>::default()).await?;
        Ok(answer.into_inner())
    }
}

/// `Compare.CompareResult.EQUAL` and `Compare.CompareTarget.MOD`.
const COMPARE_EQUAL: i32 = 0;
const COMPARE_MOD_REVISION: i32 = 2;

#[derive(Clone, PartialEq, Message)]
struct Compare {
    #[prost(int32, tag = "1")]
    result: i32,
    #[prost(int32, tag = "2")]
    target: i32,
    #[prost(bytes = "vec", tag = "3")]
    key: Vec<u8>,
    /// An arm of a oneof: it is on the wire also when it is 0.
    #[prost(int64, optional, tag = "6")]
    mod_revision: Option<i64>,
}

#[derive(Clone, PartialEq, Message)]
struct PutRequest {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct RequestOp {
    /// An arm of a oneof.
    #[prost(message, optional, tag = "2")]
    request_put: Option<PutRequest>,
}

/// `etcdserverpb.TxnRequest`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct TxnRequest {
    #[prost(message, repeated, tag = "1")]
    compare: Vec<Compare>,
    #[prost(message, repeated, tag = "2")]
    success: Vec<RequestOp>,
}

#[derive(Clone, PartialEq, Message)]
struct TxnResponse {
    #[prost(message, optional, tag = "1")]
    header: Option<ResponseHeader>,
    #[prost(bool, tag = "2")]
    succeeded: bool,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct ResponseHeader {
    #[prost(uint64, tag = "2")]
    member_id: u64,
    #[prost(int64, tag = "3")]
    revision: i64,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct StatusRequest {}

#[derive(Clone, PartialEq, Message)]
struct StatusResponse {
    #[prost(message, optional, tag = "1")]
    header: Option<ResponseHeader>,
    #[prost(string, tag = "2")]
    version: String,
    #[prost(uint64, tag = "4")]
    leader: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_is_on_the_wire_as_etcd_has_it() {
        let bytes = compare_and_swap(b"k", 0, b"v".to_vec()).encode_to_vec();
        #[rustfmt::skip]
        let expected = [
            // compare (1), 7 bytes: target (2) MOD, key (3), mod_revision (6).
            0x0a, 7, 0x10, 2, 0x1a, 1, b'k', 0x30, 0,
            // success (2), 8 bytes: request_put (2), 6 bytes: key (1), value (2).
            0x12, 8, 0x12, 6, 0x0a, 1, b'k', 0x12, 1, b'v',
        ];
        assert_eq!(bytes, expected);
    }
}
