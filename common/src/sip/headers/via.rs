//! Via (RFC 3261 §20.42, §18.2; `rport` of RFC 3581).

use crate::sip::params::{self, Params};
use crate::sip::{HeaderId, ParseError, lex, uri};
use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

/// One Via value. White space around `/`, `:` and `;` is allowed, as the grammar has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Via<'a> {
    /// The whole value as received.
    pub raw: &'a str,
    /// `UDP`, `TCP`, `TLS`, `WS`, `WSS` or another token.
    pub transport: &'a str,
    /// Sent-by host; IPv6 with its brackets.
    pub host: &'a str,
    pub port: Option<u16>,
    pub params: Params<'a>,
    branch: Option<&'a str>,
}

/// Where the parts of a Via stand in it: read once, looked at often.
#[derive(Clone, Debug)]
pub(in crate::sip) struct Parts {
    transport: Range<u32>,
    host: Range<u32>,
    port: Option<u16>,
    params: Range<u32>,
    branch: Option<Range<u32>>,
}

impl Parts {
    pub(in crate::sip) fn of(via: &Via<'_>) -> Parts {
        let within = |part: &str| lex::within(via.raw.as_bytes(), part.as_bytes());
        Parts {
            transport: within(via.transport),
            host: within(via.host),
            port: via.port,
            params: within(via.params.as_str()),
            branch: via.branch.map(within),
        }
    }

    /// The Via again that they were taken from.
    pub(in crate::sip) fn via<'a>(&self, raw: &'a str) -> Option<Via<'a>> {
        let part = |range: &Range<u32>| raw.get(range.start as usize..range.end as usize);
        let (transport, host, params) = (part(&self.transport)?, part(&self.host)?, Params::of(part(&self.params)?));
        Some(Via { raw, transport, host, port: self.port, params, branch: self.branch.as_ref().and_then(part) })
    }
}

fn wrong(why: &'static str) -> ParseError {
    ParseError::Malformed { header: HeaderId::Via, why }
}

impl<'a> Via<'a> {
    /// One value, not a comma list.
    pub fn parse(raw: &'a str) -> Result<Via<'a>, ParseError> {
        let raw = lex::trim_text(raw);
        let (head, params) = match lex::split_at(raw, b';') {
            Some((head, params)) => (head, Params::of(params)),
            None => (raw, Params::default()),
        };
        let mut branch = None;
        for segment in params.segments() {
            match segment.bytes().find(|b| !lex::is_space(*b)) {
                None | Some(b'=') => return Err(wrong("an empty parameter")),
                Some(b'b' | b'B') if branch.is_none() => {
                    let (name, value) = params::split(segment);
                    branch = name.eq_ignore_ascii_case("branch").then_some(value);
                }
                Some(_) => {}
            }
        }
        let branch = branch.flatten();
        // What is appended to it (`received`) would stand within the string, and nobody would see it.
        if lex::find_unquoted(params.as_str().as_bytes(), 0, b"").is_err() {
            return Err(wrong("a quoted string does not end"));
        }
        let rest = behind_version(head).ok_or(wrong("it does not begin with SIP/2.0/"))?;
        let blank = rest.bytes().position(lex::is_space).ok_or(wrong("no sent-by"))?;
        let (transport, sent_by) = rest.split_at(blank);
        if !lex::is_token(transport.as_bytes()) {
            return Err(wrong("the transport is not a word"));
        }
        let (host, port) =
            uri::host_port(lex::trim_text(sent_by)).map_err(|_| wrong("the sent-by is not host[:port]"))?;
        Ok(Via { raw, transport, host, port, params, branch })
    }

    pub fn branch(&self) -> Option<&'a str> {
        self.branch
    }

    /// `None` if absent or no address. IPv6 with or without brackets (RFC 5118 §4.5).
    pub fn received(&self) -> Option<IpAddr> {
        uri::ip(self.params.value("received")?)
    }

    /// `None`: not there. `Some(None)`: asked for. `Some(Some(port))`: filled in.
    pub fn rport(&self) -> Option<Option<u16>> {
        let value = self.params.get("rport")?;
        Some(value.and_then(|v| u16::try_from(lex::digits(v.as_bytes())?).ok()))
    }

    /// `None`: not there. `Some(None)`: there without a value.
    pub fn param(&self, name: &str) -> Option<Option<&'a str>> {
        self.params.get(name)
    }

    pub fn port_or_default(&self) -> u16 {
        self.port.unwrap_or(
            if self.transport.eq_ignore_ascii_case("TLS") || self.transport.eq_ignore_ascii_case("WSS") {
                5061
            } else {
                5060
            },
        )
    }

    /// Whether both name the same sender: host without case, default port filled in (for matching, RFC 3261 §17.2.3).
    pub fn same_sent_by(&self, other: &Via<'_>) -> bool {
        uri::same_host(self.host, other.host) && self.port_or_default() == other.port_or_default()
    }

    /// Where a response to this Via goes over UDP (RFC 3261 §18.2.2, RFC 3581 §4), multicast `maddr` left out.
    /// `None` if the sent-by is a host name and no `received` stands there.
    pub fn response_address(&self) -> Option<SocketAddr> {
        let ip = self.received().or_else(|| uri::ip(self.host))?;
        Some(SocketAddr::new(ip, self.rport().flatten().unwrap_or(self.port_or_default())))
    }

    /// The value as a server stores it on receipt from `source` (RFC 3261 §18.2.1, RFC 3581 §4): `received` where the
    /// sent-by is not that address or `rport` was asked for, and `rport` filled in. What a sender claimed for both
    /// is replaced; all else keeps its octets. `None` if nothing changes.
    pub fn with_source(&self, source: SocketAddr) -> Option<String> {
        let ip = source.ip().to_canonical();
        let asked = self.params.has("rport");
        let needed = asked || uri::ip(self.host).map(|h| h.to_canonical()) != Some(ip);
        if !needed && !self.params.has("received") {
            return None;
        }
        let (head, _) = lex::split_at(self.raw, b';').unwrap_or((self.raw, ""));
        let mut out = String::with_capacity(self.raw.len() + 48);
        out.push_str(head);
        for segment in self.params.segments() {
            let (name, _) = params::split(segment);
            if name.eq_ignore_ascii_case("received") {
                continue;
            }
            if name.eq_ignore_ascii_case("rport") {
                // Writing to a String cannot fail.
                let _ = write!(out, ";rport={}", source.port());
            } else {
                out.push(';');
                out.push_str(segment);
            }
        }
        if needed {
            let _ = write!(out, ";received={ip}");
        }
        Some(out)
    }
}

