//! Another node holds the calls from now on, or this one holds those of another.

use super::{Call, CallRef, Calls, Side};
use crate::image;
use crate::record::{CallKey, RecordNo};
use crate::station::Station;
use crate::turn::Turn;
use std::sync::Arc;

impl Calls {
    /// All of them are another's; how many there were.
    pub fn forget_all(&mut self) -> usize {
        let (count, serial) = (self.kept.len(), self.serial);
        // A serial is never used twice: what still names a call of before finds none.
        *self = Calls { serial, ..Calls::new() };
        count
    }

    /// A call of a dead holder is ours now, as of this record. Nobody says whether its holder has come to write that it
    /// began, so that it is written again, under the same id.
    pub fn inherit(
        &mut self,
        turn: &mut Turn<'_>,
        station: &Station,
        (key, no): (Arc<CallKey>, RecordNo),
        image: image::Call,
    ) -> CallRef {
        let mut heir = Call::new(key, image.at, image.wall, image.opened);
        for (side, addresses) in [Side::Caller, Side::Callee].into_iter().zip(image.contacts) {
            addresses.into_iter().for_each(|address| {
                heir.saw_contact(side, address);
            });
        }
        heir.has_ended(image.ended);
        let call = self.open(heir);
        for (tag, peer) in &image.dialogs {
            self.dialog(call, tag, *peer);
        }
        for image::Answered { answer, at, session } in image.answers {
            let tag = answer.callee_tag.clone();
            let known = self.kept(call).and_then(|kept| kept.call.answered(at, answer)).is_none();
            if known {
                continue;
            }
            if self.kept(call).is_some_and(|kept| kept.longest.is_none()) {
                self.establish(call, at);
            }
            self.session_until(call, &tag, session);
        }
        self.started(turn, station, call, no);
        call
    }
}
