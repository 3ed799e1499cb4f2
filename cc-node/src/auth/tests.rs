//! Digest as a dialogue between a UA that knows (or guesses) a password and one worker.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::location::{LocalView, Writer};
use bytes::Bytes;
use common::ids::{BootId, Level, NodeId};
use common::keys::RackKey;
use common::location::{Change, Entry, LogTime, Record, Subscriber};
use common::placement::Placements;
use common::sip::Limits;
use common::time::Time;
use md5::Digest as _;
use proptest::prelude::*;

const NOW: WallMillis = WallMillis(1_700_000_000_000);
const ISSUER: Issuer = Issuer { node: NodeId(1), boot: BootId(1), worker: 0 };

fn keys() -> Arc<Keys> {
    Arc::new(Keys::derive(&RackKey([9; 32])))
}

fn authenticator() -> Authenticator {
    offering(&[Hash::Md5, Hash::Sha256, Hash::Sha512_256])
}

fn offering(digest: &[Hash]) -> Authenticator {
    let mut rack = Rack::one_machine_default(3).expand();
    rack.domains[0].digest = DigestOffer::of(digest).unwrap();
    Authenticator::new(keys(), Arc::new(rack), ISSUER)
}

fn ha1(hash: Hash, user: &str, password: &str) -> Vec<u8> {
    let text = format!("{user}:rack.test:{password}");
    match hash {
        Hash::Md5 => md5::Md5::digest(text).to_vec(),
        Hash::Sha256 => sha2::Sha256::digest(text).to_vec(),
        Hash::Sha512_256 => sha2::Sha512_256::digest(text).to_vec(),
    }
}

/// With the password `secret`.
fn subscriber(user: &str) -> Subscriber {
    Subscriber {
        aor: Aor::new(user, "rack.test"),
        ha1_md5: ha1(Hash::Md5, user, "secret").try_into().unwrap(),
        ha1_sha256: ha1(Hash::Sha256, user, "secret").try_into().unwrap(),
        ha1_sha512_256: Some(ha1(Hash::Sha512_256, user, "secret").try_into().unwrap()),
    }
}

/// 1001, and 1009 whose password was set before SHA-512-256 was kept.
fn view() -> LocalView {
    let mut writer = Writer::new(&keys());
    let old = Subscriber { ha1_sha512_256: None, ..subscriber("1009") };
    let changes = [subscriber("1001"), old].map(|s| Change::Put(Record::Subscriber(s))).to_vec();
    writer.apply(Time(0), &Entry { level: Level(1), time: LogTime(0), changes }).unwrap();
    LocalView::new(writer.replica().clone(), Arc::new(Placements::none()))
}

/// What the UA sends; each test changes a little.
#[derive(Clone)]
struct Ua {
    method: &'static str,
    uri: String,
    digest_uri: String,
    from: &'static str,
    to: &'static str,
    call_id: &'static str,
    user: &'static str,
    password: &'static str,
    algorithm: &'static str,
    qop: bool,
    nc: u32,
    nonce: String,
}

fn ua(a: &Authenticator) -> Ua {
    Ua {
        method: "REGISTER",
        uri: "sip:rack.test".into(),
        digest_uri: "sip:rack.test".into(),
        from: "sip:1001@rack.test",
        to: "sip:1001@127.0.0.1",
        call_id: "c1@phone",
        user: "1001",
        password: "secret",
        algorithm: "MD5",
        qop: true,
        nc: 1,
        nonce: nonce_of(a, NOW, "c1@phone"),
    }
}

fn nonce_of(a: &Authenticator, wall: WallMillis, call_id: &str) -> String {
    let headers = a.challenge_headers(wall, call_id.as_bytes(), "rack.test", Which::Www, false);
    Challenge::parse(common::sip::HeaderId::WwwAuthenticate, &headers[0].1).unwrap().nonce.into_owned()
}

