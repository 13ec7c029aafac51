//! Whole exchanges as vectors: what comes in (bytes, times, random bytes) and what comes out, byte for byte, for every
//! language. `spec/vectors/exchange/README.md` explains the format; `cases` tells the stories, `tape` writes down what
//! the core does in them, `player` plays any such file.

mod cases;
mod fields;
mod player;
mod seeded;
mod tape;

use std::path::{Path, PathBuf};

pub use cases::groups;
pub use player::{outcome_kinds, play};
pub use tape::Case;

/// Where the files are.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../spec/vectors/exchange")
}

/// All files by name, from runs of the core.
pub fn files() -> Vec<(String, String)> {
    let groups = groups();
    let mut files: Vec<_> = groups.iter().map(|(name, cases)| (format!("{name}.json"), tape::text_of(cases))).collect();
    let counts: Vec<_> = groups.iter().map(|(name, cases)| format!("    \"{name}.json\": {}", cases.len())).collect();
    let sum: usize = groups.iter().map(|(_, cases)| cases.len()).sum();
    files.push((
        "index.json".to_owned(),
        format!("{{\n  \"cases\": {sum},\n  \"files\": {{\n{}\n  }}\n}}\n", counts.join(",\n")),
    ));
    files
}
