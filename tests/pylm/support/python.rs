//! The Python side.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A command that runs one of the Python programs in this folder.
pub fn script(name: &str) -> Command {
    // Cargo runs tests in the package's folder.
    let program = Path::new("tests/pylm").join(name);
    let program = std::path::absolute(program).unwrap();
    let mut command = Command::new(interpreter());
    command
        .arg(program)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env_remove("PYTHONPATH");
    command
}

pub fn interpreter() -> PathBuf {
    let python = match env::var_os("PALM_PYLM_PYTHON") {
        Some(python) => PathBuf::from(python),
        None => cache_folder().join("palm/venv/bin/python"),
    };
    assert!(
        python.exists(),
        "there is no {}, which has pylm 0.14.4: `tests/run` sets it up \
         (or name another one in PALM_PYLM_PYTHON)",
        python.display()
    );
    python
}

fn cache_folder() -> PathBuf {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty());
    match (set("XDG_CACHE_HOME"), set("HOME")) {
        (Some(folder), _) => PathBuf::from(folder),
        (None, Some(home)) => Path::new(&home).join(".cache"),
        (None, None) => PathBuf::from(".cache"),
    }
}