impl Ua {
    fn authorization(&self) -> String {
        let algorithm = Algorithm::parse(Some(self.algorithm)).unwrap();
        let nc = format!("{:08x}", self.nc);
        let qop = if self.qop { Qop::Auth { nc: &nc, cnonce: "0a4f" } } else { Qop::Legacy };
        let ha1 = ha1(algorithm.hash, self.user, self.password);
        let response = digest::response(algorithm, &ha1, &self.nonce, "0a4f", qop, self.method, &self.digest_uri);
        let (user, nonce, uri, algorithm) = (self.user, &self.nonce, &self.digest_uri, self.algorithm);
        let tail = if self.qop { format!(", qop=auth, nc={nc}, cnonce=\"0a4f\"") } else { String::new() };
        format!(
            "Digest username=\"{user}\", realm=\"rack.test\", nonce=\"{nonce}\", uri=\"{uri}\", \
             response=\"{response}\", algorithm={algorithm}{tail}"
        )
    }

    fn message(&self) -> SipMessage {
        with_authorization(self, Some(&self.authorization()))
    }
}

fn with_authorization(ua: &Ua, authorization: Option<&str>) -> SipMessage {
    let auth = authorization.map(|a| format!("Authorization: {a}\r\n")).unwrap_or_default();
    let (method, uri, from, to, call_id) = (ua.method, &ua.uri, ua.from, ua.to, ua.call_id);
    let text = format!(
        "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\nFrom: <{from}>;tag=1\r\nTo: <{to}>\r\n\
         Call-ID: {call_id}\r\nCSeq: 1 {method}\r\n{auth}Content-Length: 0\r\n\r\n"
    );
    SipMessage::parse(Bytes::from(text), &Limits::default()).unwrap()
}

fn check(a: &mut Authenticator, msg: &SipMessage) -> Verdict {
    a.check(NOW, &view(), msg, "rack.test", Which::Www)
}

const STALE: Verdict = Verdict::Challenge { stale: true };
const WRONG: Verdict = Verdict::Challenge { stale: false };

fn ok() -> Verdict {
    Verdict::Ok { user: Aor::new("1001", "rack.test") }
}

#[test]
fn challenged_then_known_with_every_algorithm() {
    let mut a = authenticator();
    let phone = ua(&a);
    assert_eq!(check(&mut a, &with_authorization(&phone, None)), WRONG);
    let algorithms = ["MD5", "SHA-256", "SHA-512-256", "MD5-sess", "sha-256-SESS", "SHA-512-256-sess"];
    for (nc, algorithm) in algorithms.into_iter().enumerate() {
        let phone = Ua { algorithm, nc: nc as u32 + 1, ..phone.clone() };
        assert_eq!(check(&mut a, &phone.message()), ok(), "{algorithm}");
    }
}

/// What a challenge of this domain names, in its order.
fn challenged_with(offer: &[Hash], which: Which, stale: bool) -> Vec<String> {
    let headers = offering(offer).challenge_headers(NOW, b"c", "rack.test", which, stale);
    let read = |(name, value): &(&str, String)| {
        assert_eq!(*name, which.challenge_name());
        let challenge = Challenge::parse(which.credentials_header(), value).unwrap();
        assert_eq!((&*challenge.realm, challenge.qop.as_deref(), challenge.stale), ("rack.test", Some("auth"), stale));
        assert!(!value.contains("auth-int") && !value.contains("userhash"), "{value}");
        challenge.algorithm.unwrap().into_owned()
    };
    headers.iter().map(read).collect()
}

#[test]
fn a_challenge_for_each_algorithm_offered_the_strongest_first() {
    let all = [Hash::Md5, Hash::Sha512_256, Hash::Sha256];
    assert_eq!(challenged_with(&all, Which::Proxy, true), ["SHA-512-256", "SHA-256", "MD5"]);
    assert_eq!(challenged_with(&all[..2], Which::Www, false), ["SHA-512-256", "MD5"]);
    assert_eq!(challenged_with(&all[..1], Which::Www, false), ["MD5"]);
    assert_eq!(challenged_with(&all[2..], Which::Proxy, false), ["SHA-256"]);
}

