//! What goes with a [`Reducer`](crate::Reducer): which group a message belongs to, and the
//! function of its workers, which makes one value of two.
//!
//! ```
//! use palm::reduce::{Pair, combine};
//! use palm::{Handler, BoxError};
//!
//! fn number(bytes: &[u8]) -> Result<u64, BoxError> {
//!     Ok(std::str::from_utf8(bytes)?.parse()?)
//! }
//! // To be registered at the workers under the name that clients call.
//! let add = combine(|left, right| {
//!     Ok((number(left)? + number(right)?).to_string().into_bytes())
//! });
//! # use palm::{Call, CacheClient, Frame, Reply};
//! # let pair = Pair { left: b"20".to_vec(), right: b"22".to_vec() }.encode_payload();
//! # let cache = CacheClient::new("tcp://127.0.0.1:1");
//! # let task = Frame::new("", "", "server.add", "", &pair);
//! # let reply = add.call(&Call::new(&task, "worker", &cache)).unwrap();
//! # assert_eq!(reply, Reply::One(b"42".to_vec()));
//! # Ok::<(), palm::Error>(())
//! ```
//!
//! A worker that is no palm worker decodes the [`Pair`] itself: it is a protobuf message with
//! the fields `bytes left = 1` and `bytes right = 2`. It answers the combined payload, in the
//! message that it got, as pylm's workers do.

use std::sync::Arc;

use crate::error::BoxError;
use crate::handler::{Call, Handler, Reply};

pub use crate::core::reduction::Group;
pub use crate::message::Pair;

/// The handler of a function that combines two values of a group. It must be associative and
/// commutative: a value may meet any other of its group, on either side.
pub fn combine<F>(function: F) -> Arc<dyn Handler>
where
    F: Fn(&[u8], &[u8]) -> Result<Vec<u8>, BoxError> + Send + Sync + 'static,
{
    Arc::new(Combine(function))
}

struct Combine<F>(F);

impl<F> Handler for Combine<F>
where
    F: Fn(&[u8], &[u8]) -> Result<Vec<u8>, BoxError> + Send + Sync,
{
    fn call(&self, call: &Call<'_>) -> Result<Reply, BoxError> {
        let pair = Pair::decode_payload(call.payload())?;
        (self.0)(&pair.left, &pair.right).map(Reply::One)
    }
}
