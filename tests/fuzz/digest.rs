//! Digest credentials from liars. Whoever knows the password is let in, once for each nonce count; whatever is changed
//! in what it sent, no other request is.

use super::choices::Choices;
use super::{fuzz, mangle, seeds};
use cc_node::auth::digest::{self, Algorithm, Qop};
use cc_node::auth::{Authenticator, Issuer, Verdict, Which};
use cc_node::effect::View;
use common::config::Rack;
use common::ids::{BootId, NodeId};
use common::keys::{Keys, RackKey};
use common::location::{Aor, Bindings, LogTime, Subscriber};
use common::placement::Placements;
use common::sip::{Challenge, Credentials, HeaderId, Limits, SipMessage};
use common::time::{Time, WallMillis};
use std::sync::{Arc, LazyLock};

const NOW: WallMillis = WallMillis(1_700_000_000_000);
const REALM: &str = "rack.test";
/// HA1 of 1001's password; its value does not matter.
const HA1: [u8; 16] = [0x5a; 16];

struct OneUser(Placements);

impl View for OneUser {
    fn bindings(&self, _: &Aor) -> Option<Arc<Bindings>> {
        None
    }

    fn subscriber(&self, aor: &Aor) -> Option<Arc<Subscriber>> {
        let known = Aor::new("1001", REALM);
        (*aor == known).then(|| {
            Arc::new(Subscriber { aor: known, ha1_md5: HA1, ha1_sha256: [0x5b; 32], ha1_sha512_256: Some([0x5b; 32]) })
        })
    }

    fn log_time(&self, now: Time) -> LogTime {
        LogTime(now.millis())
    }

    fn placements(&self) -> &Placements {
        &self.0
    }
}

static RACK: LazyLock<Arc<Rack>> = LazyLock::new(|| Arc::new(Rack::one_machine_default(1).expand()));
static KEYS: LazyLock<Arc<Keys>> = LazyLock::new(|| Arc::new(Keys::derive(&RackKey([9; 32]))));

fn authenticator() -> Authenticator {
    Authenticator::new(KEYS.clone(), RACK.clone(), Issuer { node: NodeId(1), boot: BootId(1), worker: 0 })
}

fn request(call_id: &str, uri: &str, authorization: &[u8]) -> Vec<u8> {
    let head = format!(
        "REGISTER {uri} SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bKa\r\nFrom: <sip:1001@rack.test>;tag=1\r\n\
         To: <sip:1001@rack.test>\r\nCall-ID: {call_id}\r\nCSeq: 1 REGISTER\r\nAuthorization: "
    );
    [head.as_bytes(), authorization, b"\r\nContent-Length: 0\r\n\r\n"].concat()
}

/// What a UA with the password sends.
fn honest(a: &Authenticator, nc: &str) -> String {
    let challenges = a.challenge_headers(NOW, b"call", REALM, Which::Www, false);
    let nonce = Challenge::parse(HeaderId::WwwAuthenticate, &challenges[0].1).unwrap().nonce.into_owned();
    let qop = Qop::Auth { nc, cnonce: "0a4f" };
    let md5 = Algorithm::parse(None).unwrap();
    let response = digest::response(md5, &HA1, &nonce, "0a4f", qop, "REGISTER", "sip:rack.test");
    format!(
        "Digest username=\"1001\", realm=\"{REALM}\", nonce=\"{nonce}\", uri=\"sip:rack.test\", response=\"{response}\", \
         algorithm=MD5, qop=auth, nc={nc}, cnonce=\"0a4f\""
    )
}

/// What the hash is over, and what it is compared with: if one of them differs, the password does not stand behind it.
fn meaning(text: &[u8]) -> Option<[String; 7]> {
    let c = Credentials::parse(HeaderId::Authorization, std::str::from_utf8(text).ok()?).ok()?;
    let word = |value: &Option<std::borrow::Cow<'_, str>>| value.as_deref().unwrap_or_default().to_string();
    let (user, realm) = (c.username.to_string(), c.realm.to_ascii_lowercase());
    let response = c.response.to_ascii_lowercase();
    Some([user, realm, c.nonce.to_string(), c.uri.to_string(), response, word(&c.cnonce), word(&c.nc)])
}

fn check(octets: &[u8]) {
    let mut choices = Choices::new(octets);
    let (mut a, view) = (authenticator(), OneUser(Placements::none()));
    let nc = format!("{:08x}", 1 + choices.below(200));
    let honest = honest(&a, &nc);
    let mut accepted: Vec<String> = Vec::new();
    for _ in 0..3 {
        let mut sent = honest.clone().into_bytes();
        for _ in 0..choices.below(4) {
            mangle::change(&mut choices, &mut sent, &[honest.as_bytes(), seeds::VALUES[7]]);
        }
        let (call_id, uri) = (choices.pick(&["call", "call", "other"]), choices.pick(&["sip:rack.test", "sip:x@y"]));
        let Ok(m) = SipMessage::parse(request(call_id, uri, &sent).into(), &Limits::default()) else { continue };
        let verdict = a.check(NOW, &view, &m, REALM, Which::Www);
        let Some(value) = m.header(HeaderId::Authorization) else { continue };
        let same = meaning(value) == meaning(honest.as_bytes()) && call_id == "call";
        if let Verdict::Ok { user } = verdict {
            assert!(m.values(HeaderId::Authorization).any(|v| meaning(v) == meaning(honest.as_bytes())), "{sent:?}");
            assert_eq!((user.as_str(), call_id), ("1001@rack.test", "call"));
            assert!(!accepted.contains(&nc), "a replay was let in");
            accepted.push(nc.clone());
        } else if same && sent == honest.as_bytes() && uri == "sip:rack.test" {
            assert!(accepted.contains(&nc), "{verdict:?}: who has the password is let in");
        }
    }
}

/// Whole requests of liars, who never had a password: nobody is let in.
fn hostile(octets: &[u8], seeds: &[&[u8]]) {
    let (mut a, view) = (authenticator(), OneUser(Placements::none()));
    let Ok(m) = SipMessage::parse(mangle::text(octets, seeds).into_owned().into(), &Limits::default()) else { return };
    for which in [Which::Www, Which::Proxy] {
        let verdict = a.check(NOW, &view, &m, REALM, which);
        assert!(!matches!(verdict, Verdict::Ok { .. }), "{verdict:?}");
    }
}

#[test]
fn fuzz() {
    let seeds = seeds::messages();
    seeds.iter().for_each(|seed| hostile(seed, &seeds));
    fuzz!("digest", 4000, |octets: &[u8]| {
        check(octets);
        hostile(octets, &seeds);
    });
}
