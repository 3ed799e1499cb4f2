//! The name servers: asks what workers want to know, and hands the answers back. Runs on the control plane's runtime;
//! workers hand their questions over by a bounded channel and get answers by a bounded queue and a wake-up. Nothing is
//! cached here (`crate::resolve` does that), and no worker ever waits: what cannot be asked is answered with a failure.

use crate::dns::{DnsAnswer, DnsAsk, DnsData, DnsFailure, DnsRecord, Kind, Question};
use common::config::Dns;
use common::io::poll::Waker;
use common::time::Duration;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolverConfig, ResolverOpts, ServerOrderingStrategy,
};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use hickory_resolver::system_conf::read_system_conf;
use std::net::SocketAddr;
use std::sync::Arc;
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
    let resolver = match open(&config) {
        Ok(resolver) => Some(resolver),
        Err(error) => {
            tracing::warn!(%error, "no name server is known: host names lead nowhere; set dns.servers");
            None
        }
    };
    let (in_flight, workers) = (Arc::new(Semaphore::new(IN_FLIGHT)), Arc::new(workers));
    while let Some(asked) = questions.recv().await {
        let Ok(permit) = in_flight.clone().acquire_owned().await else { return };
        let (resolver, workers, patience) = (resolver.clone(), workers.clone(), config.patience());
        tokio::spawn(async move { one(resolver, asked, patience, &workers, permit).await });
    }
}

/// One question from hand-over to hand-over.
async fn one(
    resolver: Option<TokioResolver>,
    asked: Asked,
    patience: Duration,
    workers: &[AnswerTo],
    _permit: OwnedSemaphorePermit,
) {
    let Asked { worker, ask, question } = asked;
    let answer = match resolver {
        Some(resolver) => look_up(&resolver, &question, patience).await,
        None => DnsAnswer::Failed(DnsFailure::ServerFailure),
    };
    let Some(to) = workers.get(usize::from(worker)) else { return };
    if to.queue.try_send(Answered { ask, answer }).is_err() {
        tracing::error!(worker, "an answer of the DNS found no place at its worker");
    }
    to.waker.wake();
}

async fn look_up(resolver: &TokioResolver, question: &Question, patience: Duration) -> DnsAnswer {
    let kind = match question.kind {
        Kind::Naptr => RecordType::NAPTR,
        Kind::Srv => RecordType::SRV,
        Kind::A => RecordType::A,
        Kind::Aaaa => RecordType::AAAA,
    };
    // With its dot a name is whole: no search list of the host is put behind it.
    let Ok(name) = Name::from_ascii(format!("{}.", question.name)) else {
        return DnsAnswer::NoSuchName { ttl_s: None };
    };
    match timeout(patience, resolver.lookup(name, kind)).await {
        Ok(Ok(lookup)) => found(&lookup, kind),
        Ok(Err(error)) => failed(question, &error),
        Err(_) => DnsAnswer::Failed(DnsFailure::Timeout),
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

/// The name servers of the rack file, else those of this host.
fn open(config: &Dns) -> Result<TokioResolver, NetError> {
    let (servers, mut options) = match config.servers.is_empty() {
        false => {
            (ResolverConfig::from_name_servers(config.servers.iter().map(server).collect()), ResolverOpts::default())
        }
        true => read_system_conf()?,
    };
    options.timeout = Duration::from_millis(u64::from(config.timeout_ms));
    // The library counts what follows the first attempt.
    options.attempts = usize::from(config.attempts.saturating_sub(1));
    options.cache_size = 0;
    options.num_concurrent_reqs = 1;
    options.max_active_requests = IN_FLIGHT;
    options.server_ordering_strategy = ServerOrderingStrategy::UserProvidedOrder;
    let mut builder = TokioResolver::builder_with_config(servers, TokioRuntimeProvider::default());
    *builder.options_mut() = options;
    builder.build()
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
