//! Who is it? Digest authentication (RFC 3261 §22, RFC 7616, RFC 8760) against the subscribers of the replica.
//! `node` asks [`Authenticator::check`] for each new request of a domain with `auth: digest`, before anything else is done.
//!
//! - [`digest`]: from HA1 to the response. [`nonce`]: nonces without memory. [`replay`]: each nc once.
//! - [`challenge`]: what a 401 or 407 carries. [`consume`]: credentials that end here.
//!
//! Known and unknown users cost the same work and get the same answer.

pub mod challenge;
mod consume;
pub mod digest;
pub mod nonce;
pub mod replay;

pub use challenge::{Which, fit};
pub use consume::consume;
pub use nonce::Issuer;

use crate::effect::View;
use common::config::{DigestOffer, Rack};
use common::keys::Keys;
use common::location::{Aor, Subscriber};
use common::sip::{Challenge, Credentials, Method, ParseError, SipMessage, SipUri};
use common::time::WallMillis;
use digest::{Algorithm, Hash, Qop};
use nonce::Bound;
use replay::ReplayWindow;
use std::borrow::Cow;
use std::sync::Arc;
use subtle::ConstantTimeEq;

/// What [`Authenticator::check`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is this user, and the request's From (and a REGISTER's To) says so.
    Ok { user: Aor },
    /// 401 or 407 with [`Authenticator::challenge_headers`]. `stale`: the password was right, the nonce was not good.
    Challenge { stale: bool },
    /// 403 with this reason phrase.
    Forbidden(&'static str),
    /// 400 with this reason phrase.
    BadRequest(String),
}

/// One worker's: nonces are bound to the worker, and so is the window of those used.
pub struct Authenticator {
    keys: Arc<Keys>,
    rack: Arc<Rack>,
    issuer: Issuer,
    used: ReplayWindow,
}

/// Of whom nobody has the password. Computed with for unknown users, so that they cost what known ones do.
const NOBODY: [u8; 32] = *b"no password leads to this digest";

impl Authenticator {
    pub fn new(keys: Arc<Keys>, rack: Arc<Rack>, issuer: Issuer) -> Authenticator {
        Authenticator { keys, rack, issuer, used: ReplayWindow::default() }
    }

    /// Judges one request. `realm` = the domain's name. Changes nothing unless the digest was right.
    pub fn check(&mut self, wall: WallMillis, view: &dyn View, msg: &SipMessage, realm: &str, which: Which) -> Verdict {
        let credentials = match find(msg, realm, which) {
            Ok(Some(credentials)) => credentials,
            Ok(None) => return Verdict::Challenge { stale: false },
            Err(reason) => return Verdict::BadRequest(reason),
        };
        let (algorithm, qop) = match read(&credentials) {
            Ok(Some(read)) => read,
            // An algorithm or qop that we do not have.
            Ok(None) => return Verdict::Challenge { stale: false },
            Err(reason) => return Verdict::BadRequest(reason.into()),
        };
        // One that this domain does not offer: else who listens in could talk a UA down to it (RFC 8760 §3).
        if !self.offer(realm).has(algorithm.hash) {
            return Verdict::Challenge { stale: false };
        }
        let user = Aor::new(&credentials.username, realm);
        if !self.digest_is_right(view, msg, &user, &credentials, algorithm, qop) {
            return Verdict::Challenge { stale: false };
        }
        let bound = Bound { call_id: msg.call_id(), realm };
        let Some(fresh) = nonce::check(&self.keys.nonce, self.issuer, wall, bound, &credentials.nonce) else {
            return Verdict::Challenge { stale: true };
        };
        if !names_this_request(&credentials.uri, msg) {
            return Verdict::BadRequest("Digest uri Is Not The Request-URI".into());
        }
        if !self.used.take(wall, fresh, nonce_count(qop)) {
            return Verdict::Challenge { stale: true };
        }
        self.identity(msg, user)
    }

    /// For a 401 or 407: one challenge an algorithm that the domain offers, strongest first (RFC 8760 §2.4). Bound the
    /// reply with [`fit`].
    pub fn challenge_headers(
        &self,
        wall: WallMillis,
        call_id: &[u8],
        realm: &str,
        which: Which,
        stale: bool,
    ) -> Vec<(&'static str, String)> {
        let nonce = nonce::write(&self.keys.nonce, self.issuer, wall, Bound { call_id, realm });
        let challenge = |hash: &Hash| Challenge {
            realm: realm.into(),
            nonce: nonce.as_str().into(),
            opaque: None,
            stale,
            algorithm: Some(hash.as_str().into()),
            qop: Some("auth".into()),
        };
        self.offer(realm)
            .algorithms()
            .iter()
            .map(|hash| (which.challenge_name(), challenge(hash).to_string()))
            .collect()
    }

