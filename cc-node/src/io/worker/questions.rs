//! Questions of the engine on their way to the control plane, which asks the location server and the DNS.

use tokio::sync::mpsc::Sender;
use tokio::sync::mpsc::error::TrySendError;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handed {
    Over,
    /// Too many are open: whoever waits for the answer is refused.
    Full,
    /// The process ends, and its control plane has gone first. Who is refused now would give up; who hears nothing says it
    /// again, to the node that goes on.
    Ends,
}

/// `has_room`: this worker may have one more open.
pub fn hand<T>(has_room: bool, to: &Sender<T>, question: T) -> Handed {
    if to.is_closed() {
        return Handed::Ends;
    }
    match has_room.then(|| to.try_send(question)) {
        Some(Ok(())) => Handed::Over,
        Some(Err(TrySendError::Closed(_))) => Handed::Ends,
        Some(Err(TrySendError::Full(_))) | None => Handed::Full,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::mpsc::channel;

    #[test]
    fn what_is_full_refuses_and_what_has_gone_says_nothing() {
        let (to, questions) = channel(1);
        assert_eq!(hand(false, &to, 1), Handed::Full);
        assert_eq!((hand(true, &to, 1), hand(true, &to, 2)), (Handed::Over, Handed::Full));
        drop(questions);
        assert_eq!((hand(true, &to, 3), hand(false, &to, 3)), (Handed::Ends, Handed::Ends));
    }
}
