//! The racks that ladders play on, prepared once.

use simulated_rack::prepared::Prepared;
use simulated_rack::simulation::Simulation;
use std::sync::LazyLock;

/// Asks nobody for a password; the domain is `open.test`.
pub static OPEN: LazyLock<Prepared> = LazyLock::new(|| Prepared::new(include_str!("../rack/open.yaml"), 7));
/// The same with one node: a call is handled by one node anyway, and each node's empty replica costs a run of seeds more
/// than its SIP does.
pub static SMALL: LazyLock<Prepared> = LazyLock::new(|| small(&[]));
/// The small one, whose domain tells callers where to go: always, or where they ask for it.
pub static REDIRECTING: LazyLock<Prepared> = LazyLock::new(|| small(&[(DOMAIN, "open, mode: redirect }")]));
pub static BOTH: LazyLock<Prepared> = LazyLock::new(|| small(&[(DOMAIN, "open, mode: both }")]));
/// Calls from its carrier are redirected, others are not.
pub static REDIRECTING_TRUNK: LazyLock<Prepared> =
    LazyLock::new(|| small(&[("name: carrier,", "name: carrier, mode: redirect,")]));
/// It follows what its users' phones and the carrier say of other places. A second domain asks for passwords.
pub static RECURSING: LazyLock<Prepared> = LazyLock::new(|| {
    let safe = "open, recursion: true }\n  - { name: safe.test, auth: digest, provisioning: closed }";
    small(&[(DOMAIN, safe), ("name: carrier,", "name: carrier, recursion: true,")])
});
/// Sessions of no less than 90 s, and of 120 s where nobody says.
pub static TIMED: LazyLock<Prepared> =
    LazyLock::new(|| small(&[("name: open\n", "name: open\nsession_timers: { min_se_s: 90, expires_s: 120 }\n")]));
/// Its carrier is known by name alone.
pub static BY_NAME: LazyLock<Prepared> =
    LazyLock::new(|| small(&[("addresses: [\"203.0.113.50:5060\"]", "destination: carrier.test")]));

const DOMAIN: &str = "open }";

/// The open rack with one node, and with other words in the place of some.
fn small(changes: &[(&str, &str)]) -> Prepared {
    let others = |line: &&str| !line.contains("10.0.1.12") && !line.contains("10.0.1.13");
    let lines: Vec<&str> = include_str!("../rack/open.yaml").lines().filter(others).collect();
    let mut yaml = lines.join("\n");
    for (from, to) in changes {
        assert!(yaml.contains(from), "{from} stands in the rack file");
        yaml = yaml.replacen(from, to, 1);
    }
    Prepared::new(&yaml, 7)
}
/// The proxies of RFC 3665.
pub static ATLANTA: LazyLock<Prepared> = LazyLock::new(|| Prepared::new(include_str!("../rack/atlanta.yaml"), 7));
pub static BILOXI: LazyLock<Prepared> = LazyLock::new(|| Prepared::new(include_str!("../rack/biloxi.yaml"), 8));
/// Atlanta with two servers of biloxi, the first of which nobody hears of.
pub static ATLANTA_WITH_BACKUP: LazyLock<Prepared> = LazyLock::new(|| {
    let yaml = include_str!("../rack/atlanta.yaml");
    Prepared::new(&yaml.replace("[\"192.0.2.2:5060\"]", "[\"192.0.2.9:5060\", \"192.0.2.2:5060\"]"), 7)
});
/// Biloxi without trust in atlanta: it asks the caller itself.
pub static WARY_BILOXI: LazyLock<Prepared> = LazyLock::new(|| {
    let yaml = include_str!("../rack/biloxi.yaml");
    Prepared::new(&yaml.replace("192.0.2.1:5060", "192.0.2.250:5060"), 8)
});

pub fn open(seed: u64) -> Simulation {
    Simulation::steady(&[&OPEN], seed)
}

/// A ladder that must hold.
pub fn play(ladder: impl FnOnce() -> Result<(), String>) {
    ladder().unwrap_or_else(|e| panic!("{e}"));
}

/// What a ladder says of a message.
pub fn is(what: &str, saw: impl std::fmt::Debug + PartialEq<&'static str>, wanted: &'static str) -> Result<(), String> {
    if saw == wanted { Ok(()) } else { Err(format!("{what}: {saw:?}, not {wanted:?}")) }
}

pub fn holds(what: &str, true_: bool) -> Result<(), String> {
    if true_ { Ok(()) } else { Err(format!("not so: {what}")) }
}
