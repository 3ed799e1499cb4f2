//! Call detail records as nodes have written them, for people and for other programs: which are wanted, each once, and as a
//! table, JSON lines or CSV. Used by `io/cdr`.

use crate::columns::{columns, printable};
use cc_node::cdr::{Cdr, timestamp};
use common::time::WallMillis;
use hashbrown::HashSet;
use serde_json::Value;

/// As they stand in a line, and in CSV.
const FIELDS: [&str; 20] = [
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

/// Which records are wanted.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Those that ended then or later.
    pub since: Option<WallMillis>,
    pub call_id: Option<String>,
}

impl Wanted {
    fn is(&self, cdr: &Cdr) -> bool {
        self.since.is_none_or(|since| *cdr.end_time >= *timestamp(since))
            && self.call_id.as_ref().is_none_or(|call_id| cdr.callid == *call_id)
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    pub cdr: Cdr,
    /// As it stands in the file.
    pub line: String,
}

/// Takes the lines of all files, in any order.
pub struct Collector {
    wanted: Wanted,
    /// A record stands in the files of two nodes when the first was lost before it could say that it had written it.
    ids: HashSet<u128, ahash::RandomState>,
    records: Vec<Record>,
}

impl Collector {
    pub fn new(wanted: Wanted) -> Collector {
        let ids = HashSet::with_hasher(ahash::RandomState::with_seeds(1, 2, 3, 4));
        Collector { wanted, ids, records: Vec::new() }
    }

    /// # Errors
    /// Why the line is no record.
    pub fn line(&mut self, line: &str) -> Result<(), String> {
        let cdr: Cdr = serde_json::from_str(line).map_err(|error| error.to_string().replace(" at line 1", ","))?;
        let id = u128::from_str_radix(&cdr.id, 16).map_err(|_| format!("`{}` is no id", printable(&cdr.id)))?;
        if self.wanted.is(&cdr) && self.ids.insert(id) {
            self.records.push(Record { cdr, line: line.to_owned() });
        }
        Ok(())
    }

    /// Those that have come since the last call, by when they ended.
    pub fn take(&mut self) -> Vec<Record> {
        let mut records = std::mem::take(&mut self.records);
        records.sort_by(|a, b| (&a.cdr.end_time, &a.cdr.id).cmp(&(&b.cdr.end_time, &b.cdr.id)));
        records
    }
}

/// For people. Control characters of the network's names are not shown.
pub fn table(records: &[Record]) -> String {
    let mut rows = vec![["END", "CALLER", "CALLEE", "DURATION", "CODE", "ENDED BY", "NODE"].map(String::from)];
    rows.extend(records.iter().map(|record| cells(&record.cdr)));
    columns(&rows)
}

/// Likewise, of calls of which the next are not known yet: columns of a width that does for most. No heading.
pub fn lines(records: &[Record]) -> String {
    let line = |record: &Record| {
        let [end, caller, callee, duration, code, by, node] = cells(&record.cdr);
        format!("{end:<24}  {caller:<32}  {callee:<32}  {duration:>8}  {code}  {by:<15}  {node}\n")
    };
    records.iter().map(line).collect()
}

fn cells(cdr: &Cdr) -> [String; 7] {
    let by = serde_json::to_value(cdr.ended_by).unwrap_or_default();
    [
        printable(&cdr.end_time),
        printable(&cdr.caller),
        printable(&cdr.callee),
        format!("{} s", cdr.duration),
        cdr.sip_code.to_string(),
        by.as_str().unwrap_or_default().replace('_', " "),
        cdr.node.to_string(),
    ]
}

/// One a line, as they stand in the files.
pub fn json(records: &[Record]) -> String {
    records.iter().map(|record| format!("{}\n", record.line)).collect()
}

/// RFC 4180 without its heading.
pub fn csv(records: &[Record]) -> String {
    let row = |record: &Record| {
        let value = serde_json::to_value(&record.cdr).unwrap_or_default();
        let cells: Vec<String> = FIELDS.iter().map(|field| cell(&value[field])).collect();
        cells.join(",") + "\r\n"
    };
    records.iter().map(row).collect()
}

pub fn csv_heading() -> String {
    FIELDS.join(",") + "\r\n"
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
