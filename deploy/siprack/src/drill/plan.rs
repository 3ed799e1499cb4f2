//! What a drill consists of: how many calls in which phase, between whose phones, under which Call-IDs. `io/drill` looks for
//! Call-IDs that are the node's, and for users whom nobody else's phone has registered.

use crate::args::Login;
use common::config::{Auth, Provisioning, Rack};
use std::net::SocketAddr;

/// What goes on in a call when its node dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// INVITE sent, no 100 heard yet.
    SetUp,
    Ringing,
    /// It rings at two phones of one user.
    Forked,
    /// It rings, and CANCEL was sent.
    Cancelling,
    /// Answered.
    Held,
    /// Answered, and BYE was sent.
    Ending,
}

impl Phase {
    pub const ALL: [Phase; 6] =
        [Phase::SetUp, Phase::Ringing, Phase::Forked, Phase::Cancelling, Phase::Held, Phase::Ending];

    pub fn label(self) -> &'static str {
        match self {
            Phase::SetUp => "set-up",
            Phase::Ringing => "ringing",
            Phase::Forked => "forked",
            Phase::Cancelling => "cancelling",
            Phase::Held => "held",
            Phase::Ending => "ending",
        }
    }

    /// Whether the call had been answered at the death.
    pub fn is_answered(self) -> bool {
        matches!(self, Phase::Held | Phase::Ending)
    }

    /// Of the n-th call: the phases take turns.
    pub fn of(n: usize) -> Phase {
        Phase::ALL[n % Phase::ALL.len()]
    }
}

#[derive(Clone, Debug)]
pub struct Plan {
    pub vip: SocketAddr,
    pub domain: String,
    /// The first has one phone; the second has two, at which forked calls ring. Each calls the other.
    pub users: [Login; 2],
    /// One for each call; the phases take turns.
    pub call_ids: Vec<String>,
    /// Our own addresses: where the callers are, and the phones that are called.
    pub lines: [SocketAddr; 3],
    /// Another one for every drill.
    pub seed: u64,
}

/// Call-IDs that no other drill uses; whose they are, the load manager knows.
pub fn call_ids(seed: u64) -> impl Iterator<Item = String> {
    (0u64..).map(move |n| format!("drill-{seed:x}-{n}"))
}

/// Users that a drill may register, the best first: those named, else the last of the rack file's subscribers, because
/// people take the first numbers for phones of their own; else any, where the domain asks for no proof.
pub fn phones(rack: &Rack, named: &[Login]) -> Result<Vec<Login>, String> {
    if let [_, ..] = named {
        return match named {
            [first, second] if first.user != second.user => Ok(named.to_vec()),
            _ => Err("a drill takes two phones: --phone USER:PASSWORD --phone USER:PASSWORD".into()),
        };
    }
    let domain = rack.default_domain().ok_or("the rack has no domain")?;
    let of_domain = |name: &Option<String>| name.as_ref().is_none_or(|n| n.eq_ignore_ascii_case(&domain.name));
    let ranges = rack.subscribers.iter().filter(|range| of_domain(&range.domain));
    let users = ranges.rev().flat_map(|range| {
        (range.first..=range.last).rev().map(|user| Login { user: user.to_string(), password: range.password.clone() })
    });
    let users: Vec<Login> = users.take(CANDIDATES).collect();
    if users.len() > 1 {
        return Ok(users);
    }
    if domain.auth == Auth::None && domain.provisioning == Provisioning::Open {
        return Ok(["drill-1", "drill-2"].map(|user| Login { user: user.into(), password: String::new() }).to_vec());
    }
    Err(format!(
        "the rack file names no phones to drill with; give two subscribers of {} that nobody uses: \
         --phone USER:PASSWORD --phone USER:PASSWORD",
        domain.name
    ))
}

/// Users looked at before it is given up.
const CANDIDATES: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::DRILL_CALLS;

    fn names(found: Result<Vec<Login>, String>) -> Vec<String> {
        found.unwrap().into_iter().map(|login| login.user).collect()
    }

    #[test]
    fn the_last_of_the_demo_rack_come_first_unless_others_are_named() {
        let rack = Rack::one_machine_default(3);
        assert_eq!(names(phones(&rack, &[]))[..3], ["1020", "1019", "1018"]);
        let login = |user: &str| Login { user: user.into(), password: "x".into() };
        assert_eq!(names(phones(&rack, &[login("a"), login("b")])), ["a", "b"]);
        for wrong in [vec![login("a")], vec![login("a"), login("a")], vec![login("a"), login("b"), login("c")]] {
            assert!(phones(&rack, &wrong).is_err_and(|e| e.contains("two phones")));
        }
    }

    #[test]
    fn without_subscribers_the_cure_is_said_and_an_open_domain_needs_none() {
        let mut rack = Rack::one_machine_default(3);
        rack.subscribers.clear();
        assert!(phones(&rack, &[]).is_err_and(|e| e.contains("--phone")));
        (rack.domains[0].auth, rack.domains[0].provisioning) = (Auth::None, Provisioning::Open);
        assert_eq!(names(phones(&rack, &[])), ["drill-1", "drill-2"]);
    }

    #[test]
    fn the_fewest_calls_are_in_every_phase() {
        let phases: Vec<Phase> = (0..*DRILL_CALLS.start() as usize).map(Phase::of).collect();
        assert_eq!(phases, Phase::ALL);
    }
}
