//! The call detail record: exactly one an answered call, in the field names that collectors know; of calls that were not
//! answered there are such records, too, apart. And the start record, likewise apart, of a call that is answered. `call`
//! makes them, `io::cdr` writes them as JSON lines.

use common::ids::NodeId;
use common::time::WallMillis;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cdr {
    /// The same for the same call whoever writes it: a collector counts each once. 32 hex digits.
    pub id: String,
    pub method: Method,
    pub from_tag: String,
    pub to_tag: String,
    pub callid: String,
    /// Of the answer; of a missed call what the caller heard.
    pub sip_code: u16,
    pub sip_reason: String,
    /// When the INVITE came in; RFC 3339, UTC, milliseconds. So are all `_time` but `setup_time`.
    pub created: String,
    /// Seconds from the INVITE to the answer, or to the end of a missed call.
    pub setup_time: f64,
    /// When it was answered; empty of a missed call.
    pub start_time: String,
    pub end_time: String,
    /// Whole seconds from answer to end, rounded up as tariffs do.
    pub duration: u64,
    pub ms_duration: u64,
    /// From's URI; the user who proved to be calling, where From names another or nobody.
    pub caller: String,
    /// The Request-URI as dialled.
    pub callee: String,
    pub trunk_in: Option<String>,
    pub trunk_out: Option<String>,
    pub node: NodeId,
    pub site: String,
    /// Why it ended.
    pub ended_by: EndedBy,
}

/// What is known of a call when it is answered: a record of its own, under the id that its CDR will have. Every field is
/// one of the CDR's and says the same, but that a call with several answers may end by another than its first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Start {
    pub id: String,
    pub method: Method,
    pub from_tag: String,
    pub to_tag: String,
    pub callid: String,
    pub sip_code: u16,
    pub sip_reason: String,
    pub created: String,
    pub setup_time: f64,
    pub start_time: String,
    pub caller: String,
    pub callee: String,
    pub trunk_in: Option<String>,
    pub trunk_out: Option<String>,
    pub node: NodeId,
    pub site: String,
}

impl Start {
    /// Of a call that has ended.
    pub fn of(cdr: &Cdr) -> Start {
        Start {
            id: cdr.id.clone(),
            method: cdr.method,
            from_tag: cdr.from_tag.clone(),
            to_tag: cdr.to_tag.clone(),
            callid: cdr.callid.clone(),
            sip_code: cdr.sip_code,
            sip_reason: cdr.sip_reason.clone(),
            created: cdr.created.clone(),
            setup_time: cdr.setup_time,
            start_time: cdr.start_time.clone(),
            caller: cdr.caller.clone(),
            callee: cdr.callee.clone(),
            trunk_in: cdr.trunk_in.clone(),
            trunk_out: cdr.trunk_out.clone(),
            node: cdr.node,
            site: cdr.site.clone(),
        }
    }

    pub fn ended(self, end_time: String, ms_duration: u64, ended_by: EndedBy) -> Cdr {
        Cdr {
            id: self.id,
            method: self.method,
            from_tag: self.from_tag,
            to_tag: self.to_tag,
            callid: self.callid,
            sip_code: self.sip_code,
            sip_reason: self.sip_reason,
            created: self.created,
            setup_time: self.setup_time,
            start_time: self.start_time,
            end_time,
            duration: ms_duration.div_ceil(1000),
            ms_duration,
            caller: self.caller,
            callee: self.callee,
            trunk_in: self.trunk_in,
            trunk_out: self.trunk_out,
            node: self.node,
            site: self.site,
            ended_by,
        }
    }
}

/// What began it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    Invite,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndedBy {
    Caller,
    Callee,
    /// No BYE came within the longest time that a call may last.
    MaxDuration,
    /// Neither refresh nor BYE came within the session interval (RFC 4028 §8.3).
    SessionExpired,
    /// Missed: somebody or something said no.
    Refused,
    /// Missed: the caller gave up.
    Cancelled,
    /// Missed: nobody said anything, or it rang for too long.
    NoAnswer,
}

/// RFC 3339 in UTC with milliseconds.
pub fn timestamp(wall: WallMillis) -> String {
    let (ms, seconds) = (wall.0 % 1000, wall.0 / 1000);
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Civil date from days since 1970-01-01 (Hinnant): years begin in March, so leap days come last.
    let z = days + 719_468;
    let (era, day_of_era) = (z / 146_097, z % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    // Three of them a call: by hand it costs a tenth of what a format string does.
    let mut text = *b"0000-00-00T00:00:00.000Z";
    for (end, digits, number) in
        [(4, 4, year), (7, 2, month), (10, 2, day), (13, 2, hour), (16, 2, minute), (19, 2, second), (23, 3, ms)]
    {
        let mut rest = number;
        for place in text[end - digits..end].iter_mut().rev() {
            *place = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
    }
    String::from_utf8_lossy(&text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_read_as_rfc_3339() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_001, "2000-02-29T00:00:00.001Z"),
            (1_767_225_599_999, "2025-12-31T23:59:59.999Z"),
            (1_795_228_205_000, "2026-11-21T02:30:05.000Z"),
        ] {
            assert_eq!(timestamp(WallMillis(ms)), text);
        }
    }
}
