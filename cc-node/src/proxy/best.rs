//! The best response (RFC 3261 §16.7 steps 6 and 7): which of the branches' failures the caller hears.

use common::sip::{Edit, HeaderId, SipMessage};

/// What became of one branch: a final response of 300 to 699, or a status that we give it (408: it was silent).
#[derive(Clone, Debug)]
pub struct Failure {
    pub status: u16,
    pub response: Option<Box<SipMessage>>,
}

/// The one to send upstream: a 6xx if there is one, else of the lowest class; there the ones that help the caller first,
/// and any answer before silence. Among equals the first.
pub fn best(failures: &[&Failure]) -> Option<usize> {
    (0..failures.len()).min_by_key(|i| rank(failures[*i]))
}

fn rank(failure: &Failure) -> (u16, u8, bool) {
    let class = match failure.status / 100 {
        6 => 0,
        class => class,
    };
    let help = match failure.status {
        401 | 407 => 0,
        415 | 420 | 484 => 1,
        487 => 3,
        408 => 4,
        _ => 2,
    };
    (class, help, failure.response.is_none())
}

/// The response as it goes upstream: our Via off it, what may not `cross` too, and to a 401 or 407 every other branch's
/// challenges added (step 7).
pub fn upstream(chosen: &SipMessage, others: &[&Failure], cross: impl FnOnce(&mut Edit<'_>)) -> bytes::Bytes {
    let mut edit = Edit::new(chosen);
    edit.remove_first_value(HeaderId::Via);
    cross(&mut edit);
    if matches!(chosen.status(), 401 | 407) {
        let challenging = others.iter().filter(|f| matches!(f.status, 401 | 407)).filter_map(|f| f.response.as_ref());
        for other in challenging {
            for id in [HeaderId::WwwAuthenticate, HeaderId::ProxyAuthenticate] {
                for value in other.all(id).filter_map(|v| std::str::from_utf8(v).ok()) {
                    edit.append(id, value);
                }
            }
        }
    }
    edit.finish()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use common::sip::Limits;

    fn failure(status: u16, challenge: &str) -> Failure {
        let text = format!("SIP/2.0 {status} X\r\nVia: SIP/2.0/UDP vip, SIP/2.0/UDP a\r\n{challenge}\r\n");
        Failure { status, response: Some(Box::new(SipMessage::parse(text.into(), &Limits::default()).unwrap())) }
    }

    fn chosen(statuses: &[u16]) -> u16 {
        let failures: Vec<Failure> = statuses.iter().map(|s| failure(*s, "")).collect();
        let refs: Vec<&Failure> = failures.iter().collect();
        failures[best(&refs).unwrap()].status
    }

    #[test]
    fn the_caller_hears_what_helps_most() {
        assert_eq!(chosen(&[486, 600, 302]), 600);
        assert_eq!(chosen(&[503, 486]), 486);
        assert_eq!(chosen(&[486, 302]), 302);
        assert_eq!(chosen(&[404, 407, 486]), 407);
        assert_eq!(chosen(&[408, 487, 486, 480]), 486);
        assert_eq!(best(&[]), None);
    }

    #[test]
    fn challenges_of_all_branches_go_upstream() {
        let a = failure(407, "Proxy-Authenticate: Digest realm=\"a\"\r\n");
        let b = failure(401, "WWW-Authenticate: Digest realm=\"b\"\r\n");
        let busy = failure(486, "WWW-Authenticate: Digest realm=\"no\"\r\n");
        let text = upstream(a.response.as_ref().unwrap(), &[&b, &busy], |_| {});
        let text = String::from_utf8(text.to_vec()).unwrap();
        assert!(
            text.contains("Via: SIP/2.0/UDP a\r\n") && text.contains("realm=\"a\"") && text.contains("realm=\"b\""),
            "{text}"
        );
        assert!(!text.contains("vip") && !text.contains("realm=\"no\""));
    }
}
