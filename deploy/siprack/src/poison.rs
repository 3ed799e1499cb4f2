//! Whether a child died by its own doing. Then what its workers had in hand is suspect, and its successor shuts it out; after
//! any other end it is not. Pure: `io/in_hand` has the memory, `io/up` the child.

use rustix::process::Signal;

/// What a process gets for what it does itself: a wild pointer, a failed assertion, an overflown stack. SIGKILL and SIGTERM come
/// from others: an operator, the agent, a kernel that is out of memory.
const OWN_DOING: [Signal; 5] = [Signal::SEGV, Signal::ABORT, Signal::BUS, Signal::ILL, Signal::FPE];

/// `signal`: that ended it; none if it has ended by itself, with an exit code.
pub fn died_of_itself(signal: Option<i32>) -> bool {
    signal.is_some_and(|signal| OWN_DOING.iter().any(|own| own.as_raw() == signal))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_process_does_to_itself_makes_a_message_suspect() {
        for (signal, expected) in [
            (Signal::SEGV, true),
            (Signal::ABORT, true),
            (Signal::BUS, true),
            (Signal::ILL, true),
            (Signal::FPE, true),
            (Signal::KILL, false),
            (Signal::TERM, false),
            (Signal::INT, false),
            (Signal::HUP, false),
            (Signal::PIPE, false),
            (Signal::QUIT, false),
        ] {
            assert_eq!(died_of_itself(Some(signal.as_raw())), expected, "{signal:?}");
        }
        assert!(!died_of_itself(None), "an exit code");
    }
}
