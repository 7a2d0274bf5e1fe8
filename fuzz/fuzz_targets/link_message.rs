//! Whatever a peer sends on the link: what is read out of it is what stands in it, or nothing.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| palm::fuzzing::link_message(bytes));
