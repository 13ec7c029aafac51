use std::fs::{File, OpenOptions, TryLockError};
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicU16, Ordering};

/// Below the ports that the system gives to outgoing connections, so that a stopped server finds its own free again.
const FIRST: u16 = 20_000;
const COUNT: u16 = 12_000;

/// A port of loopback that no other test process takes while this value lives.
#[derive(Debug)]
pub struct Port {
    pub number: u16,
    _lock: File,
}

impl Port {
    pub fn free() -> Self {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        let uid = std::fs::metadata("/proc/self").expect("a process").uid();
        let folder = std::env::temp_dir().join(format!("coatroom-ports-{uid}"));
        std::fs::create_dir_all(&folder).expect("a folder for locks");
        let begin = std::process::id().wrapping_mul(61) as u16;
        for _ in 0..COUNT {
            let number = FIRST + begin.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT;
            let path = folder.join(number.to_string());
            let lock = OpenOptions::new().create(true).truncate(false).write(true).open(path).expect("a lock file");
            match lock.try_lock() {
                Ok(()) if TcpListener::bind(("127.0.0.1", number)).is_ok() => return Self { number, _lock: lock },
                Ok(()) | Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => panic!("no lock on a port: {error}"),
            }
        }
        panic!("no free port");
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.number)
    }
}
