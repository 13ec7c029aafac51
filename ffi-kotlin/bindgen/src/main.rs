//! `uniffi-bindgen generate LIBRARY --language kotlin|swift --out-dir FOLDER`, at the version that the library is built with.

fn main() {
    uniffi::uniffi_bindgen_main();
}
