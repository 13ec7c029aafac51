//! One file per session, in a folder that several processes of one host share: for looking at what is stored, and for
//! sites so small that a write may wait for the disk. SQLite is quicker, and takes less space.
//!
//! The folder must be on a local file system (ext4, XFS, APFS ...): locks and renames of network file systems promise
//! less. In it:
//! - `format`: what the folder is, and the number of its format;
//! - `sessions/XX/HANDLE`: from when on the record is garbage (8 bytes), then the record; `XX` is the first byte of the
//!   handle, all in hexadecimal digits, so that names differ also where the file system does not tell `a` from `A`;
//! - `principals/XX/DIGEST/HANDLE`: an entry of the index, and until when it counts (8 bytes); the digest is the
//!   SHA-256 of the principal's name, of which nothing else is kept;
//! - `principals/XX/DIGEST/not-before`: when the principal's sessions were revoked last (8 bytes);
//! - `feed/NUMBER`: an announcement of an ending, and until when it is kept (8 bytes);
//! - `.lock` in each `XX` and in `feed`: whoever changes anything there holds it.
//!
//! A file is written beside its place, brought to the disk and renamed, so whoever reads it needs no lock and sees a
//! whole one, also after a power cut. What is durable is acknowledged once the folder is on the disk, too. A login
//! holds its principal's folder until both record and entry are on the disk; without the entry it is not acknowledged
//! as entered. Nothing is kept open between two calls, so a fork inherits nothing. Whoever meets a lock waits for two
//! seconds at most: its holder may be a process that somebody has stopped.

mod disk;
mod feed;
mod index;
mod round;

use core::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use coatroom_core::{Announcement, Entry, Handle, Listing, Loaded, Stamp, Swap, Timestamp};

use crate::feed::{increment, number_of};
use crate::{Cursor, Engine, Entered, Increment, NotAnnounced, NotListed, Swapped, Unavailable, Wait};
use disk::{Fault, Held, hexadecimal};
use feed::Feed;
use index::Lines;
use round::{Onwards, Round};

const FORMAT: u32 = 1;
const FOLDERS: usize = 256;
/// Before the record in its file: from when on it is garbage.
const FRONT: usize = 8;
const LOOKED_AT_PER_REMOVAL: usize = 8;

/// An engine on a folder of files.
#[derive(Debug)]
pub struct Files {
    root: PathBuf,
    sessions: Round,
    principals: Round,
}

/// Why a folder cannot be used.
#[derive(Debug)]
#[non_exhaustive]
pub enum OpenError {
    /// The folder holds something else. It was not touched.
    Foreign(PathBuf),
    /// The folder was written by a newer version. It was not touched.
    Newer(PathBuf),
    /// The folder cannot be opened or created.
    Unreachable(PathBuf, io::Error),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Foreign(path) => write!(f, "`{}` holds other files: name an empty folder", path.display()),
            Self::Newer(path) => write!(f, "`{}` was written by a newer version: upgrade this one", path.display()),
            Self::Unreachable(path, error) => {
                write!(f, "`{}` cannot be used ({error}): check the folder and its permissions", path.display())
            }
        }
    }
}

impl core::error::Error for OpenError {}

impl Files {
    /// An engine on the folder at `root`, which is created, for its owner alone, if it is not there.
    pub fn new(root: impl Into<PathBuf>) -> Result<Self, OpenError> {
        let root = root.into();
        match prepare(&root) {
            Ok(None) => {
                let [sessions, principals] = ["sessions", "principals"].map(|kind| Round::of(root.join(kind)));
                Ok(Self { root, sessions, principals })
            }
            Ok(Some(refusal)) => Err(refusal),
            Err(error) => Err(OpenError::Unreachable(root, error)),
        }
    }

    fn folder(&self, at: u8) -> PathBuf {
        self.root.join("sessions").join(hexadecimal(&[at]))
    }

    fn folder_of(&self, handle: Handle) -> PathBuf {
        let [first, ..] = *handle.as_bytes();
        self.folder(first)
    }

    fn lines(&self, principal: &str) -> Result<Lines, Unavailable> {
        Lines::hold(&self.root, principal).map_err(|_| Unavailable)
    }

    // spec: STORE-1 4bc6, STORE-2 4ba9, STORE-3 1632, STORE-6 aac8
    fn write(&self, swap: &Swap) -> Swapped {
        self.try_write(swap).unwrap_or_else(|fault| match fault {
            Fault::Nothing => Swapped::Unavailable,
            Fault::Doubt => Swapped::Unknown,
        })
    }

