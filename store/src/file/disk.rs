//! Whole files or none: locks, writing beside and renaming.

use core::time::Duration;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Instant;

use coatroom_core::Timestamp;

pub(super) const LOCK: &str = ".lock";
/// A file on its way to its place; there is at most one, for whoever writes it holds the folder.
pub(super) const NEW: &str = ".new";

const PATIENCE: Duration = Duration::from_secs(2);

/// What is left after a change that failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fault {
    /// What was there before.
    Nothing,
    /// Nobody can tell.
    Doubt,
}

impl From<io::Error> for Fault {
    /// Whatever may fail before a file is in its place.
    fn from(_: io::Error) -> Self {
        Self::Nothing
    }
}

impl From<Fault> for io::Error {
    fn from(_: Fault) -> Self {
        io::ErrorKind::Other.into()
    }
}

/// A folder that nobody else changes while this value lives.
#[derive(Debug)]
pub(super) struct Held {
    folder: PathBuf,
    lock: File,
}

impl Held {
    /// Waits a bounded time: the holder may be a process that somebody has stopped.
    pub(super) fn take(folder: &Path) -> io::Result<Self> {
        let lock = private().create(true).truncate(false).open(folder.join(LOCK))?;
        let started = Instant::now();
        // Short pauses of uneven length, so that nobody is overtaken for long.
        for pause in (20..500).step_by(37).cycle() {
            match lock.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if started.elapsed() < PATIENCE => {
                    thread::sleep(Duration::from_micros(pause));
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Self { folder: folder.to_owned(), lock })
    }

    pub(super) fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        match fs::read(self.folder.join(name)) {
            Ok(content) => Ok(Some(content)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Puts a file into the folder in one step. With `durable`, it is there after a power cut as well; without, it or
    /// what was there before.
    pub(super) fn write(&self, name: &str, parts: &[&[u8]], durable: bool) -> Result<(), Fault> {
        write(&self.folder, name, parts, durable)
    }

    pub(super) fn remove(&self, name: &str, durable: bool) -> Result<(), Fault> {
        match fs::remove_file(self.folder.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        if durable { sync_folder(&self.folder).map_err(|_| Fault::Doubt) } else { Ok(()) }
    }
}

impl Drop for Held {
    /// Closing alone would leave the lock with a child that was forked meanwhile.
    fn drop(&mut self) {
        let _closed_anyway = self.lock.unlock();
    }
}

/// As [`Held::write`], in a folder below the one that is held.
pub(super) fn write(folder: &Path, name: &str, parts: &[&[u8]], durable: bool) -> Result<(), Fault> {
    let new = folder.join(NEW);
    let written = private().create(true).truncate(true).open(&new).and_then(|mut file| {
        parts.iter().try_for_each(|part| file.write_all(part))?;
        file.sync_data()
    });
    if let Err(error) = written {
        // A full disk gets its space back.
        let _written_over_next_time = fs::remove_file(&new);
        return Err(error.into());
    }
    fs::rename(&new, folder.join(name)).map_err(|_| Fault::Doubt)?;
    if durable { sync_folder(folder).map_err(|_| Fault::Doubt) } else { Ok(()) }
}

/// The point in time at the front of a file. None if there is no file, or no front.
pub(super) fn read_front(path: &Path) -> io::Result<Option<Timestamp>> {
    let mut front = [0; 8];
    match File::open(path).and_then(|mut file| file.read_exact(&mut front)) {
        Ok(()) => Ok(Some(Timestamp::from_unix_ms(u64::from_be_bytes(front)))),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof) => Ok(None),
        Err(error) => Err(error),
    }
}

/// What a folder holds, its lock and a file on its way excepted.
pub(super) fn names(folder: &Path) -> io::Result<Vec<String>> {
    let name = |entry: io::Result<fs::DirEntry>| entry.map(|entry| entry.file_name().into_string().unwrap_or_default());
    let names = fs::read_dir(folder)?.map(name).filter(|name| name.as_ref().is_ok_and(|name| !name.starts_with('.')));
    names.collect()
}

/// A folder for its owner alone, if there is none.
pub(super) fn create_folder(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        result => result,
    }
}

pub(super) fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).mode(0o600);
    options
}

pub(super) fn hexadecimal(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
    digits.filter_map(|digit| char::from_digit(digit.into(), 16)).collect()
}

/// The byte that two hexadecimal digits stand for.
pub(super) fn byte(digits: &[u8]) -> Option<u8> {
    let digit = |digit: &u8| char::from(*digit).to_digit(16);
    match digits {
        [high, low] => u8::try_from(digit(high)?.checked_mul(16)?.checked_add(digit(low)?)?).ok(),
        _ => None,
    }
}
