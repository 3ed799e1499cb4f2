//! The call-control node: transactions, proxy, registrar, and who is called. Everything outside `io` is pure:
//! `(state, now, input) -> effects`. README.md beside this crate tells the ways through the house.
//!
//! Imports run downwards only: a module may use what stands above it here.
//!
//! 1. `cdr`, `spool`, `record`, `counted`, `image`, `dns`, `probe`, `effect`: the call detail record, lines on their way to a
//!    disk that may fail, what the journal holds, what calls are counted under, a call as its records tell it, questions to
//!    the DNS, whether trunks serve, what goes in and comes out of a worker.
//! 2. `problems`, `stats`, `trace`, `turn`, `station`: samples of what was unfit, a worker's counters, its flight recorder,
//!    one input's worth of work, what the worker knows for good; `resolve`: RFC 3263, where a name leads.
//! 3. `location`, `auth`, `registrar`: the replica and its stream, who is it, where are users.
//! 4. `doorman`, `ownership`, `quarantine`, `admission`, `shadow`, `overload`, `heartbeat`: who may hand a worker a message;
//!    the placement that this node has adopted, its lease and its questions to other nodes; messages that must not be
//!    handled again; limits that the rack counts once; what nodes keep of each other's calls, and tell each other of trunks;
//!    how much it takes; its sign of life.
//! 5. `call`: calls and their dialogs, record numbers, CDRs.
//! 6. `transaction`: the four machines of RFC 3261 §17 with RFC 6026, and their table.
//! 7. `service`: who is called: identify, admit, locate or route, fork; `identity`: what a message may say about its sender;
//!    `redirect`: the targets told instead of tried.
//! 8. `proxy`: RFC 3261 §16: checks, forwarding, response contexts; `in_dialog`: requests with a dialog token.
//! 9. `node`: the dispatcher of one worker; `core`: that and the shadows, as a shell has them.
//! 10. `io`: sockets, threads, the admin port. The only place in this crate that touches the machine.

pub mod cdr;

pub mod spool;

pub mod record;

pub mod counted;

pub mod image;

pub mod dns;

pub mod probe;

pub mod effect;

pub mod problems;

pub mod stats;

pub mod trace;

pub mod turn;

pub mod station;

pub mod resolve;

pub mod location;

pub mod auth;

pub mod registrar;

pub mod doorman;

pub mod ownership;

pub mod quarantine;

pub mod admission;

pub mod shadow;

pub mod overload;

pub mod heartbeat;

pub mod call;

pub mod transaction;

pub mod service;

pub mod identity;

pub mod redirect;

pub mod proxy;

pub mod in_dialog;

pub mod node;

pub mod core;

pub mod io;
