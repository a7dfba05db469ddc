//! `trunkline apply`: what would change, then the change.

use std::path::PathBuf;

use clap::Args;
use trunkline_proto::directory::v1 as pb;
use trunkline_proto::directory::v1::directory_service_client::DirectoryServiceClient;

use crate::endpoints::{Addresses, DATA_DIR};
use crate::{Failure, table};

#[derive(Args)]
pub(crate) struct ApplyArgs {
    /// The document, YAML.
    #[arg(short, long)]
    file: PathBuf,
    /// Who does this; the login name when absent, or `unknown`.
    #[arg(long, env = "TRUNKLINE_AUTHOR")]
    author: Option<String>,
    /// From when it counts, RFC 3339; now when absent.
    #[arg(long)]
    effective_at: Option<String>,
    /// Show the plan and stop.
    #[arg(long)]
    dry_run: bool,
    /// Print JSON instead of tables.
    #[arg(long)]
    json: bool,
    /// The data directory of the running cluster.
    #[arg(long, default_value = DATA_DIR, env = "TRUNKLINE_DATA_DIR")]
    data: PathBuf,
    /// Address of directory's gRPC, instead of looking into the data directory.
    #[arg(long)]
    server: Option<String>,
}

pub(crate) async fn run(args: ApplyArgs) -> Result<(), Failure> {
    let document = std::fs::read_to_string(&args.file)
        .map_err(|error| Failure::usage(format!("could not read {}: {error}", args.file.display())))?;
    let file_name = args.file.display().to_string();
    let effective_at_ms = match &args.effective_at {
        None => 0,
        Some(text) => text
            .parse::<jiff::Timestamp>()
            .map_err(|error| Failure::usage(format!("`{text}` is not an RFC 3339 instant: {error}")))?
            .as_millisecond(),
    };
    let login = || ["USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok());
    let author = args.author.clone().or_else(login).unwrap_or_else(|| "unknown".to_owned());
    let address = match &args.server {
        Some(address) => address.clone(),
        None => Addresses::read(&args.data)?.service("directory")?,
    };
    let mut client = DirectoryServiceClient::new(trunkline_runtime::grpc::channel(&address));
    let plan = client
        .plan_directory(pb::PlanDirectoryRequest { file_name: file_name.clone(), document: document.clone() })
        .await
        .map_err(|status| refused(&address, &status))?
        .into_inner();
    refuse_problems(&plan.problems)?;
    notice(&plan.notices);
    if plan.changes.is_empty() {
        say(args.json, "nothing", plan.base_revision, &plan.changes);
        return Ok(());
    }
    if args.dry_run {
        say(args.json, "plan", plan.base_revision, &plan.changes);
        return Ok(());
    }
    let applied = client
        .apply_directory(pb::ApplyDirectoryRequest {
            file_name,
            document,
            author,
            effective_at_ms,
            base_revision: plan.base_revision,
        })
        .await
        .map_err(|status| refused(&address, &status))?
        .into_inner();
    refuse_problems(&applied.problems)?;
    say(args.json, "applied", applied.revision, &applied.changes);
    Ok(())
}

/// Beside what is printed for programs.
fn notice(notices: &[pb::Problem]) {
    for it in notices {
        eprintln!("notice: {}:{}:{}: {}", it.file_name, it.line_number, it.column_number, it.reason);
    }
}

fn refused(address: &str, status: &tonic::Status) -> Failure {
    match trunkline_runtime::grpc::reason_of(status) {
        Some(_) => Failure::world(format!("directory refused: {}", status.message())),
        // Without a reason of ours nobody answered, or nobody of ours.
        None => Failure::world(format!(
            "could not ask directory at {address}: {}; is the cluster running?",
            status.message()
        )),
    }
}

fn refuse_problems(problems: &[pb::Problem]) -> Result<(), Failure> {
    if problems.is_empty() {
        return Ok(());
    }
    let lines: Vec<String> = problems
        .iter()
        .map(|it| format!("{}:{}:{}: {}", it.file_name, it.line_number, it.column_number, it.reason))
        .collect();
    Err(Failure::usage(format!(
        "the document has {} problem(s); nothing was applied\n{}",
        lines.len(),
        lines.join("\n")
    )))
}

fn say(json: bool, what: &str, revision: u64, changes: &[pb::Change]) {
    let word = |change: &pb::Change| match change.kind() {
        pb::ChangeKind::Added => "add",
        pb::ChangeKind::Changed => "change",
        pb::ChangeKind::Retired => "retire",
        pb::ChangeKind::Unspecified => "?",
    };
    if json {
        let list: Vec<_> = changes
            .iter()
            .map(|it| {
                serde_json::json!({"change": word(it), "kind": it.subject_kind, "key": it.subject_key, "detail": it.detail})
            })
            .collect();
        println!("{}", serde_json::json!({"result": what, "revision": revision, "changes": list}));
        return;
    }
    let rows: Vec<Vec<String>> = changes
        .iter()
        .map(|it| vec![word(it).into(), it.subject_kind.clone(), it.subject_key.clone(), it.detail.clone()])
        .collect();
    if !rows.is_empty() {
        print!("{}", table::render(&["change", "kind", "key", "detail"], &rows));
    }
    match what {
        "nothing" => println!("revision {revision} already says all of this; nothing to change"),
        "plan" => println!("{} change(s) on top of revision {revision}; not applied (--dry-run)", rows.len()),
        _ => println!("applied as revision {revision}"),
    }
}
