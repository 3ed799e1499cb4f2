//! Transactions of a dead holder, taken up where its records leave them. Nothing is sent by that.

use super::{ClientEntry, ClientId, ClientMachine, Entry, ServerEntry, ServerId, ServerMachine, Table, gauge};
use crate::transaction::invite_client::InviteClient;
use crate::transaction::{ClientKey, LegRef, Outgoing, Steps, Subject};
use crate::turn::Turn;
use smallvec::SmallVec;

impl Table {
    /// A 2xx to this INVITE has gone upstream: its repeats are absorbed from now on (RFC 6026 §7.1).
    pub fn accept(&mut self, turn: &mut Turn<'_>, id: ServerId) {
        let (timing, mut steps) = (self.timing, Steps::new());
        let is_it = |entry: &&mut Box<ServerEntry>| entry.serial == id.serial;
        let Some(entry) = self.servers.get_mut(id.index).filter(is_it) else { return };
        if let ServerMachine::Invite(machine) = &mut entry.machine {
            machine.accept(&timing, &mut steps);
        }
        self.server_steps(turn, id.index, steps);
    }

    /// An INVITE that was sent and has got a provisional response.
    pub fn resume_client(
        &mut self,
        turn: &mut Turn<'_>,
        key: ClientKey,
        subject: Subject,
        request: Outgoing,
        user: LegRef,
    ) -> Option<ClientId> {
        let machine = ClientMachine::Invite(InviteClient::proceeding(request, subject.address.is_reliable()));
        self.keep_client(turn, key, subject, machine, user, Steps::new())
    }

    /// None: there is one under this key.
    pub(super) fn keep_client(
        &mut self,
        turn: &mut Turn<'_>,
        key: ClientKey,
        subject: Subject,
        machine: ClientMachine,
        user: LegRef,
        steps: Steps,
    ) -> Option<ClientId> {
        if self.by_client.contains_key(&key) {
            return None;
        }
        self.serial += 1;
        *gauge(&mut self.gauges, false, subject.method) += 1;
        let entry: ClientEntry = Entry { serial: self.serial, key, machine, user, subject, timers: SmallVec::new() };
        let index = self.clients.insert(Box::new(entry));
        self.by_client.insert(key, index);
        let id = ClientId { index, serial: self.serial };
        self.client_steps(turn, index, steps);
        Some(id)
    }
}
