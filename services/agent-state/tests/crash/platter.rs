//! What of everything that was done may be found after the power failed.
//!
//! POSIX promises less than any file system keeps, and the least is what is tried here: bytes are durable after a sync of
//! their file, names after a sync of their directory, and of everything else each part is there or not, whatever its
//! age. Only two things are taken for granted: a rename within a directory happens or does not, and bytes that were
//! durable do not change because others are written beside them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::dice::Dice;
use super::disk::{Inode, Op, SimDisk, write};

const SECTOR: u64 = 512;

/// Files and directories by their names below the root.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Image {
    pub dirs: BTreeSet<PathBuf>,
    pub files: BTreeMap<PathBuf, Vec<u8>>,
}

/// Whether the disk keeps its word. A disk that does not is a planted bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    Kept,
    /// A file's sync does nothing.
    FilesNotSynced,
    /// A directory's sync does nothing.
    NamesNotSynced,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Node {
    File(Inode),
    Dir,
}

#[derive(Debug, Clone)]
enum Naming {
    Link(PathBuf, Node),
    Unlink(PathBuf),
    Rename { from: PathBuf, to: PathBuf, node: Node },
}

#[derive(Debug, Clone)]
enum Change {
    Write { offset: u64, bytes: Vec<u8> },
    SetLen(u64),
}

#[derive(Debug, Clone, Default)]
struct Directory {
    durable: BTreeMap<PathBuf, Node>,
    pending: Vec<Naming>,
}

#[derive(Debug, Clone, Default)]
struct File {
    durable: Vec<u8>,
    pending: Vec<Change>,
}

/// How much of what was not synced is there.
#[derive(Debug, Clone, Copy)]
pub struct Luck {
    /// Of a hundred names.
    pub names: u64,
    /// Of a hundred writes.
    pub writes: u64,
    /// Of a hundred writes that are there, how many only in part.
    pub torn: u64,
}

impl Luck {
    /// The machine went on, and only the process ended.
    pub const ALL: Self = Self { names: 100, writes: 100, torn: 0 };

    pub fn any(dice: &mut Dice) -> Self {
        let share = [0, 0, 50, 80, 100];
        Self { names: dice.pick(&share), writes: dice.pick(&share), torn: dice.pick(&[0, 30, 60]) }
    }
}

#[derive(Debug, Clone)]
pub struct Platter {
    root: PathBuf,
    word: Word,
    dirs: BTreeMap<PathBuf, Directory>,
    files: BTreeMap<Inode, File>,
}

impl Platter {
    /// The platter of a disk made of an image.
    pub fn of(root: &Path, image: &Image, disk: &SimDisk) -> Self {
        let mut dirs = BTreeMap::from([(root.to_owned(), Directory::default())]);
        let mut files = BTreeMap::new();
        for dir in &image.dirs {
            dirs.insert(root.join(dir), Directory::default());
        }
        let names = disk.names();
        let nodes = image.dirs.iter().map(|dir| (root.join(dir), Node::Dir));
        for (path, node) in nodes.chain(names.into_iter().map(|(path, inode)| (path, Node::File(inode)))) {
            let above = dirs.get_mut(path.parent().unwrap()).unwrap();
            above.durable.insert(path.clone(), node);
            if let Node::File(inode) = node {
                let durable = image.files[path.strip_prefix(root).unwrap()].clone();
                files.insert(inode, File { durable, pending: Vec::new() });
            }
        }
        Self { root: root.to_owned(), word: Word::Kept, dirs, files }
    }

    /// From now on this is what its syncs are worth.
    pub fn lie(&mut self, word: Word) {
        self.word = word;
    }

    pub fn take(&mut self, op: &Op) {
        match op {
            Op::MakeDir(path) => {
                self.name(path, Naming::Link(path.clone(), Node::Dir));
                self.dirs.entry(path.clone()).or_default();
            }
            Op::Link { path, inode } => self.name(path, Naming::Link(path.clone(), Node::File(*inode))),
            Op::Rename { from, to, inode } => {
                let node = Node::File(*inode);
                if from.parent() == to.parent() {
                    self.name(to, Naming::Rename { from: from.clone(), to: to.clone(), node });
                } else {
                    self.name(from, Naming::Unlink(from.clone()));
                    self.name(to, Naming::Link(to.clone(), node));
                }
            }
            Op::Unlink { path } => self.name(path, Naming::Unlink(path.clone())),
            Op::Write { inode, offset, bytes } => {
                self.file(*inode).pending.push(Change::Write { offset: *offset, bytes: bytes.clone() });
            }
            Op::SetLen { inode, len } => self.file(*inode).pending.push(Change::SetLen(*len)),
            Op::Sync { inode } if self.word != Word::FilesNotSynced => {
                let file = self.file(*inode);
                for change in std::mem::take(&mut file.pending) {
                    change.apply(&mut file.durable);
                }
            }
            Op::SyncFailed { inode } => {
                // Lengths are the journal's, and a journal that fails stops its file system: not what is tried here.
                self.file(*inode).pending.retain(|change| matches!(change, Change::SetLen(_)));
            }
            Op::SyncDir(path) if self.word != Word::NamesNotSynced => {
                // The one above the root is not ours.
                if let Some(dir) = self.dirs.get_mut(path) {
                    for naming in std::mem::take(&mut dir.pending) {
                        naming.apply(&mut dir.durable);
                    }
                }
            }
            Op::Sync { .. } | Op::SyncDir(_) | Op::Mark(_) => {}
        }
    }

