//! The feed of endings: a file for each announcement, named by its number.
//!
//! Whoever reads holds the folder too: names that are listed while others are added may show a later one and miss an earlier
//! one. The last file stays, however old: a number that was given twice would be stepped over.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use coatroom_core::{Announcement, Timestamp};

use super::disk::{self, Fault, Held, hexadecimal};
use super::record;
use crate::feed::Line;

const FOLDER: &str = "feed";

/// The feed, held so that nobody else changes it.
#[derive(Debug)]
pub(super) struct Feed {
    folder: PathBuf,
    held: Held,
    /// Those that are kept, in order.
    numbers: Vec<u64>,
}

/// Makes the folder, if there is none.
pub(super) fn prepare(root: &Path) -> io::Result<()> {
    disk::create_folder(&root.join(FOLDER))
}

impl Feed {
    pub(super) fn hold(root: &Path) -> io::Result<Self> {
        let folder = root.join(FOLDER);
        let held = Held::take(&folder)?;
        let mut numbers: Vec<u64> = disk::names(&folder)?.iter().filter_map(|name| number(name)).collect();
        numbers.sort_unstable();
        Ok(Self { folder, held, numbers })
    }

    fn last(&self) -> u64 {
        self.numbers.last().copied().unwrap_or_default()
    }

    /// On the disk when this returns.
    pub(super) fn announce(&self, announcement: &Announcement, forget_at: Timestamp) -> Result<(), Fault> {
        let front = forget_at.as_unix_ms().to_be_bytes();
        self.held.write(&name(self.last().saturating_add(1)), &[&front, &announcement.to_bytes()], true)
    }

    /// At most `max` lines since a number, and where they begin: a number beyond the last is of another feed.
    // spec: FEED-3 19a1
    pub(super) fn announced(&self, since: u64, max: usize) -> io::Result<(u64, Vec<Line>)> {
        let since = Some(since).filter(|since| *since <= self.last()).unwrap_or_default();
        let from = self.numbers.partition_point(|number| *number <= since);
        let read = |number: &u64| fs::read(self.folder.join(name(*number))).map(|file| (*number, record(file)));
        let lines: io::Result<_> = self.numbers.iter().skip(from).take(max).map(read).collect();
        Ok((since, lines?))
    }

    /// Removes at most `max` that are due, from the oldest on.
    // spec: FEED-4 8e92
    pub(super) fn sweep(&self, now: Timestamp, max: usize) -> io::Result<()> {
        let but_the_last = self.numbers.len().saturating_sub(1);
        for number in self.numbers.iter().take(but_the_last.min(max)) {
            let name = name(*number);
            if disk::read_front(&self.folder.join(&name))?.is_some_and(|at| at > now) {
                break;
            }
            self.held.remove(&name, false)?;
        }
        Ok(())
    }
}

fn name(number: u64) -> String {
    hexadecimal(&number.to_be_bytes())
}

fn number(name: &str) -> Option<u64> {
    let bytes: Vec<u8> = name.as_bytes().chunks(2).map(disk::byte).collect::<Option<_>>()?;
    bytes.try_into().ok().map(u64::from_be_bytes)
}
