//! Records as nodes write them, with names as strangers choose them.
#![allow(clippy::unwrap_used)]

use super::*;
use serde_json::json;

fn line(id: &str, end: &str, caller: &str) -> String {
    json!({
        "id": id, "method": "INVITE", "from_tag": "-1", "to_tag": "b,c", "callid": format!("call-{id}"), "sip_code": 200,
        "sip_reason": "OK", "created": end, "setup_time": 1.5, "start_time": end, "end_time": end, "duration": 2,
        "ms_duration": 1234, "caller": caller, "callee": "sip:b@rack.test", "trunk_in": null, "trunk_out": "carrier",
        "node": 2, "site": "rack", "ended_by": "max_duration",
    })
    .to_string()
}

fn at(second: u32) -> String {
    format!("2026-11-22T10:00:{second:02}.000Z")
}

fn collected(wanted: Wanted, lines: &[String]) -> Vec<Record> {
    let mut collector = Collector::new(Kind::Ended, wanted);
    lines.iter().for_each(|line| collector.line(line).unwrap());
    collector.take()
}

fn ids(records: &[Record]) -> Vec<&str> {
    records.iter().map(|record| record.detail.id()).collect()
}

#[test]
fn each_id_counts_once_and_they_stand_by_their_end() {
    let lines = [line("b", &at(2), "x"), line("a", &at(3), "x"), line("c", &at(2), "x"), line("a", &at(3), "x")];
    let mut collector = Collector::new(Kind::Ended, Wanted::default());
    lines.iter().for_each(|line| collector.line(line).unwrap());
    assert_eq!(ids(&collector.take()), ["b", "c", "a"]);
    collector.line(&lines[0]).unwrap();
    assert_eq!(collector.take(), [], "it has come before");
}

#[test]
fn those_of_a_call_and_those_since_a_moment_are_wanted() {
    let lines = [line("1", &at(1), "x"), line("2", &at(2), "x"), line("3", &at(3), "x")];
    let since = Wanted { since: Some(moment("2026-11-22T11:00:02+01:00").unwrap()), ..Wanted::default() };
    assert_eq!(ids(&collected(since, &lines)), ["2", "3"]);
    let of = Wanted { call_id: Some("call-2".into()), ..Wanted::default() };
    assert_eq!(ids(&collected(of, &lines)), ["2"]);
}

#[test]
fn what_is_no_record_is_told() {
    let mut collector = Collector::new(Kind::Ended, Wanted::default());
    let cut = &line("1", &at(1), "x")[..50];
    assert!(collector.line(cut).unwrap_err().contains("column"), "{:?}", collector.line(cut));
    assert!(collector.line("").is_err() && collector.line("{}").unwrap_err().contains("`id`"));
    assert_eq!(collector.line(&line("x\u{1b}", &at(1), "x")).unwrap_err(), "`x?` is no id");
}

#[test]
fn the_table_shows_no_control_characters() {
    let records = collected(Wanted::default(), &[line("1", &at(1), "sip:a\u{1b}[31m@rack.test")]);
    assert_eq!(
        table(Kind::Ended, &records),
        "END                       CALLER                CALLEE           DURATION  CODE  ENDED BY      NODE\n\
         2026-11-22T10:00:01.000Z  sip:a?[31m@rack.test  sip:b@rack.test  2 s       200   max duration  2\n"
    );
    let line = lines(&records);
    assert!(line.starts_with("2026-11-22T10:00:01.000Z  sip:a?[31m@rack.test  ") && line.ends_with("  2\n"), "{line}");
    assert_eq!(json(&records), format!("{}\n", records[0].line));
}

#[test]
fn csv_quotes_and_no_name_begins_a_formula() {
    let records =
        collected(Wanted::default(), &[line("1", &at(1), "=HYPERLINK(\"http://x\")"), line("2", &at(2), "a\nb")]);
    let text = csv(Kind::Ended, &records);
    let (first, second) = text.split_once("\r\n").unwrap();
    assert_eq!(
        first,
        "1,INVITE,'-1,\"b,c\",call-1,200,OK,2026-11-22T10:00:01.000Z,1.5,2026-11-22T10:00:01.000Z,2026-11-22T10:00:01.000Z,\
         2,1234,\"'=HYPERLINK(\"\"http://x\"\")\",sip:b@rack.test,,carrier,2,rack,max_duration"
    );
    assert!(second.contains(",\"a\nb\",") && second.ends_with("\r\n"), "{second}");
    for start in ["+1", "@x", "\tx", "-x"] {
        let text = csv(Kind::Ended, &collected(Wanted::default(), &[line("1", &at(1), start)]));
        assert!(text.contains(&format!(",'{start},")), "{text}");
    }
}

#[test]
fn csv_has_every_field_of_a_record() {
    let ended = collected(Wanted::default(), &[line("1", &at(1), "x")]);
    for (kind, records) in [(Kind::Ended, ended), (Kind::Begun, begun(&[line("1", &at(1), "x")]))] {
        let value = records[0].detail.value();
        let mut fields: Vec<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
        let mut ours = kind.fields().to_vec();
        fields.sort_unstable();
        ours.sort_unstable();
        assert_eq!(ours, fields);
        assert_eq!(csv_heading(kind).trim_end().split(',').count(), ours.len());
    }
}

/// The starts of these calls.
fn begun(lines: &[String]) -> Vec<Record> {
    let mut collector = Collector::new(Kind::Begun, Wanted::default());
    for line in lines {
        let start = Start::of(&serde_json::from_str(line).unwrap());
        collector.line(&serde_json::to_string(&start).unwrap()).unwrap();
    }
    collector.take()
}

#[test]
fn starts_are_shown_by_when_the_call_was_answered() {
    let records = begun(&[line("2", &at(2), "x"), line("1", &at(1), "sip:a@rack.test"), line("2", &at(2), "x")]);
    assert_eq!(
        table(Kind::Begun, &records),
        "START                     CALLER           CALLEE           SET-UP  CODE  TRUNK    NODE\n\
         2026-11-22T10:00:01.000Z  sip:a@rack.test  sip:b@rack.test  1.5 s   200   carrier  2\n\
         2026-11-22T10:00:02.000Z  x                sip:b@rack.test  1.5 s   200   carrier  2\n"
    );
    assert!(Collector::new(Kind::Ended, Wanted::default()).line(&records[0].line).is_err(), "it has no end");
}

#[test]
fn moments_are_read_as_they_are_written() {
    for ms in [0, 951_782_400_001, 1_767_225_599_999, 1_795_228_205_000, 4_107_542_399_000] {
        assert_eq!(moment(&timestamp(WallMillis(ms))), Ok(WallMillis(ms)));
    }
    for (text, ms) in [
        ("1970-01-01T01:00:00+01:00", 0),
        ("1969-12-31 19:00:00.25-05:00", 250),
        ("1970-01-01t00:00:01.123456789z", 1123),
    ] {
        assert_eq!(moment(text), Ok(WallMillis(ms)), "{text}");
    }
    for wrong in [
        "",
        "yesterday",
        "2026-11-22",
        "2026-11-22T08:30:00",
        "2026-13-22T08:30:00Z",
        "2026-00-22T08:30:00Z",
        "2026-11-22T08:30Z",
        "2026-11-22T08:30:00.Z",
        "2026-11-22T08:30:00Zx",
        "2026-11-22T08:30:00+1",
        "+026-11-22T08:30:00Z",
        "1969-11-22T08:30:00Z",
        "0000-01-01T00:00:00Z",
    ] {
        assert!(moment(wrong).is_err(), "{wrong}");
    }
}
