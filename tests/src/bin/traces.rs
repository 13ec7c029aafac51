//! What `spec/traces` asks of the code: `play FILE` for traces of the model, `record FROM TO FILE` for traces of its own.

use coatroom_tests::traces::{record, replay};

fn main() {
    let words: Vec<_> = std::env::args().skip(1).collect();
    match &words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["play", file] => match replay(&std::fs::read_to_string(file).expect("a file of traces")) {
            Ok((traces, steps)) => println!("{traces} {steps}"),
            Err(difference) => {
                eprintln!("{difference}");
                std::process::exit(1);
            }
        },
        ["record", from, to, file] => {
            let (from, to): (u64, u64) = (from.parse().expect("a seed"), to.parse().expect("a seed"));
            let text: String = (from..to).map(record).collect();
            std::fs::write(file, text).expect("a file to write");
        }
        _ => panic!("play FILE, or record FROM TO FILE"),
    }
}
