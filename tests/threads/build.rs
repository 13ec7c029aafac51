//! Tells `store/src/sync.rs` whose locks to use.

fn main() {
    println!("cargo::rustc-cfg=coatroom_threads");
    println!("cargo::rerun-if-changed=build.rs");
}
