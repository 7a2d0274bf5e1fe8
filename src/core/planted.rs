//! Faults that the simulator is to find: each takes away something that the guarantee stands on.
//! They exist only in tests, where one of them may be planted at a time.

/// Whether this fault is planted. Outside of tests none is.
macro_rules! planted {
    ($fault:ident) => {{
        #[cfg(test)]
        let is_planted = $crate::core::planted::is($crate::core::planted::Fault::$fault);
        #[cfg(not(test))]
        let is_planted = false;
        is_planted
    }};
}

#[cfg(test)]
pub(crate) use tests::{FAULTS, Fault, is, with};

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    /// What is wrong.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) enum Fault {
        /// A client is not told that its message is done.
        LostAck,
        /// A result is taken from whoever has it, though its task is with another.
        NoFencing,
        /// What is done still counts towards the credit.
        CreditLeak,
        /// After a break one more counts as received.
        ResumeOffByOne,
        /// A client reads doubles.
        NoDoublesDropped,
        /// How a message has ended is told once, though it may be lost.
        OutcomeNotRepeated,
        /// To a taker that was restarted, what was given is not given again.
        RestartForgets,
        /// A message that was lost inside a component counts as done.
        LostIsDone,
        /// A worker hands back what it runs, and runs it.
        RunningHandedBack,
        /// What could not be said to a worker counts as given to it.
        UnsaidIsGiven,
        /// A worker whose connection is lost is given more.
        GivenWhileAway,
        /// What has killed a worker is not charged with it.
        SuspectNotCharged,
        /// A step that was restarted does not find its copies.
        SlotNotInherited,
        /// Copies have positions by who came first.
        PositionsByArrival,
        /// More is given than the taker lets.
        WindowIgnored,
        /// With any piece of a message its client is told that it is the last.
        CompleteTooEarly,
        /// A message is done when what came of it is sent, and not when that has come.
        DoneTooEarly,
        /// What a worker hands back is not said.
        HandedBackInSilence,
        /// A job is not told that there is room again.
        NoWakeUp,
    }

    /// All of them.
    pub(crate) const FAULTS: [Fault; 19] = [
        Fault::LostAck,
        Fault::NoFencing,
        Fault::CreditLeak,
        Fault::ResumeOffByOne,
        Fault::NoDoublesDropped,
        Fault::OutcomeNotRepeated,
        Fault::RestartForgets,
        Fault::LostIsDone,
        Fault::RunningHandedBack,
        Fault::UnsaidIsGiven,
        Fault::GivenWhileAway,
        Fault::SuspectNotCharged,
        Fault::SlotNotInherited,
        Fault::PositionsByArrival,
        Fault::WindowIgnored,
        Fault::CompleteTooEarly,
        Fault::DoneTooEarly,
        Fault::HandedBackInSilence,
        Fault::NoWakeUp,
    ];

    thread_local! {
        static PLANTED: Cell<Option<Fault>> = const { Cell::new(None) };
    }

    pub(crate) fn is(fault: Fault) -> bool {
        PLANTED.get() == Some(fault)
    }

    /// Runs something with this fault planted, in this thread.
    pub(crate) fn with<R>(fault: Option<Fault>, run: impl FnOnce() -> R) -> R {
        PLANTED.set(fault);
        let result = run();
        PLANTED.set(None);
        result
    }
}
