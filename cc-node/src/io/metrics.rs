//! The node's metrics: read from the workers' reports and from what the threads share, when Prometheus asks.

mod cdrs;
mod limits;
mod shadows;
mod trunks;

use super::cdr::CdrCounters;
use super::shared::{Shared, WorkerReport};
use crate::dns::Kind as Question;
use crate::problems::Blind;
use crate::resolve::Outcome;
use crate::stats::{DropReason, Histogram, Rejection, SETUP_BOUNDS_MS};
use common::metrics::{Kind, Sample, family, registry};
use common::sip::{Fault, MethodKind};
use prometheus::core::{Collector, Desc};
use prometheus::proto::{Bucket, LabelPair, Metric, MetricFamily, MetricType};
use prometheus::{Error, Registry};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub fn start(shared: &Arc<Shared>, cdrs: &Arc<CdrCounters>) -> Result<Registry, Error> {
    let registry = registry("cc-node")?;
    let of = Of { registry: &registry, shared };
    of.sip()?;
    of.losses(cdrs)?;
    of.calls()?;
    of.cdrs(cdrs)?;
    of.shadows()?;
    of.limits()?;
    of.location()?;
    of.names()?;
    of.trunks()?;
    of.rack()?;
    registry.register(Box::new(Seconds::new(shared.clone(), &SETUP)?))?;
    registry.register(Box::new(Seconds::new(shared.clone(), &DNS)?))?;
    Ok(registry)
}

struct Of<'a> {
    registry: &'a Registry,
    shared: &'a Arc<Shared>,
}

type Samples = Vec<Sample>;

fn one(value: u64) -> Samples {
    vec![Sample { labels: vec![], value: value as f64 }]
}

fn labelled<const N: usize>(labels: [&str; N], value: u64) -> Sample {
    Sample { labels: labels.map(str::to_owned).to_vec(), value: value as f64 }
}

fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