    fn offer(&self, realm: &str) -> Cow<'_, DigestOffer> {
        self.rack.domain(realm).map_or(Cow::Owned(DigestOffer::default()), |domain| Cow::Borrowed(&domain.digest))
    }

    fn digest_is_right(
        &self,
        view: &dyn View,
        msg: &SipMessage,
        user: &Aor,
        credentials: &Credentials<'_>,
        algorithm: Algorithm,
        qop: Qop<'_>,
    ) -> bool {
        let subscriber = view.subscriber(user);
        let known = subscriber.as_deref().and_then(|subscriber| ha1(subscriber, algorithm.hash));
        let nobody = if algorithm.hash == Hash::Md5 { &NOBODY[..16] } else { &NOBODY };
        let ha1 = known.unwrap_or(nobody);
        let cnonce = credentials.cnonce.as_deref().unwrap_or_default();
        let method = msg.method();
        let (nonce, uri) = (&credentials.nonce, &credentials.uri);
        let expected = digest::response(algorithm, ha1, nonce, cnonce, qop, method.as_str(), uri);
        let sent = credentials.response.to_ascii_lowercase();
        let equal = bool::from(expected.as_bytes().ct_eq(sent.as_bytes()));
        equal & known.is_some()
    }

    /// A user speaks for itself only: From, and the To of a REGISTER, name the AOR that was authenticated. A From of
    /// somebody else's domain poses as nobody of ours: a caller from elsewhere with an account here (RFC 3665 §3.3), or one
    /// that withholds its name. For a REGISTER it must be ours.
    fn identity(&self, msg: &SipMessage, user: Aor) -> Verdict {
        let names_user =
            |uri: Result<SipUri<'_>, ParseError>| uri.is_ok_and(|u| local_aor(&self.rack, &u) == Some(user.clone()));
        let registers = msg.method() == Method::Register;
        let from = msg.from().and_then(|from| SipUri::parse(from.uri_text));
        let is_elsewhere = |from: &SipUri<'_>| self.rack.domain_of_host(from.host, None).is_none();
        let is_foreign = !registers && from.as_ref().is_ok_and(is_elsewhere);
        if !is_foreign && !names_user(from) {
            return Verdict::Forbidden("From Is Not The Authenticated User");
        }
        if registers && !names_user(msg.to().and_then(|to| SipUri::parse(to.uri_text))) {
            return Verdict::Forbidden("To Is Not The Authenticated User");
        }
        Verdict::Ok { user }
    }
}

/// `None`: the password was set before digests of this algorithm were kept, so no answer with it is right.
fn ha1(subscriber: &Subscriber, hash: Hash) -> Option<&[u8]> {
    match hash {
        Hash::Md5 => Some(&subscriber.ha1_md5),
        Hash::Sha256 => Some(&subscriber.ha1_sha256),
        Hash::Sha512_256 => subscriber.ha1_sha512_256.as_ref().map(|ha1| &ha1[..]),
    }
}

/// The URI of a caller that withholds its name: `sip:anonymous@anonymous.invalid` (RFC 3323 §4.1.1.3).
pub fn is_anonymous(uri: &SipUri<'_>) -> bool {
    let user = uri.user_unescaped();
    uri.host.eq_ignore_ascii_case("anonymous.invalid") && user.is_none_or(|user| user.eq_ignore_ascii_case("anonymous"))
}

/// The AOR that a URI names if its host is ours: the domain's name stands for the VIP's own address too.
pub fn local_aor(rack: &Rack, uri: &SipUri<'_>) -> Option<Aor> {
    let domain = rack.domain_of_host(uri.host, uri.port)?;
    Some(Aor::new(&uri.user_of_record()?, &domain.name))
}

/// The credentials for `realm` (RFC 3261 §22.3: others are for other servers).
fn find<'m>(msg: &'m SipMessage, realm: &str, which: Which) -> Result<Option<Credentials<'m>>, String> {
    let header = which.credentials_header();
    for value in msg.all(header) {
        let value = std::str::from_utf8(value).map_err(|_| ParseError::NotText(header).to_string())?;
        let scheme = value.trim_start().split([' ', '\t', '\r', '\n']).next().unwrap_or_default();
        if !scheme.eq_ignore_ascii_case("Digest") {
            continue;
        }
        // What is wrong with another server's credentials is no business of ours.
        if Credentials::realm(value).is_some_and(|other| !other.eq_ignore_ascii_case(realm)) {
            continue;
        }
        return Credentials::parse(header, value).map(Some).map_err(|e| e.to_string());
    }
    Ok(None)
}

/// `Ok(None)`: something that we never offered.
fn read<'c>(credentials: &'c Credentials<'_>) -> Result<Option<(Algorithm, Qop<'c>)>, &'static str> {
    let Some(algorithm) = Algorithm::parse(credentials.algorithm.as_deref()) else { return Ok(None) };
    let qop = match credentials.qop.as_deref() {
        None if algorithm.sess => return Err("Digest -sess Without qop"),
        None => Qop::Legacy,
        Some(qop) if qop.eq_ignore_ascii_case("auth") => {
            credentials.nonce_count().filter(|nc| *nc > 0).ok_or("Digest nc Is Not Eight Hex Digits")?;
            let cnonce = credentials.cnonce.as_deref().filter(|c| !c.is_empty()).ok_or("Digest qop Without cnonce")?;
            Qop::Auth { nc: credentials.nc.as_deref().unwrap_or_default(), cnonce }
        }
        Some(_) => return Ok(None),
    };
    Ok(Some((algorithm, qop)))
}

fn nonce_count(qop: Qop<'_>) -> Option<u32> {
    match qop {
        Qop::Legacy => None,
        Qop::Auth { nc, .. } => u32::from_str_radix(nc, 16).ok(),
    }
}

/// RFC 3261 §22.4 (8): the digest URI may differ from the Request-URI where a proxy changed it, and many UAs write just the
/// server's address. But a user part that is written must be the one that is called: else the hash protects nothing.
fn names_this_request(digest_uri: &str, msg: &SipMessage) -> bool {
    let request_uri = msg.request_uri();
    if digest_uri == request_uri {
        return true;
    }
    match (SipUri::parse(digest_uri), SipUri::parse(request_uri)) {
        (Ok(digest), Ok(request)) => digest.user.is_none() || digest.user_unescaped() == request.user_unescaped(),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
