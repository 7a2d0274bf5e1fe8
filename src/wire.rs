//! Which of the two wires to speak.

/// The wire over which a peer is spoken to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wire {
    /// The palm link, if the peer has one, and else the pylm wire.
    #[default]
    Link,
    /// The pylm wire, even with a peer that has a link.
    Pylm,
}
