//! Writes `spec/vectors/exchange` anew from runs of the core and `spec/vectors/tokens` from what was forged, or with
//! `--check` says whether a file has drifted.

use std::process::ExitCode;

use coatroom_tests::{tokens, vectors};

fn main() -> ExitCode {
    let check = std::env::args().nth(1).as_deref() == Some("--check");
    let mut drifted = false;
    let exchanges = vectors::files().into_iter().map(|(name, text)| (vectors::folder().join(name), text));
    let tokens = tokens::files().into_iter().map(|(name, text)| (tokens::folder().join(name), text));
    for (path, text) in exchanges.chain(tokens) {
        if check {
            drifted |= std::fs::read_to_string(&path).ok().as_ref() != Some(&text);
        } else {
            std::fs::write(&path, &text).expect("the folder can be written");
        }
    }
    if drifted {
        eprintln!("spec/vectors is not what the core does: run `make spec` and read the difference");
    }
    ExitCode::from(u8::from(drifted))
}
