//! A SIP ladder: who sent what to whom, in columns. `siprack try` prints it; a failing simulation prints it.

use std::fmt;

/// Width of one column; arrows and labels fill the space between two column centres.
const COLUMN: usize = 26;

/// Rungs between named columns, in the order in which they were added.
#[derive(Clone, Debug, Default)]
pub struct Ladder {
    columns: Vec<String>,
    rungs: Vec<Rung>,
}

#[derive(Clone, Debug)]
enum Rung {
    Message { at_ms: f64, from: usize, to: usize, label: String },
    Note { at_ms: f64, text: String },
}

impl Ladder {
    pub fn new(columns: &[&str]) -> Ladder {
        Ladder { columns: columns.iter().map(|c| c.to_string()).collect(), rungs: Vec::new() }
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
        write!(f, "{:>10} ", "ms")?;
        let heads: String = self.columns.iter().map(|name| format!("{name:^COLUMN$}")).collect();
        writeln!(f, "{}", heads.trim_end())?;
        for rung in &self.rungs {
            match rung {
                Rung::Message { at_ms, from, to, label } => {
                    write!(f, "{at_ms:>10.1} ")?;
                    self.write_message(f, *from, *to, label)?;
                }
                Rung::Note { at_ms, text } => write!(f, "{at_ms:>10.1} · {text}")?,
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
    fn control_characters_never_reach_a_terminal() {
        assert_eq!(label(b"SIP/2.0 200 \x1b[31mOK\r\n"), "200 ?[31mOK");
    }
}
