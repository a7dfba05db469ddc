//! The files through which promises are kept: votes, entries, snapshots, the node's id.
//!
//! The port is as narrow as what a crash can tell apart: bytes written and not synced, a name made and its directory not
//! synced. The operating system's files are behind it in production; `tests/crash/` has a disk that forgets on purpose.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A disk, shared by all who write on it.
pub type SharedDisk = Arc<dyn Disk>;

/// Directories and names. Nothing here is durable before [`Disk::sync_dir`], except what a file's own sync says of its bytes.
pub trait Disk: Send + Sync {
    /// Makes one directory. It may be there already.
    ///
    /// # Errors
    /// When the disk refuses.
    fn make_dir(&self, dir: &Path) -> io::Result<()>;
    /// Makes the names in a directory durable, as they are now.
    ///
    /// # Errors
    /// When the disk refuses.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// The names in a directory, in order.
    ///
    /// # Errors
    /// When the disk refuses.
    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>>;
    /// Whether there is something of that name.
    ///
    /// # Errors
    /// When the disk refuses.
    fn exists(&self, path: &Path) -> io::Result<bool>;
    /// All bytes of a file.
    ///
    /// # Errors
    /// When it is not there or the disk refuses.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
    /// An empty file of that name; what was in it is gone.
    ///
    /// # Errors
    /// When the disk refuses.
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    /// A file that is there, to be written on.
    ///
    /// # Errors
    /// When it is not there or the disk refuses.
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    /// Gives a file another name, within one step.
    ///
    /// # Errors
    /// When it is not there or the disk refuses.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Takes a file's name away.
    ///
    /// # Errors
    /// When it is not there or the disk refuses.
    fn remove(&self, path: &Path) -> io::Result<()>;
}

/// A file open for writing.
pub trait DiskFile: Send {
    /// Writes all bytes at an offset; the file grows when it must.
    ///
    /// # Errors
    /// When the disk refuses; a part of them may be written then.
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Cuts the file off, or lengthens it with zeros.
    ///
    /// # Errors
    /// When the disk refuses.
    fn set_len(&mut self, len: u64) -> io::Result<()>;
    /// Makes its bytes and its length durable. After a failure nobody knows what is: there is no second try.
    ///
    /// # Errors
    /// When the disk refuses.
    fn sync(&mut self) -> io::Result<()>;
}

/// Makes a directory and what is missing above it, each durable in the one above.
///
/// # Errors
/// When the disk refuses.
pub fn make_durably(disk: &dyn Disk, dir: &Path) -> io::Result<()> {
    let above = match dir.parent() {
        Some(above) if above.as_os_str().is_empty() => Path::new("."),
        Some(above) => above,
        None => return Ok(()),
    };
    if !disk.exists(above)? {
        make_durably(disk, above)?;
    }
    disk.make_dir(dir)?;
    disk.sync_dir(above)
}

/// The operating system's files.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn make_dir(&self, dir: &Path) -> io::Result<()> {
        fs::create_dir(dir).or_else(|error| if dir.is_dir() { Ok(()) } else { Err(error) })
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        let mut paths = fs::read_dir(dir)?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<io::Result<Vec<PathBuf>>>()?;
        paths.sort();
        Ok(paths)
    }
    fn exists(&self, path: &Path) -> io::Result<bool> {
        path.try_exists()
    }
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        fs::read(path)
    }
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(RealFile(File::create(path)?)))
    }
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(RealFile(OpenOptions::new().write(true).open(path)?)))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }
}

struct RealFile(File);

impl DiskFile for RealFile {
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }
    fn set_len(&mut self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }
    fn sync(&mut self) -> io::Result<()> {
        // The length is synced with the bytes, since they cannot be read back without it; times need not be.
        self.0.sync_data()
    }
}
