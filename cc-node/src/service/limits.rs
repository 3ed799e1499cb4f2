//! Limits of concurrent calls, of the admit step: under which keys a call is counted, and what its caller hears where there
//! is no room. Whoever goes on with a dead node's call works the keys out again from what its records tell.

use super::{Caller, Refusal};
use crate::auth::local_aor;
use crate::counted::{Key, Want};
use crate::image;
use crate::station::Station;
use crate::stats::Rejection;
use common::config::Auth;
use common::flow::Peer;
use common::ids::TrunkId;
use common::location::Aor;
use common::sip::SipUri;
use smallvec::SmallVec;
use std::net::IpAddr;

/// What is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limited {
    Account,
    Source,
    TrunkIn,
    TrunkOut(TrunkId),
}

/// Each key with what it is of.
pub type Wants = SmallVec<[(Limited, Want); 4]>;

/// Of whoever calls. Nobody pays for the calls of a domain without authentication by name: they have their source.
pub fn of_caller(station: &Station, caller: &Caller, source: IpAddr) -> Wants {
    match caller {
        Caller::Trunk(id) => trunk(station, *id).map(|want| (Limited::TrunkIn, want)).into_iter().collect(),
        Caller::User(aor) => account(station, aor).into_iter().chain(of_source(station, source)).collect(),
        Caller::Anyone => of_source(station, source).into_iter().collect(),
    }
}

/// Of the trunks among these sides.
pub fn of_trunks(station: &Station, sides: impl Iterator<Item = Peer>) -> Wants {
    let of = |side| match side {
        Peer::Trunk(id) => trunk(station, id).map(|want| (Limited::TrunkOut(id), want)),
        Peer::Flow(_) | Peer::Direct(_) => None,
    };
    sides.filter_map(of).collect()
}

fn account(station: &Station, aor: &Aor) -> Option<(Limited, Want)> {
    let limit = station.rack.limits.calls_per_account;
    (limit > 0).then(|| (Limited::Account, Want { key: Key::account(&station.keys.placement, aor), limit }))
}

fn of_source(station: &Station, source: IpAddr) -> Option<(Limited, Want)> {
    let limit = station.rack.limits.calls_per_source;
    (limit > 0).then(|| (Limited::Source, Want { key: Key::source(&station.keys.placement, source), limit }))
}

fn trunk(station: &Station, id: TrunkId) -> Option<Want> {
    let limit = station.rack.trunk(id)?.max_calls;
    (limit > 0).then(|| Want { key: Key::trunk(&station.keys.placement, id), limit })
}

/// Under which keys a dead node's call was counted: a trunk that it was tried at counts, as it did there.
pub fn of_image(station: &Station, call: &image::Call, invite: Option<&image::Invite>) -> SmallVec<[Key; 4]> {
    let opened = &call.opened;
    let mut wants = match opened.peer {
        Peer::Trunk(id) => of_caller(station, &Caller::Trunk(id), IpAddr::from([0; 4])),
        Peer::Flow(flow) | Peer::Direct(flow) => {
            let user = SipUri::parse(&opened.caller).ok().and_then(|uri| local_aor(&station.rack, &uri));
            let asks = |aor: &Aor| station.rack.domain(aor.domain()).is_some_and(|domain| domain.auth != Auth::None);
            let caller = user.filter(asks).map_or(Caller::Anyone, Caller::User);
            of_caller(station, &caller, flow.remote.ip())
        }
    };
    let legs = invite.into_iter().flat_map(|invite| &invite.legs).flat_map(|leg| &leg.targets);
    let sides = legs.map(|target| target.peer).chain(call.dialogs.iter().map(|(_, side)| *side));
    wants.extend(of_trunks(station, sides));
    let mut keys: SmallVec<[Key; 4]> = wants.into_iter().map(|(_, want)| want.key).collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}

/// What the caller hears. An account or a source has what it may have; a trunk may have room in a moment.
pub fn refusal(limited: Limited) -> Refusal {
    let full = |what: &str| Refusal { counted: Rejection::TrunkCalls, ..Refusal::full(what) };
    match limited {
        Limited::Account => Refusal::because(403, Rejection::AccountCalls, "Too Many Calls Of This Account"),
        Limited::Source => Refusal::because(403, Rejection::SourceCalls, "Too Many Calls From This Source"),
        Limited::TrunkIn => full("Calls Of This Trunk"),
        Limited::TrunkOut(_) => full("Calls To This Trunk"),
    }
}