impl Of<'_> {
    fn counter(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
        read: impl Fn(&Shared) -> Samples + Send + Sync + 'static,
    ) -> Result<(), Error> {
        let shared = self.shared.clone();
        family(self.registry, Kind::Counter, name, help, labels, move || read(&shared))
    }

    fn gauge(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
        read: impl Fn(&Shared) -> Samples + Send + Sync + 'static,
    ) -> Result<(), Error> {
        let shared = self.shared.clone();
        family(self.registry, Kind::Gauge, name, help, labels, move || read(&shared))
    }

    fn sip(&self) -> Result<(), Error> {
        let labels = ["method", "transport", "direction"];
        self.counter("siprack_sip_requests_total", "Requests, repeats included", &labels, |shared| {
            let all = reports(shared);
            let count = |read: fn(&WorkerReport) -> &[u64], direction: &'static str| {
                let all = &all;
                MethodKind::ALL
                    .iter()
                    .map(move |method| {
                        let value = all.iter().map(|r| read(r)[*method as usize]).sum();
                        labelled([method.label(), "udp", direction], value)
                    })
                    .collect::<Vec<_>>()
            };
            let mut samples = count(|r| &r.node.requests_in, "in");
            samples.extend(count(|r| &r.node.requests_out, "out"));
            samples.retain(|s| s.value > 0.0);
            samples
        })?;
        let labels = ["code", "method", "direction"];
        self.counter("siprack_sip_responses_total", "Responses by status, repeats included", &labels, |shared| {
            let mut sums: BTreeMap<(u16, MethodKind, &str), u64> = BTreeMap::new();
            for report in reports(shared) {
                for (direction, counts) in [("in", &report.node.responses_in), ("out", &report.node.responses_out)] {
                    for ((code, method), count) in counts {
                        *sums.entry((*code, *method, direction)).or_insert(0) += count;
                    }
                }
            }
            let sample = |((code, method, direction), count): ((u16, MethodKind, &str), u64)| {
                labelled([&code.to_string(), method.label(), direction], count)
            };
            sums.into_iter().map(sample).collect()
        })?;
        self.counter("siprack_sip_retransmissions_total", "Requests that a transaction knew already", &[], |shared| {
            one(sum(shared, |r| r.node.repeats))
        })?;
        let name = "siprack_responses_by_token_total";
        self.counter(name, "Responses without a transaction here that passed by their token", &[], |shared| {
            one(sum(shared, |r| r.node.responses_by_token))
        })?;
        self.gauge("siprack_transactions", "Transactions now", &["role", "kind"], |shared| {
            let all = reports(shared);
            let count = |read: fn(&WorkerReport) -> u64| all.iter().map(|r| read(r)).sum::<u64>();
            vec![
                labelled(["server", "invite"], count(|r| r.node.transactions.invite_server)),
                labelled(["server", "other"], count(|r| r.node.transactions.server)),
                labelled(["client", "invite"], count(|r| r.node.transactions.invite_client)),
                labelled(["client", "other"], count(|r| r.node.transactions.client)),
            ]
        })?;
        self.counter("siprack_transaction_timeouts_total", "Transactions without an answer", &[], |shared| {
            one(sum(shared, |r| r.node.timeouts))
        })
    }

    fn losses(&self, cdrs: &Arc<CdrCounters>) -> Result<(), Error> {
        let cdrs = cdrs.clone();
        self.counter("siprack_dropped_total", "What came to nothing, by reason", &["reason"], move |shared| {
            let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
            for report in reports(shared) {
                let engine = DropReason::ALL.iter().map(|r| (r.label(), report.node.dropped[*r as usize]));
                for (reason, count) in report.io.drops().into_iter().chain(engine) {
                    *sums.entry(reason).or_insert(0) += count;
                }
            }
            sums.insert("cdr_full", read(&cdrs.overflowed));
            sums.insert("starts_full", read(&cdrs.starts_overflowed));
            sums.insert("missed_full", read(&cdrs.missed_overflowed));
            sums.into_iter().map(|(reason, count)| labelled([reason], count)).collect()
        })?;
        self.counter("siprack_rejected_total", "Requests refused with an answer of ours", &["reason"], |shared| {
            let all = reports(shared);
            let count = |r: &Rejection| all.iter().map(|w| w.node.rejected[*r as usize]).sum();
            Rejection::ALL.iter().map(|r| labelled([r.label()], count(r))).collect()
        })?;
        self.counter("siprack_redirected_total", "Requests answered with where to go, 300 or 302", &[], |s| {
            one(sum(s, |r| r.node.redirected))
        })?;
        let help = "Messages beyond a limit, unreadable or against the grammar, by what was wrong";
        self.counter("siprack_unfit_total", help, &["reason", "outcome"], |shared| {
            let all = reports(shared);
            let count = |fault: Fault, at: usize| all.iter().map(|w| w.node.unfit[fault as usize][at]).sum();
            let both = |fault: Fault| {
                [(0, "dropped"), (1, "answered")].map(|(at, out)| labelled([fault.label(), out], count(fault, at)))
            };
            Fault::ALL.into_iter().flat_map(both).collect()
        })?;
        self.counter("siprack_forged_tokens_total", "Requests with a To tag and a token that does not fit", &[], |s| {
            one(sum(s, |r| r.node.forged_tokens))
        })
    }

    fn calls(&self) -> Result<(), Error> {
        self.gauge("siprack_calls", "Calls now", &["state"], |shared| {
            vec![
                labelled(["setup"], sum(shared, |r| r.node.calls_in_setup)),
                labelled(["established"], sum(shared, |r| r.node.calls_established)),
            ]
        })?;
        self.counter("siprack_calls_total", "Calls by what came of them", &["result"], |shared| {
            vec![
                labelled(["answered"], sum(shared, |r| r.node.calls_answered)),
                labelled(["failed"], sum(shared, |r| r.node.calls_failed)),
            ]
        })?;
        self.counter("siprack_journal_records_total", "Records of the journal", &[], |s| {
            one(sum(s, |r| r.node.records))
        })
    }

    fn location(&self) -> Result<(), Error> {
        self.gauge("siprack_registrations", "Registered AORs in the replica", &["domain"], |shared| {
            let mut counts = shared.replica.registrations_by_domain();
            for domain in &shared.rack.domains {
                counts.entry(domain.name.to_ascii_lowercase()).or_insert(0);
            }
            counts.iter().map(|(domain, count)| labelled([domain], *count)).collect()
        })?;
        self.gauge("siprack_subscribers", "Subscribers in the replica", &[], |s| one(s.replica.status().subscribers))?;
        self.gauge("siprack_location_level", "Level of the replica", &["node"], |shared| {
            vec![labelled([&shared.id.to_string()], shared.replica.status().level.0)]
        })?;
        self.gauge("siprack_location_lag", "Levels behind what the server had when the stream was opened", &[], |s| {
            one(read(&s.location_lag))
        })?;
        self.gauge("siprack_location_up", "Whether the location server is heard", &[], |s| {
            one(u64::from(s.location_up.load(Ordering::Relaxed)))
        })?;
        self.gauge("siprack_location_asks", "Commands without outcome yet", &[], |s| one(read(&s.location_asks)))?;
        self.counter("siprack_location_asks_refused_total", "Commands refused because too many were open", &[], |s| {
            one(sum(s, |r| r.io.location_full))
        })?;
        let name = "siprack_location_checksum_mismatch_total";
        self.counter(name, "Sums that differed from the server's", &[], |s| one(s.replica.status().mismatches))
    }

    fn names(&self) -> Result<(), Error> {
        let labels = ["kind", "outcome"];
        self.counter("siprack_dns_questions_total", "Questions to the DNS, by what came of them", &labels, |shared| {
            let all = reports(shared);
            let count = |kind: Question, outcome: Outcome| {
                let value = all.iter().map(|r| r.dns.questions[kind as usize][outcome as usize]).sum();
                labelled([kind.label(), outcome.label()], value)
            };
            Question::ALL.iter().flat_map(|kind| Outcome::ALL.iter().map(|outcome| count(*kind, *outcome))).collect()
        })?;
        let name = "siprack_dns_cache_total";
        self.counter(name, "Questions that needed no asking, by why", &["by"], |shared| {
            vec![
                labelled(["fresh"], sum(shared, |r| r.dns.hits)),
                labelled(["stale"], sum(shared, |r| r.dns.stale)),
                labelled(["failure"], sum(shared, |r| r.dns.failures)),
                labelled(["coalesced"], sum(shared, |r| r.dns.coalesced)),
            ]
        })?;
        self.counter("siprack_lookups_total", "Destinations looked up, by what came of them", &["result"], |shared| {
            vec![
                labelled(["located"], sum(shared, |r| r.dns.located)),
                labelled(["unresolved"], sum(shared, |r| r.dns.unresolved)),
            ]
        })?;
        self.gauge("siprack_lookups_waiting", "Look-ups that wait for the DNS", &[], |s| {
            one(sum(s, |r| r.dns.waiting))
        })?;
        self.gauge("siprack_dns_entries", "Questions of which the cache keeps something", &[], |s| {
            one(sum(s, |r| r.dns.entries))
        })?;
        self.gauge("siprack_next_hops_unwell", "Next hops that failed lately and are tried last", &[], |s| {
            one(sum(s, |r| r.dns.unwell))
        })
    }

    fn rack(&self) -> Result<(), Error> {
        self.gauge("siprack_placement_epoch", "Epoch of the placement adopted", &[], |s| one(s.placement().epoch().0))?;
        self.gauge("siprack_node_owner_share", "Share of the slots, by the placement adopted", &["node"], |shared| {
            let shares = shared.placement().shares();
            let share = |(node, slots): (common::ids::NodeId, u32)| Sample {
                labels: vec![node.to_string()],
                value: f64::from(slots) / common::placement::SLOTS as f64,
            };
            shares.into_iter().map(share).collect()
        })?;
        self.counter("siprack_placement_mismatch_total", "Beacons whose digest was not ours", &[], |s| {
            one(read(&s.placement_mismatches))
        })?;
        self.counter("siprack_heartbeats_sent_total", "Heartbeats", &[], |s| one(read(&s.heartbeats_sent)))?;
        self.counter("siprack_beacons_total", "Datagrams on the control port", &["result"], |s| {
            let (heard, refused) = (read(&s.beacons_heard), read(&s.beacons_refused));
            let stale = labelled(["stale"], read(&s.beacons_stale));
            vec![labelled(["heard"], heard), labelled(["refused"], refused), stale]
        })?;
        self.counter("siprack_datagrams_total", "Datagrams of the workers", &["direction"], |s| {
            vec![labelled(["in"], sum(s, |r| r.io.received)), labelled(["out"], sum(s, |r| r.io.sent))]
        })?;
        self.ownership()?;
        self.gauge("siprack_worker_load_ratio", "Busy share of the last second", &["worker"], |shared| {
            let load = |(i, w): (usize, &super::shared::WorkerShared)| Sample {
                labels: vec![i.to_string()],
                value: f64::from(w.load.load(Ordering::Relaxed)) / 65_535.0,
            };
            shared.workers.iter().enumerate().map(load).collect()
        })
    }
}