#[test]
fn an_algorithm_that_the_domain_does_not_offer_proves_nothing() {
    let mut a = offering(&[Hash::Sha256]);
    let phone = Ua { algorithm: "SHA-256", ..ua(&a) };
    for (algorithm, verdict) in
        [("MD5", WRONG), ("MD5-sess", WRONG), ("SHA-512-256", WRONG), ("SHA-256-sess", ok()), ("SHA-256", ok())]
    {
        let nc = if algorithm == "SHA-256" { 2 } else { 1 };
        assert_eq!(check(&mut a, &Ua { algorithm, nc, ..phone.clone() }.message()), verdict, "{algorithm}");
    }
    let unnamed = Ua { algorithm: "MD5", ..phone }.authorization().replace(", algorithm=MD5", "");
    let request = with_authorization(&ua(&a), Some(&unnamed));
    assert_eq!(check(&mut a, &request), WRONG, "none named is MD5");
}

#[test]
fn without_a_stored_digest_no_answer_is_right_and_nobody_sees_why() {
    let mut a = authenticator();
    let old = Ua { user: "1009", from: "sip:1009@rack.test", to: "sip:1009@rack.test", ..ua(&a) };
    for algorithm in ["SHA-512-256", "SHA-512-256-sess"] {
        assert_eq!(check(&mut a, &Ua { algorithm, ..old.clone() }.message()), WRONG);
    }
    let nobody = old.message();
    assert_eq!(check(&mut a, &nobody), Verdict::Ok { user: Aor::new("1009", "rack.test") }, "MD5 was kept");
    // The hash of nobody's password must not be a way in: an answer computed with it.
    let nc = "00000007";
    let qop = Qop::Auth { nc, cnonce: "0a4f" };
    for (user, algorithm) in [("1009", "SHA-512-256"), ("4711", "SHA-512-256"), ("4711", "SHA-256")] {
        let hash = Algorithm::parse(Some(algorithm)).unwrap();
        let response = digest::response(hash, &NOBODY, &old.nonce, "0a4f", qop, "REGISTER", "sip:rack.test");
        let value = format!(
            "Digest username=\"{user}\", realm=\"rack.test\", nonce=\"{}\", uri=\"sip:rack.test\", \
             response=\"{response}\", algorithm={algorithm}, qop=auth, nc={nc}, cnonce=\"0a4f\"",
            old.nonce
        );
        assert_eq!(check(&mut a, &with_authorization(&old, Some(&value))), WRONG, "{user} {algorithm}");
    }
}

#[test]
fn without_qop_as_rfc_2617_allows_but_a_nonce_only_once() {
    let mut a = authenticator();
    let old = Ua { qop: false, ..ua(&a) };
    assert_eq!(check(&mut a, &old.message()), ok());
    assert_eq!(check(&mut a, &old.message()), STALE);
}

#[test]
fn a_replay_is_stale_and_the_next_count_is_not() {
    let mut a = authenticator();
    let phone = ua(&a);
    assert_eq!(check(&mut a, &phone.message()), ok());
    assert_eq!(check(&mut a, &phone.message()), STALE);
    assert_eq!(check(&mut a, &Ua { nc: 2, ..phone }.message()), ok());
}

#[test]
fn a_nonce_of_another_call_or_time_or_worker_is_stale_only_for_who_knows_the_password() {
    let mut a = authenticator();
    let phone = ua(&a);
    let another_call = Ua { nonce: nonce_of(&a, NOW, "c2@phone"), ..phone.clone() };
    assert_eq!(check(&mut a, &another_call.message()), STALE);
    assert_eq!(check(&mut a, &Ua { password: "guess", ..another_call }.message()), WRONG);
    let old = Ua { nonce: nonce_of(&a, WallMillis(NOW.0 - 300_001), "c1@phone"), ..phone.clone() };
    assert_eq!(check(&mut a, &old.message()), STALE);
    let rack = Arc::new(Rack::one_machine_default(3).expand());
    let mut next = Authenticator::new(keys(), rack, Issuer { node: NodeId(2), ..ISSUER });
    assert_eq!(check(&mut next, &phone.message()), STALE, "after a takeover: once");
    let again = Ua { nonce: nonce_of(&next, NOW, "c1@phone"), ..phone };
    assert_eq!(check(&mut next, &again.message()), ok());
}

