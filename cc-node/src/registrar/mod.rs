//! The registrar (RFC 3261 §10, RFC 3327): from a REGISTER to a command for the provisioning log, and from the log's
//! outcome to the answer. `node` calls it after authentication; a query is answered from the replica at once.
//!
//! Checks that depend on what is registered already (CSeq order, number of contacts, removal) are the location server's:
//! they happen once, in log order.

pub mod reply;

pub use reply::RegisterReply;

use crate::auth::local_aor;
use crate::effect::{LocationFailure, View};
use common::config::{Provisioning, Rack};
use common::location::command::RequestedContact;
use common::location::{Aor, Command, IdempotenceKey, Outcome, RegisterCommand, RequestedBinding};
use common::sip::{Contact, HeaderId, NameAddr, SipMessage, SipUri, Uri};
use common::time::Time;
use common::wire::proxy::ProxyHeader;
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// Values of Path, and octets of User-Agent, that are kept.
const PATHS: usize = 16;
const USER_AGENT_OCTETS: usize = 200;

/// What a REGISTER leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RegisterStep {
    /// Ask the location server; [`Registrar::response`] makes the answer of what comes back.
    Ask { key: IdempotenceKey, command: Command },
    /// Answer at once: a query, or a refusal.
    Reply(RegisterReply),
}

/// Keeps nothing but the configuration.
pub struct Registrar {
    rack: Arc<Rack>,
}

impl Registrar {
    pub fn new(rack: Arc<Rack>) -> Registrar {
        Registrar { rack }
    }

    /// The address of record: that of To (RFC 3261 §10.3 step 5), if its domain is ours; else 404.
    pub fn aor(&self, msg: &SipMessage) -> Result<Aor, RegisterReply> {
        let to = msg.to().map_err(|e| RegisterReply::because(400, e.to_string()))?;
        let uri = to.uri().map_err(|e| RegisterReply::because(400, format!("To: {e}")))?;
        let uri = uri.sip().ok_or_else(|| RegisterReply::because(400, "To: Neither sip Nor sips"))?;
        local_aor(&self.rack, &uri).ok_or(RegisterReply::status(404))
    }

    /// `aor` = [`Registrar::aor`]; who asks has been authenticated where its domain wants that.
    pub fn request(
        &self,
        now: Time,
        view: &dyn View,
        msg: &SipMessage,
        aor: &Aor,
        source: &ProxyHeader,
    ) -> RegisterStep {
        match self.command(view, msg, aor, source) {
            Ok(Some(command)) => {
                RegisterStep::Ask { key: idempotence_key(&command), command: Command::Register(command) }
            }
            Ok(None) => {
                let bindings = view.bindings(aor);
                let held = bindings.iter().flat_map(|b| &b.bindings);
                RegisterStep::Reply(with_path(msg, reply::listing(held, view.log_time(now))))
            }
            Err(refusal) => RegisterStep::Reply(refusal),
        }
    }

    /// The answer once the location server has decided, or has not answered in time.
    pub fn response(&self, msg: &SipMessage, outcome: &Result<Outcome, LocationFailure>) -> RegisterReply {
        with_path(msg, reply::of_outcome(outcome))
    }

    /// `Ok(None)`: a query.
    fn command(
        &self,
        view: &dyn View,
        msg: &SipMessage,
        aor: &Aor,
        source: &ProxyHeader,
    ) -> Result<Option<RegisterCommand>, RegisterReply> {
        if let Some(unknown) = msg.not_understood(HeaderId::Require, "path") {
            return Err(RegisterReply::status(420).with("Unsupported", unknown));
        }
        let closed = self.rack.domain(aor.domain()).is_none_or(|d| d.provisioning == Provisioning::Closed);
        if closed && view.subscriber(aor).is_none() {
            return Err(RegisterReply::status(404));
        }
        let contacts = msg.contacts().map_err(|e| RegisterReply::because(400, e.to_string()))?;
        if contacts.is_empty() {
            return Ok(None);
        }
        let cseq = msg.cseq().map_err(|e| RegisterReply::because(400, e.to_string()))?;
        let call_id =
            std::str::from_utf8(msg.call_id()).map_err(|_| RegisterReply::because(400, "Call-ID: not UTF-8"))?;
        Ok(Some(RegisterCommand {
            aor: aor.clone(),
            call_id: call_id.to_owned(),
            cseq: cseq.number,
            what: self.requested(msg, &contacts)?,
            received: source.source,
            listener: source.listener,
            // Kept for a phone that knows nothing of it too: behind an edge that needs it, it is reached by nothing else.
            path: paths(msg)?,
            user_agent: user_agent(msg),
            max_contacts: self.rack.registrar.max_contacts,
        }))
    }