    fn feed(&self) -> Result<Feed, NotAnnounced> {
        Feed::hold(&self.root).map_err(|_| NotAnnounced::Unavailable)
    }

    fn try_write(&self, swap: &Swap) -> Result<Swapped, Fault> {
        let held = Held::take(&self.folder_of(swap.handle))?;
        let name = name(swap.handle);
        let current = held.read(&name)?.map(record);
        if current.as_deref().and_then(Stamp::of) != swap.expected || (current.is_some() && swap.expected.is_none()) {
            return Ok(Swapped::Conflict(current));
        }
        match &swap.new {
            Some(new) => {
                let front = swap.garbage_at.as_unix_ms().to_be_bytes();
                held.write(&name, &[&front, new], swap.durable)?;
            }
            None => held.remove(&name, swap.durable)?,
        }
        Ok(Swapped::Done)
    }

    /// Removes a record that is garbage, and says whether it was.
    fn sweep_record(folder: &Path, name: &str, now: Timestamp) -> io::Result<bool> {
        let file = folder.join(name);
        let is_garbage = || disk::read_front(&file).map(|at| at.is_some_and(|at| at <= now));
        if !is_garbage()? {
            return Ok(false);
        }
        let held = Held::take(folder)?;
        // Somebody may have written it meanwhile.
        let removed = is_garbage()?;
        if removed {
            held.remove(name, false)?;
        }
        Ok(removed)
    }
}

impl Engine for Files {
    fn load(&self, handle: Handle) -> Loaded {
        let folder = self.folder_of(handle);
        match fs::read(folder.join(name(handle))) {
            Ok(file) => Loaded::Found(record(file)),
            // Absent only if the folder is there: not when a disk was taken away.
            Err(error) if error.kind() == io::ErrorKind::NotFound && folder.is_dir() => Loaded::Absent,
            Err(_) => Loaded::Unavailable,
        }
    }

    fn swap(&self, swap: &Swap, wait: Wait) -> Option<Swapped> {
        if wait == Wait::Never {
            return None;
        }
        Some(match &swap.listing {
            Listing::Keep => self.write(swap),
            Listing::Enter(entry) => match self.lines(&entry.principal) {
                Err(Unavailable) => Swapped::Unavailable,
                Ok(lines) => match lines.admits(entry) {
                    Err(_) => Swapped::Unavailable,
                    Ok(false) => Swapped::Full,
                    Ok(true) => match self.write(swap) {
                        // Where the entry fails, it is still to be made.
                        Swapped::Done => lines.enter(entry).map_or(Swapped::Done, Swapped::Entered),
                        refused => refused,
                    },
                },
            },
            Listing::Leave(principal) => {
                let Ok(lines) = self.lines(principal) else { return Some(Swapped::Unavailable) };
                let written = self.write(swap);
                if written == Swapped::Done {
                    // An entry too many misses nobody.
                    let _harmless = lines.leave(swap.handle);
                }
                written
            }
        })
    }

    fn enter(&self, entry: &Entry) -> Result<Entered, NotListed> {
        let lines = self.lines(&entry.principal)?;
        match lines.admits(entry) {
            Ok(false) => Err(NotListed::Full),
            Ok(true) => lines.enter(entry).map_err(|_| NotListed::Unavailable),
            Err(_) => Err(NotListed::Unavailable),
        }
    }

    fn sessions(&self, principal: &str) -> Result<Vec<Handle>, Unavailable> {
        self.lines(principal)?.sessions().map_err(|_| Unavailable)
    }

    fn leave(&self, principal: &str, handle: Handle) -> Result<(), Unavailable> {
        self.lines(principal)?.leave(handle).map_err(|_| Unavailable)
    }

    fn bar(&self, principal: &str, now: Timestamp) -> Result<Timestamp, Unavailable> {
        self.lines(principal)?.bar(now).map_err(|_| Unavailable)
    }

