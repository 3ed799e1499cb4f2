//! Session timers in the proxy's role (RFC 4028 §8): which interval a refresh asks for, what becomes of its 2xx, and when
//! a session is over that nobody refreshes. Called by `node` (422), `forward` (the request) and `responses` (the 2xx).

use crate::service::Refusal;
use crate::stats::Rejection;
use common::config::SessionTimers;
use common::sip::{Edit, HeaderId, MethodKind, SipMessage};

/// No interval may be shorter, whatever is asked (RFC 4028 §4).
const SHORTEST_S: u32 = 90;

/// What a request asks of the session's timer, and what it asks when we have sent it on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// `Supported: timer` of the caller.
    supported: bool,
    /// Session-Expires as it leaves us, in seconds.
    expires_s: Option<u32>,
    came_with: Option<u32>,
    /// Min-SE as it leaves us, where we raise it.
    raised_min_s: Option<u32>,
}

/// INVITE and UPDATE refresh a session (RFC 4028 §7.4).
fn refreshes(method: MethodKind) -> bool {
    matches!(method, MethodKind::Invite | MethodKind::Update)
}

impl Asked {
    /// `None`: not a refresh, or a Session-Expires that cannot be read (the UAS judges it). An error: 422, too short.
    pub fn of(timers: &SessionTimers, request: &SipMessage) -> Result<Option<Asked>, Refusal> {
        if !refreshes(request.method().kind()) {
            return Ok(None);
        }
        let Ok(came_with) = interval_s(request, HeaderId::SessionExpires) else { return Ok(None) };
        let min_s = interval_s(request, HeaderId::MinSe).ok().flatten();
        let supported = has_option(request, HeaderId::Supported);
        let mut asked = Asked { supported, expires_s: came_with, came_with, raised_min_s: None };
        match came_with {
            Some(wish) if wish < timers.min_se_s && supported => {
                let refusal = Refusal::new(422, Rejection::Invalid);
                return Err(refusal.with(HeaderId::MinSe.name(), timers.min_se_s.to_string()));
            }
            // To refuse would end the call: the caller does not know what a 422 is (§8.1).
            Some(wish) if wish < timers.min_se_s => {
                let raised = min_s.unwrap_or(0).max(timers.min_se_s);
                asked.raised_min_s = Some(raised);
                asked.expires_s = Some(raised.max(wish));
            }
            _ => {}
        }
        if let Some(ours) = timers.expires_s {
            let floor = asked.raised_min_s.or(min_s).unwrap_or(0).max(SHORTEST_S);
            asked.expires_s = Some(asked.expires_s.unwrap_or(ours.max(floor)).min(ours.max(floor)));
        }
        Ok(Some(asked))
    }

    /// Writes the interval and, for a caller without timers, Min-SE. The refresher stays the caller's to name.
    pub fn write(&self, request: &SipMessage, edit: &mut Edit<'_>) {
        if let Some(min_s) = self.raised_min_s {
            edit.set(HeaderId::MinSe, &min_s.to_string());
        }
        match self.expires_s {
            Some(expires_s) if self.expires_s != self.came_with => {
                let params = request.text(HeaderId::SessionExpires).ok().flatten();
                let params = params.and_then(|value| value.split_once(';')).map(|(_, params)| params);
                let params = params.map(|params| format!(";{params}")).unwrap_or_default();
                edit.set(HeaderId::SessionExpires, &format!("{expires_s}{params}"));
            }
            _ => {}
        }
    }

    /// The interval that a 2xx settles, written into it where it names none.
    pub fn settled(&self, response: &SipMessage, edit: &mut Edit<'_>) -> Option<u32> {
        tell(self.offer(), response, edit);
        settles(self.offer(), response)
    }

    /// The interval of a 2xx that names none, where the UAS knows no timers and the UAC does. Kept with each branch, for
    /// 2xx that come when all else is done.
    pub fn offer(&self) -> Option<u32> {
        self.expires_s.filter(|_| self.supported)
    }
}

/// What a 2xx settles.
pub fn settles(offer: Option<u32>, response: &SipMessage) -> Option<u32> {
    match response.header(HeaderId::SessionExpires) {
        Some(_) => interval_s(response, HeaderId::SessionExpires).ok().flatten(),
        None => offer,
    }
}

/// Writes what was offered into a 2xx that names nothing, its repeats too: the caller refreshes (§8.2).
pub fn tell(offer: Option<u32>, response: &SipMessage, edit: &mut Edit<'_>) {
    let Some(expires_s) = offer.filter(|_| response.header(HeaderId::SessionExpires).is_none()) else { return };
    edit.set(HeaderId::SessionExpires, &format!("{expires_s};refresher=uac"));
    if !has_option(response, HeaderId::Require) {
        edit.append(HeaderId::Require, "timer");
    }
}

