//! Whatever peers say on the link, in whatever order: the server's side of it goes on, and its
//! accounts stay right (an overflow is a panic here).
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| palm::fuzzing::post(bytes));