    fn requested(&self, msg: &SipMessage, contacts: &[Contact<'_>]) -> Result<RequestedBinding, RegisterReply> {
        let header_expires = msg.expires();
        if contacts.contains(&Contact::Star) {
            // RFC 3261 §10.3 step 6.
            return match (contacts.len(), header_expires) {
                (1, Ok(Some(0))) => Ok(RequestedBinding::RemoveAll),
                _ => Err(RegisterReply::because(400, "Contact * Needs Expires 0 And No Other Contact")),
            };
        }
        let limit = self.rack.registrar.max_contacts;
        if contacts.len() > usize::from(limit) {
            return Err(RegisterReply::because(403, format!("More Than {limit} Contacts")));
        }
        // A malformed Expires counts as the default (RFC 3261 §10.2.1.1).
        let common = header_expires.ok().flatten().unwrap_or(self.rack.registrar.expires_default_s);
        let contacts = contacts.iter().filter_map(|c| c.addr());
        contacts.map(|contact| self.contact(&contact, common)).collect::<Result<_, _>>().map(RequestedBinding::Contacts)
    }

    fn contact(&self, contact: &NameAddr<'_>, common_expires_s: u32) -> Result<RequestedContact, RegisterReply> {
        let bad = |reason: String| RegisterReply::because(400, reason);
        match contact.uri() {
            // RFC 3261 §20.10: without angle brackets nobody knows whose the headers are.
            Ok(Uri::Sip(SipUri { headers: Some(_), .. })) if !contact.raw.contains('<') => {
                return Err(bad("Contact: a URI With Headers Needs Angle Brackets".into()));
            }
            // A user may list any URI where it can be reached (RFC 3665 §2.2 has a mailto); requests go to those of SIP.
            Ok(_) => {}
            Err(e) => return Err(bad(format!("Contact: {e}"))),
        }
        let bounds = &self.rack.registrar;
        let expires_s = contact.expires_s().unwrap_or(common_expires_s);
        if expires_s > 0 && expires_s < bounds.expires_min_s {
            return Err(RegisterReply::status(423).with("Min-Expires", bounds.expires_min_s.to_string()));
        }
        Ok(RequestedContact {
            contact: contact.uri_text.to_owned(),
            expires_s: expires_s.min(bounds.expires_max_s),
            q_thousandths: contact.q_thousandths().map_err(|e| bad(e.to_string()))?.unwrap_or(1000),
            instance: contact.instance().unwrap_or_default().into_owned(),
        })
    }
}

/// The same for a repeated REGISTER whatever its branch, source and credentials: over AOR, Call-ID, CSeq and content.
pub fn idempotence_key(command: &RegisterCommand) -> IdempotenceKey {
    let mut hash = Sha256::new();
    let mut field = |octets: &[u8]| {
        hash.update((octets.len() as u64).to_be_bytes());
        hash.update(octets);
    };
    field(command.aor.as_str().as_bytes());
    field(command.call_id.as_bytes());
    field(&command.cseq.to_be_bytes());
    match &command.what {
        RequestedBinding::RemoveAll => field(b"*"),
        RequestedBinding::Contacts(contacts) => {
            field(&(contacts.len() as u64).to_be_bytes());
            for c in contacts {
                field(c.contact.as_bytes());
                field(&c.expires_s.to_be_bytes());
                field(&c.q_thousandths.to_be_bytes());
                field(c.instance.as_bytes());
            }
        }
    }
    command.path.iter().for_each(|path| field(path.as_bytes()));
    let mut key = [0u8; 16];
    key.copy_from_slice(&hash.finalize()[..16]);
    IdempotenceKey(u128::from_be_bytes(key))
}

fn supports_path(msg: &SipMessage) -> bool {
    let mut options = msg.texts(HeaderId::Supported).chain(msg.texts(HeaderId::Require));
    options.any(|w| w.eq_ignore_ascii_case("path"))
}

fn paths(msg: &SipMessage) -> Result<Vec<String>, RegisterReply> {
    let paths = msg.addrs(HeaderId::Path).map_err(|e| RegisterReply::because(400, e.to_string()))?;
    if paths.len() > PATHS {
        return Err(RegisterReply::because(400, format!("More Than {PATHS} Path Values")));
    }
    Ok(paths.iter().map(|path| path.raw.to_owned()).collect())
}

/// RFC 3327 §5.3: a UA that knows Path is shown it in the 200.
fn with_path(msg: &SipMessage, mut reply: RegisterReply) -> RegisterReply {
    if reply.status == 200 && supports_path(msg) {
        reply.headers.extend(paths(msg).unwrap_or_default().into_iter().map(|path| ("Path", path)));
    }
    reply
}

/// Printable, and short: it is stored with each binding.
fn user_agent(msg: &SipMessage) -> String {
    let text = msg.text(HeaderId::UserAgent).ok().flatten().unwrap_or_default();
    let mut kept = String::new();
    for c in text.chars().map(|c| if c.is_control() { ' ' } else { c }) {
        if kept.len() + c.len_utf8() > USER_AGENT_OCTETS {
            break;
        }
        kept.push(c);
    }
    kept
}

#[cfg(test)]
mod tests;
