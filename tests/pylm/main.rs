//! palm crossed with real pylm processes, in every role.
//!
//! The palm side runs in the test's process (in `matrix`: as its example programs), the pylm
//! side as Python processes: the `.py` files in this folder, which use nothing but pylm's
//! public interface. The interpreter is `$PALM_PYLM_PYTHON`, or that of the virtual environment
//! which `tests/run` makes.

mod bench;
mod cache;
mod calls;
mod errors;
#[cfg(feature = "http")]
mod http;
mod jobs;
mod lost;
mod many;
mod matrix;
mod parts;
mod readers;
mod reduce;
mod restart;
mod support;
