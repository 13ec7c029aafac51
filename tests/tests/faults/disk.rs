//! Disks that are full, and folders that must not be written to.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

/// Set in a process whose files must not become larger than so many blocks of 512 bytes.
const LIMITED: &str = "COATROOM_FILES_LIMITED_TO";
const BLOCKS: &str = "512";

fn is_root() -> bool {
    fs::metadata("/proc/self").unwrap().uid() == 0
}

/// A folder where little has room.
pub struct SmallDisk {
    folder: TempDir,
    is_mounted: bool,
}

impl SmallDisk {
    /// A file system of 3 MB in memory where this process may mount one; else the test `name` runs in a process of its own
    /// whose files are limited to 256 KB each.
    pub fn with(name: &str, test: impl FnOnce(&Self)) {
        let folder = tempfile::tempdir().unwrap();
        if std::env::var_os(LIMITED).is_some() {
            return test(&Self { folder, is_mounted: false });
        }
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=3m,mode=700", "tmpfs"]).arg(folder.path());
        if is_root() && mount.status().is_ok_and(|status| status.success()) {
            println!("on a file system of 3 MB");
            let disk = Self { folder, is_mounted: true };
            fs::write(disk.ballast(), vec![7; 1 << 20]).unwrap();
            return test(&disk);
        }
        println!("with files limited to {BLOCKS} blocks");
        // A process that ignores the signal is told by the error of its write.
        let script = format!("trap '' XFSZ; ulimit -S -f {BLOCKS}; exec \"$0\" {name} --exact --nocapture");
        let me = std::env::current_exe().unwrap();
        let status = Command::new("/bin/sh").arg("-c").arg(script).arg(me).env(LIMITED, BLOCKS).status().unwrap();
        assert!(status.success(), "with limited files: {status}");
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn make_room(&self) {
        if self.is_mounted {
            fs::remove_file(self.ballast()).unwrap();
        } else {
            let me = std::process::id().to_string();
            let status = Command::new("prlimit").args(["--pid", &me, "--fsize=unlimited:"]).status().unwrap();
            assert!(status.success(), "no limit any more");
        }
    }

    fn ballast(&self) -> std::path::PathBuf {
        self.folder.path().join("ballast")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        if self.is_mounted {
            // Lazily, for a test that failed may have files open.
            let _left_behind = Command::new("umount").arg("-l").arg(self.folder.path()).status();
        }
    }
}

/// Whether permissions count for this process. For root they do not; then the test `name` runs as nobody.
pub fn unprivileged(name: &str) -> bool {
    if !is_root() {
        return true;
    }
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    // Its own place may be out of nobody's reach.
    let copy = folder.path().join("test");
    fs::copy(std::env::current_exe().unwrap(), &copy).unwrap();
    let nobody = ["--reuid=65534", "--regid=65534", "--clear-groups"];
    let status = Command::new("setpriv")
        .args(nobody)
        .arg(&copy)
        .args([name, "--exact", "--nocapture"])
        .current_dir("/")
        .status();
    assert!(status.unwrap().success(), "as nobody");
    false
}

/// Takes away the permission to write, from everything below and from the folder itself.
pub fn refuse_writes(path: &Path) {
    if path.is_dir() {
        fs::read_dir(path).unwrap().for_each(|entry| refuse_writes(&entry.unwrap().path()));
    }
    let mode = if path.is_dir() { 0o500 } else { 0o400 };
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}
