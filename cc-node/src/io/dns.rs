//! The name servers: asks what workers want to know, and hands the answers back. Runs on the control plane's runtime;
//! workers hand their questions over by a bounded channel and get answers by a bounded queue and a wake-up. Nothing is
//! cached here (`crate::resolve` does that), and no worker ever waits: what cannot be asked is answered with a failure.

use crate::dns::{DnsAnswer, DnsAsk, DnsData, DnsFailure, DnsRecord, Kind, Question};
use common::config::Dns;
use common::io::poll::Waker;
use common::time::Duration;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig, ResolverOpts};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use hickory_resolver::system_conf::read_system_conf;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::SyncSender;
use tokio::sync::mpsc::Receiver;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// Questions on their way from the workers.
pub const QUESTIONS_QUEUED: usize = 1024;
/// Questions that are out at one time; further ones wait in the queue.
const IN_FLIGHT: usize = 512;
/// Records of one answer that are handed on; the core cuts once more.
const RECORDS: usize = 256;

/// A worker's question.
pub struct Asked {
    pub worker: u16,
    pub ask: DnsAsk,
    pub question: Question,
}

pub struct Answered {
    pub ask: DnsAsk,
    pub answer: DnsAnswer,
}

/// Where one worker's answers go.
#[derive(Clone)]
pub struct AnswerTo {
    pub queue: SyncSender<Answered>,
    pub waker: Waker,
}

/// Answers until the workers are gone.
pub async fn run(config: Dns, mut questions: Receiver<Asked>, workers: Vec<AnswerTo>) {
    let servers = NameServers::open(&config).unwrap_or_else(|error| {
        tracing::warn!(%error, "no name server is known: host names lead nowhere; set dns.servers");
        NameServers::none()
    });
    let servers = Arc::new(servers);
    let (in_flight, workers) = (Arc::new(Semaphore::new(IN_FLIGHT)), Arc::new(workers));
    while let Some(asked) = questions.recv().await {
        let Ok(permit) = in_flight.clone().acquire_owned().await else { return };
        let (servers, workers) = (servers.clone(), workers.clone());
        tokio::spawn(async move { one(&servers, asked, &workers, permit).await });
    }
}

/// One question from hand-over to hand-over.
async fn one(servers: &NameServers, asked: Asked, workers: &[AnswerTo], _permit: OwnedSemaphorePermit) {
    let Asked { worker, ask, question } = asked;
    let answer = servers.ask(&question).await;
    let Some(to) = workers.get(usize::from(worker)) else { return };
    if to.queue.try_send(Answered { ask, answer }).is_err() {
        tracing::error!(worker, "an answer of the DNS found no place at its worker");
    }
    to.waker.wake();
}

/// One resolver a name server: within one, the library lets a silent first server use up the time of all.
struct NameServers {
    each: Vec<TokioResolver>,
    /// Which one is asked first: the one that answered last.
    first: AtomicUsize,
    timeout: Duration,
    attempts: usize,
}

impl NameServers {
    fn none() -> NameServers {
        NameServers { each: Vec::new(), first: AtomicUsize::new(0), timeout: Duration::ZERO, attempts: 0 }
    }

    /// Those of the rack file, else those of this host.
    fn open(config: &Dns) -> Result<NameServers, NetError> {
        let (servers, mut options) = match config.servers.is_empty() {
            false => (config.servers.iter().map(server).collect(), ResolverOpts::default()),
            true => {
                let (system, options) = read_system_conf()?;
                (system.name_servers().to_vec(), options)
            }
        };
        let timeout = Duration::from_millis(u64::from(config.timeout_ms));
        options.timeout = timeout;
        options.attempts = 0;
        options.cache_size = 0;
        options.max_active_requests = IN_FLIGHT;
        let open = |server| {
            let servers = ResolverConfig::from_name_servers(vec![server]);
            let mut builder = TokioResolver::builder_with_config(servers, TokioRuntimeProvider::default());
            *builder.options_mut() = options.clone();
            builder.build()
        };
        let each = servers.into_iter().map(open).collect::<Result<Vec<_>, _>>()?;
        Ok(NameServers { each, first: AtomicUsize::new(0), timeout, attempts: usize::from(config.attempts) })
    }

