//! `siprack import FILE`: subscribers in batches to the provisioning API, with a progress bar; bad rows are listed with
//! their line and the rest goes on.

use super::client::Client;
use super::terminal::print;
use crate::args::Import;
use crate::failure::{Failure, exit};
use crate::import_rows::{BadRow, Row, read};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

/// Rows of one request; they share the location server's syncs.
const BATCH: usize = 1000;
/// Bad rows that are listed; more are only counted.
const MOST_LISTED: usize = 1000;
/// Longest line, in bytes.
const LINE: u64 = 64 * 1024;

/// 0 if every row is in, else 1.
pub fn run(args: &Import) -> Result<u8, Failure> {
    let client = Client::for_import(&args.asking.at);
    // Says early that no rack answers.
    client.api_get("/v1/level")?.good()?;
    let (reader, bytes) = open(&args.file)?;
    let bar = ProgressBar::new(bytes);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {percent:>3} %  {msg}  {eta}") {
        bar.set_style(style);
    }
    let mut import = Running { client, bar, imported: 0, failed: 0, bad: Vec::new(), batch: Vec::new() };
    let done = import.lines(reader);
    import.bar.finish_and_clear();
    // What is in before a failure is in, and is said.
    let code = import.summary(args.asking.json, done.is_ok())?;
    done.map(|()| code)
}

fn open(file: &Path) -> Result<(Box<dyn BufRead>, u64), Failure> {
    if file == Path::new("-") {
        return Ok((Box::new(BufReader::new(std::io::stdin())), 0));
    }
    let opened = File::open(file).and_then(|f| f.metadata().map(|m| (f, m.len())));
    let (handle, bytes) =
        opened.map_err(|e| Failure::new(exit::FAILED, format!("cannot read {}: {e}", file.display())))?;
    Ok((Box::new(BufReader::new(handle)), bytes))
}

struct Running {
    client: Client,
    bar: ProgressBar,
    imported: u64,
    failed: u64,
    bad: Vec<BadRow>,
    batch: Vec<Row>,
}

impl Running {
    fn lines(&mut self, mut reader: Box<dyn BufRead>) -> Result<(), Failure> {
        for number in 1.. {
            let mut bytes = Vec::new();
            let read_bytes = (&mut reader)
                .take(LINE)
                .read_until(b'\n', &mut bytes)
                .map_err(|e| Failure::new(exit::FAILED, format!("line {number}: {e}")))?;
            if read_bytes == 0 {
                break;
            }
            if read_bytes as u64 == LINE {
                return Err(Failure::new(
                    exit::FAILED,
                    format!("line {number} is longer than {LINE} bytes: this is no list of subscribers"),
                ));
            }
            self.bar.inc(read_bytes as u64);
            match std::str::from_utf8(&bytes) {
                Ok(text) => match read(number, text) {
                    Some(Ok(row)) => self.batch.push(row),
                    Some(Err(bad)) => self.refuse(bad),
                    None => {}
                },
                Err(_) => self.refuse(BadRow { line: number, error: "is not UTF-8".into() }),
            }
            if self.batch.len() >= BATCH {
                self.send()?;
            }
        }
        self.send()
    }

    fn refuse(&mut self, bad: BadRow) {
        self.failed += 1;
        if self.bad.len() < MOST_LISTED {
            self.bad.push(bad);
        }
    }

    fn send(&mut self) -> Result<(), Failure> {
        let batch = std::mem::take(&mut self.batch);
        if batch.is_empty() {
            return Ok(());
        }
        let lines: Vec<String> =
            batch.iter().map(|row| json!({ "aor": row.aor, "password": row.password }).to_string()).collect();
        let answer = self.client.api_post("/v1/import", "application/x-ndjson", &lines.join("\n"))?.good()?;
        self.imported += answer["imported"].as_u64().unwrap_or(0);
        let errors = answer["errors"].as_array().cloned().unwrap_or_default();
        let listed = errors.len() as u64;
        for error in errors {
            // The answer counts the lines of this batch.
            let at = error["line"].as_u64().and_then(|line| usize::try_from(line).ok()?.checked_sub(1));
            let line = at.and_then(|at| batch.get(at)).map_or(0, |row| row.line);
            self.refuse(BadRow { line, error: error["error"].as_str().unwrap_or("refused").to_string() });
        }
        self.failed += answer["failed"].as_u64().unwrap_or(0).saturating_sub(listed);
        self.bar.set_message(format!("{} imported, {} bad", self.imported, self.failed));
        Ok(())
    }

    fn summary(&mut self, as_json: bool, whole: bool) -> Result<u8, Failure> {
        self.bad.sort_by_key(|bad| bad.line);
        if as_json {
            let errors: Vec<Value> = self.bad.iter().map(|b| json!({ "line": b.line, "error": b.error })).collect();
            let body = json!({ "imported": self.imported, "failed": self.failed, "errors": errors });
            print(&serde_json::to_string_pretty(&body).unwrap_or_default())?;
        } else {
            for bad in &self.bad {
                print(&format!("line {}: {}", bad.line, bad.error))?;
            }
            let more = self.failed.saturating_sub(self.bad.len() as u64);
            if more > 0 {
                print(&format!("and {more} more"))?;
            }
            print(&format!("{} imported, {} bad", self.imported, self.failed))?;
        }
        Ok(if self.failed == 0 && whole { 0 } else { exit::FAILED })
    }
}
