//! Prints what cites which clause. `spec/check` is the way to it.
//!
//! `clauses` prints the index, `clauses --json` the same for programs; `clauses --renew ID` renews what cites one clause.

use std::path::Path;
use std::process::ExitCode;
use std::{env, fs};

use coatroom_tests::clauses::{Book, files};

fn main() -> ExitCode {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let (pages, sources) = files(&root).expect("a readable tree");
    let book = Book::of(&pages, &sources);
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => print!("{}", book.index()),
        ["--json"] => print!("{}", book.json()),
        ["--renew", id] => {
            let Some(renewed) = book.renewed(id, sources) else {
                eprintln!("{id} is no clause");
                return ExitCode::FAILURE;
            };
            for (file, text) in renewed {
                fs::write(root.join(&file), text).expect("a writable tree");
                println!("{file}");
            }
        }
        _ => {
            eprintln!("usage: clauses [--json | --renew ID]");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
