//! What the log asks of the file system. With the feature `contract` each step can be made to fail.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// The file system under the log.
#[derive(Debug, Default)]
pub struct Disk {
    /// What goes wrong, for tests.
    #[cfg(feature = "contract")]
    pub faults: super::Faults,
}

impl Disk {
    /// A file that was not there before.
    pub fn create(&self, path: &Path) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).create_new(true).open(path)
    }

    /// Writes all bytes at `offset`.
    pub fn write(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        #[cfg(feature = "contract")]
        if let Some((written, error)) = self.faults.write_fault() {
            file.write_all_at(&bytes[..written.min(bytes.len())], offset)?;
            return Err(error);
        }
        file.write_all_at(bytes, offset)
    }

    /// Makes data and length durable.
    pub fn sync(&self, file: &File) -> io::Result<()> {
        #[cfg(feature = "contract")]
        if let Some(error) = self.faults.sync_fault() {
            return Err(error);
        }
        file.sync_data()
    }

    /// Cuts a file and makes that durable.
    pub fn truncate(&self, file: &File, len: u64) -> io::Result<()> {
        file.set_len(len)?;
        file.sync_data()
    }

    /// Makes the names in a directory durable.
    pub fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }
}

/// Whether the file system had no room, or the file no right to grow; nothing else is wrong with it.
pub fn no_room(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let full = [Errno::NOSPC, Errno::DQUOT, Errno::FBIG];
    error.raw_os_error().is_some_and(|code| full.iter().any(|errno| errno.raw_os_error() == code))
}
