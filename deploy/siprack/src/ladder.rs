//! A SIP ladder: who sent what to whom, in columns. `siprack try` and `siprack trace` print it; a failing simulation prints
//! it.

use std::fmt;

/// Width of one column; arrows and labels fill the space between two column centres.
const COLUMN: usize = 26;

/// Rungs between named columns, in the order in which they were added.
#[derive(Clone, Debug, Default)]
pub struct Ladder {
    columns: Vec<String>,
    rungs: Vec<Rung>,
    /// Moments are milliseconds since 1970, shown as times of day.
    by_clock: bool,
}

#[derive(Clone, Debug)]
enum Rung {
    Message { at_ms: f64, from: usize, to: usize, label: String },
    Note { at_ms: f64, text: String },
}

impl Ladder {
    pub fn new(columns: &[&str]) -> Ladder {
        Ladder { columns: columns.iter().map(|c| c.to_string()).collect(), rungs: Vec::new(), by_clock: false }
    }

    /// One whose moments are milliseconds since 1970: it shows the times of day.
    pub fn by_clock(columns: &[&str]) -> Ladder {
        Ladder { by_clock: true, ..Ladder::new(columns) }
    }

    /// One message at `at_ms` milliseconds; a column that was not named yet is added at the right.
    pub fn message(&mut self, at_ms: f64, from: &str, to: &str, label: impl Into<String>) {
        let (from, to) = (self.column(from), self.column(to));
        self.rungs.push(Rung::Message { at_ms, from, to, label: label.into() });
    }

    /// A line of words between the rungs: a kill, a decision, an event at a phone.
    pub fn note(&mut self, at_ms: f64, text: impl Into<String>) {
        self.rungs.push(Rung::Note { at_ms, text: text.into() });
    }

    pub fn len(&self) -> usize {
        self.rungs.len()
    }

    pub fn is_empty(&self) -> bool {
        self.rungs.is_empty()
    }

    /// All but the columns' heads.
    pub fn rungs(&self) -> String {
        let text = self.to_string();
        text.split_once('\n').map_or(String::new(), |(_, rungs)| rungs.to_string())
    }

    fn moment(&self, at_ms: f64) -> String {
        if self.by_clock { time_of_day(at_ms as u64) } else { format!("{at_ms:>10.1}") }
    }

    fn column(&mut self, name: &str) -> usize {
        match self.columns.iter().position(|c| c == name) {
            Some(i) => i,
            None => {
                self.columns.push(name.to_string());
                self.columns.len() - 1
            }
        }
    }

    fn write_message(&self, f: &mut fmt::Formatter<'_>, from: usize, to: usize, label: &str) -> fmt::Result {
        let mut line: Vec<char> = vec![' '; self.columns.len() * COLUMN];
        for i in 0..self.columns.len() {
            line[centre(i)] = '│';
        }
        if from == to {
            let text: Vec<char> = format!(" ↺ {label}").chars().collect();
            overwrite(&mut line, centre(from) + 1, &text);
        } else {
            let (left, right) = (centre(from.min(to)), centre(from.max(to)));
            for cell in &mut line[left + 1..right] {
                *cell = '─';
            }
            if from < to {
                line[right - 1] = '▶';
            } else {
                line[left + 1] = '◀';
            }
            let room = right - left - 5;
            let text: Vec<char> = format!(" {label} ").chars().take(room).collect();
            let start = left + 1 + (right - left - 1).saturating_sub(text.len()) / 2;
            overwrite(&mut line, start, &text);
        }
        f.write_str(line.iter().collect::<String>().trim_end())
    }
}

/// A name that fits into its column: of a long IPv6 address its end tells most.
fn head(name: &str) -> String {
    match name.chars().count().checked_sub(COLUMN - 1) {
        Some(more @ 1..) => std::iter::once('…').chain(name.chars().skip(more + 1)).collect(),
        _ => name.to_string(),
    }
}

/// Of milliseconds since 1970, in UTC: `12:03:04.123`.
pub fn time_of_day(ms: u64) -> String {
    let (second, ms) = (ms / 1000 % 86_400, ms % 1000);
    format!("{:02}:{:02}:{:02}.{ms:03}", second / 3600, second / 60 % 60, second % 60)
}

fn centre(column: usize) -> usize {
    column * COLUMN + COLUMN / 2
}

fn overwrite(line: &mut Vec<char>, at: usize, text: &[char]) {
    if line.len() < at + text.len() {
        line.resize(at + text.len(), ' ');
    }
    line[at..at + text.len()].copy_from_slice(text);
}

impl fmt::Display for Ladder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, width) = if self.by_clock { ("UTC", 12) } else { ("ms", 10) };
        write!(f, "{unit:>width$} ")?;
        let heads: String = self.columns.iter().map(|name| format!("{:^COLUMN$}", head(name))).collect();
        writeln!(f, "{}", heads.trim_end())?;
        for rung in &self.rungs {
            match rung {
                Rung::Message { at_ms, from, to, label } => {
                    write!(f, "{} ", self.moment(*at_ms))?;
                    self.write_message(f, *from, *to, label)?;
                }
                Rung::Note { at_ms, text } => write!(f, "{} · {text}", self.moment(*at_ms))?,
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

/// What stands on a rung: `INVITE`, `180 Ringing`, `ACK` … from the first line of a message.
pub fn label(message: &[u8]) -> String {
    let line = message.split(|b| *b == b'\r' || *b == b'\n').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    let text = match line.strip_prefix("SIP/2.0 ") {
        Some(status) => status.to_string(),
        None => line.split(' ').next().unwrap_or_default().to_string(),
    };
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ladder_reads_from_left_to_right() {
        let mut ladder = Ladder::new(&["1001", "siprack", "1002"]);
        ladder.message(0.0, "1001", "siprack", label(b"INVITE sip:1002@rack.test SIP/2.0\r\n"));
        ladder.message(1.5, "1002", "siprack", label(b"SIP/2.0 180 Ringing\r\n"));
        let text = ladder.to_string();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3);
        assert!(lines[1].contains("INVITE") && lines[1].contains('▶'), "{text}");
        assert!(lines[2].contains("180 Ringing") && lines[2].contains('◀'), "{text}");
    }

    #[test]
    fn a_ladder_by_the_clock_shows_times_of_day_and_cuts_long_heads() {
        let mut ladder = Ladder::by_clock(&["[2001:db8:1:2:3:4:5:6]:5060", "siprack"]);
        ladder.message(1_763_812_984_123.9, "siprack", "[2001:db8:1:2:3:4:5:6]:5060", "BYE");
        ladder.note(1_763_855_999_999.0, "dead");
        let text = ladder.to_string();
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].trim_start().starts_with("UTC …01:db8:1:2:3:4:5:6]:5060"), "{text}");
        assert_eq!(lines[0].find("siprack").map(|at| lines[0][..at].chars().count()), Some(12 + 1 + 26 + 9), "{text}");
        assert!(lines[1].starts_with("12:03:04.123 ") && lines[2].starts_with("23:59:59.999 · dead"), "{text}");
        assert_eq!(ladder.rungs().lines().collect::<Vec<_>>(), lines[1..]);
    }

    #[test]
    fn control_characters_never_reach_a_terminal() {
        assert_eq!(label(b"SIP/2.0 200 \x1b[31mOK\r\n"), "200 ?[31mOK");
    }
}