    fn name(&mut self, path: &Path, naming: Naming) {
        self.dirs.get_mut(path.parent().unwrap()).unwrap().pending.push(naming);
    }

    fn file(&mut self, inode: Inode) -> &mut File {
        self.files.entry(inode).or_default()
    }

    /// The disk as the next process finds it when only this one ends: what is not synced is there, and still not synced.
    pub fn alive(&self) -> SimDisk {
        let (mut dirs, mut names) = (BTreeSet::new(), BTreeMap::new());
        dirs.extend(self.root.ancestors().map(Path::to_owned));
        for Directory { durable, pending } in self.dirs.values() {
            let mut now = durable.clone();
            pending.iter().for_each(|naming| naming.apply(&mut now));
            for (path, node) in now {
                match node {
                    Node::Dir => {
                        dirs.insert(path);
                    }
                    Node::File(inode) => {
                        names.insert(path, inode);
                    }
                }
            }
        }
        let file = |(inode, file): (&Inode, &File)| {
            let mut now = file.durable.clone();
            file.pending.iter().for_each(|change| change.apply(&mut now));
            (*inode, now)
        };
        let mut files: BTreeMap<Inode, Vec<u8>> = self.files.iter().map(file).collect();
        for inode in names.values() {
            files.entry(*inode).or_default();
        }
        SimDisk::found(dirs, names, files)
    }

    /// What is found after a crash now.
    pub fn crash(&self, luck: Luck, dice: &mut Dice) -> Image {
        let mut image = Image::default();
        let mut dirs = vec![self.root.clone()];
        while let Some(dir) = dirs.pop() {
            let Directory { durable, pending } = &self.dirs[&dir];
            let mut names = durable.clone();
            for naming in pending {
                if dice.chance(luck.names) {
                    naming.apply(&mut names);
                }
            }
            for (path, node) in names {
                let name = path.strip_prefix(&self.root).unwrap().to_owned();
                match node {
                    Node::Dir => {
                        image.dirs.insert(name);
                        dirs.push(path);
                    }
                    Node::File(inode) => {
                        let found = self.files.get(&inode).map(|file| file.crash(luck, dice));
                        image.files.insert(name, found.unwrap_or_default());
                    }
                }
            }
        }
        image
    }
}

impl Naming {
    fn apply(&self, names: &mut BTreeMap<PathBuf, Node>) {
        match self {
            Self::Link(path, node) => {
                names.insert(path.clone(), *node);
            }
            Self::Unlink(path) => {
                names.remove(path);
            }
            Self::Rename { from, to, node } => {
                if names.get(from) == Some(node) {
                    names.remove(from);
                }
                names.insert(to.clone(), *node);
            }
        }
    }
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Write { offset, bytes: written } => write(bytes, written, *offset),
            Self::SetLen(len) => bytes.resize(*len as usize, 0),
        }
    }
}

impl File {
    fn crash(&self, luck: Luck, dice: &mut Dice) -> Vec<u8> {
        let mut found = self.durable.clone();
        for change in &self.pending {
            if !dice.chance(luck.writes) {
                continue;
            }
            match change {
                Change::Write { offset, bytes } if dice.chance(luck.torn) => {
                    tear(&mut found, *offset, bytes, dice);
                }
                change => change.apply(&mut found),
            }
        }
        found
    }
}

/// Writes a part of it.
fn tear(file: &mut Vec<u8>, offset: u64, bytes: &[u8], dice: &mut Dice) {
    let len = bytes.len() as u64;
    let put = |file: &mut Vec<u8>, since: u64, until: u64| {
        let part =
            Change::Write { offset: offset + since, bytes: bytes[since as usize..until as usize].to_vec() };
        part.apply(file);
    };
    match dice.below(3) {
        // Up to any byte.
        0 => put(file, 0, dice.between(0, len)),
        // Up to the end of a sector.
        1 => {
            let until = (offset + dice.between(0, len)) / SECTOR * SECTOR;
            put(file, 0, until.clamp(offset, offset + len) - offset);
        }
        // Some sectors; the length may be there before they are, with zeros or with what was on the disk before.
        _ => {
            let end = (offset + len) as usize;
            if dice.chance(50) && file.len() < end {
                let (junk, noise) = (dice.chance(30), dice.roll());
                let mut noise = Dice::new(noise);
                file.resize_with(end, || if junk { noise.roll() as u8 } else { 0 });
            }
            let mut since = 0;
            while since < len {
                let until = ((offset + since) / SECTOR * SECTOR + SECTOR - offset).min(len);
                if dice.chance(50) {
                    put(file, since, until);
                }
                since = until;
            }
        }
    }
}
