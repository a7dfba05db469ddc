//! The disk as a running process sees it, which writes down everything that is done to it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use trunkline_agent_state::raft::types::LogId;
use trunkline_agent_state::store::disk::{Disk, DiskFile};

use super::platter::Image;

/// A file, whatever it is called.
pub type Inode = usize;

/// What was done, in order.
#[derive(Debug, Clone)]
pub enum Op {
    MakeDir(PathBuf),
    Link {
        path: PathBuf,
        inode: Inode,
    },
    Rename {
        from: PathBuf,
        to: PathBuf,
        inode: Inode,
    },
    Unlink {
        path: PathBuf,
    },
    Write {
        inode: Inode,
        offset: u64,
        bytes: Vec<u8>,
    },
    SetLen {
        inode: Inode,
        len: u64,
    },
    Sync {
        inode: Inode,
    },
    /// It failed: what was written since the last one stays readable, and will never be on the disk.
    SyncFailed {
        inode: Inode,
    },
    SyncDir(PathBuf),
    Mark(Mark),
}

/// What was promised meanwhile.
#[derive(Debug, Clone, Copy)]
pub enum Mark {
    /// So many records were handed over.
    Issued(usize),
    /// So many were acknowledged.
    Acknowledged(usize),
    /// A snapshot of this was.
    Saved(LogId),
    /// The state knows everything up to this.
    Applied(LogId),
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The process ends: nothing it does from here on happens.
    Kill,
    /// The next sync of a file fails.
    SyncFails,
    /// There is no room: of the next write so many bytes fit, and nothing later does.
    Full(usize),
}

#[derive(Default)]
struct Now {
    dirs: BTreeSet<PathBuf>,
    names: BTreeMap<PathBuf, Inode>,
    files: Vec<Vec<u8>>,
    journal: Vec<Op>,
    /// A fault, and how many steps before it still go well.
    armed: Option<(u64, Fault)>,
    /// The one that has come.
    struck: Option<Fault>,
    held: bool,
    blocked: usize,
}

/// Cheap to clone; clones are the same.
#[derive(Clone, Default)]
pub struct SimDisk(Arc<(Mutex<Now>, Condvar)>);

impl SimDisk {
    /// A disk that holds an image, all of it durable, below `root`.
    pub fn of(root: &Path, image: &Image) -> Self {
        let disk = Self::default();
        let mut now = disk.now();
        now.dirs.extend(root.ancestors().map(Path::to_owned));
        now.dirs.extend(image.dirs.iter().map(|dir| root.join(dir)));
        for (name, bytes) in &image.files {
            let inode = now.files.len();
            now.files.push(bytes.clone());
            now.names.insert(root.join(name), inode);
        }
        drop(now);
        disk
    }

    /// A disk that goes on where another process left it.
    pub fn found(
        dirs: BTreeSet<PathBuf>,
        names: BTreeMap<PathBuf, Inode>,
        files: BTreeMap<Inode, Vec<u8>>,
    ) -> Self {
        let disk = Self::default();
        let mut now = disk.now();
        (now.dirs, now.names) = (dirs, names);
        now.files.resize(files.last_key_value().map_or(0, |(inode, _)| inode + 1), Vec::new());
        for (inode, bytes) in files {
            now.files[inode] = bytes;
        }
        drop(now);
        disk
    }

    fn now(&self) -> MutexGuard<'_, Now> {
        self.0.0.lock().unwrap()
    }

    pub fn shared(&self) -> Arc<dyn Disk> {
        Arc::new(self.clone())
    }

    /// The inodes by name, as they are in an image this disk was made of.
    pub fn names(&self) -> BTreeMap<PathBuf, Inode> {
        self.now().names.clone()
    }

    pub fn mark(&self, mark: Mark) {
        self.now().journal.push(Op::Mark(mark));
    }

    /// What was done since the last call.
    pub fn take_journal(&self) -> Vec<Op> {
        std::mem::take(&mut self.now().journal)
    }

    pub fn arm(&self, after: u64, fault: Fault) {
        self.now().armed = Some((after, fault));
    }

    pub fn struck(&self) -> Option<Fault> {
        self.now().struck
    }

    /// Nothing goes wrong any more: a new process, room, a disk that works.
    pub fn revive(&self) -> Option<Fault> {
        let mut now = self.now();
        now.armed = None;
        now.struck.take()
    }

    /// Keeps whoever writes next waiting until [`SimDisk::release`].
    pub fn hold(&self) {
        self.now().held = true;
    }

    /// Waits until somebody waits.
    pub fn wait_blocked(&self) {
        let mut now = self.now();
        while now.blocked == 0 {
            now = self.0.1.wait(now).unwrap();
        }
    }

    pub fn release(&self) {
        self.now().held = false;
        self.0.1.notify_all();
    }

    /// Where every change begins. `Err` when nothing happens.
    fn step(&self, sync: bool, write: bool) -> io::Result<(MutexGuard<'_, Now>, Option<Fault>)> {
        let mut now = self.now();
        while now.held {
            now.blocked += 1;
            self.0.1.notify_all();
            now = self.0.1.wait(now).unwrap();
            now.blocked -= 1;
        }
        match now.struck {
            Some(Fault::Kill) => return Err(io::Error::other("the process is dead")),
            Some(Fault::Full(_)) if write => return Err(io::Error::from_raw_os_error(28)),
            _ => {}
        }
        let due = match &mut now.armed {
            Some((0, Fault::Kill)) => true,
            Some((0, Fault::SyncFails)) => sync,
            Some((0, Fault::Full(_))) => write,
            Some((after, _)) => {
                *after -= 1;
                false
            }
            None => false,
        };
        if !due {
            return Ok((now, None));
        }
        let fault = now.armed.take().map(|(_, fault)| fault);
        now.struck = fault;
        match fault {
            Some(Fault::Kill) => Err(io::Error::other("the process is dead")),
            fault => Ok((now, fault)),
        }
    }

    fn change(&self) -> io::Result<MutexGuard<'_, Now>> {
        self.step(false, false).map(|(now, _)| now)
    }
}

