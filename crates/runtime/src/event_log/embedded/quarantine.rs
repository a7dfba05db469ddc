//! The marker that keeps a damaged partition out of use until a person removes it.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use trunkline_domain::vocabulary::{Cell, LogName};

use super::segment::Damage;
use crate::event_log::LogError;

fn path(dir: &Path) -> PathBuf {
    dir.join("QUARANTINED")
}

/// What everybody is told who asks for the partition.
pub fn error(log: LogName, cell: Cell, damage: &Damage) -> LogError {
    let file = format!("{log}/{cell}/{}", damage.file);
    LogError::Quarantined { log, cell, file, offset: damage.offset, reason: damage.reason.clone() }
}

/// Leaves the marker; the first finding stays.
pub fn mark(dir: &Path, damage: &Damage) -> io::Result<()> {
    let mut file = match fs::OpenOptions::new().write(true).create_new(true).open(path(dir)) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        other => other?,
    };
    let Damage { file: name, offset, reason } = damage;
    write!(file, "file: {name}\noffset: {offset}\nreason: {reason}\n")?;
    file.sync_all()?;
    fs::File::open(dir)?.sync_all()
}

/// What the marker says, when there is one.
pub fn marked(dir: &Path) -> io::Result<Option<Damage>> {
    let text = match fs::read_to_string(path(dir)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let value = |name: &str| {
        text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).unwrap_or("unknown")
    };
    Ok(Some(Damage {
        file: value("file").to_owned(),
        offset: value("offset").parse().unwrap_or(0),
        reason: value("reason").to_owned(),
    }))
}
