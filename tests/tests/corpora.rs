//! Every input that fuzzing ever kept goes through its target again: `fuzz/corpus/<target>/`, one file each.

use std::fs;
use std::path::PathBuf;

use coatroom_tests::targets::TARGETS;

fn corpus(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let files = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

#[test]
fn every_kept_input_keeps_the_properties_of_its_target() {
    for target in TARGETS {
        let inputs = corpus(target.name);
        assert!(inputs.len() >= 20, "the corpus of {} is gone", target.name);
        for (path, bytes) in inputs {
            println!("{}", path.display());
            (target.run)(&bytes);
        }
    }
}

/// What no engine would find twice: a few thousand inputs each that a simple generator makes of the corpus.
#[test]
fn inputs_near_the_kept_ones_keep_the_properties_too() {
    use coatroom_tests::rng::Fixed;
    use rand_core::TryRng;

    let mut rng = Fixed::new(7);
    let mut below = |limit: usize| rng.try_next_u64().unwrap() as usize % limit.max(1);
    for target in TARGETS {
        let inputs = corpus(target.name);
        for _ in 0..2_000 {
            let mut bytes = inputs[below(inputs.len())].1.clone();
            for _ in 0..1 + below(3) {
                match (below(4), bytes.is_empty()) {
                    (0, false) => bytes.truncate(below(bytes.len())),
                    (1, _) => bytes.extend_from_slice(&inputs[below(inputs.len())].1),
                    (_, false) => {
                        let at = below(bytes.len());
                        bytes[at] = below(256) as u8;
                    }
                    (_, true) => bytes.push(0),
                }
            }
            bytes.truncate(target.longest);
            (target.run)(&bytes);
        }
    }
}