/// `Session-Expires: 1800;refresher=uac` and `Min-SE: 90;…`: the seconds. An error where there is no number.
fn interval_s(message: &SipMessage, id: HeaderId) -> Result<Option<u32>, ()> {
    let Some(value) = message.text(id).map_err(drop)? else { return Ok(None) };
    let digits = value.split(';').next().unwrap_or_default().trim();
    let number = digits.bytes().all(|b| b.is_ascii_digit()) && !digits.is_empty();
    // A number beyond 32 bits is as good as never.
    number.then(|| Some(digits.parse().unwrap_or(u32::MAX))).ok_or(())
}

fn has_option(message: &SipMessage, id: HeaderId) -> bool {
    message.texts(id).any(|word| word.trim().eq_ignore_ascii_case("timer"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use common::sip::Limits;

    const OURS: SessionTimers = SessionTimers { min_se_s: 120, expires_s: Some(1800) };
    const QUIET: SessionTimers = SessionTimers { min_se_s: 90, expires_s: None };

    fn message(first: &str, headers: &str) -> SipMessage {
        let text = format!("{first}\nCSeq: 1 INVITE\n{headers}\n").replace('\n', "\r\n");
        SipMessage::parse(text.into(), &Limits::default()).unwrap()
    }

    /// The headers that matter, as they leave; or the refusal.
    fn forwarded(timers: &SessionTimers, headers: &str) -> String {
        let request = message("INVITE sip:b@h SIP/2.0", headers);
        match Asked::of(timers, &request) {
            Err(refusal) => format!("{} {:?}", refusal.status, refusal.headers),
            Ok(asked) => {
                let mut edit = Edit::new(&request);
                asked.unwrap().write(&request, &mut edit);
                shown(&edit)
            }
        }
    }

    fn shown(edit: &Edit<'_>) -> String {
        let text = String::from_utf8(edit.finish().to_vec()).unwrap();
        let keep = |line: &&str| ["Session", "x:", "Min-SE", "Require"].iter().any(|name| line.starts_with(name));
        text.lines().filter(keep).collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn the_interval_is_asked_for_cut_or_left_alone() {
        assert_eq!(forwarded(&OURS, ""), "Session-Expires: 1800");
        assert_eq!(forwarded(&OURS, "Session-Expires: 3600;refresher=uas\n"), "Session-Expires: 1800;refresher=uas");
        assert_eq!(forwarded(&OURS, "Session-Expires: 600\n"), "Session-Expires: 600");
        assert_eq!(
            forwarded(&OURS, "Session-Expires: 7200\nMin-SE: 3600\n"),
            "Session-Expires: 3600, Min-SE: 3600",
            "never below Min-SE"
        );
        assert_eq!(forwarded(&QUIET, ""), "");
        assert_eq!(forwarded(&QUIET, "Session-Expires: 7200\n"), "Session-Expires: 7200");
    }

    #[test]
    fn too_short_is_refused_to_who_understands_and_raised_for_who_does_not() {
        let refused = "422 [(\"Min-SE\", \"120\")]";
        assert_eq!(forwarded(&OURS, "Session-Expires: 100\nSupported: 100rel, TIMER\n"), refused);
        assert_eq!(forwarded(&OURS, "x: 100\n"), "x: 120, Min-SE: 120");
        assert_eq!(forwarded(&OURS, "Session-Expires: 100\nMin-SE: 90\n"), "Session-Expires: 120, Min-SE: 120");
        assert_eq!(forwarded(&OURS, "Session-Expires: 100\nMin-SE: 500\n"), "Session-Expires: 500, Min-SE: 500");
    }

    #[test]
    fn the_answer_names_a_refresher_where_only_the_caller_knows_timers() {
        let run = |request: &str, response: &str| {
            let request = message("INVITE sip:b@h SIP/2.0", request);
            let response = message("SIP/2.0 200 OK", response);
            let mut edit = Edit::new(&response);
            let settled = Asked::of(&OURS, &request).unwrap().unwrap().settled(&response, &mut edit);
            (settled, shown(&edit))
        };
        let added = "Session-Expires: 1800;refresher=uac, Require: timer".to_owned();
        assert_eq!(run("Supported: timer\n", ""), (Some(1800), added));
        assert_eq!(run("", ""), (None, String::new()), "nobody knows timers");
        let as_it_was = "Session-Expires: 900;refresher=uas".to_owned();
        assert_eq!(run("Supported: timer\n", &format!("{as_it_was}\n")), (Some(900), as_it_was));
    }
}
