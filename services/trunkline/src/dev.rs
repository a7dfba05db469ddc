//! `trunkline dev`: all services in one process, over an embedded log unless the settings name another.
//! `trunkline serve`: some of them, beside other processes of the same cluster.

use std::path::PathBuf;

use clap::Args;
use trunkline_runtime::event_log::settings::settings;

use crate::endpoints::DATA_DIR;
use crate::settings::{Config, Service};
use crate::{Failure, process};

#[derive(Args)]
pub(crate) struct ProcessArgs {
    /// Where everything durable goes.
    #[arg(long, default_value = DATA_DIR, env = "TRUNKLINE_DATA_DIR")]
    data: PathBuf,
    /// A TOML file with sections log, process, listen, endpoints, telemetry and one per service; `trunkline.toml` of the
    /// data directory when absent and there.
    #[arg(long)]
    config: Option<PathBuf>,
    /// REST, page and gRPC passthrough; the same as `--set gateway.http_listen=…`.
    #[arg(long)]
    http: Option<String>,
    /// SIP over UDP and TCP; the same as `--set media.sip_listen=…`.
    #[arg(long)]
    sip: Option<String>,
    /// Metrics and health; the same as `--set process.ops_listen=…`.
    #[arg(long)]
    ops: Option<String>,
    /// One setting, as `media.rtp_ip=127.0.0.1`; may be repeated.
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE")]
    settings: Vec<String>,
}

#[derive(Args)]
pub(crate) struct ServeArgs {
    /// Which services this process runs.
    #[arg(required = true)]
    services: Vec<Service>,
    #[command(flatten)]
    process: ProcessArgs,
}

impl ProcessArgs {
    async fn run(self, services: &[Service]) -> Result<(), Failure> {
        let shorthand = [
            ("gateway.http_listen", &self.http),
            ("media.sip_listen", &self.sip),
            ("process.ops_listen", &self.ops),
        ];
        let shorthand: Vec<String> = shorthand
            .iter()
            .filter_map(|(key, value)| value.as_ref().map(|value| format!("{key}={value}")))
            .collect();
        let flags = self.settings.iter().chain(&shorthand).map(String::as_str);
        let config = settings(&self.data, self.config.as_deref())
            .and_then(|settings| settings.flags(flags))
            .and_then(|settings| Config::read(settings, services))
            .map_err(|error| Failure::usage(error.to_string()))?;
        process::run(config, &self.data, services).await
    }
}

pub(crate) async fn run(args: ProcessArgs) -> Result<(), Failure> {
    args.run(&Service::ALL).await
}

pub(crate) async fn serve(args: ServeArgs) -> Result<(), Failure> {
    let services: Vec<_> =
        Service::ALL.into_iter().filter(|service| args.services.contains(service)).collect();
    args.process.run(&services).await
}
