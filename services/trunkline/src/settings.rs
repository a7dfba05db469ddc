//! What can be set about a process: which log, who answers where, and one section a service.

use std::net::{IpAddr, SocketAddr};

use clap::ValueEnum;
use serde::Deserialize;
use trunkline_runtime::config::{ConfigError, Settings};
use trunkline_runtime::event_log::settings::LogSettings;
use trunkline_runtime::grpc::address_error;
use trunkline_runtime::telemetry::TelemetryConfig;

/// A service that a process may run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
#[allow(missing_docs, reason = "the services, as docs/ARCHITECTURE.md has them")]
pub(crate) enum Service {
    Gateway,
    Media,
    Routing,
    Billing,
    Reporting,
    Directory,
    AgentState,
}

impl Service {
    /// All of them, in the order in which they drain: what takes work in first, what the others stand on last.
    pub(crate) const ALL: [Self; 7] = [
        Self::Gateway,
        Self::Media,
        Self::Routing,
        Self::Billing,
        Self::Reporting,
        Self::Directory,
        Self::AgentState,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Media => "media",
            Self::Routing => "routing",
            Self::Billing => "billing",
            Self::Reporting => "reporting",
            Self::Directory => "directory",
            Self::AgentState => "agent-state",
        }
    }
}

/// Section `process`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ProcessSection {
    /// Metrics and health.
    pub ops_listen: SocketAddr,
    /// Where services listen for each other when section `listen` does not say, each on a free port.
    pub grpc_ip: IpAddr,
    /// How long the drain may take, in ms.
    pub drain_ms_max: u64,
    /// Added to the machine's time, in ms: for rehearsals of a clock that is wrong.
    pub clock_offset_ms: i64,
}

impl Default for ProcessSection {
    fn default() -> Self {
        let ip = IpAddr::from([127, 0, 0, 1]);
        Self { ops_listen: SocketAddr::new(ip, 0), grpc_ip: ip, drain_ms_max: 8_000, clock_offset_ms: 0 }
    }
}

/// Section `listen`: where each service of this process answers gRPC.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ListenSection {
    agent_state: Option<SocketAddr>,
    billing: Option<SocketAddr>,
    directory: Option<SocketAddr>,
    media: Option<SocketAddr>,
    reporting: Option<SocketAddr>,
    routing: Option<SocketAddr>,
}

impl ListenSection {
    /// `None` for the gateway: it has a setting of its own.
    pub(crate) fn of(&self, service: Service, ip: IpAddr) -> Option<SocketAddr> {
        let named = match service {
            Service::Gateway => return None,
            Service::AgentState => self.agent_state,
            Service::Billing => self.billing,
            Service::Directory => self.directory,
            Service::Media => self.media,
            Service::Reporting => self.reporting,
            Service::Routing => self.routing,
        };
        Some(named.unwrap_or(SocketAddr::new(ip, 0)))
    }
}

/// Section `endpoints`: where the services of other processes answer gRPC, as `host:port`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct EndpointsSection {
    /// Every voter.
    pub agent_state: Vec<String>,
    pub billing: String,
    pub directory: String,
    pub reporting: String,
    /// Every owner and standby.
    pub routing: Vec<String>,
}

impl EndpointsSection {
    fn check(&self) -> Result<(), String> {
        let lists = [("agent_state", &self.agent_state), ("routing", &self.routing)];
        let lists = lists.into_iter().flat_map(|(key, list)| list.iter().map(move |address| (key, address)));
        let single =
            [("billing", &self.billing), ("directory", &self.directory), ("reporting", &self.reporting)];
        let single = single.into_iter().filter(|(_, address)| !address.is_empty());
        for (key, address) in lists.chain(single) {
            if let Some(problem) = address_error(address) {
                return Err(format!("{key}: {problem}"));
            }
        }
        Ok(())
    }

    /// What a process with these services asks of others must have an address.
    fn check_for(&self, services: &[Service]) -> Result<(), String> {
        let here = |service| services.contains(&service);
        let gateway = here(Service::Gateway);
        let writers = [Service::Media, Service::Routing, Service::Billing, Service::Directory];
        let needs = [
            (
                "agent_state",
                Service::AgentState,
                !self.agent_state.is_empty(),
                gateway || writers.map(here).contains(&true),
            ),
            ("billing", Service::Billing, !self.billing.is_empty(), gateway),
            ("directory", Service::Directory, !self.directory.is_empty(), gateway),
            ("reporting", Service::Reporting, !self.reporting.is_empty(), gateway),
            ("routing", Service::Routing, !self.routing.is_empty(), gateway),
        ];
        match needs.into_iter().find(|(_, service, named, needed)| *needed && !*named && !here(*service)) {
            Some((key, service, ..)) => {
                let asking: Vec<_> = services.iter().map(|service| service.name()).collect();
                let (asking, name) = (asking.join(" and "), service.name());
                Err(format!("{key}: {asking} must know where {name} answers, as host:port"))
            }
            None => Ok(()),
        }
    }
}

/// Every section, read and checked before any socket opens.
pub(crate) struct Config {
    pub log: LogSettings,
    pub process: ProcessSection,
    pub listen: ListenSection,
    pub endpoints: EndpointsSection,
    pub telemetry: TelemetryConfig,
    pub agent_state: trunkline_agent_state::Config,
    pub billing: trunkline_billing::BillingConfig,
    pub directory: trunkline_directory::DirectoryConfig,
    pub gateway: trunkline_gateway::GatewayConfig,
    pub media: trunkline_media::MediaConfig,
    pub reporting: trunkline_reporting::ReportingConfig,
    pub routing: trunkline_routing::RoutingConfig,
}

impl Config {
    /// Reads everything a process with these services needs.
    pub(crate) fn read(mut settings: Settings, services: &[Service]) -> Result<Self, ConfigError> {
        let config = Self {
            log: settings.section("log", LogSettings::check_to_write)?,
            process: settings.section("process", |_: &ProcessSection| Ok(()))?,
            listen: settings.section("listen", |_: &ListenSection| Ok(()))?,
            endpoints: settings.section("endpoints", |it: &EndpointsSection| {
                it.check()?;
                it.check_for(services)
            })?,
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
}
