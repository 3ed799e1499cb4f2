//! All transactions of one worker: found by key, driven by messages and by their timers. `proxy` is the transaction user.

mod inherit;

use super::client::Client;
use super::entry::{Entry, Subject};
use super::invite_client::InviteClient;
use super::invite_server::InviteServer;
use super::server::Server;
use super::sources::Sources;
use super::{Address, ClientKey, Outgoing, ServerKey, Steps, Timer};
use crate::call::CallRef;
use crate::station::Timing;
use crate::stats::Transactions;
use crate::turn::Turn;
use ahash::RandomState;
use common::call_hash::CallHash;
use common::deadlines::Deadlines;
use common::sip::MethodKind;
use common::time::Time;
use hashbrown::HashMap;
use slab::Slab;
use smallvec::SmallVec;
use std::net::IpAddr;

/// What the transaction user calls the thing that a transaction belongs to; `Owner(0)` = nobody waits for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner(pub u64);

/// A client transaction's place in a response context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LegRef {
    pub owner: Owner,
    pub leg: usize,
    /// Where its responses go on to; none for a CANCEL of ours.
    pub upstream: Option<ServerId>,
    /// The call that the INVITE began.
    pub call: Option<CallRef>,
    /// The session interval, in seconds, of a 2xx that names none (RFC 4028 §8.2).
    pub session: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerId {
    index: usize,
    serial: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientId {
    index: usize,
    serial: u64,
}

/// What a request was to the server transaction that it matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerSaw {
    /// Done with.
    Repeat,
    /// An ACK to a 2xx that has the INVITE's branch: for the UAS.
    AckOf2xx,
}

/// A timer that the transaction user must know of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    ClientTimedOut(LegRef),
    /// No ACK came.
    ServerTimedOut,
}

enum ServerMachine {
    Invite(InviteServer),
    Other(Server),
}

enum ClientMachine {
    Invite(InviteClient),
    Other(Client),
}

type ServerEntry = Entry<ServerKey, ServerMachine, Owner>;
type ClientEntry = Entry<ClientKey, ClientMachine, LegRef>;

#[derive(Clone, Copy)]
enum Place {
    Server(usize),
    Client(usize),
}

pub struct Table {
    timing: Timing,
    /// Boxed, for they are large and linger in their hundred thousands: a slab that grows moves all it has.
    servers: Slab<Box<ServerEntry>>,
    clients: Slab<Box<ClientEntry>>,
    by_server: HashMap<ServerKey, usize, RandomState>,
    by_client: HashMap<ClientKey, usize, RandomState>,
    deadlines: Deadlines<(Place, Timer)>,
    serial: u64,
    gauges: Transactions,
    sources: Sources,
}

impl Table {
    pub fn new(timing: Timing) -> Table {
        let map_seed = RandomState::with_seeds(1, 2, 3, 4);
        Table {
            timing,
            servers: Slab::new(),
            clients: Slab::new(),
            by_server: HashMap::with_hasher(map_seed.clone()),
            by_client: HashMap::with_hasher(map_seed),
            deadlines: Deadlines::new(),
            serial: 0,
            gauges: Transactions::default(),
            sources: Sources::new(),
        }
    }

    /// All transactions.
    pub fn len(&self) -> usize {
        self.servers.len() + self.clients.len()
    }

