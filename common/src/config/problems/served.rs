//! Who is served, and where: listeners, domains, subscribers, trunks, routes.

use super::limits::{CALLS_AT_A_TIME, UNLIMITED};
use super::{Check, not_one_of};
use crate::config::probe::Probe;
use crate::config::service::{RouteDomain, Trunk};
use crate::ids::Transport;
use crate::sip::HeaderId;
use std::net::IpAddr;

/// The password of the demo rack's phones: known to everybody, so it stays on loopback.
const DEMO_PASSWORD: &str = "secret";

impl Check<'_> {
    pub(super) fn listeners(&mut self) {
        let listeners = &self.rack.listeners;
        self.unless(!listeners.is_empty(), "listeners", "is empty", "a rack needs at least one address to listen on");
        self.unless(listeners.len() <= 64, "listeners", "are more than 64", "keep at most 64");
        for (i, listener) in listeners.iter().enumerate() {
            let at = |key: &str| format!("listeners.{i}.{key}");
            self.unless(listener.port > 0, at("port"), "0 is no port to listen on", "5060 is usual");
            let udp = listener.transport == Transport::Udp;
            let name = listener.transport.via_name().to_ascii_lowercase();
            self.unless(udp, at("transport"), format!("`{name}` is not served by this version"), "use udp");
            let any = listener.address.is_unspecified() || listener.address.is_multicast();
            self.unless(
                !any,
                at("address"),
                format!("{} is no address of one host", listener.address),
                "write the VIP itself: replies must leave from it",
            );
            if let Some(host) = &listener.advertise {
                let ok = is_domain(host) || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
                self.unless(
                    ok,
                    at("advertise"),
                    format!("`{host}` is no host name or address"),
                    "write what peers shall see, such as sip.example.com",
                );
            }
        }
    }

    pub(super) fn domains(&mut self) {
        let domains = &self.rack.domains;
        self.unless(
            !domains.is_empty(),
            "domains",
            "is empty",
            "a rack needs at least one domain, such as { name: example.com }",
        );
        for (i, domain) in domains.iter().enumerate() {
            let at = format!("domains.{i}.name");
            self.unless(
                is_domain(&domain.name),
                &at,
                format!("`{}` is no domain", domain.name),
                "write a name such as example.com, without scheme, port or user",
            );
            let first = domains.iter().position(|d| d.name.eq_ignore_ascii_case(&domain.name)).unwrap_or(i);
            self.unless(
                first == i,
                &at,
                format!("`{}` stands in domains.{first} already", domain.name),
                "remove one of them",
            );
            let one_default = !domain.default || domains.iter().position(|d| d.default) == Some(i);
            self.unless(one_default, format!("domains.{i}.default"), "a second default domain", "mark one only");
        }
    }

    pub(super) fn registrar_and_subscribers(&mut self) {
        let rack = self.rack;
        let r = &rack.registrar;
        let ordered =
            r.expires_min_s >= 1 && r.expires_min_s <= r.expires_default_s && r.expires_default_s <= r.expires_max_s;
        self.unless(
            ordered,
            "registrar",
            format!(
                "expires_min_s {}, expires_default_s {}, expires_max_s {} are out of order",
                r.expires_min_s, r.expires_default_s, r.expires_max_s
            ),
            "1 ≤ min ≤ default ≤ max must hold",
        );
        self.unless(
            r.max_contacts >= 1,
            "registrar.max_contacts",
            "0 would refuse every registration",
            "use 1 or more",
        );
        for (i, range) in rack.subscribers.iter().enumerate() {
            let at = |key: &str| format!("subscribers.{i}.{key}");
            let count = range.last.checked_sub(range.first);
            self.unless(
                count.is_some(),
                at("last"),
                format!("{} is below `first` ({})", range.last, range.first),
                "first ≤ last must hold",
            );
            self.unless(
                count.is_none_or(|n| n < 100_000),
                at("last"),
                "more than 100,000 subscribers",
                "use `siprack import FILE` for so many",
            );
            self.unless(!range.password.is_empty(), at("password"), "is empty", "write the password of these phones");
            if let Some(name) = &range.domain {
                self.known_domain(at("domain"), name);
            }
            let outside = rack.listeners.iter().find(|l| !l.address.is_loopback());
            if let (Some(listener), DEMO_PASSWORD) = (outside, range.password.as_str()) {
                self.say(
                    at("password"),
                    format!("the demo password on {}, which others can reach", listener.socket_address()),
                    "listen on loopback, or give these phones another password",
                );
            }
        }
    }

    pub(super) fn trunks(&mut self) {
        let rack = self.rack;
        for (i, trunk) in rack.trunks.iter().enumerate() {
            let at = |key: &str| format!("trunks.{i}.{key}");
            self.unless(trunk.id.0 > 0, at("id"), "0 is no trunk number", "use 1 to 65535");
            let first = rack.trunks.iter().position(|t| t.id == trunk.id).unwrap_or(i);
            self.unless(
                first == i,
                at("id"),
                format!("{} is the id of trunks.{first} already", trunk.id),
                "give every trunk an id of its own",
            );
            let first = rack.trunks.iter().position(|t| t.name == trunk.name).unwrap_or(i);
            self.unless(
                first == i,
                at("name"),
                format!("`{}` is the name of trunks.{first} already", trunk.name),
                "give every trunk a name of its own",
            );
            self.unless(
                !trunk.addresses.is_empty() || trunk.destination.is_some(),
                at("addresses"),
                "is empty, and there is no destination",
                "a trunk is known by its addresses, or called at its destination",
            );
            for (j, address) in trunk.addresses.iter().enumerate() {
                let earlier = rack.trunks[..i].iter().find(|t| t.addresses.contains(address));
                if let Some(other) = earlier {
                    self.say(
                        at(&format!("addresses.{j}")),
                        format!("{address} belongs to trunk `{}` already", other.name),
                        "a source address means one trunk",
                    );
                }
            }
            self.unless(
                rack.listener(trunk.listener).is_some(),
                at("listener"),
                format!("there is no listeners.{}", trunk.listener),
                "use a position in `listeners`, from 0",
            );
            self.unless(
                trunk.max_calls <= CALLS_AT_A_TIME,
                at("max_calls"),
                format!("{} is out of range", trunk.max_calls),
                format!("use 0 to {CALLS_AT_A_TIME} ({UNLIMITED})"),
            );
            if let Some(name) = &trunk.domain {
                self.known_domain(at("domain"), name);
            }
            if let Some(probe) = &trunk.probe {
                self.probe(&at("probe"), trunk, probe);
            }
        }
    }

    fn probe(&mut self, at: &str, trunk: &Trunk, probe: &Probe) {
        self.unless(
            trunk.destination.is_none() && !trunk.addresses.is_empty(),
            at,
            "calls to this trunk do not go to addresses of its own",
            "remove it: what a name leads to is not probed",
        );
        let every = (1..=3600).contains(&probe.every_s);
        self.unless(every, format!("{at}.every_s"), format!("{} is no interval", probe.every_s), "use 1 to 3600");
        for (key, count) in [("down_after", probe.down_after), ("up_after", probe.up_after)] {
            self.unless(count >= 1, format!("{at}.{key}"), "0 probes decide nothing", "use 1 or more");
        }
        self.unless(!probe.alive.is_empty(), format!("{at}.alive"), "is empty", "list at least 200");
        for (i, code) in probe.alive.iter().enumerate() {
            let is_final = (200..=699).contains(code);
            let at = format!("{at}.alive.{i}");
            self.unless(is_final, at, format!("{code} is no final status code"), "use 200 to 699");
        }
    }

    pub(super) fn routes(&mut self) {
        let rack = self.rack;
        for (i, route) in rack.routes.iter().enumerate() {
            let at = |key: &str| format!("routes.{i}.{key}");
            if rack.trunk_named(&route.trunk).is_none() {
                let hint = not_one_of(&route.trunk, "known trunks", rack.trunks.iter().map(|t| t.name.as_str()));
                self.say(at("trunk"), format!("there is no trunk `{}`", route.trunk), hint);
            }
            if let RouteDomain::Local(name) = &route.domain {
                self.known_domain(at("domain"), name);
            }
            let first = rack.routes.iter().position(|r| r.domain == route.domain && r.prefix == route.prefix);
            self.unless(
                first == Some(i),
                at("prefix"),
                format!("routes.{} has the same domain and prefix", first.unwrap_or(i)),
                "this one would never be used: remove one",
            );
        }
    }

    pub(super) fn private_headers(&mut self) {
        const NEEDED: [HeaderId; 11] = [
            HeaderId::Via,
            HeaderId::From,
            HeaderId::To,
            HeaderId::CallId,
            HeaderId::CSeq,
            HeaderId::Contact,
            HeaderId::MaxForwards,
            HeaderId::Route,
            HeaderId::RecordRoute,
            HeaderId::ContentLength,
            HeaderId::ContentType,
        ];
        let rack = self.rack;
        for (i, name) in rack.private_headers.iter().enumerate() {
            let at = format!("private_headers.{i}");
            let is_name =
                !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._!%*+~'`".contains(&b));
            self.unless(is_name, &at, format!("`{name}` is no header's name"), "write a name such as X-Account");
            let needed = NEEDED.contains(&HeaderId::of(name.as_bytes()));
            self.unless(!needed, &at, format!("no message goes without `{name}`"), "remove it from the list");
        }
        self.unless(rack.private_headers.len() <= 64, "private_headers", "are more than 64", "keep at most 64");
    }

    fn known_domain(&mut self, path: String, name: &str) {
        if self.rack.domain(name).is_none() {
            let hint = not_one_of(name, "known domains", self.rack.domains.iter().map(|d| d.name.as_str()));
            self.say(path, format!("`{name}` is not one of `domains`"), hint);
        }
    }
}

fn is_domain(name: &str) -> bool {
    let label = |l: &str| {
        !l.is_empty()
            && l.len() <= 63
            && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !l.starts_with('-')
            && !l.ends_with('-')
    };
    let ip = name.parse::<IpAddr>().is_ok();
    ip || (name.len() <= 253 && name.split('.').all(label))
}
