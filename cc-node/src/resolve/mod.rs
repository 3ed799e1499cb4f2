//! RFC 3263: from a SIP URI (or a trunk's destination) to the addresses, ports and transports of its servers, in the
//! order in which they are tried. `proxy` and `service` ask; a worker has one [`Resolver`].
//!
//! Pure: a question to the DNS is an [`Effect::Dns`], its answer comes in with [`Resolver::answer`], and time passes with
//! [`Resolver::tick`]. A file a step: `destination` (what is asked), `transport` (§4.1), `walk` (§4.2), `draw` (§4.3,
//! RFC 2782), `known` (what is believed of an answer), `cache`, `unwell` (servers that failed), `unresolved` (why not).
//!
//! [`Effect::Dns`]: crate::effect::Effect::Dns

mod cache;
mod counters;
mod destination;
mod draw;
mod known;
mod name;
mod settings;
mod transport;
mod unresolved;
mod unwell;
mod walk;

pub use counters::{Counters, Outcome};
pub use destination::{Asked, Destination};
pub use settings::{OPEN_QUESTIONS, Served, Settings};
pub use unresolved::Unresolved;

use crate::dns::{DnsAnswer, DnsAsk, DnsFailure, Kind, Question};
use crate::effect::Effect;
use cache::{Cache, Read, Settled, Source};
use common::deadlines::{Deadlines, Handle};
use common::ids::Transport;
use common::time::{Duration, Time};
use known::{Known, judge};
use name::name;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use unwell::Unwell;
use walk::{Questions, Scene, walk};

/// One server to send to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hop {
    pub address: SocketAddr,
    pub transport: Transport,
}

/// A look-up that waits for answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LookupId(u64);

/// What [`Resolver::locate`] came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// In the order to be tried; never empty.
    Done(Vec<Hop>),
    Failed(Unresolved),
    /// [`Resolver::answer`] or [`Resolver::tick`] brings the result, once.
    Waiting(LookupId),
}

/// A look-up that is done: its hops, never empty, or why there are none.
pub type Located = (LookupId, Result<Vec<Hop>, Unresolved>);

pub struct Resolver {
    settings: Arc<Settings>,
    cache: Cache,
    lookups: BTreeMap<LookupId, Lookup>,
    next_lookup: u64,
    due: Deadlines<Due>,
    unwell: Unwell,
    counters: Counters,
}

struct Lookup {
    destination: Destination,
    seed: u64,
    /// What it has read: an answer that expires meanwhile still counts for it.
    gathered: BTreeMap<Question, Read>,
    impatient: bool,
    timer: Option<Handle>,
}

enum Due {
    Impatient(LookupId),
    GiveUp(LookupId),
}

impl Resolver {
    pub fn new(settings: Settings) -> Resolver {
        let settings = Arc::new(settings);
        Resolver {
            cache: Cache::new(settings.clone()),
            lookups: BTreeMap::new(),
            next_lookup: 1,
            due: Deadlines::new(),
            unwell: Unwell::new(settings.unwell),
            counters: Counters::default(),
            settings,
        }
    }

    /// Looks a destination up. `seed` decides the order among equals: it follows from the Call-ID, so a node that takes
    /// the call over draws the same.
    pub fn locate(&mut self, now: Time, destination: &Destination, seed: u64, out: &mut Vec<Effect>) -> Progress {
        let destination = destination.clone();
        let mut lookup = Lookup { destination, seed, gathered: BTreeMap::new(), impatient: false, timer: None };
        let id = LookupId(self.next_lookup);
        self.next_lookup += 1;
        match self.walk(now, id, &mut lookup, out) {
            Some(Ok(hops)) => Progress::Done(hops),
            Some(Err(error)) => Progress::Failed(error),
            None if self.lookups.len() >= self.settings.lookups => {
                self.counters.unresolved += 1;
                Progress::Failed(Unresolved::TooBusy(lookup.destination.host))
            }
            None => {
                lookup.timer = Some(self.due.insert(now + self.settings.impatient_after, Due::Impatient(id)));
                self.lookups.insert(id, lookup);
                Progress::Waiting(id)
            }
        }
    }

