//! What is looked up: the trunks' destinations, and how the DNS is asked.

use super::Check;
use crate::config::destination::TrunkDestination;
use crate::config::service::RouteDomain;

impl Check<'_> {
    pub(super) fn destinations(&mut self) {
        let rack = self.rack;
        for (i, trunk) in rack.trunks.iter().enumerate() {
            let at = format!("trunks.{i}.destination");
            let Some(TrunkDestination::Server(server)) = &trunk.destination else { continue };
            let served = server.transport.is_none_or(|t| rack.listeners.iter().any(|l| l.transport == t));
            let name = server.transport.map_or("", |t| t.via_name()).to_ascii_lowercase();
            self.unless(
                served,
                &at,
                format!("no listener serves `{name}`"),
                "name another transport, or none: then the DNS chooses among those that are served",
            );
            self.unless(
                rack.domain_of_host(&server.host, server.port).is_none(),
                &at,
                format!("`{}` is this rack itself", server.host),
                "calls would come back: write the carrier's host",
            );
        }
        for (i, route) in rack.routes.iter().enumerate() {
            let by_uri =
                rack.trunk_named(&route.trunk).is_some_and(|t| t.destination == Some(TrunkDestination::RequestUri));
            self.unless(
                !by_uri || route.domain == RouteDomain::Foreign,
                format!("routes.{i}.trunk"),
                format!("`{}` goes where the Request-URI says, and here that is this rack", route.trunk),
                "use it in a route of `domain: foreign`",
            );
        }
    }

    pub(super) fn dns(&mut self) {
        let dns = &self.rack.dns;
        for (i, server) in dns.servers.iter().enumerate() {
            self.unless(
                server.port() > 0 && !server.ip().is_unspecified() && !server.ip().is_multicast(),
                format!("dns.servers.{i}"),
                format!("{server} is no name server"),
                "write address:port, such as 192.0.2.53:53",
            );
        }
        self.unless(dns.servers.len() <= 8, "dns.servers", "are more than 8", "keep at most 8");
        self.unless(
            (50..=10_000).contains(&dns.timeout_ms),
            "dns.timeout_ms",
            format!("{} is out of range", dns.timeout_ms),
            "use 50 to 10000 (1500 is usual)",
        );
        self.unless(
            (1..=5).contains(&dns.attempts),
            "dns.attempts",
            format!("{} is out of range", dns.attempts),
            "use 1 to 5 (2 is usual)",
        );
        self.unless(
            (1..=604_800).contains(&dns.ttl_max_s),
            "dns.ttl_max_s",
            format!("{} is out of range", dns.ttl_max_s),
            "use 1 to 604800, a week",
        );
        self.unless(
            (1..=10_800).contains(&dns.negative_ttl_max_s),
            "dns.negative_ttl_max_s",
            format!("{} is out of range", dns.negative_ttl_max_s),
            "use 1 to 10800 (RFC 2308 §5)",
        );
        self.unless(
            dns.stale_s <= 604_800,
            "dns.stale_s",
            format!("{} is out of range", dns.stale_s),
            "use 0 to 604800, a week (RFC 8767)",
        );
    }
}
