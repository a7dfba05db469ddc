//! One run a directory: whoever empties a directory that another run works in ends that one, with errors about files that are
//! not there any more.

use std::fs::{File, create_dir_all};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::Failure;

/// A directory is this run's until it is dropped, or the process ends however it may.
#[derive(Debug)]
pub struct Alone(#[expect(dead_code, reason = "holds the lock")] File);

impl Alone {
    /// Takes a directory, which need not be there. The lock is a file beside it, so that it may be emptied.
    ///
    /// # Errors
    /// When another run has it.
    pub fn in_dir(dir: &Path) -> Result<Self, Failure> {
        let mut beside = dir.as_os_str().to_owned();
        beside.push(".lock");
        let beside = PathBuf::from(beside);
        if let Some(parent) = beside.parent() {
            create_dir_all(parent)?;
        }
        let file = File::create(&beside)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self(file)),
            Err(Errno::WOULDBLOCK) => Err(Failure::new(format!(
                "{} is in use by another run: wait for its end, or name another directory",
                dir.display()
            ))),
            Err(error) => Err(std::io::Error::from(error).into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_taken_once_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let (one, other) = (dir.path().join("one"), dir.path().join("other"));
        let held = Alone::in_dir(&one).unwrap();
        let refused = Alone::in_dir(&one).unwrap_err().to_string();
        assert!(refused.contains("is in use by another run"), "{refused}");
        Alone::in_dir(&other).unwrap();
        drop(held);
        Alone::in_dir(&one).unwrap();
    }
}