    /// What came of an `Effect::Dns`. An answer that nobody waits for any more, or one given twice, is passed over.
    pub fn answer(&mut self, now: Time, ask: DnsAsk, answer: DnsAnswer, out: &mut Vec<Effect>) -> Vec<Located> {
        let Some(question) = self.cache.question(ask) else { return Vec::new() };
        let judged = judge(question, answer);
        let outcome = match &judged {
            Ok(j) if matches!(j.known, Known::NoRecords | Known::NoSuchName) => Outcome::Nothing,
            Ok(_) => Outcome::Records,
            Err(DnsFailure::Timeout) => Outcome::Timeout,
            Err(DnsFailure::ServerFailure) => Outcome::ServerFailure,
            Err(DnsFailure::Full) => Outcome::Full,
        };
        let Some(settled) = self.cache.settle(now, ask, judged) else { return Vec::new() };
        self.counters.questions[settled.question.kind as usize][outcome as usize] += 1;
        self.counters.took.observe(settled.took);
        self.go_on(now, settled, out)
    }

    /// Does what is due: questions that nobody answered, look-ups that have waited long enough.
    pub fn tick(&mut self, now: Time, out: &mut Vec<Effect>) -> Vec<Located> {
        let mut located = Vec::new();
        while let Some((ask, since)) = self.cache.oldest_open()
            && since + self.settings.question_patience <= now
        {
            located.extend(self.answer(now, ask, DnsAnswer::Failed(DnsFailure::Timeout), out));
        }
        while let Some(due) = self.due.expire(now) {
            match due {
                Due::Impatient(id) => {
                    let Some(lookup) = self.lookups.get_mut(&id) else { continue };
                    lookup.impatient = true;
                    let rest = self.settings.lookup_patience.saturating_sub(self.settings.impatient_after);
                    lookup.timer = Some(self.due.insert(now + rest, Due::GiveUp(id)));
                    located.extend(self.resume(now, id, out));
                }
                Due::GiveUp(id) => {
                    let Some(lookup) = self.lookups.remove(&id) else { continue };
                    self.counters.unresolved += 1;
                    located.push((id, Err(Unresolved::Timeout(lookup.destination.host))));
                }
            }
        }
        located
    }

    /// When [`Resolver::tick`] has something to do.
    pub fn next_due(&self) -> Option<Time> {
        let question = self.cache.oldest_open().map(|(_, since)| since + self.settings.question_patience);
        [self.due.next_due(), question].into_iter().flatten().min()
    }

    /// The caller has lost interest: nothing comes back for this look-up. Its questions go on, for the cache.
    pub fn forget(&mut self, lookup: LookupId) {
        if let Some(timer) = self.lookups.remove(&lookup).and_then(|l| l.timer) {
            self.due.cancel(timer);
        }
    }

    /// A request to `hop` timed out, could not be sent, or was answered 503 (with `retry_after`, if it had one): for a
    /// time it is tried last (RFC 3263 §4.3).
    pub fn failed(&mut self, now: Time, hop: Hop, retry_after: Option<Duration>) {
        self.unwell.failed(now, hop, retry_after);
    }

    /// `hop` answered a request with anything but 503.
    pub fn succeeded(&mut self, hop: &Hop) {
        self.unwell.succeeded(hop);
    }

    /// Whether `hop` failed lately, and would be tried last.
    pub fn is_unwell(&self, now: Time, hop: &Hop) -> bool {
        self.unwell.is_unwell(now, hop)
    }

    pub fn counters(&self) -> Counters {
        Counters {
            waiting: self.lookups.len() as u64,
            open: self.cache.open() as u64,
            entries: self.cache.len() as u64,
            unwell: self.unwell.len() as u64,
            ..self.counters.clone()
        }
    }

