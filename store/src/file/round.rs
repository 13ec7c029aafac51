//! Looking at every file of a tree, a few at a time, folder after folder, and from the beginning again.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use super::FOLDERS;
use super::disk::{self, hexadecimal};

#[derive(Debug)]
pub(super) struct Round {
    tree: PathBuf,
    place: Mutex<Place>,
}

/// The folder, and the last name in it that was looked at.
#[derive(Debug, Default)]
struct Place {
    folder: u8,
    after: String,
}

impl Round {
    pub(super) fn of(tree: PathBuf) -> Self {
        Self { tree, place: Mutex::default() }
    }

    /// Looks at up to `max` files, none twice, or until `look` has had enough. Whoever comes while another is at it
    /// goes away: it is done already, or this process was forked in the middle of it.
    pub(super) fn go(&self, max: usize, mut look: impl FnMut(&Path, &str) -> io::Result<Onwards>) -> io::Result<()> {
        let Ok(mut place) = self.place.try_lock() else { return Ok(()) };
        let mut left = max;
        for _ in 0..FOLDERS {
            let folder = self.tree.join(hexadecimal(&[place.folder]));
            let mut names = disk::names(&folder)?;
            names.retain(|name| *name > place.after);
            names.sort_unstable();
            for name in names {
                if left == 0 {
                    return Ok(());
                }
                left = left.saturating_sub(1);
                let onwards = look(&folder, &name)?;
                place.after = name;
                if onwards == Onwards::Enough {
                    return Ok(());
                }
            }
            *place = Place { folder: place.folder.wrapping_add(1), after: String::new() };
        }
        Ok(())
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Onwards {
    More,
    Enough,
}
