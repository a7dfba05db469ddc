//! `trunkline dev`: the whole cluster in one process, over an embedded log, with one Raft voter.
//!
//! The services are the ones that run as processes of their own; here they share the log's handle and nothing else.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use serde::Deserialize;
use trunkline_runtime::clock::Clock;
use trunkline_runtime::config::{ConfigError, Settings};
use trunkline_runtime::error_chain;
use trunkline_runtime::event_log::{EmbeddedLog, EmbeddedOptions, MeteredLog, SharedLog};
use trunkline_runtime::health::Health;
use trunkline_runtime::mint::Mint;
use trunkline_runtime::platform::{self, Endpoints, Platform};
use trunkline_runtime::shutdown::{Drain, Shutdown};
use trunkline_runtime::telemetry::{self, Telemetry, TelemetryConfig};

use trunkline_media::Media;

use crate::Failure;
use crate::endpoints::{Addresses, DATA_DIR};
use crate::history::LOG_DIR;

#[derive(Args)]
pub(crate) struct DevArgs {
    /// Where everything durable goes.
    #[arg(long, default_value = DATA_DIR, env = "TRUNKLINE_DATA_DIR")]
    data: PathBuf,
    /// A TOML file with sections log, dev, telemetry and one per service.
    #[arg(long)]
    config: Option<PathBuf>,
    /// REST, page and gRPC passthrough; the same as `--set gateway.http_listen=…`.
    #[arg(long)]
    http: Option<String>,
    /// SIP over UDP and TCP; the same as `--set media.sip_listen=…`.
    #[arg(long)]
    sip: Option<String>,
    /// Metrics and health; the same as `--set dev.ops_listen=…`.
    #[arg(long)]
    ops: Option<String>,
    /// One setting, as `media.rtp_ip=127.0.0.1`; may be repeated.
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE")]
    settings: Vec<String>,
}

/// Section `log`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct LogSection {
    cells: u32,
    segment_bytes: u64,
    record_bytes_max: usize,
    pending_count_max: usize,
}

impl Default for LogSection {
    fn default() -> Self {
        Self { cells: 1, segment_bytes: 64 << 20, record_bytes_max: 1 << 20, pending_count_max: 4096 }
    }
}

impl LogSection {
    fn check(&self) -> Result<(), String> {
        if self.cells == 0 || self.cells > 1024 {
            return Err("cells: a log has 1 to 1,024 cells".into());
        }
        if self.segment_bytes > 1 << 30 {
            return Err("segment_bytes: a segment has at most 1 GiB".into());
        }
        if self.record_bytes_max == 0 || self.record_bytes_max > 64 << 20 {
            return Err("record_bytes_max: a record has 1 byte to 64 MiB".into());
        }
        if self.pending_count_max == 0 {
            return Err("pending_count_max: at least one record must be able to wait".into());
        }
        Ok(())
    }

    fn options(&self, dir: PathBuf, cluster: String) -> EmbeddedOptions {
        EmbeddedOptions {
            segment_bytes: self.segment_bytes,
            record_bytes_max: self.record_bytes_max,
            pending_count_max: self.pending_count_max,
            ..EmbeddedOptions::new(dir, cluster, self.cells)
        }
    }
}

/// Section `dev`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct DevSection {
    ops_listen: SocketAddr,
    /// Where the services listen for each other, each on a port of its own.
    grpc_ip: IpAddr,
    /// How long the drain may take, in ms.
    drain_ms_max: u64,
}

impl Default for DevSection {
    fn default() -> Self {
        let ip = IpAddr::from([127, 0, 0, 1]);
        Self { ops_listen: SocketAddr::new(ip, 0), grpc_ip: ip, drain_ms_max: 8_000 }
    }
}

/// Every section, read and checked before any socket opens.
struct Config {
    log: LogSection,
    dev: DevSection,
    telemetry: TelemetryConfig,
    agent_state: trunkline_agent_state::Config,
    billing: trunkline_billing::BillingConfig,
    directory: trunkline_directory::DirectoryConfig,
    gateway: trunkline_gateway::GatewayConfig,
    media: trunkline_media::MediaConfig,
    reporting: trunkline_reporting::ReportingConfig,
    routing: trunkline_routing::RoutingConfig,
}