#[test]
fn unknown_users_and_wrong_passwords_get_the_same_answer_whatever_the_algorithm() {
    let mut a = authenticator();
    let phone = ua(&a);
    for algorithm in ["MD5", "SHA-256", "SHA-512-256", "MD5-sess", "SHA-256-sess", "SHA-512-256-sess"] {
        // -sess has no form without qop.
        let forms: &[bool] = if algorithm.ends_with("sess") { &[true] } else { &[true, false] };
        for qop in forms.iter().copied() {
            let phone = Ua { algorithm, qop, ..phone.clone() };
            for (user, password) in [("1001", "guess"), ("4711", "secret"), ("1009", "guess"), ("", "secret")] {
                let said = check(&mut a, &Ua { user, password, ..phone.clone() }.message());
                assert_eq!(said, WRONG, "{user}:{password} {algorithm}");
            }
        }
    }
    assert_eq!(a.used.len(), 0, "none leaves a trace");
    assert_eq!(check(&mut a, &phone.message()), ok(), "a guess does not use up the nonce");
}

#[test]
fn a_user_speaks_for_itself_only() {
    let mut a = authenticator();
    let phone = ua(&a);
    let from = Ua { from: "sip:1002@rack.test", ..phone.clone() };
    assert_eq!(check(&mut a, &from.message()), Verdict::Forbidden("From Is Not The Authenticated User"));
    let to = Ua { to: "sip:1002@rack.test", nc: 2, ..phone.clone() };
    assert_eq!(check(&mut a, &to.message()), Verdict::Forbidden("To Is Not The Authenticated User"));
    let (uri, digest_uri) = ("sip:1002@rack.test".to_owned(), "sip:1002@rack.test:5060".to_owned());
    let call = Ua { method: "INVITE", to: "sip:1002@rack.test", uri, digest_uri, nc: 3, ..phone };
    assert_eq!(check(&mut a, &call.message()), ok());
    let moved = Ua { uri: "sip:+900123@rack.test".into(), nc: 4, ..call };
    assert!(matches!(check(&mut a, &moved.message()), Verdict::BadRequest(_)), "a hash for another destination");
}

#[test]
fn credentials_that_cannot_be_meant() {
    let mut a = authenticator();
    let phone = ua(&a);
    let good = phone.authorization();
    let mut with = |authorization: &str| check(&mut a, &with_authorization(&phone, Some(authorization)));
    assert_eq!(with("Bearer abc"), WRONG);
    assert_eq!(with(&good.replace("rack.test\", nonce", "elsewhere.test\", nonce")), WRONG, "for another server");
    assert_eq!(with(&good.replace("algorithm=MD5", "algorithm=SHA-512")), WRONG);
    assert_eq!(with(&good.replace("algorithm=MD5", "algorithm=SHA-512-256")), WRONG, "MD5's answer under another name");
    assert_eq!(
        with(&good.replace("username=\"1001\"", "username=\"%31001\"")),
        WRONG,
        "no URI: escapes are no escapes"
    );
    assert_eq!(with(&good.replace(", qop=auth", ", qop=\"auth,auth-int\"")), WRONG);
    assert!(matches!(with(&format!("{good}, username=\"1002\"")), Verdict::BadRequest(_)), "which of the two?");
    assert!(matches!(
        with(&good.replace("algorithm=MD5", "algorithm=MD5-sess").replace(", qop=auth", "")),
        Verdict::BadRequest(_)
    ));
    assert_eq!(with(&good.replace("qop=auth", "qop=auth-int")), WRONG);
    assert!(matches!(with(&good.replace("nc=00000001", "nc=1")), Verdict::BadRequest(_)));
    assert!(matches!(with(&good.replace("nc=00000001", "nc=00000000")), Verdict::BadRequest(_)));
    assert!(matches!(with(&good.replace("cnonce=\"0a4f\"", "cnonce=\"\"")), Verdict::BadRequest(_)));
    assert!(matches!(with("Digest username=\"1001\""), Verdict::BadRequest(_)));
    assert_eq!(with(&good), ok());
}

