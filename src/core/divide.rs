//! What may be a bundle of several messages, and can be taken apart.

/// Something that is kept or given as one, and may stand for several messages that follow each
/// other.
pub(crate) trait Divide: Sized {
    /// Whether it matters which of its messages a result is of: because somebody answers for each,
    /// or each has a number.
    fn is_tracked(&self) -> bool {
        true
    }

    /// How many messages it is.
    fn count(&self) -> usize;

    /// Takes it apart: it is its first `count` messages from now on. Gives the others, of which
    /// there is at least one.
    fn split_off(&mut self, count: usize) -> Self;

    /// Its messages, each by itself.
    fn singles(self) -> impl ExactSizeIterator<Item = Self>;
}

/// Tests of what does not look into things have numbers and letters of them.
#[cfg(test)]
macro_rules! undivided {
    ($($of:ty),*) => {
        $(impl Divide for $of {
            fn count(&self) -> usize {
                1
            }

            fn split_off(&mut self, _: usize) -> Self {
                panic!("it is one message")
            }

            fn singles(self) -> impl ExactSizeIterator<Item = Self> {
                std::iter::once(self)
            }
        })*
    };
}

#[cfg(test)]
undivided!(char, u32, u64, &str);
