//! The live runs, one promise a file.

mod healing;
mod newcomer;
mod phones_behind_nat;
mod refusals;
mod subscribers;
mod trunk;

use crate::Case;

pub const ALL: &[Case] = &[
    Case { name: "a newcomer's two commands on loopback", needs: &[], run: newcomer::run },
    Case { name: "bad input is refused with words", needs: &[], run: refusals::run },
    Case { name: "200 users register, 500 calls at 50/s", needs: &["ip", "sipp"], run: subscribers::run },
    Case { name: "two phones behind two routers", needs: &["ip", "nft", "baresip"], run: phones_behind_nat::run },
    Case { name: "a trunk calls in and is called", needs: &["ip", "sipp"], run: trunk::run },
    Case { name: "any one process is killed and healed", needs: &["ip", "sipp"], run: healing::run },
];