impl Of<'_> {
    fn ownership(&self) -> Result<(), Error> {
        let help = "Questions to other nodes about messages that this one did not know, by what came of them";
        self.counter("siprack_inquiries_total", help, &["outcome"], |shared| {
            let of = |outcome, read: fn(&WorkerReport) -> u64| labelled([outcome], sum(shared, read));
            vec![
                of("theirs", |r| r.inquiries.theirs),
                of("nobodys", |r| r.inquiries.nobodys),
                of("silent", |r| r.inquiries.silent),
                of("without", |r| r.inquiries.without),
                of("left", |r| r.inquiries.left),
                of("full", |r| r.inquiries.full),
            ]
        })?;
        let help = "Messages that went on though this node did not know their call";
        self.counter("siprack_forwarded_blind_total", help, &["how"], |shared| {
            let of =
                |how: Blind| labelled([how.label()], reports(shared).iter().map(|r| r.node.blind[how as usize]).sum());
            Blind::ALL.map(of).to_vec()
        })?;
        let help = "Transactions forgotten because this node had been removed from the placement";
        self.counter("siprack_forgotten_transactions_total", help, &[], |s| one(sum(s, |r| r.node.forgotten)))?;
        self.gauge("siprack_admit_ratio", "Share of the new calls that this node takes", &[], |s| {
            let admit = f64::from(s.admit.load(Ordering::Relaxed)) / f64::from(u16::MAX);
            vec![Sample { labels: vec![], value: admit }]
        })
    }
}

