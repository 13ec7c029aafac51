//! The index of principals: a folder for each, named by a digest, with a file for each session.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use coatroom_core::{Entry, Handle, NOT_BEFORE_KEPT, Timestamp};
use sha2::{Digest, Sha256};

use super::disk::{self, Fault, Held, hexadecimal};
use super::{handle, name};
use crate::Entered;
use crate::index::named;

const NOT_BEFORE: &str = "not-before";

/// What is known of one principal, held so that nobody else changes it.
#[derive(Debug)]
pub(super) struct Lines {
    folder: PathBuf,
    _held: Held,
}

impl Lines {
    pub(super) fn hold(root: &Path, principal: &str) -> io::Result<Self> {
        let digest = Sha256::digest(principal.as_bytes());
        let shard = shard(root, digest.first().copied().unwrap_or_default());
        let held = Held::take(&shard)?;
        Ok(Self { folder: shard.join(hexadecimal(&digest)), _held: held })
    }

    /// Whether so few other sessions are listed that this one may be.
    pub(super) fn admits(&self, entry: &Entry) -> io::Result<bool> {
        let Some(at_most) = entry.at_most else { return Ok(true) };
        Ok(count(&self.others(entry)?) < at_most)
    }

    /// On the disk when this returns.
    pub(super) fn enter(&self, entry: &Entry) -> Result<Entered, Fault> {
        let others = self.others(entry)?;
        let count = count(&others).saturating_add(1);
        let revoked = self.revoked()?;
        let is_listed = self.folder.join(name(entry.handle)).exists();
        self.put(&name(entry.handle), entry.until)?;
        Ok(Entered { revoked, ago: None, count, before: (!is_listed).then(|| named(entry, others)) })
    }

    pub(super) fn sessions(&self) -> io::Result<Vec<Handle>> {
        Ok(self.names()?.iter().filter_map(|name| handle(name)).collect())
    }

    pub(super) fn leave(&self, handle: Handle) -> io::Result<()> {
        match fs::remove_file(self.folder.join(name(handle))) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    pub(super) fn bar(&self, now: Timestamp) -> Result<Timestamp, Fault> {
        let moment = now.max(self.revoked()?.plus(Duration::from_millis(1)));
        self.put(NOT_BEFORE, moment)?;
        Ok(moment)
    }

    /// Those that are not over, with the time by which they are.
    fn others(&self, entry: &Entry) -> io::Result<Vec<(Timestamp, Handle)>> {
        let mut others = Vec::new();
        for name in self.names()? {
            if let Some(other) = handle(&name).filter(|handle| *handle != entry.handle) {
                // A file that does not say until when counts for ever: nobody is missed.
                let until = disk::read_front(&self.folder.join(&name))?.unwrap_or(Timestamp::MAX);
                if until > entry.now {
                    others.push((until, other));
                }
            }
        }
        Ok(others)
    }

    fn revoked(&self) -> io::Result<Timestamp> {
        let file = self.folder.join(NOT_BEFORE);
        match disk::read_front(&file)? {
            Some(at) => Ok(at),
            None if file.exists() => Err(io::ErrorKind::InvalidData.into()),
            None => Ok(Timestamp::default()),
        }
    }

    fn names(&self) -> io::Result<Vec<String>> {
        match disk::names(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            names => names,
        }
    }

    fn put(&self, name: &str, at: Timestamp) -> Result<(), Fault> {
        disk::create_folder(&self.folder)?;
        // Each time: whoever made it may have been killed before this.
        disk::sync_folder(self.folder.parent().unwrap_or(&self.folder))?;
        disk::write(&self.folder, name, &[&at.as_unix_ms().to_be_bytes()], true)
    }
}

/// Removes a principal's entries that are over and a revocation that no login can meet any more; and the folder, if it
/// is empty then.
pub(super) fn sweep(shard: &Path, digest: &str, now: Timestamp) -> io::Result<()> {
    let folder = shard.join(digest);
    let _held = Held::take(shard)?;
    let names = match disk::names(&folder) {
        // Another process was faster.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        names => names?,
    };
    let mut is_empty = true;
    for name in names {
        let file = folder.join(&name);
        let over = disk::read_front(&file)?.map(|at| if name == NOT_BEFORE { at.plus(NOT_BEFORE_KEPT) } else { at });
        if over.is_some_and(|over| over <= now) {
            fs::remove_file(file)?;
        } else {
            is_empty = false;
        }
    }
    if is_empty {
        let _there_is_none = fs::remove_file(folder.join(disk::NEW));
        fs::remove_dir(&folder)?;
    }
    Ok(())
}

fn count(others: &[(Timestamp, Handle)]) -> u32 {
    u32::try_from(others.len()).unwrap_or(u32::MAX)
}

fn shard(root: &Path, at: u8) -> PathBuf {
    root.join("principals").join(hexadecimal(&[at]))
}