/// What stands behind `SIP/2.0/`, in which white space may stand; trimmed.
fn behind_version(head: &str) -> Option<&str> {
    if let Some(rest) = head.strip_prefix("SIP/2.0/") {
        return Some(lex::trim_text(rest));
    }
    let (name, rest) = lex::split_at(head, b'/')?;
    let (version, rest) = lex::split_at(rest, b'/')?;
    let both = lex::trim_text(name).eq_ignore_ascii_case("SIP") && lex::trim_text(version) == "2.0";
    both.then(|| lex::trim_text(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn via(text: &str) -> Via<'_> {
        Via::parse(text).unwrap_or_else(|e| panic!("{text}: {e}"))
    }

    #[test]
    fn sip_via_plain_spaced_and_ipv6() {
        let v = via("SIP/2.0/UDP 192.0.2.1:5070;branch=z9hG4bKx;rport");
        assert_eq!((v.transport, v.host, v.port, v.branch()), ("UDP", "192.0.2.1", Some(5070), Some("z9hG4bKx")));
        assert_eq!((v.rport(), v.received()), (Some(None), None));
        let v = via("SIP  / 2.0  / TCP     spindle.example.com   ;\r\n  branch  =   z9hG4bK9ikj8");
        assert_eq!(
            (v.transport, v.host, v.port, v.branch()),
            ("TCP", "spindle.example.com", None, Some("z9hG4bK9ikj8"))
        );
        let v = via("SIP/2.0/UDP [2001:db8::9:1] : 5061 ;received=2001:db8::9:255;branch=z9hG4bKas3-111");
        assert_eq!((v.host, v.port, v.branch()), ("[2001:db8::9:1]", Some(5061), Some("z9hG4bKas3-111")));
        assert_eq!(v.response_address(), Some("[2001:db8::9:255]:5061".parse().unwrap()));
        assert_eq!(
            via("SIP/2.0/UDP h;received=[2001:db8::9:255]").received(),
            Some("2001:db8::9:255".parse().unwrap())
        );
    }

    #[test]
    fn sip_via_branch_is_the_first_one_outside_of_quotes() {
        for (params, branch) in [
            (";branch;branch=x", None),
            (";b=1;Branch=x;branch=y", Some("x")),
            (";x=\"a;branch=no\";branch=yes", Some("yes")),
            (";branch=", Some("")),
            (";branches=x", None),
        ] {
            assert_eq!(via(&format!("SIP/2.0/UDP h{params}")).branch(), branch, "{params}");
        }
    }

    #[test]
    fn sip_via_malformed() {
        for bad in [
            "",
            "SIP/2.0/UDP",
            "SIP/2.0/UDP ",
            "SIP/3.0/UDP h",
            "SIP/2.0/UDP h;;",
            "SIP/2.0/UDP h;branch=z9hG4bKx;x=\"open",
            "SIP/2.0/UDP h:x",
            ";",
            "SIP/2.0/U[P h",
            "SIP/2.0/UDP ::1",
        ] {
            assert!(Via::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sip_via_gets_received_and_rport() {
        let from = |text| via(text).with_source("192.0.2.9:1024".parse().unwrap());
        assert_eq!(from("SIP/2.0/UDP 192.0.2.9:5060;branch=z9hG4bKx"), None);
        assert_eq!(
            from("SIP/2.0/UDP 10.0.0.1;branch=b").as_deref(),
            Some("SIP/2.0/UDP 10.0.0.1;branch=b;received=192.0.2.9")
        );
        assert_eq!(
            from("SIP/2.0/UDP 192.0.2.9 ; rport ;branch=b").as_deref(),
            Some("SIP/2.0/UDP 192.0.2.9 ;rport=1024;branch=b;received=192.0.2.9")
        );
        assert_eq!(
            from("SIP/2.0/UDP pc;received=1.2.3.4;rport=9;branch=b").as_deref(),
            Some("SIP/2.0/UDP pc;rport=1024;branch=b;received=192.0.2.9")
        );
        let v6 = via("SIP/2.0/UDP [::2];rport").with_source("[2001:db8::7]:5060".parse().unwrap());
        assert_eq!(v6.as_deref(), Some("SIP/2.0/UDP [::2];rport=5060;received=2001:db8::7"));
    }
}