fn configure(args: &DevArgs) -> Result<Config, ConfigError> {
    let mut settings = Settings::new();
    if let Some(file) = &args.config {
        settings = settings.file(file)?;
    }
    settings = settings.environment(std::env::vars_os())?;
    let shorthand =
        [("gateway.http_listen", &args.http), ("media.sip_listen", &args.sip), ("dev.ops_listen", &args.ops)];
    let shorthand: Vec<String> = shorthand
        .iter()
        .filter_map(|(key, value)| value.as_ref().map(|value| format!("{key}={value}")))
        .collect();
    settings = settings.flags(args.settings.iter().chain(&shorthand).map(String::as_str))?;
    let config = Config {
        log: settings.section("log", LogSection::check)?,
        dev: settings.section("dev", |_: &DevSection| Ok(()))?,
        telemetry: settings.section("telemetry", TelemetryConfig::check)?,
        agent_state: settings.section("agent_state", trunkline_agent_state::Config::check)?,
        billing: settings.section("billing", trunkline_billing::BillingConfig::check)?,
        directory: settings.section("directory", trunkline_directory::DirectoryConfig::check)?,
        gateway: settings.section("gateway", trunkline_gateway::GatewayConfig::check)?,
        media: settings.section("media", trunkline_media::MediaConfig::check)?,
        reporting: settings.section("reporting", trunkline_reporting::ReportingConfig::check)?,
        routing: settings.section("routing", trunkline_routing::RoutingConfig::check)?,
    };
    settings.finish()?;
    Ok(config)
}

/// Makes the five logs of a data directory, or opens them to see that they are as wanted.
pub(crate) fn create_log(data: &Path, cells: u32) -> Result<(), Failure> {
    let mint = Mint::system(Clock::system());
    let section = LogSection { cells, ..LogSection::default() };
    section.check().map_err(Failure::usage)?;
    open_log(data, &section, &mint).map(drop)
}

fn open_log(data: &Path, section: &LogSection, mint: &Mint) -> Result<EmbeddedLog, Failure> {
    let dir = data.join(LOG_DIR);
    let failed = |error: trunkline_runtime::event_log::OpenError| Failure::world(error.to_string());
    let cluster =
        EmbeddedLog::cluster_of(&dir).map_err(failed)?.unwrap_or_else(|| format!("cls_{}", mint.name()));
    let (log, report) = EmbeddedLog::open(section.options(dir, cluster)).map_err(failed)?;
    for partition in report.torn() {
        let (name, cell, torn) = (partition.log, partition.cell, &partition.torn);
        tracing::info!(log = %name, %cell, ?torn, "cut off the unfinished end of a partition");
    }
    for partition in &report.partitions {
        if let Some(error) = &partition.quarantined {
            tracing::error!(%error, "a partition is quarantined");
        }
    }
    Ok(log)
}

