//! A run of the service on a thread of its own, which can be killed, or made to stand still.

use std::sync::mpsc as blocking;
use std::thread;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tonic::transport::Channel;
use trunkline_proto::routing::v1::routing_service_client::RoutingServiceClient;
use trunkline_routing::RoutingConfig;
use trunkline_runtime::clock::Clock;
use trunkline_runtime::grpc;
use trunkline_runtime::health::Health;
use trunkline_runtime::shutdown::Shutdown;

use super::{Floor, PATIENCE, listener, timely};

/// One run of the service, as a process of its own would be: at the machine's time, with the settings nobody changed.
pub struct Apart {
    pub health: Health,
    pub client: RoutingServiceClient<Channel>,
    shutdown: Shutdown,
    runtime: Handle,
    kill: oneshot::Sender<()>,
    dead: oneshot::Receiver<()>,
}

/// A process that stands still while this lives.
pub struct Frozen {
    /// Nothing is ever sent: the thread goes on when this is dropped.
    _thaw: blocking::Sender<()>,
}

impl Floor {
    /// Starts the service as `name`.
    pub fn start_apart(&self, name: &str) -> Apart {
        let (health, shutdown, listener) = (Health::new(), Shutdown::new(), listener());
        let client = RoutingServiceClient::new(grpc::channel(&listener.local_addr().unwrap().to_string()));
        let platform = self.platform(name, &Clock::system(), &health);
        let (kill, killed) = oneshot::channel();
        let (died, dead) = oneshot::channel();
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let handle = runtime.handle().clone();
        let run = trunkline_routing::run(RoutingConfig::default(), listener, platform, shutdown.clone());
        let group = shutdown.clone();
        thread::spawn(move || {
            runtime.block_on(async {
                group.spawn("routing", async move { run.await.unwrap() });
                let _ = killed.await;
            });
            // Every task is dropped where it stands: nothing is given back.
            drop(runtime);
            let _ = died.send(());
        });
        Apart { health, client, shutdown, runtime: handle, kill, dead }
    }
}

impl Apart {
    /// Ends the process as a SIGKILL would.
    pub async fn kill(self) {
        let _ = self.kill.send(());
        timely(self.dead).await.unwrap();
    }

    /// Stops the process as a SIGSTOP would, until what is returned is dropped.
    pub async fn freeze(&self) -> Frozen {
        let (_thaw, thawed) = blocking::channel::<()>();
        let (stops, stopped) = oneshot::channel();
        // The one thread that all its tasks run on waits here.
        self.runtime.spawn(async move {
            let _ = stops.send(());
            let _ = thawed.recv();
        });
        timely(stopped).await.unwrap();
        Frozen { _thaw }
    }

    /// Ends the process as it should.
    pub async fn stop(self) {
        let shutdown = self.shutdown.clone();
        let drained = self.runtime.spawn(async move { shutdown.drained(PATIENCE).await });
        assert_eq!(timely(drained).await.unwrap(), Vec::<&str>::new());
        self.kill().await;
    }
}
