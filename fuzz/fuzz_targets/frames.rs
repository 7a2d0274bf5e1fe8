//! Messages one after another, as one reader reads them and as each is by itself.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| palm::fuzzing::frames(bytes));
