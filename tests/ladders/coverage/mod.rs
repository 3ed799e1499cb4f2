//! A fault at every message and timer of every flow: each row of the design's table of where a node may die, each fault of
//! its matrix that a simulation can do. A cell is one story with one fault at one moment; all that must be true of any run
//! is checked in each (`simulated_rack::invariants`), beside what the story itself demands.

mod faults;
mod play;
mod rows;

use crate::ownership::settles;
use common::time::Duration;
use faults::{FAULTS, Fault};
use play::Play;
use rows::{ROWS, Row};
use simulated_rack::plants::Plant;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

const THREADS: usize = 2;

/// Cells that are not run, and why.
const LEFT_OUT: &[(&str, &str, &str)] = &[];

/// The story of a row with this fault.
fn cell(row: &Row, fault: &Fault, seed: u64, plant: Option<Plant>) -> Result<(), String> {
    let mut play = Play::new(seed, plant)?;
    play.fault = Some(*fault);
    let told = (row.story)(&mut play).map_err(|why| format!("{why}\n{}", play.s.whole_trail()));
    let told = told.and_then(|()| {
        // Whatever was done to it is over, and all stand again.
        let left = play.s.planned_until().since(play.s.now());
        play.s.run_for(left);
        settles(&mut play.s)?;
        play.s.run_for(Duration::from_secs(3));
        play.is_charged()
    });
    play.s.verdict()?;
    told?;
    match play.fault {
        Some(_) => Err("the moment of the fault never came".to_string()),
        None => Ok(()),
    }
}

fn seeds_of(row: &Row, fault: &Fault) -> u64 {
    let more = std::env::var("SIPRACK_CELL_SEEDS").ok().and_then(|v| v.parse().ok());
    more.unwrap_or(if row.is_long || fault.is_long { 1 } else { 2 })
}

fn reason(row: &Row, fault: &Fault) -> Option<&'static str> {
    let is_it = |(r, f, _): &&(&str, &str, &str)| (*r == row.name || *r == "*") && *f == fault.name;
    LEFT_OUT.iter().find(is_it).map(|(_, _, why)| *why)
}

/// `SIPRACK_CELL`: a part of `row / fault`, of the cells to be run alone.
#[test]
fn every_fault_at_every_row() {
    let wanted = std::env::var("SIPRACK_CELL").unwrap_or_default();
    let named = |row: &Row, fault: &Fault| format!("{} / {}", row.name, fault.name);
    let mut cells = Vec::new();
    for (r, row) in ROWS.iter().enumerate() {
        for (f, fault) in FAULTS.iter().enumerate().filter(|(_, fault)| reason(row, fault).is_none()) {
            let runs = 1..=seeds_of(row, fault);
            cells.extend(
                runs.filter(|_| named(row, fault).contains(&wanted)).map(|n| (r, f, 1_000 * n + (r * 50 + f) as u64)),
            );
        }
    }
    let (next, hit) = (AtomicUsize::new(0), Mutex::new(BTreeMap::<(usize, usize), usize>::new()));
    let failures: Mutex<Vec<String>> = Mutex::new(Vec::new());
    let work = || {
        while let Some((r, f, seed)) = cells.get(next.fetch_add(1, Ordering::Relaxed)).copied() {
            match cell(&ROWS[r], &FAULTS[f], seed, None) {
                Ok(()) => *hit.lock().unwrap_or_else(|e| e.into_inner()).entry((r, f)).or_default() += 1,
                Err(why) => {
                    let why = format!("{}, seed {seed}: {why}", named(&ROWS[r], &FAULTS[f]));
                    failures.lock().unwrap_or_else(|e| e.into_inner()).push(why);
                }
            }
        }
    };
    std::thread::scope(|scope| (0..THREADS).for_each(|_| drop(scope.spawn(work))));
    let hit = hit.into_inner().unwrap_or_else(|e| e.into_inner());
    print_table(&hit);
    let failures = failures.into_inner().unwrap_or_else(|e| e.into_inner());
    let heads: Vec<&str> = failures.iter().filter_map(|why| why.lines().next()).collect();
    assert!(failures.is_empty(), "{}\n\n{}", heads.join("\n"), failures[0]);
    for (r, row) in ROWS.iter().enumerate() {
        for (f, fault) in FAULTS.iter().enumerate().filter(|(_, fault)| named(row, fault).contains(&wanted)) {
            let is_hit = hit.get(&(r, f)).is_some_and(|runs| *runs > 0);
            assert!(is_hit || reason(row, fault).is_some(), "{} has no run", named(row, fault));
        }
    }
}

fn print_table(hit: &BTreeMap<(usize, usize), usize>) {
    for (f, fault) in FAULTS.iter().enumerate() {
        println!("{:>3} {}", f + 1, fault.name);
    }
    let heads: String = (1..=FAULTS.len()).map(|n| format!("{n:>3}")).collect();
    println!("{:<28}{heads}", "runs");
    for (r, row) in ROWS.iter().enumerate() {
        let one = |f: usize| hit.get(&(r, f)).map_or("  -".to_string(), |runs| format!("{runs:>3}"));
        println!("{:<28}{}", row.name, (0..FAULTS.len()).map(one).collect::<String>());
    }
    LEFT_OUT.iter().for_each(|(row, fault, why)| println!("- {row} / {fault}: {why}"));
}

/// A planted bug: in which cell it shows, and how. Of the faults those that kill.
pub fn covered(plant: Plant) -> Option<String> {
    let kills = || FAULTS.iter().filter(|fault| fault.kills);
    (1..=4)
        .flat_map(|seed| {
            ROWS.iter().filter(|row| !row.is_long).flat_map(move |row| kills().map(move |f| (row, f, seed)))
        })
        .find_map(|(row, fault, seed)| {
            let why = cell(row, fault, seed, Some(plant)).err()?;
            Some(format!("{} / {}, seed {seed}: {}", row.name, fault.name, why.lines().next().unwrap_or_default()))
        })
}