/// The services that answer gRPC, with their sockets, bound before any of them starts.
struct Listeners(BTreeMap<&'static str, TcpListener>);

impl Listeners {
    const SERVICES: [&'static str; 6] =
        ["agent-state", "directory", "routing", "media", "reporting", "billing"];

    fn bind(ip: IpAddr) -> Result<Self, Failure> {
        let mut listeners = BTreeMap::new();
        for service in Self::SERVICES {
            listeners.insert(service, bind(SocketAddr::new(ip, 0))?);
        }
        Ok(Self(listeners))
    }

    fn addresses(&self) -> Result<BTreeMap<String, String>, Failure> {
        let mut addresses = BTreeMap::new();
        for (service, listener) in &self.0 {
            addresses.insert((*service).to_owned(), listener.local_addr()?.to_string());
        }
        Ok(addresses)
    }

    fn take(&mut self, service: &'static str) -> Result<TcpListener, Failure> {
        self.0.remove(service).ok_or_else(|| Failure::world(format!("no listener for {service}")))
    }
}

fn bind(address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address)
        .map_err(|error| Failure::world(format!("could not listen on {address}: {error}")))
}

pub(crate) async fn run(args: DevArgs) -> Result<(), Failure> {
    let config = configure(&args).map_err(|error| Failure::usage(error.to_string()))?;
    telemetry::start_logs(&config.telemetry).map_err(|error| Failure::usage(error.to_string()))?;
    let clock = Clock::system();
    let mint = Mint::system(clock.clone());
    std::fs::create_dir_all(&args.data)
        .map_err(|error| Failure::world(format!("could not make {}: {error}", args.data.display())))?;
    let node_id = platform::node_id(&args.data, &mint).map_err(|error| Failure::world(error.to_string()))?;
    // Without an endpoint nothing leaves the process, but facts still carry the context of the decision behind them.
    let telemetry = Telemetry::start(&config.telemetry, "trunkline", node_id.as_str())
        .map_err(|error| Failure::usage(error.to_string()))?;
    let log = Arc::new(open_log(&args.data, &config.log, &mint)?);
    let shared: SharedLog = Arc::new(MeteredLog::new(log.clone(), &telemetry));

    let mut listeners = Listeners::bind(config.dev.grpc_ip)?;
    let grpc = listeners.addresses()?;
    let http = bind(config.gateway.http_listen)?;
    let ops = bind(config.dev.ops_listen)?;
    let address = |service: &str| grpc.get(service).cloned().unwrap_or_default();
    let health = Health::new();
    let starting = health.component("dev");
    let platform = Platform {
        log: shared,
        clock,
        mint,
        telemetry: telemetry.clone(),
        data_dir: args.data.clone(),
        node_id,
        health: health.clone(),
        endpoints: Endpoints {
            agent_state: vec![address("agent-state")],
            directory: address("directory"),
            routing: address("routing"),
            reporting: address("reporting"),
            billing: address("billing"),
            media: address("media"),
        },
    };

    let media = Media::start(config.media, platform.for_service("media"))
        .await
        .map_err(|error| Failure::world(error_chain(&error)))?;
    let addresses = Addresses {
        ready: true,
        http: http.local_addr()?.to_string(),
        sip: media.sip_address().to_string(),
        ops: ops.local_addr()?.to_string(),
        grpc,
        pid: std::process::id(),
    };

    // What takes work in is drained first, what the others stand on last.
    let mut drain = Drain::new();
    let failed = Arc::new(std::sync::Mutex::new(None::<String>));
    macro_rules! service {
        ($name:literal, $crate_name:ident, $config:expr, $listener:expr) => {{
            let stage = drain.stage($name);
            let (config, listener, platform) = ($config, $listener, platform.for_service($name));
            start(&stage, $name, &failed, $crate_name::run(config, listener, platform, stage.clone()));
        }};
    }
    service!("gateway", trunkline_gateway, config.gateway, http);
    let media_stage = drain.stage("media");
    start(&media_stage, "media", &failed, media.serve(listeners.take("media")?, media_stage.clone()));
    service!("routing", trunkline_routing, config.routing, listeners.take("routing")?);
    service!("billing", trunkline_billing, config.billing, listeners.take("billing")?);
    service!("reporting", trunkline_reporting, config.reporting, listeners.take("reporting")?);
    service!("directory", trunkline_directory, config.directory, listeners.take("directory")?);
    service!("agent-state", trunkline_agent_state, config.agent_state, listeners.take("agent-state")?);
    let ops_stage = drain.stage("ops");
    let ops_server = telemetry::ops::serve(ops, health.clone(), telemetry.clone(), ops_stage.clone());
    start(&ops_stage, "ops", &failed, ops_server);
    starting.ready();

    let stop = stop_signal()?;
    let announced = tokio::select! {
        biased;
        () = stop.begun() => false,
        () = drain.any_begun() => false,
        () = settled(&health) => true,
    };
    if announced {
        addresses.write(&args.data)?;
        let line = serde_json::to_string(&addresses).map_err(|error| Failure::world(error.to_string()))?;
        println!("{line}");
        tokio::select! {
            () = stop.begun() => {}
            () = drain.any_begun() => {}
        }
    }
    if let Err(failure) = Addresses::remove(&args.data) {
        tracing::warn!(reason = failure.message, "could not take the addresses away");
    }
    let cut = drain.run(Duration::from_millis(config.dev.drain_ms_max)).await;
    telemetry.flush().await;
    log.close();
    let failed = failed.lock().ok().and_then(|mut failed| failed.take());
    match (failed, cut.is_empty()) {
        (Some(message), _) => Err(Failure::world(message)),
        (None, false) => Err(Failure::world(format!("cut off at the drain's deadline: {}", cut.join(", ")))),
        (None, true) => Ok(()),
    }
}

/// Runs one service in its stage; when it fails, the whole process drains and says why.
fn start<E: std::error::Error + Send + 'static>(
    stage: &Shutdown,
    name: &'static str,
    failed: &Arc<std::sync::Mutex<Option<String>>>,
    service: impl Future<Output = Result<(), E>> + Send + 'static,
) {
    let (ended, failed) = (stage.clone(), failed.clone());
    stage.spawn(name, async move {
        if let Err(error) = service.await {
            let text = format!("{name}: {}", error_chain(&error));
            tracing::error!(service = name, error = %text, "service failed");
            if let Ok(mut first) = failed.lock() {
                first.get_or_insert(text);
            }
        }
        ended.begin();
    });
}

/// Ready for a moment is not ready: components register while services start. Resolves when the process was ready and
/// every service had registered.
async fn settled(health: &Health) {
    loop {
        health.became_ready().await;
        let registered = health.names();
        let missing = Listeners::SERVICES
            .iter()
            .chain(&["gateway"])
            .any(|service| !registered.iter().any(|name| name.split('/').next() == Some(service)));
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
