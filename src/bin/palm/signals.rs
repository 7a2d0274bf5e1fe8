//! SIGINT and SIGTERM: the first ends the process in an orderly way, a second at once.

use std::io;
use std::sync::{Mutex, PoisonError};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

type Action = Box<dyn FnOnce(i32) + Send>;

/// What the first signal does. Without anything to be done in order, it ends the process.
static FIRST: Mutex<Option<Action>> = Mutex::new(None);

/// Starts to listen for signals.
pub fn install() -> io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    std::thread::Builder::new()
        .name("palm:signals".to_owned())
        .spawn(move || {
            for signal in signals.forever() {
                let first = FIRST.lock().unwrap_or_else(PoisonError::into_inner).take();
                match first {
                    Some(action) => action(signal),
                    None => std::process::exit(exit_code(signal)),
                }
            }
        })
        .map(drop)
}

/// Has the next signal do this, and the one after it end the process at once.
pub fn on_first(action: impl FnOnce(i32) + Send + 'static) {
    *FIRST.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(action));
}

/// The exit code of a process that a signal ended.
pub fn exit_code(signal: i32) -> i32 {
    128 + signal
}
