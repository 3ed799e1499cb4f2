//! Rule 6: the rack never ends a call by itself: no 481 or 408 leaves the VIP for a request of an established dialog.

use crate::simulation::{Carried, Simulation};

pub fn check(s: &Simulation) -> Result<(), String> {
    for Carried { at, from, to, bytes, .. } in s.wire() {
        let ours = *from == s.vip();
        if ours && [&b"SIP/2.0 481"[..], b"SIP/2.0 408"].iter().any(|head| bytes.starts_with(head)) {
            return Err(format!("at {at:?} to {to}: {}\n{}", String::from_utf8_lossy(bytes), s.story()));
        }
    }
    Ok(())
}