fn reports(shared: &Shared) -> Vec<Arc<WorkerReport>> {
    shared.workers.iter().map(|w| w.report.load_full()).collect()
}

fn sum(shared: &Shared, read: fn(&WorkerReport) -> u64) -> u64 {
    reports(shared).iter().map(|r| read(r)).sum()
}

/// A histogram of the workers, added up.
struct Seconds {
    desc: Desc,
    shared: Arc<Shared>,
    family: &'static Family,
}

struct Family {
    name: &'static str,
    help: &'static str,
    label: &'static str,
    /// Values of the label.
    series: &'static [(&'static str, Read)],
}

type Read = fn(&WorkerReport) -> &Histogram;

const SETUP: Family = Family {
    name: "siprack_call_setup_seconds",
    help: "From INVITE to ringing, and to the answer",
    label: "to",
    series: &[("ringing", |r| &r.node.to_ringing), ("answer", |r| &r.node.to_answer)],
};

const DNS: Family = Family {
    name: "siprack_dns_seconds",
    help: "From a question to the DNS to what came of it",
    label: "to",
    series: &[("answer", |r| &r.dns.took)],
};

impl Seconds {
    fn new(shared: Arc<Shared>, family: &'static Family) -> Result<Seconds, Error> {
        let desc = Desc::new(family.name.into(), family.help.into(), vec![family.label.into()], Default::default())?;
        Ok(Seconds { desc, shared, family })
    }

    fn metric(&self, value: &str, read: Read) -> Metric {
        let all = reports(&self.shared);
        let (mut total, mut sum_ms) = (0, 0);
        let mut buckets = [0u64; SETUP_BOUNDS_MS.len()];
        for histogram in all.iter().map(|r| read(r)) {
            total += histogram.count;
            sum_ms += histogram.sum_ms;
            buckets.iter_mut().zip(&histogram.buckets).for_each(|(sum, count)| *sum += count);
        }
        let mut up_to = 0;
        let bucket = |(count, bound_ms): (u64, u64)| {
            up_to += count;
            let mut bucket = Bucket::default();
            bucket.set_cumulative_count(up_to);
            bucket.set_upper_bound(bound_ms as f64 / 1000.0);
            bucket
        };
        let buckets = buckets.into_iter().zip(SETUP_BOUNDS_MS).map(bucket).collect();
        let mut histogram = prometheus::proto::Histogram::default();
        histogram.set_sample_count(total);
        histogram.set_sample_sum(sum_ms as f64 / 1000.0);
        histogram.set_bucket(buckets);
        let mut label = LabelPair::default();
        label.set_name(self.family.label.into());
        label.set_value(value.into());
        let mut metric = Metric::from_label(vec![label]);
        metric.set_histogram(histogram);
        metric
    }
}

impl Collector for Seconds {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut family = MetricFamily::default();
        family.set_name(self.family.name.into());
        family.set_help(self.family.help.into());
        family.set_field_type(MetricType::HISTOGRAM);
        family.set_metric(self.family.series.iter().map(|(value, read)| self.metric(value, *read)).collect());
        vec![family]
    }
}
