//! The Privacy header (RFC 3323 §4.2, RFC 3325 §9.3, RFC 7044 §10.1). Towards an untrusted side this proxy withholds
//! asserted identities (`id`, and rather than show them for `header` and `user` too, RFC 5379 §5.1.8) and History-Info
//! (`history`), and does what is left of `user` where the user has made its From anonymous itself. Obscuring Via, Contact
//! and Record-Route (`header`), the session's addresses (`session`) or somebody's From takes a back-to-back user agent.

use super::trusts;
use crate::auth::is_anonymous;
use crate::service::{Choice, Refusal};
use crate::stats::Rejection;
use common::config::Rack;
use common::sip::{Edit, HeaderId, SipMessage, SipUri};

/// The option tag of Proxy-Require (RFC 3323 §4.3): this proxy looks at the Privacy header.
pub const OPTION: &str = "privacy";

/// What is asked for. A word that stands twice means the same as once; so do several header lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wishes {
    pub id: bool,
    pub header: bool,
    pub session: bool,
    pub user: bool,
    pub history: bool,
    pub critical: bool,
}

impl Wishes {
    /// `none` asks for nothing, as no header does; beside other words it is a contradiction, and they are heeded.
    pub fn of(message: &SipMessage) -> Wishes {
        let mut wishes = Wishes::default();
        for word in words(message) {
            let is = |name: &str| word.eq_ignore_ascii_case(name);
            wishes.id |= is("id");
            wishes.header |= is("header");
            wishes.session |= is("session");
            wishes.user |= is("user");
            wishes.history |= is("history");
            wishes.critical |= is("critical");
        }
        wishes
    }

    /// An identity that was shown cannot be taken back, so all that ask for some privacy of the person withhold it.
    pub fn withhold_identity(&self) -> bool {
        self.id || self.header || self.user
    }

    /// RFC 7044 §10.1: entries are kept back for the older words too.
    pub fn withhold_history(&self) -> bool {
        self.history || self.header || self.session
    }
}

/// Words of all Privacy headers. RFC 3323 parts them by `;`, devices by `,` too.
fn words(message: &SipMessage) -> impl Iterator<Item = &str> {
    let lines = message.all(HeaderId::Privacy).filter_map(|line| std::str::from_utf8(line).ok());
    lines.flat_map(|line| line.split([';', ','])).map(str::trim).filter(|word| !word.is_empty())
}

/// Whether the sender has withheld its own name already (RFC 3323 §4.1.1.3).
pub fn is_withheld(request: &SipMessage) -> bool {
    request.from().is_ok_and(|from| SipUri::parse(from.uri_text).is_ok_and(|uri| is_anonymous(&uri)))
}

/// RFC 3323 §5: where privacy is `critical` and what is asked for cannot be given, 500 with the words that cannot. A
/// request that stays within the trust domain goes on: whoever takes it out of there answers for that.
pub fn promised(rack: &Rack, request: &SipMessage, choices: &[Choice]) -> Result<(), Refusal> {
    if !Wishes::of(request).critical || choices.iter().all(|choice| choice.peer.is_some_and(|peer| trusts(rack, &peer)))
    {
        return Ok(());
    }
    let mut missing: Vec<&str> = words(request).filter_map(|word| not_given(word, request)).collect();
    missing.sort_unstable();
    missing.dedup();
    if missing.is_empty() {
        return Ok(());
    }
    Err(Refusal::because(500, Rejection::NoTarget, format!("Privacy Not Given: {}", missing.join(", "))))
}

/// The name of a service that is not given here; words that we do not know have none.
fn not_given(word: &str, request: &SipMessage) -> Option<&'static str> {
    match word.to_ascii_lowercase().as_str() {
        "none" | "critical" | "id" | "history" => None,
        "user" => (!is_withheld(request)).then_some("user"),
        "header" => Some("header"),
        "session" => Some("session"),
        _ => Some("an unknown value"),
    }
}

/// A service that was performed is taken off the list; with the last one the header goes, and `privacy` out of
/// Proxy-Require (RFC 3323 §5). `id` stays: it also tells the callee that the identity was withheld on purpose.
pub(super) fn user_level_is_done(request: &SipMessage, edit: &mut Edit<'_>) {
    let left: Vec<&str> = words(request).filter(|word| !word.eq_ignore_ascii_case("user")).collect();
    if !left.iter().all(|word| word.eq_ignore_ascii_case("critical")) {
        edit.set(HeaderId::Privacy, &left.join(";"));
        return;
    }
    edit.remove_all(HeaderId::Privacy);
    let tags = || request.texts(HeaderId::ProxyRequire);
    if tags().any(|tag| tag.eq_ignore_ascii_case(OPTION)) {
        let others: Vec<&str> = tags().filter(|tag| !tag.eq_ignore_ascii_case(OPTION)).collect();
        match others.is_empty() {
            true => edit.remove_all(HeaderId::ProxyRequire),
            false => edit.set(HeaderId::ProxyRequire, &others.join(", ")),
        };
    }
}