    fn go_on(&mut self, now: Time, settled: Settled, out: &mut Vec<Effect>) -> Vec<Located> {
        settled.waiting.into_iter().filter_map(|id| self.resume(now, id, out)).collect()
    }

    /// Walks again for a look-up that waits; its result, if it has one now.
    fn resume(&mut self, now: Time, id: LookupId, out: &mut Vec<Effect>) -> Option<Located> {
        let mut lookup = self.lookups.remove(&id)?;
        let result = self.walk(now, id, &mut lookup, out);
        match result {
            None => {
                self.lookups.insert(id, lookup);
                None
            }
            Some(result) => {
                if let Some(timer) = lookup.timer {
                    self.due.cancel(timer);
                }
                Some((id, result))
            }
        }
    }

    fn walk(
        &mut self,
        now: Time,
        id: LookupId,
        lookup: &mut Lookup,
        out: &mut Vec<Effect>,
    ) -> Option<Result<Vec<Hop>, Unresolved>> {
        let Lookup { destination, seed, gathered, impatient, .. } = lookup;
        let scene = Scene { destination, settings: &self.settings, seed: *seed, impatient: *impatient };
        let mut asking = Asking {
            now,
            id,
            impatient: *impatient,
            gathered,
            cache: &mut self.cache,
            counters: &mut self.counters,
            out,
        };
        let mut result = walk(&scene, &mut asking)?;
        match &mut result {
            Ok(hops) => {
                self.unwell.put_last(now, hops);
                self.counters.located += 1;
            }
            Err(_) => self.counters.unresolved += 1,
        }
        Some(result)
    }
}

/// One walk's way to the answers: what its look-up has gathered, the cache, a new question.
struct Asking<'a> {
    now: Time,
    id: LookupId,
    impatient: bool,
    gathered: &'a mut BTreeMap<Question, Read>,
    cache: &'a mut Cache,
    counters: &'a mut Counters,
    out: &'a mut Vec<Effect>,
}

impl Asking<'_> {
    fn cached(&mut self, question: &Question) -> Option<Read> {
        let (read, source) = self.cache.read(self.now, question, self.impatient)?;
        match (&read, source) {
            (Read::Open, _) => {}
            (_, Source::Fresh) => self.counters.hits += 1,
            (_, Source::Stale) => self.counters.stale += 1,
            (_, Source::Failure) => self.counters.failures += 1,
        }
        Some(read)
    }

    fn ask(&mut self, question: &Question) -> Read {
        let Some(ask) = self.cache.ask(self.now, question) else { return Read::Failed(DnsFailure::Full) };
        self.out.push(Effect::Dns { ask, question: question.clone() });
        // An expired answer may do at once.
        self.cached(question).unwrap_or(Read::Open)
    }
}

impl Questions for Asking<'_> {
    fn read(&mut self, name: &Arc<str>, kind: Kind) -> Read {
        let question = Question { name: name.clone(), kind };
        if let Some(gathered) = self.gathered.get(&question) {
            return gathered.clone();
        }
        let (read, own) = match self.cached(&question) {
            Some(read) => (read, false),
            None => (self.ask(&question), true),
        };
        match read {
            Read::Open => {
                let joined = self.cache.wait(&question, self.id);
                self.counters.coalesced += u64::from(joined && !own);
            }
            _ => drop(self.gathered.insert(question, read.clone())),
        }
        read
    }

    fn hint(&mut self, srv: &Arc<str>, target: &Arc<str>, kind: Kind) -> Option<Vec<IpAddr>> {
        let question = Question { name: srv.clone(), kind: Kind::Srv };
        let Read::Known(known) = self.gathered.get(&question)? else { return None };
        let Known::Servers { hints, .. } = &**known else { return None };
        let hint = hints.iter().find(|h| h.target == *target && h.kind == kind)?;
        Some(hint.addresses.clone())
    }
}

#[cfg(test)]
mod tests;
