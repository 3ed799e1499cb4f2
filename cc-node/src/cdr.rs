//! The call detail record: exactly one an answered call, in the field names that collectors know; of calls that were not
//! answered there are such records, too, apart. `call` makes it, `io::cdr` writes it as a JSON line.

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
