//! The palm binary.

use std::path::PathBuf;

pub fn palm_program() -> PathBuf {
    // Not `env!`: without the feature cli there is no such program, and the rest still compiles.
    match option_env!("CARGO_BIN_EXE_palm") {
        Some(program) => PathBuf::from(program),
        None => panic!("palm's programs need the feature cli"),
    }
}
