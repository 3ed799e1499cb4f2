//! Structured logs to standard error: one line an event, text or JSON. What a message's octets bring into an event is
//! escaped on the way out, so that nobody outside writes a line of ours or moves a terminal's cursor.
#![allow(clippy::disallowed_methods)] // RUST_LOG is the usual override

use crate::config::{Log, LogFormat};
use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, Write};
use tracing_subscriber::EnvFilter;

/// Starts logging for this process. `RUST_LOG` overrides the level. A second call changes nothing.
pub fn init(settings: &Log) {
    let (filter, refused) = filter(std::env::var(EnvFilter::DEFAULT_ENV).ok().as_deref(), &settings.level);
    let builder =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(|| Lines(io::stderr())).with_ansi(false);
    let started = match settings.format {
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
        LogFormat::Text => builder.try_init(),
    };
    if let Err(error) = started {
        tracing::debug!(%error, "logging was started already");
    }
    if let Some(why) = refused {
        tracing::warn!("{why}");
    }
}

/// The first of the two that can be read, else `info`; what was wrong with one that cannot.
fn filter(environment: Option<&str>, configured: &str) -> (EnvFilter, Option<String>) {
    let mut refused = None;
    let wanted = environment.filter(|e| !e.is_empty()).map(|e| ("RUST_LOG", e));
    for (place, text) in wanted.into_iter().chain([("log.level", configured)]) {
        match EnvFilter::try_new(text) {
            Ok(filter) => return (filter, refused),
            Err(error) => {
                let why = format!(
                    "{place}: {text:?} is no filter ({error}); write a level such as info, or info,cc_node=debug"
                );
                refused.get_or_insert(why);
            }
        }
    }
    (EnvFilter::new("info"), refused)
}

/// A writer that is handed one event at a time, its line feed at the end.
struct Lines<W>(W);

impl<W: Write> Write for Lines<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        self.0.write_all(escaped(event).as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// The event with every control character but the last line feed escaped as in Rust (`\n`, `\u{1b}`).
fn escaped(event: &[u8]) -> Cow<'_, str> {
    let text = String::from_utf8_lossy(event);
    let body = text.strip_suffix('\n').unwrap_or(&text);
    if !body.contains(|c: char| c.is_control()) {
        return text;
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in body.chars() {
        match c.is_control() {
            // Writing into a String cannot fail.
            true => drop(write!(out, "{}", c.escape_default())),
            false => out.push(c),
        }
    }
    out.push_str(&text[body.len()..]);
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};
    use tracing_subscriber::fmt::MakeWriter;

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl Write for Page {
        fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("a page").write(octets)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl<'p> MakeWriter<'p> for Page {
        type Writer = Lines<Page>;

        fn make_writer(&'p self) -> Lines<Page> {
            Lines(self.clone())
        }
    }

    fn logged(json: bool, text: &str) -> String {
        let page = Page::default();
        let builder = tracing_subscriber::fmt().with_writer(page.clone()).with_ansi(false);
        let event = || tracing::info!(call_id = %text, "call {text}");
        match json {
            true => tracing::subscriber::with_default(builder.json().finish(), event),
            false => tracing::subscriber::with_default(builder.finish(), event),
        }
        let octets = page.0.lock().expect("a page").clone();
        String::from_utf8(octets).expect("text")
    }

    #[test]
    fn nobody_outside_writes_a_line_of_ours() {
        for json in [false, true] {
            let line = logged(json, "a\r\n2026 INFO forged\x1b[2J\u{85}\t\u{7f}ü");
            assert_eq!(line.matches('\n').count(), 1, "{line:?}");
            assert!(line.ends_with('\n') && line.contains("forged") && line.contains('ü'), "{line:?}");
            assert!(!line.trim_end().contains(|c: char| c.is_control()), "{line:?}");
        }
        assert!(logged(false, "a\nb").contains("call a\\nb"));
    }

    #[test]
    fn a_filter_that_cannot_be_read_is_named_and_the_next_one_counts() {
        let (taken, refused) = filter(Some("info,=,x=loud"), "debug");
        assert_eq!(taken.to_string(), "debug");
        assert!(refused.expect("a reason").starts_with("RUST_LOG: \"info,=,x=loud\" is no filter"));
        let (taken, refused) = filter(None, "warn");
        assert_eq!((taken.to_string(), refused), ("warn".to_string(), None));
        assert_eq!(filter(Some(""), "warn").0.to_string(), "warn");
    }
}