    /// In the order of the handles; the cursor is the last of them.
    fn scan(&self, from: Option<Cursor>, max: usize) -> Result<(Vec<Handle>, Option<Cursor>), Unavailable> {
        let from = from.map(|Cursor(bytes)| bytes);
        let first = from.as_deref().and_then(|bytes| bytes.first().copied()).unwrap_or_default();
        let mut found: Vec<Handle> = Vec::new();
        for at in first..=u8::MAX {
            let names = disk::names(&self.folder(at)).map_err(|_| Unavailable)?;
            let mut handles: Vec<Handle> = names.iter().filter_map(|name| handle(name)).collect();
            handles.retain(|handle| from.as_deref().is_none_or(|from| &handle.as_bytes()[..] > from));
            handles.sort_unstable();
            found.extend(handles);
            if found.len() > max {
                found.truncate(max.max(1));
                let last = found.last().map(|handle| Cursor(handle.as_bytes().to_vec()));
                return Ok((found, last));
            }
        }
        Ok((found, None))
    }

    /// Looks at a bounded number of files, and goes on behind them the next time.
    // spec: STORE-7 250a
    fn sweep(&self, now: Timestamp, max: usize) -> Result<usize, Unavailable> {
        let looked_at = max.saturating_mul(LOOKED_AT_PER_REMOVAL);
        let mut removed = 0_usize;
        let records = self.sessions.go(looked_at, |folder, name| {
            removed = removed.saturating_add(usize::from(Self::sweep_record(folder, name, now)?));
            Ok(if removed < max { Onwards::More } else { Onwards::Enough })
        });
        let principals = self.principals.go(max, |shard, digest| {
            index::sweep(shard, digest, now)?;
            Ok(Onwards::More)
        });
        let announcements = Feed::hold(&self.root).and_then(|feed| feed.sweep(now, max));
        records.and(principals).and(announcements).map_err(|_| Unavailable)?;
        Ok(removed)
    }

    fn has_feed(&self) -> bool {
        true
    }

    fn announce(&self, announcement: &Announcement, forget_at: Timestamp) -> Result<(), NotAnnounced> {
        self.feed()?.announce(announcement, forget_at).map_err(|_| NotAnnounced::Unavailable)
    }

    fn announced(&self, since: Option<Cursor>, max: usize) -> Result<Increment, NotAnnounced> {
        let read = self.feed()?.announced(number_of(since.as_ref()), max.saturating_add(1));
        let (since, lines) = read.map_err(|_| NotAnnounced::Unavailable)?;
        increment(lines, since, max)
    }
}

fn name(handle: Handle) -> String {
    hexadecimal(handle.as_bytes())
}

fn handle(name: &str) -> Option<Handle> {
    let bytes: Vec<u8> = name.as_bytes().chunks(2).map(disk::byte).collect::<Option<_>>()?;
    bytes.try_into().ok().map(Handle::from_bytes)
}

/// The record in a file. A file too short for one is damaged, and so is the record that it stands for.
fn record(mut file: Vec<u8>) -> Vec<u8> {
    file.drain(..FRONT.min(file.len()));
    file
}

/// Creates, checks or refuses the folder.
fn prepare(root: &Path) -> io::Result<Option<OpenError>> {
    disk::create_folder(root)?;
    let file = root.join("format");
    if !file.exists() {
        let others = fs::read_dir(root)?.filter(|entry| entry.as_ref().is_ok_and(|entry| !is_ours(&entry.file_name())));
        // Another process may have prepared the folder meanwhile, and then there is the file.
        if others.count() > 0 && !file.exists() {
            return Ok(Some(OpenError::Foreign(root.to_owned())));
        }
        let held = Held::take(root)?;
        if !file.exists() {
            held.write("format", &[format!("coatroom sessions {FORMAT}\n").as_bytes()], true)?;
        }
    }
    let text = fs::read_to_string(file)?;
    let number = text.strip_prefix("coatroom sessions ").and_then(|rest| rest.trim_end().parse::<u32>().ok());
    match number {
        None => return Ok(Some(OpenError::Foreign(root.to_owned()))),
        Some(number) if number > FORMAT => return Ok(Some(OpenError::Newer(root.to_owned()))),
        Some(_) => {}
    }
    for kind in ["sessions", "principals"] {
        let parent = root.join(kind);
        disk::create_folder(&parent)?;
        for at in 0..=u8::MAX {
            disk::create_folder(&parent.join(hexadecimal(&[at])))?;
        }
        disk::sync_folder(&parent)?;
    }
    feed::prepare(root)?;
    disk::sync_folder(root)?;
    Ok(None)
}

/// What is there before the format is.
fn is_ours(name: &std::ffi::OsStr) -> bool {
    name == disk::LOCK || name == disk::NEW
}
