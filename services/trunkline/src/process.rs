//! A process: some of the services, or all of them, over one event log.
//!
//! The services of a process share the log's handle and nothing else: they meet over gRPC and in the logs wherever they run.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use trunkline_domain::vocabulary::Millis;
use trunkline_media::Media;
use trunkline_runtime::clock::Clock;
use trunkline_runtime::error_chain;
use trunkline_runtime::event_log::MeteredLog;
use trunkline_runtime::health::Health;
use trunkline_runtime::mint::Mint;
use trunkline_runtime::platform::{self, Endpoints, Platform};
use trunkline_runtime::shutdown::{Drain, Shutdown};
use trunkline_runtime::telemetry::{self, Telemetry};

use crate::Failure;
use crate::endpoints::Addresses;
use crate::logs;
use crate::settings::{Config, EndpointsSection, Service};

/// The sockets of the services here that answer gRPC, bound before any of them starts.
struct Listeners(BTreeMap<Service, TcpListener>);

impl Listeners {
    fn bind(config: &Config, services: &[Service]) -> Result<Self, Failure> {
        let mut listeners = BTreeMap::new();
        for service in services {
            if let Some(address) = config.listen.of(*service, config.process.grpc_ip) {
                listeners.insert(*service, bind(address)?);
            }
        }
        Ok(Self(listeners))
    }

    fn addresses(&self) -> Result<BTreeMap<String, String>, Failure> {
        let mut addresses = BTreeMap::new();
        for (service, listener) in &self.0 {
            addresses.insert(service.name().to_owned(), listener.local_addr()?.to_string());
        }
        Ok(addresses)
    }

    fn take(&mut self, service: Service) -> Result<TcpListener, Failure> {
        let missing = || Failure::world(format!("no listener for {}", service.name()));
        self.0.remove(&service).ok_or_else(missing)
    }
}

fn bind(address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address)
        .map_err(|error| Failure::world(format!("could not listen on {address}: {error}")))
}

/// Where the services answer: as configured, and here where nothing is.
fn endpoints(configured: &EndpointsSection, here: &BTreeMap<String, String>) -> Endpoints {
    let own = |service: Service| here.get(service.name()).cloned();
    let one = |named: &String, service| match named.as_str() {
        "" => own(service).unwrap_or_default(),
        named => named.to_owned(),
    };
    let all = |named: &Vec<String>, service| match named.as_slice() {
        [] => own(service).into_iter().collect(),
        named => named.to_vec(),
    };
    Endpoints {
        agent_state: all(&configured.agent_state, Service::AgentState),
        directory: one(&configured.directory, Service::Directory),
        routing: all(&configured.routing, Service::Routing),
        reporting: one(&configured.reporting, Service::Reporting),
        billing: one(&configured.billing, Service::Billing),
        media: own(Service::Media).unwrap_or_default(),
    }
}

