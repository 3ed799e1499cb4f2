//! `limits`: each key has a floor, below which ordinary messages would be refused, and some have a ceiling.

use super::Check;
use std::ops::RangeInclusive;

const ANY: u32 = u32::MAX;
/// Nobody has so many calls at a time: it is a slip of the pen.
pub(super) const CALLS_AT_A_TIME: u32 = 1_000_000;
pub(super) const UNLIMITED: &str = "0: as many as there are";

impl Check<'_> {
    pub(super) fn limits(&mut self) {
        let l = &self.rack.limits;
        let bounds: [(&str, u32, RangeInclusive<u32>, &str); 14] = [
            ("message_bytes", l.message_bytes, 1300..=65_535, ""),
            ("headers", l.headers.into(), 16..=ANY, "a request that has come over some hops has 20"),
            ("header_value_bytes", l.header_value_bytes, 256..=ANY, ""),
            ("header_values", l.header_values.into(), 16..=ANY, "every hop adds a Via and often a Record-Route"),
            ("uri_bytes", l.uri_bytes, 128..=ANY, ""),
            ("params", l.params.into(), 8..=ANY, ""),
            ("param_bytes", l.param_bytes, 128..=ANY, "our own tokens must fit"),
            ("display_name_bytes", l.display_name_bytes, 32..=ANY, ""),
            ("transactions", l.transactions, 1..=ANY, "0 would refuse everything"),
            ("calls", l.calls, 1..=ANY, "0 would refuse every call"),
            ("transactions_per_source", l.transactions_per_source, 1..=ANY, "0 would refuse everybody but trunks"),
            ("calls_per_account", l.calls_per_account, 0..=CALLS_AT_A_TIME, UNLIMITED),
            ("calls_per_source", l.calls_per_source, 0..=CALLS_AT_A_TIME, UNLIMITED),
            ("trace_entries", l.trace_entries, 0..=16_777_216, "64 octets each, of every worker"),
        ];
        for (key, value, range, why) in bounds {
            let right = match *range.end() {
                ANY => format!("use {} or more", range.start()),
                end => format!("use {} to {end}", range.start()),
            };
            let hint = if why.is_empty() { right } else { format!("{right} ({why})") };
            self.unless(range.contains(&value), format!("limits.{key}"), format!("{value} is out of range"), hint);
        }
    }
}
