//! First step: who asks. A trunk is known by its source address and needs no digest; a user proves who it is; in a domain
//! with `auth: none` everybody is believed.

use super::Refusal;
use crate::auth::{Authenticator, Verdict, Which, fit};
use crate::effect::View;
pub use crate::record::Caller;
use crate::record::Decision;
use crate::station::Station;
use crate::stats::Rejection;
use common::config::{Auth, Domain};
use common::flow::Flow;
use common::location::Aor;
use common::sip::{SipMessage, Uri};
use common::time::WallMillis;

/// Who it is, and the words for it; or the answer, to be given without any state (no transaction, no 100).
pub type Identified = Result<(Caller, Decision), Refusal>;

pub fn identify(
    station: &Station,
    auth: &mut Authenticator,
    wall: WallMillis,
    view: &dyn View,
    request: &SipMessage,
    source: &Flow,
) -> Identified {
    if let Some(trunk) = station.rack.trunk_of_source(source.remote) {
        return Ok((Caller::Trunk(trunk.id), Decision::FromTrunk { trunk: trunk.id, at: source.remote }));
    }
    let Some(domain) = realm(station, request) else {
        return Err(Refusal::new(403, Rejection::Forbidden));
    };
    match authenticate(station, auth, wall, view, request, source, domain, Which::Proxy)? {
        Some(user) => {
            let decision = Decision::FromUser { user: user.clone(), at: source.remote };
            Ok((Caller::User(user), decision))
        }
        None => Ok((Caller::Anyone, Decision::FromAnyone { at: source.remote })),
    }
}

/// `Ok(None)`: the domain asks nobody. The refusal's challenges are cut so that the answer is at most twice the request;
/// where not one has room, the answer is a 400.
#[allow(clippy::too_many_arguments)]
pub fn authenticate(
    station: &Station,
    auth: &mut Authenticator,
    wall: WallMillis,
    view: &dyn View,
    request: &SipMessage,
    source: &Flow,
    domain: &Domain,
    which: Which,
) -> Result<Option<Aor>, Refusal> {
    if domain.auth == Auth::None {
        return Ok(None);
    }
    match auth.check(wall, view, request, &domain.name, which) {
        Verdict::Ok { user } => Ok(Some(user)),
        Verdict::Forbidden(reason) => Err(Refusal::because(403, Rejection::Forbidden, reason)),
        Verdict::BadRequest(reason) => Err(Refusal::because(400, Rejection::Invalid, reason)),
        Verdict::Challenge { stale } => {
            let headers = auth.challenge_headers(wall, request.call_id(), &domain.name, which, stale);
            let bare = station.reply(request, source, which.status(), None, Vec::new()).len();
            let budget = (2 * request.trimmed_bytes().len()).saturating_sub(bare);
            match fit(headers, budget) {
                none if none.is_empty() => Err(Refusal::because(400, Rejection::Invalid, "Too Short To Be Challenged")),
                headers => Err(Refusal { headers, ..Refusal::new(which.status(), Rejection::Challenged) }),
            }
        }
    }
}

/// Whose users are asked for a password: those of the caller's domain if it is ours, else of the domain called, else of
/// the default domain.
fn realm<'r>(station: &'r Station, request: &SipMessage) -> Option<&'r Domain> {
    let rack = &*station.rack;
    let of = |uri: Option<Uri<'_>>| uri.and_then(Uri::sip).and_then(|uri| rack.domain_of_host(uri.host, uri.port));
    of(request.from().ok().and_then(|from| from.uri().ok()))
        .or_else(|| of(request.uri().ok()))
        .or_else(|| rack.default_domain())
}
