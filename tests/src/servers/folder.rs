use std::path::Path;
use std::sync::Once;

use tempfile::TempDir;

const PREFIX: &str = "coatroom-server-";

/// A folder for a server. What tests left behind that were killed, or that never dropped a server, is removed first.
pub(super) fn temporary() -> TempDir {
    static TIDY: Once = Once::new();
    TIDY.call_once(tidy);
    let prefix = format!("{PREFIX}{}-", std::process::id());
    tempfile::Builder::new().prefix(&prefix).tempdir().expect("a folder")
}

fn tidy() {
    for entry in std::fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten() {
        let name = entry.file_name().into_string().unwrap_or_default();
        let owner = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
        if owner.is_some_and(|id| !Path::new(&format!("/proc/{id}")).exists()) {
            // It may be somebody else's.
            let _left = std::fs::remove_dir_all(entry.path());
        }
    }
}
