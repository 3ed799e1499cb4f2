//! Call detail records as nodes have written them, for people and for other programs: which are wanted, each once, and as a
//! table, JSON lines or CSV. Used by `io/cdr`.

use crate::columns::{columns, printable};
use cc_node::cdr::{Cdr, Start, timestamp};
use common::time::WallMillis;
use hashbrown::HashSet;
use serde_json::Value;

/// As they stand in a line, and in CSV.
const ENDED: [&str; 20] = [
    "id",
    "method",
    "from_tag",
    "to_tag",
    "callid",
    "sip_code",
    "sip_reason",
    "created",
    "setup_time",
    "start_time",
    "end_time",
    "duration",
    "ms_duration",
    "caller",
    "callee",
    "trunk_in",
    "trunk_out",
    "node",
    "site",
    "ended_by",
];

/// Likewise of a call that has begun.
const BEGUN: [&str; 16] = [
    "id",
    "method",
    "from_tag",
    "to_tag",
    "callid",
    "sip_code",
    "sip_reason",
    "created",
    "setup_time",
    "start_time",
    "caller",
    "callee",
    "trunk_in",
    "trunk_out",
    "node",
    "site",
];

/// What stands in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Calls that have ended, answered or missed.
    Ended,
    /// Calls that were answered.
    Begun,
}

impl Kind {
    fn fields(self) -> &'static [&'static str] {
        match self {
            Kind::Ended => &ENDED,
            Kind::Begun => &BEGUN,
        }
    }

    fn heading(self) -> [&'static str; 7] {
        match self {
            Kind::Ended => ["END", "CALLER", "CALLEE", "DURATION", "CODE", "ENDED BY", "NODE"],
            Kind::Begun => ["START", "CALLER", "CALLEE", "SET-UP", "CODE", "TRUNK", "NODE"],
        }
    }

    fn read(self, line: &str) -> serde_json::Result<Detail> {
        Ok(match self {
            Kind::Ended => Detail::Ended(serde_json::from_str(line)?),
            Kind::Begun => Detail::Begun(serde_json::from_str(line)?),
        })
    }
}

#[derive(Clone, Debug, PartialEq)]
pub enum Detail {
    Ended(Cdr),
    Begun(Start),
}

impl Detail {
    pub fn id(&self) -> &str {
        match self {
            Detail::Ended(cdr) => &cdr.id,
            Detail::Begun(start) => &start.id,
        }
    }

    pub fn call_id(&self) -> &str {
        match self {
            Detail::Ended(cdr) => &cdr.callid,
            Detail::Begun(start) => &start.callid,
        }
    }

    /// When it ended, or began.
    fn moment(&self) -> &str {
        match self {
            Detail::Ended(cdr) => &cdr.end_time,
            Detail::Begun(start) => &start.start_time,
        }
    }

    fn value(&self) -> Value {
        match self {
            Detail::Ended(cdr) => serde_json::to_value(cdr),
            Detail::Begun(start) => serde_json::to_value(start),
        }
        .unwrap_or_default()
    }

    fn cells(&self) -> [String; 7] {
        let (caller, callee, length, code, how, node) = match self {
            Detail::Ended(cdr) => {
                let by = serde_json::to_value(cdr.ended_by).unwrap_or_default();
                let by = by.as_str().unwrap_or_default().replace('_', " ");
                (&cdr.caller, &cdr.callee, format!("{} s", cdr.duration), cdr.sip_code, by, cdr.node)
            }
            Detail::Begun(start) => {
                let trunk = start.trunk_out.as_ref().or(start.trunk_in.as_ref()).map_or("-", String::as_str);
                let length = format!("{:.1} s", start.setup_time);
                (&start.caller, &start.callee, length, start.sip_code, printable(trunk), start.node)
            }
        };
        let (caller, callee) = (printable(caller), printable(callee));
        [printable(self.moment()), caller, callee, length, code.to_string(), how, node.to_string()]
    }
}

/// Which records are wanted.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Those that ended, or began, then or later.
    pub since: Option<WallMillis>,
    pub call_id: Option<String>,
}

impl Wanted {
    fn is(&self, detail: &Detail) -> bool {
        self.since.is_none_or(|since| *detail.moment() >= *timestamp(since))
            && self.call_id.as_ref().is_none_or(|call_id| detail.call_id() == *call_id)
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    pub detail: Detail,
    /// As it stands in the file.
    pub line: String,
}

/// Takes the lines of all files, in any order.
pub struct Collector {
    kind: Kind,
    wanted: Wanted,
    /// A record stands in the files of two nodes when the first was lost before it could say that it had written it.
    ids: HashSet<u128, ahash::RandomState>,
    records: Vec<Record>,
}

impl Collector {
    pub fn new(kind: Kind, wanted: Wanted) -> Collector {
        let ids = HashSet::with_hasher(ahash::RandomState::with_seeds(1, 2, 3, 4));
        Collector { kind, wanted, ids, records: Vec::new() }
    }