#[test]
fn the_same_credentials_written_otherwise() {
    let mut a = authenticator();
    let phone = ua(&a);
    let ways: [(&str, &str); 7] = [
        ("username=\"1001\"", "username=\"10\\01\""),
        ("realm=\"rack.test\"", "realm=\"Rack.TEST\""),
        ("Digest username", "dIGEST   username"),
        ("Digest username", "Digest\r\n\tusername"),
        ("qop=auth", "qop=\"AUTH\""),
        ("algorithm=MD5", "ALGORITHM=\"md5\""),
        (", algorithm=MD5", ", X-Unknown=\"a, realm=\\\"other\\\"\""),
    ];
    for (nc, (from, to)) in ways.into_iter().enumerate() {
        let good = Ua { nc: nc as u32 + 1, ..phone.clone() }.authorization();
        assert!(good.contains(from), "{from} is in {good}");
        let said = check(&mut a, &with_authorization(&phone, Some(&good.replace(from, to))));
        assert_eq!(said, ok(), "{to}");
    }
}

#[test]
fn credentials_of_other_realms_are_passed_over_in_any_order_and_shape() {
    let mut a = authenticator();
    let phone = ua(&a);
    for (nc, others) in [
        "Digest username=\"1001\", realm=\"elsewhere.test\", nonce=\"n\", uri=\"sip:x\", response=\"0\"",
        "Digest realm=\"elsewhere.test\"",
        "Basic MTAwMTpzZWNyZXQ=",
        "NTLM",
    ]
    .into_iter()
    .enumerate()
    {
        let good = Ua { nc: nc as u32 + 1, ..phone.clone() }.authorization();
        assert_eq!(check(&mut a, &with_authorization(&phone, Some(others))), WRONG, "{others}");
        let both = format!("{others}\r\nAuthorization : {good}");
        assert_eq!(check(&mut a, &with_authorization(&phone, Some(&both))), ok(), "{both}");
    }
    let good = Ua { nc: 9, ..phone.clone() }.authorization();
    let after = format!("{good}\r\nAUTHORIZATION: Digest realm=\"elsewhere.test\"");
    assert_eq!(check(&mut a, &with_authorization(&phone, Some(&after))), ok());
}

proptest! {
    /// Whatever stands in Authorization: an answer, never a panic, never `Ok`.
    #[test]
    fn hostile_credentials(text in "[ -~]{0,200}", mixed in "(Digest )?([a-z]{1,8}=(\"[^\"\r\n\0]{0,20}\"|[a-z0-9]{0,20}),? ?){0,12}") {
        let mut a = authenticator();
        let phone = ua(&a);
        for value in [&text, &mixed, &format!("Digest {text}")] {
            let auth = format!("Authorization: {value}\r\n");
            let whole = format!("REGISTER sip:rack.test SIP/2.0\r\nCall-ID: {}\r\n{auth}\r\n", phone.call_id);
            if let Ok(msg) = SipMessage::parse(Bytes::from(whole), &Limits::default()) {
                let verdict = check(&mut a, &msg);
                prop_assert!(matches!(verdict, Verdict::Challenge { stale: false } | Verdict::BadRequest(_)), "{verdict:?}");
            }
        }
    }

    /// Any one octet changed in a quoted value of right credentials is refused.
    #[test]
    fn a_changed_octet_is_refused(at in 0usize..260, to in b'0'..=b'z') {
        let mut a = authenticator();
        let phone = ua(&a);
        let mut auth = phone.authorization().into_bytes();
        let quoted = |i: &usize| auth[..*i].iter().filter(|b| **b == b'"').count() % 2 == 1 && auth[*i] != b'"';
        let values: Vec<usize> = (0..auth.len()).filter(quoted).collect();
        let at = values[at % values.len()];
        // Case does not matter in hex digits and in the realm; that is not a change.
        prop_assume!(!auth[at].eq_ignore_ascii_case(&to));
        auth[at] = to;
        let auth = String::from_utf8(auth).unwrap();
        let verdict = check(&mut a, &with_authorization(&phone, Some(&auth)));
        prop_assert!(!matches!(verdict, Verdict::Ok { .. }), "{auth}");
    }
}