fn missing() -> io::Error {
    io::ErrorKind::NotFound.into()
}

impl Now {
    fn inode(&self, path: &Path) -> io::Result<Inode> {
        self.names.get(path).copied().ok_or_else(missing)
    }
}

impl Disk for SimDisk {
    fn make_dir(&self, dir: &Path) -> io::Result<()> {
        let mut now = self.change()?;
        if now.dirs.insert(dir.to_owned()) {
            assert!(now.dirs.contains(dir.parent().unwrap()), "{} is made in nothing", dir.display());
            now.journal.push(Op::MakeDir(dir.to_owned()));
        }
        Ok(())
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut now = self.change()?;
        if !now.dirs.contains(dir) {
            return Err(missing());
        }
        now.journal.push(Op::SyncDir(dir.to_owned()));
        Ok(())
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        let now = self.now();
        if !now.dirs.contains(dir) {
            return Err(missing());
        }
        let names = now.names.keys().chain(&now.dirs);
        let mut names: Vec<_> = names.filter(|path| path.parent() == Some(dir)).cloned().collect();
        names.sort();
        Ok(names)
    }
    fn exists(&self, path: &Path) -> io::Result<bool> {
        let now = self.now();
        Ok(now.names.contains_key(path) || now.dirs.contains(path))
    }
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let now = self.now();
        Ok(now.files[now.inode(path)?].clone())
    }
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut now = self.change()?;
        if !now.dirs.contains(path.parent().unwrap()) {
            return Err(missing());
        }
        let inode = match now.names.get(path).copied() {
            Some(inode) => {
                now.files[inode].clear();
                now.journal.push(Op::SetLen { inode, len: 0 });
                inode
            }
            None => {
                let inode = now.files.len();
                now.files.push(Vec::new());
                now.names.insert(path.to_owned(), inode);
                now.journal.push(Op::Link { path: path.to_owned(), inode });
                inode
            }
        };
        Ok(Box::new(SimFile { disk: self.clone(), inode }))
    }
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let inode = self.now().inode(path)?;
        Ok(Box::new(SimFile { disk: self.clone(), inode }))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut now = self.change()?;
        let inode = now.inode(from)?;
        now.names.remove(from);
        now.names.insert(to.to_owned(), inode);
        now.journal.push(Op::Rename { from: from.to_owned(), to: to.to_owned(), inode });
        Ok(())
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut now = self.change()?;
        now.inode(path)?;
        now.names.remove(path);
        now.journal.push(Op::Unlink { path: path.to_owned() });
        Ok(())
    }
}

struct SimFile {
    disk: SimDisk,
    inode: Inode,
}

impl DiskFile for SimFile {
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let (mut now, fault) = self.disk.step(false, true)?;
        let taken = match fault {
            Some(Fault::Full(room)) => &bytes[..room.min(bytes.len())],
            _ => bytes,
        };
        write(&mut now.files[self.inode], taken, offset);
        now.journal.push(Op::Write { inode: self.inode, offset, bytes: taken.to_vec() });
        if fault.is_some() { Err(io::Error::from_raw_os_error(28)) } else { Ok(()) }
    }
    fn set_len(&mut self, len: u64) -> io::Result<()> {
        let mut now = self.disk.change()?;
        now.files[self.inode].resize(len as usize, 0);
        now.journal.push(Op::SetLen { inode: self.inode, len });
        Ok(())
    }
    fn sync(&mut self) -> io::Result<()> {
        let (mut now, fault) = self.disk.step(true, false)?;
        let inode = self.inode;
        if fault.is_some() {
            now.journal.push(Op::SyncFailed { inode });
            return Err(io::Error::from_raw_os_error(5));
        }
        now.journal.push(Op::Sync { inode });
        Ok(())
    }
}

/// As `pwrite`: what lies between the end and the offset is zeros.
pub fn write(file: &mut Vec<u8>, bytes: &[u8], offset: u64) {
    let (since, until) = (offset as usize, offset as usize + bytes.len());
    if !bytes.is_empty() {
        file.resize(file.len().max(until), 0);
        file[since..until].copy_from_slice(bytes);
    }
}