    /// # Errors
    /// Why the line is no record.
    pub fn line(&mut self, line: &str) -> Result<(), String> {
        let detail = self.kind.read(line).map_err(|error| error.to_string().replace(" at line 1", ","))?;
        let id = detail.id();
        let id = u128::from_str_radix(id, 16).map_err(|_| format!("`{}` is no id", printable(id)))?;
        if self.wanted.is(&detail) && self.ids.insert(id) {
            self.records.push(Record { detail, line: line.to_owned() });
        }
        Ok(())
    }

    /// Those that have come since the last call, by when they ended, or began.
    pub fn take(&mut self) -> Vec<Record> {
        let mut records = std::mem::take(&mut self.records);
        records.sort_by(|a, b| (a.detail.moment(), a.detail.id()).cmp(&(b.detail.moment(), b.detail.id())));
        records
    }
}

/// For people. Control characters of the network's names are not shown.
pub fn table(kind: Kind, records: &[Record]) -> String {
    let mut rows = vec![kind.heading().map(String::from)];
    rows.extend(records.iter().map(|record| record.detail.cells()));
    columns(&rows)
}

/// Likewise, of calls of which the next are not known yet: columns of a width that does for most. No heading.
pub fn lines(records: &[Record]) -> String {
    let line = |record: &Record| {
        let [end, caller, callee, duration, code, by, node] = record.detail.cells();
        format!("{end:<24}  {caller:<32}  {callee:<32}  {duration:>8}  {code}  {by:<15}  {node}\n")
    };
    records.iter().map(line).collect()
}

/// One a line, as they stand in the files.
pub fn json(records: &[Record]) -> String {
    records.iter().map(|record| format!("{}\n", record.line)).collect()
}

/// RFC 4180 without its heading.
pub fn csv(kind: Kind, records: &[Record]) -> String {
    let row = |record: &Record| {
        let value = record.detail.value();
        let cells: Vec<String> = kind.fields().iter().map(|field| cell(&value[field])).collect();
        cells.join(",") + "\r\n"
    };
    records.iter().map(row).collect()
}

pub fn csv_heading(kind: Kind) -> String {
    kind.fields().join(",") + "\r\n"
}

/// What a caller has named begins no formula: spreadsheets take a text behind an apostrophe for text.
fn cell(value: &Value) -> String {
    let Some(text) = value.as_str() else { return if value.is_null() { String::new() } else { value.to_string() } };
    let guard = if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { "'" } else { "" };
    match text.contains([',', '"', '\r', '\n']) {
        true => format!("\"{guard}{}\"", text.replace('"', "\"\"")),
        false => format!("{guard}{text}"),
    }
}

/// A date and time of RFC 3339: `2026-11-22T08:30:00Z`, `2026-11-22T09:30:00.5+01:00`.
///
/// # Errors
/// It is none; what would be one.
pub fn moment(text: &str) -> Result<WallMillis, String> {
    parsed(text).ok_or_else(|| format!("`{text}` is no moment of RFC 3339; write 2026-11-22T08:30:00Z"))
}

fn parsed(text: &str) -> Option<WallMillis> {
    let number = |digits: &str, width: usize, most: u64| {
        let good = digits.len() == width && digits.bytes().all(|b| b.is_ascii_digit());
        digits.parse::<u64>().ok().filter(|n| good && *n <= most)
    };
    let (date, rest) = text.split_once(['T', 't', ' '])?;
    let [year, month, day] = <[&str; 3]>::try_from(date.split('-').collect::<Vec<_>>()).ok()?;
    let (year, month, day) = (number(year, 4, 9999)?, number(month, 2, 12)?, number(day, 2, 31)?);
    let (time, zone) = rest.split_at(rest.find(['Z', 'z', '+', '-'])?);
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let [hour, minute, second] = <[&str; 3]>::try_from(time.split(':').collect::<Vec<_>>()).ok()?;
    let (hour, minute, second) = (number(hour, 2, 23)?, number(minute, 2, 59)?, number(second, 2, 60)?);
    let ms = (1..=9).contains(&fraction.len()).then(|| number(fraction, fraction.len(), u64::MAX))??;
    let ms = ms * 1000 / 10_u64.pow(fraction.len() as u32);
    let ahead_min = match zone.split_at(1) {
        ("Z" | "z", "") => 0,
        (sign, offset) => {
            let (hours, minutes) = offset.split_once(':')?;
            let minutes = (number(hours, 2, 23)? * 60 + number(minutes, 2, 59)?) as i64;
            if sign == "+" { minutes } else { -minutes }
        }
    };
    if month == 0 || day == 0 {
        return None;
    }
    // Days since 1970-01-01 (Hinnant): years begin in March, so leap days come last.
    let (y, m) = if month > 2 { (year, month - 3) } else { (year.checked_sub(1)?, month + 9) };
    let days = (y * 365 + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1) as i64 - 719_468;
    let seconds = days * 86_400 + (hour * 3600 + minute * 60 + second) as i64 - ahead_min * 60;
    Some(WallMillis(u64::try_from(seconds).ok()? * 1000 + ms))
}

#[cfg(test)]
#[path = "cdr_lines_tests.rs"]
mod tests;