/// Runs the services until a signal or the first failure, then drains them.
///
/// It prints one line of JSON, its addresses, when all of them are ready, and keeps it in the data directory for as long
/// as it runs.
pub(crate) async fn run(config: Config, data: &Path, services: &[Service]) -> Result<(), Failure> {
    telemetry::start_logs(&config.telemetry).map_err(|error| Failure::usage(error.to_string()))?;
    let offset = Millis(config.process.clock_offset_ms);
    let clock = Clock::shifted(offset);
    if offset != Millis::ZERO {
        tracing::warn!(offset_ms = offset.0, "this process rehearses with a clock that is wrong");
    }
    let mint = Mint::system(clock.clone());
    std::fs::create_dir_all(data)
        .map_err(|error| Failure::world(format!("could not make {}: {error}", data.display())))?;
    let node_id = platform::node_id(data, &mint).map_err(|error| Failure::world(error_chain(&error)))?;
    // Without an endpoint nothing leaves the process, but facts still carry the context of the decision behind them.
    let telemetry = Telemetry::start(&config.telemetry, "trunkline", node_id.as_str())
        .map_err(|error| Failure::usage(error.to_string()))?;

    let mut listeners = Listeners::bind(&config, services)?;
    let grpc = listeners.addresses()?;
    let gateway = services.contains(&Service::Gateway);
    let http = if gateway { Some(bind(config.gateway.http_listen)?) } else { None };
    let ops = bind(config.process.ops_listen)?;
    let ops_address = ops.local_addr()?.to_string();
    let health = Health::new();
    let starting = health.component("process");
    let stop = stop_signal()?;

    // Health is answered from here on: also while the log is waited for.
    let mut last = Drain::new();
    let ops_stage = last.stage("ops");
    let failed = Failed::default();
    let ops_server = telemetry::ops::serve(ops, health.clone(), telemetry.clone(), ops_stage.clone());
    start(&ops_stage, "ops", &failed, ops_server);
    let log_health = health.component("log");
    let log = tokio::select! {
        biased;
        () = stop.begun() => return Ok(()),
        () = ops_stage.begun() => return failed.take().map_or(Ok(()), Err),
        log = logs::open(data, &config.log, &mint, &log_health) => log?,
    };
    let spooled = services == [Service::Media];
    ops_stage.spawn("log", log.clone().watch(log_health, spooled));

    let platform = Platform {
        log: Arc::new(MeteredLog::new(log.shared(), &telemetry)),
        clock,
        mint,
        telemetry: telemetry.clone(),
        data_dir: data.to_owned(),
        node_id,
        health: health.clone(),
        endpoints: endpoints(&config.endpoints, &grpc),
    };
    let mut sip = None;
    let mut drain = Drain::new();
    for service in services {
        let stage = drain.stage(service.name());
        let (name, platform, shutdown) =
            (service.name(), platform.for_service(service.name()), stage.clone());
        macro_rules! run {
            ($of:ident, $config:ident) => {{
                let (config, listener) = (config.$config.clone(), listeners.take(*service)?);
                start(&stage, name, &failed, $of::run(config, listener, platform, shutdown));
            }};
        }
        match (service, &http) {
            (Service::Gateway, Some(http)) => {
                let (config, http) = (config.gateway.clone(), http.try_clone()?);
                start(&stage, name, &failed, trunkline_gateway::run(config, http, platform, shutdown));
            }
            (Service::Gateway, None) => {}
            (Service::Media, _) => {
                let media = Media::start(config.media.clone(), platform)
                    .await
                    .map_err(|error| Failure::world(error_chain(&error)))?;
                sip = Some(media.sip_address().to_string());
                start(&stage, name, &failed, media.serve(listeners.take(*service)?, shutdown));
            }
            (Service::Routing, _) => run!(trunkline_routing, routing),
            (Service::Billing, _) => run!(trunkline_billing, billing),
            (Service::Reporting, _) => run!(trunkline_reporting, reporting),
            (Service::Directory, _) => run!(trunkline_directory, directory),
            (Service::AgentState, _) => run!(trunkline_agent_state, agent_state),
        }
    }
    let addresses = Addresses {
        ready: true,
        http: http.as_ref().map(TcpListener::local_addr).transpose()?.map(|address| address.to_string()),
        sip,
        ops: ops_address,
        grpc,
        pid: std::process::id(),
    };
    starting.ready();
    let announced = tokio::select! {
        biased;
        () = stop.begun() => false,
        () = drain.any_begun() => false,
        () = ops_stage.begun() => false,
        () = settled(&health, services) => true,
    };
    if announced {
        addresses.write(data)?;
        let line = serde_json::to_string(&addresses).map_err(|error| Failure::world(error.to_string()))?;
        println!("{line}");
        tokio::select! {
            () = stop.begun() => {}
            () = drain.any_begun() => {}
            () = ops_stage.begun() => {}
        }
    }
    if let Err(failure) = Addresses::remove(data) {
        tracing::warn!(reason = failure.message, "could not take the addresses away");
    }
    let mut cut = drain.run(Duration::from_millis(config.process.drain_ms_max)).await;
    // What watches the log never ends by itself and needs no time.
    last.run(Duration::from_millis(200))
        .await
        .into_iter()
        .filter(|task| task != "ops/log")
        .for_each(|it| cut.push(it));
    telemetry.flush().await;
    log.close().await;
    match (failed.take(), cut.is_empty()) {
        (Some(failure), _) => Err(failure),
        (None, false) => Err(Failure::world(format!("cut off at the drain's deadline: {}", cut.join(", ")))),
        (None, true) => Ok(()),
    }
}

/// The first failure of a service.
#[derive(Clone, Default)]
struct Failed(Arc<Mutex<Option<String>>>);

impl Failed {
    fn note(&self, text: String) {
        if let Ok(mut first) = self.0.lock() {
            first.get_or_insert(text);
        }
    }

    fn take(&self) -> Option<Failure> {
        self.0.lock().ok()?.take().map(Failure::world)
    }
}

/// Runs one service in its stage; when it fails, the whole process drains and says why.
fn start<E: std::error::Error + Send + 'static>(
    stage: &Shutdown,
    name: &'static str,
    failed: &Failed,
    service: impl Future<Output = Result<(), E>> + Send + 'static,
) {
    let (ended, failed) = (stage.clone(), failed.clone());
    stage.spawn(name, async move {
        if let Err(error) = service.await {
            let text = format!("{name}: {}", error_chain(&error));
            tracing::error!(service = name, error = %text, "service failed");
            failed.note(text);
        }
        ended.begin();
    });
}

/// Ready for a moment is not ready: components register while services start. Resolves when the process was ready and
/// every service had registered.
async fn settled(health: &Health, services: &[Service]) {
    loop {
        health.became_ready().await;
        let registered = health.names();
        let missing = services
            .iter()
            .any(|service| !registered.iter().any(|name| name.split('/').next() == Some(service.name())));
        if !missing && health.ready() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Begun by Ctrl-C or SIGTERM.
fn stop_signal() -> Result<Shutdown, Failure> {
    use tokio::signal::unix::{SignalKind, signal};
    let stop = Shutdown::new();
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let begun = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        begun.begin();
    });
    Ok(stop)
}