    /// Asks one name server after another, as often as `dns.attempts` says.
    async fn ask(&self, question: &Question) -> DnsAnswer {
        // With its dot a name is whole: no search list of the host is put behind it.
        let Ok(name) = Name::from_ascii(format!("{}.", question.name)) else {
            return DnsAnswer::NoSuchName { ttl_s: None };
        };
        let first = self.first.load(Ordering::Relaxed);
        let mut answer = DnsAnswer::Failed(DnsFailure::ServerFailure);
        for attempt in 0..self.attempts {
            let at = first.wrapping_add(attempt);
            let Some(server) = self.each.get(at % self.each.len().max(1)) else { break };
            answer = match timeout(self.timeout, server.lookup(name.clone(), kind(question))).await {
                Ok(Ok(lookup)) => found(&lookup, kind(question)),
                Ok(Err(error)) => failed(question, &error),
                Err(_) => DnsAnswer::Failed(DnsFailure::Timeout),
            };
            if !matches!(answer, DnsAnswer::Failed(_)) {
                self.first.store(at % self.each.len(), Ordering::Relaxed);
                return answer;
            }
        }
        // The next question starts with those that this one did not come to.
        self.first.store(first.wrapping_add(self.attempts) % self.each.len().max(1), Ordering::Relaxed);
        answer
    }
}

fn kind(question: &Question) -> RecordType {
    match question.kind {
        Kind::Naptr => RecordType::NAPTR,
        Kind::Srv => RecordType::SRV,
        Kind::A => RecordType::A,
        Kind::Aaaa => RecordType::AAAA,
    }
}

fn found(lookup: &Lookup, kind: RecordType) -> DnsAnswer {
    let records = lookup.answers().iter();
    let cname_ttl_s = records.clone().filter(|r| r.record_type() == RecordType::CNAME).map(|r| r.ttl).min();
    let of_kind = records.filter(|r| r.record_type() == kind).filter_map(record).take(RECORDS);
    let capped = |r: DnsRecord| DnsRecord { ttl_s: cname_ttl_s.map_or(r.ttl_s, |ttl_s| ttl_s.min(r.ttl_s)), ..r };
    let answers: Vec<DnsRecord> = of_kind.map(capped).collect();
    if answers.is_empty() {
        return DnsAnswer::NoRecords { ttl_s: None };
    }
    DnsAnswer::Records { answers, additional: lookup.additionals().iter().filter_map(record).take(RECORDS).collect() }
}

fn failed(question: &Question, error: &NetError) -> DnsAnswer {
    let failure = match error {
        NetError::Dns(DnsError::NoRecordsFound(nothing)) => match nothing.response_code {
            ResponseCode::NXDomain => return DnsAnswer::NoSuchName { ttl_s: nothing.negative_ttl },
            ResponseCode::NoError => return DnsAnswer::NoRecords { ttl_s: nothing.negative_ttl },
            _ => DnsFailure::ServerFailure,
        },
        NetError::Timeout => DnsFailure::Timeout,
        NetError::Busy => DnsFailure::Full,
        _ => DnsFailure::ServerFailure,
    };
    tracing::debug!(name = %question.name, kind = question.kind.label(), %error, "a name could not be looked up");
    DnsAnswer::Failed(failure)
}

fn record(record: &Record) -> Option<DnsRecord> {
    let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
    let data = match &record.data {
        RData::A(a) => DnsData::A(a.0),
        RData::AAAA(aaaa) => DnsData::Aaaa(aaaa.0),
        RData::SRV(srv) => {
            DnsData::Srv { priority: srv.priority, weight: srv.weight, port: srv.port, target: srv.target.to_ascii() }
        }
        RData::NAPTR(naptr) => DnsData::Naptr {
            order: naptr.order,
            preference: naptr.preference,
            flags: text(&naptr.flags),
            services: text(&naptr.services),
            regexp: text(&naptr.regexp),
            replacement: naptr.replacement.to_ascii(),
        },
        _ => return None,
    };
    Some(DnsRecord { name: record.name.to_ascii(), ttl_s: record.ttl, data })
}

fn server(address: &SocketAddr) -> NameServerConfig {
    let at = |mut connection: ConnectionConfig| {
        connection.port = address.port();
        connection
    };
    NameServerConfig::new(address.ip(), true, vec![at(ConnectionConfig::udp()), at(ConnectionConfig::tcp())])
}

#[cfg(test)]
#[path = "dns_tests.rs"]
mod tests;
