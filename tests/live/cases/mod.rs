//! The live runs, one promise a file.

mod dialogs;
mod draining;
mod drill;
mod going_on;
mod hanging;
mod healing;
mod ipv6;
mod load;
mod newcomer;
mod ownership;
mod pairs;
mod phones_behind_nat;
mod phones_under_death;
mod refusals;
mod soak;
mod stopping;
mod strangers;
mod subscribers;
mod trunk;

use crate::Case;
use crate::clients;

pub const ALL: &[Case] = &[
    Case { name: "a newcomer's two commands on loopback", needs: &[], run: newcomer::run },
    Case { name: "two seconds of load", needs: &[], run: load::run },
    Case { name: "a stopped node goes on", needs: &[], run: stopping::run },
    Case { name: "a stopped load manager is killed and replaced", needs: &[], run: hanging::run },
    Case { name: "a node is drained and taken back", needs: &[], run: draining::run },
    Case { name: "a drill kills a node among calls", needs: &[], run: drill::run },
    Case { name: "bad input is refused with words", needs: &[], run: refusals::run },
    Case { name: "200 users register, 500 calls at 50/s", needs: &["ip", "sipp"], run: subscribers::run },
    Case { name: "two phones behind two routers", needs: &["ip", "nft", "baresip"], run: phones_behind_nat::run },
    Case { name: "every client calls every other", needs: clients::NEEDS, run: pairs::run },
    Case {
        name: "phones whose node dies in the midst of a call",
        needs: phones_under_death::NEEDS,
        run: phones_under_death::run,
    },
    Case { name: "what passes besides calls", needs: &["ip", "sipp"], run: dialogs::run },
    Case { name: "calls over IPv6 and across", needs: ipv6::NEEDS, run: ipv6::run },
    Case { name: "strangers find nothing", needs: strangers::NEEDS, run: strangers::run },
    Case { name: "a trunk calls in and is called", needs: &["ip", "sipp"], run: trunk::run },
    Case { name: "any one process is killed and healed", needs: &["ip", "sipp"], run: healing::run },
    Case { name: "four nodes under kill, stop, cut, restart and drain", needs: ownership::NEEDS, run: ownership::run },
    Case { name: "no call is lost while processes die", needs: going_on::NEEDS, run: going_on::run },
    Case { name: "keys turn under load", needs: ownership::NEEDS, run: ownership::keys::run },
];

/// Only with `--soak`, or by name.
pub const SOAK: &[Case] = &[
    Case { name: "a hundred drills in a row", needs: &[], run: drill::run_long },
    Case { name: "no call is lost on poor planes", needs: going_on::NEEDS, run: going_on::run_on_poor_planes },
    Case {
        name: "phones whose node dies, ten times each",
        needs: phones_under_death::NEEDS,
        run: phones_under_death::run_long,
    },
    Case { name: "ten minutes under load", needs: &["ip", "sipp"], run: soak::run },
    Case { name: "no call is lost by a load manager cut off", needs: going_on::NEEDS, run: going_on::run_cut_off },
    Case { name: "no call is lost by 200 kills", needs: going_on::NEEDS, run: going_on::run_long },
    Case { name: "no call is lost by messages that kill", needs: going_on::NEEDS, run: going_on::run_poisoned },
    Case {
        name: "no call is lost while the whole rack is restarted",
        needs: going_on::NEEDS,
        run: going_on::run_restarts,
    },
    Case { name: "no call is lost by planes that are mute one way", needs: going_on::NEEDS, run: going_on::run_mute },
    Case { name: "no call is lost on hostile planes", needs: going_on::NEEDS, run: going_on::run_on_hostile_planes },
    Case {
        name: "nobody is taken over at 1 % loss on the only plane",
        needs: going_on::NEEDS,
        run: going_on::run_alone_on_one_plane,
    },
    Case {
        name: "nobody is taken over at 5 % loss on both planes",
        needs: going_on::NEEDS,
        run: going_on::run_alone_on_both_planes,
    },
    Case {
        name: "nobody is taken over at 20 % loss on one of two planes",
        needs: going_on::NEEDS,
        run: going_on::run_alone_on_one_of_two,
    },
    Case { name: "four nodes under ten times as many faults", needs: ownership::NEEDS, run: ownership::run_long },
];