    /// Server transactions whose answers go to this address (of IPv6: to its /64).
    pub fn of_source(&self, address: IpAddr) -> u32 {
        self.sources.open(address)
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn gauges(&self) -> Transactions {
        self.gauges
    }

    pub fn next_due(&self) -> Option<Time> {
        self.deadlines.next_due()
    }

    pub fn find_server(&self, key: ServerKey) -> Option<ServerId> {
        self.by_server.get(&key).map(|index| ServerId { index: *index, serial: self.servers[*index].serial })
    }

    /// For whom the server transaction is.
    pub fn owner(&self, id: ServerId) -> Option<Owner> {
        self.servers.get(id.index).filter(|e| e.serial == id.serial).map(|e| e.user)
    }

    /// Where its answers go.
    pub fn address(&self, id: ServerId) -> Option<Address> {
        self.servers.get(id.index).filter(|e| e.serial == id.serial).map(|e| e.subject.address)
    }

    /// The hash of its Call-ID.
    pub fn call(&self, id: ServerId) -> Option<CallHash> {
        self.servers.get(id.index).filter(|e| e.serial == id.serial).map(|e| e.subject.call)
    }

    /// A request that matches this transaction: a repeat, or (for an INVITE's) an ACK.
    pub fn request(&mut self, turn: &mut Turn<'_>, id: ServerId, is_ack: bool) -> ServerSaw {
        let timing = self.timing;
        let mut steps = Steps::new();
        let Some(entry) = self.servers.get_mut(id.index).filter(|e| e.serial == id.serial) else {
            return ServerSaw::Repeat;
        };
        let for_uas = match &mut entry.machine {
            ServerMachine::Invite(machine) if is_ack => machine.ack(&timing, &mut steps),
            ServerMachine::Invite(machine) => {
                machine.repeat(&mut steps);
                false
            }
            ServerMachine::Other(machine) => {
                machine.repeat(&mut steps);
                false
            }
        };
        self.server_steps(turn, id.index, steps);
        if for_uas { ServerSaw::AckOf2xx } else { ServerSaw::Repeat }
    }

    pub fn open_server(&mut self, key: ServerKey, subject: Subject, owner: Owner) -> ServerId {
        let reliable = subject.address.is_reliable();
        let machine = match subject.method {
            MethodKind::Invite => ServerMachine::Invite(InviteServer::new(reliable)),
            _ => ServerMachine::Other(Server::new(reliable)),
        };
        self.serial += 1;
        *gauge(&mut self.gauges, true, subject.method) += 1;
        self.sources.opened(subject.address.to.ip());
        let entry = Entry { serial: self.serial, key, machine, user: owner, subject, timers: SmallVec::new() };
        let index = self.servers.insert(Box::new(entry));
        self.by_server.insert(key, index);
        ServerId { index, serial: self.serial }
    }

    /// A response of the transaction user. Nothing happens if the transaction has ended.
    pub fn respond(&mut self, turn: &mut Turn<'_>, id: ServerId, status: u16, response: Outgoing) {
        let timing = self.timing;
        let mut steps = Steps::new();
        let Some(entry) = self.servers.get_mut(id.index).filter(|e| e.serial == id.serial) else { return };
        match &mut entry.machine {
            ServerMachine::Invite(machine) => machine.respond(status, response, &timing, &mut steps),
            ServerMachine::Other(machine) => machine.respond(status, response, &timing, &mut steps),
        }
        if status >= 200 {
            entry.user = Owner(0);
        }
        self.server_steps(turn, id.index, steps);
    }

    /// Ends a server transaction without an answer (RFC 4320 §4.2: nobody is told of a timeout but by silence).
    pub fn abandon(&mut self, id: ServerId) {
        if self.servers.get(id.index).is_some_and(|e| e.serial == id.serial) {
            self.remove_server(id.index);
        }
    }

    pub fn find_client(&self, key: ClientKey) -> Option<ClientId> {
        self.by_client.get(&key).map(|index| ClientId { index: *index, serial: self.clients[*index].serial })
    }

    pub fn leg(&self, id: ClientId) -> Option<LegRef> {
        self.client(id).map(|e| e.user)
    }

    /// Whether a 300-699 would be the first final response of this INVITE transaction: then the user journals it and
    /// makes an ACK.
    pub fn awaits_final(&self, id: ClientId) -> bool {
        use super::invite_client::State::{Calling, Proceeding};
        matches!(self.invite_state(id), Some(Calling | Proceeding))
    }

    /// Whether this INVITE transaction only lingers: see [`super::invite_client::State::GaveUp`].
    pub fn has_given_up(&self, id: ClientId) -> bool {
        self.invite_state(id) == Some(super::invite_client::State::GaveUp)
    }

    fn invite_state(&self, id: ClientId) -> Option<super::invite_client::State> {
        match &self.client(id)?.machine {
            ClientMachine::Invite(machine) => Some(machine.state()),
            ClientMachine::Other(_) => None,
        }
    }

    /// The INVITE of this transaction as it was sent, and where, as long as no final response has come.
    pub fn sent_invite(&self, id: ClientId) -> Option<(&Outgoing, Subject)> {
        let entry = self.client(id)?;
        match &entry.machine {
            ClientMachine::Invite(machine) => Some((machine.request()?, entry.subject)),
            ClientMachine::Other(_) => None,
        }
    }

    /// Sends the request and takes charge of it. With a key that exists already nothing happens: the request is a repeat.
    pub fn open_client(
        &mut self,
        turn: &mut Turn<'_>,
        key: ClientKey,
        subject: Subject,
        request: Outgoing,
        user: LegRef,
    ) -> Option<ClientId> {
        let (timing, reliable) = (self.timing, subject.address.is_reliable());
        let mut steps = Steps::new();
        let machine = match subject.method {
            MethodKind::Invite => ClientMachine::Invite(InviteClient::start(request, reliable, &timing, &mut steps)),
            _ => ClientMachine::Other(Client::start(request, reliable, &timing, &mut steps)),
        };
        self.keep_client(turn, key, subject, machine, user, steps)
    }

    /// Whether the transaction user sees this response. `ack`: for the first 300-699 to an INVITE.
    pub fn response(&mut self, turn: &mut Turn<'_>, id: ClientId, status: u16, ack: Option<Outgoing>) -> bool {
        let timing = self.timing;
        let mut steps = Steps::new();
        let Some(entry) = self.clients.get_mut(id.index).filter(|e| e.serial == id.serial) else { return false };
        let seen = match &mut entry.machine {
            ClientMachine::Invite(machine) => machine.response(status, ack, &timing, &mut steps),
            ClientMachine::Other(machine) => machine.response(status, &timing, &mut steps),
        };
        self.client_steps(turn, id.index, steps);
        seen
    }

    /// Nobody waits for this INVITE any more (§9.1: no final response came after the CANCEL). It lingers for what is late.
    pub fn give_up(&mut self, turn: &mut Turn<'_>, id: ClientId) {
        let timing = self.timing;
        let mut steps = Steps::new();
        let Some(entry) = self.clients.get_mut(id.index).filter(|e| e.serial == id.serial) else { return };
        if let ClientMachine::Invite(machine) = &mut entry.machine {
            machine.give_up(&timing, &mut steps);
        }
        self.client_steps(turn, id.index, steps);
    }

    /// A 2xx to an INVITE for which no context waits any more: upstream all the same, from where its INVITE came in
    /// (RFC 3261 §16.7 step 5). False: the server transaction has gone too.
    pub fn pass_late_2xx(&mut self, turn: &mut Turn<'_>, id: ServerId, response: Outgoing) -> bool {
        let Some(entry) = self.servers.get(id.index).filter(|e| e.serial == id.serial) else { return false };
        let subject = entry.subject;
        turn.send(subject.method, subject.address, response);
        true
    }

    /// Ends all transactions of a call without a word (its handling panicked).
    pub fn forget_call(&mut self, call: CallHash) {
        let servers: Vec<usize> = self.servers.iter().filter(|(_, e)| e.subject.call == call).map(|(i, _)| i).collect();
        servers.into_iter().for_each(|index| self.remove_server(index));
        let clients: Vec<usize> = self.clients.iter().filter(|(_, e)| e.subject.call == call).map(|(i, _)| i).collect();
        clients.into_iter().for_each(|index| self.remove_client(index));
    }

    /// Ends all transactions without a word.
    pub fn clear(&mut self) {
        let (timing, serial) = (self.timing, self.serial);
        // A serial is never used twice: what still names a transaction of before finds none.
        *self = Table { serial, ..Table::new(timing) };
    }

    /// Runs one timer that is due by now. `None`: there is none. `Some(None)`: done, nobody need know.
    pub fn expire(&mut self, turn: &mut Turn<'_>) -> Option<Option<Due>> {
        let (place, timer) = self.deadlines.expire(turn.now)?;
        let timing = self.timing;
        let mut steps = Steps::new();
        Some(match place {
            Place::Server(index) => {
                let entry = self.servers.get_mut(index)?;
                entry.timers.retain(|(t, _)| *t != timer);
                match &mut entry.machine {
                    ServerMachine::Invite(machine) => machine.timer(timer, &timing, &mut steps),
                    ServerMachine::Other(machine) => machine.timer(timer, &mut steps),
                }
                self.server_steps(turn, index, steps).then_some(Due::ServerTimedOut)
            }
            Place::Client(index) => {
                let entry = self.clients.get_mut(index)?;
                entry.timers.retain(|(t, _)| *t != timer);
                let user = entry.user;
                match &mut entry.machine {
                    ClientMachine::Invite(machine) => machine.timer(timer, &timing, &mut steps),
                    ClientMachine::Other(machine) => machine.timer(timer, &timing, &mut steps),
                }
                self.client_steps(turn, index, steps).then_some(Due::ClientTimedOut(user))
            }
        })
    }

    fn client(&self, id: ClientId) -> Option<&ClientEntry> {
        self.clients.get(id.index).map(Box::as_ref).filter(|e| e.serial == id.serial)
    }

    /// Carries the steps out; whether the transaction timed out.
    fn server_steps(&mut self, turn: &mut Turn<'_>, index: usize, steps: Steps) -> bool {
        let done =
            self.servers[index].carry_out(turn, &mut self.deadlines, |timer| (Place::Server(index), timer), steps);
        if done.gone {
            self.remove_server(index);
        }
        done.timed_out
    }

    fn client_steps(&mut self, turn: &mut Turn<'_>, index: usize, steps: Steps) -> bool {
        let done =
            self.clients[index].carry_out(turn, &mut self.deadlines, |timer| (Place::Client(index), timer), steps);
        if done.gone {
            self.remove_client(index);
        }
        done.timed_out
    }

    fn remove_server(&mut self, index: usize) {
        let entry = self.servers.remove(index);
        for (_, handle) in entry.timers {
            self.deadlines.cancel(handle);
        }
        self.by_server.remove(&entry.key);
        *gauge(&mut self.gauges, true, entry.subject.method) -= 1;
        self.sources.closed(entry.subject.address.to.ip());
    }

    fn remove_client(&mut self, index: usize) {
        let entry = self.clients.remove(index);
        for (_, handle) in entry.timers {
            self.deadlines.cancel(handle);
        }
        self.by_client.remove(&entry.key);
        *gauge(&mut self.gauges, false, entry.subject.method) -= 1;
    }
}

fn gauge(gauges: &mut Transactions, server: bool, method: MethodKind) -> &mut u64 {
    match (server, method == MethodKind::Invite) {
        (true, true) => &mut gauges.invite_server,
        (true, false) => &mut gauges.server,
        (false, true) => &mut gauges.invite_client,
        (false, false) => &mut gauges.client,
    }
}
