//! The shell against name servers: one played by hand, one that is dead, and Debian's dnsmasq with real records.
#![allow(clippy::unwrap_used)]
#![allow(clippy::disallowed_methods, reason = "a live test looks at the environment and waits for a process")]

use super::*;
use crate::effect::Effect;
use crate::resolve::{Destination, Progress, Resolver, Settings};
use common::config::Rack;
use common::io::clock::Clock;
use common::io::poll;
use common::sip::SipUri;
use hickory_resolver::proto::op::{Message, OpCode, Query};
use hickory_resolver::proto::rr::rdata::{A, CNAME, SOA, SRV};
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Instant;
use tokio::net::UdpSocket;
use tokio::sync::mpsc::{Sender, channel};

/// A worker's end of the shell.
struct Rig {
    questions: Sender<Asked>,
    answers: mpsc::Receiver<Answered>,
    wakeable: poll::Wakeable,
    next: u64,
}

fn rig(servers: Vec<SocketAddr>, timeout_ms: u32) -> Rig {
    let (questions, questions_in) = channel(64);
    let (queue, answers) = mpsc::sync_channel(64);
    let (waker, wakeable) = poll::waker().unwrap();
    let config = Dns { servers, timeout_ms, ..Dns::default() };
    tokio::spawn(run(config, questions_in, vec![AnswerTo { queue, waker }]));
    Rig { questions, answers, wakeable, next: 1 }
}

impl Rig {
    async fn ask(&mut self, name: &str, kind: Kind) -> DnsAnswer {
        let ask = DnsAsk(self.next);
        self.next += 1;
        self.questions.try_send(Asked { worker: 0, ask, question: Question { name: name.into(), kind } }).ok().unwrap();
        let answered = self.answered().await;
        assert_eq!(answered.ask, ask);
        answered.answer
    }

    async fn answered(&self) -> Answered {
        for _ in 0..1000 {
            if let Ok(answered) = self.answers.try_recv() {
                let mut ready = Vec::new();
                poll::readable(&[self.wakeable.as_fd()], Duration::ZERO, &mut ready).unwrap();
                assert_eq!(ready, [true], "the worker is woken");
                return answered;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("no answer within ten seconds");
    }

    /// What a worker does: the core asks through the shell until it is done.
    async fn locate(&mut self, uri: &str) -> Result<Vec<String>, String> {
        let (mut resolver, clock) = (Resolver::new(Settings::of(&Rack::one_machine_default(1))), Clock::new());
        let (mut out, destination) = (Vec::new(), Destination::of(&SipUri::parse(uri).unwrap()));
        let mut progress = resolver.locate(clock.now(), &destination, 1, &mut out);
        loop {
            match progress {
                Progress::Done(hops) => return Ok(hops.iter().map(|h| h.address.to_string()).collect()),
                Progress::Failed(error) => return Err(error.to_string()),
                Progress::Waiting(_) => {}
            }
            for effect in out.drain(..) {
                let Effect::Dns { ask, question } = effect else { panic!("{effect:?}") };
                self.questions.send(Asked { worker: 0, ask, question }).await.ok().unwrap();
            }
            let Answered { ask, answer } = self.answered().await;
            progress = match resolver.answer(clock.now(), ask, answer, &mut out).pop() {
                Some((_, Ok(hops))) => Progress::Done(hops),
                Some((_, Err(error))) => Progress::Failed(error),
                None => progress,
            };
        }
    }
}

fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

/// A name server that answers with what `reply` makes of each query; `None` is silence.
async fn by_hand(reply: impl Fn(&Query, Message) -> Option<Message> + Send + 'static) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 2048];
        while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
            let query = Message::from_vec(&buffer[..length]).unwrap();
            let mut response = Message::response(query.metadata.id, OpCode::Query);
            response.add_query(query.queries[0].clone());
            if let Some(response) = reply(&query.queries[0], response) {
                socket.send_to(&response.to_vec().unwrap(), from).await.unwrap();
            }
        }
    });
    address
}

#[tokio::test]
async fn answers_carry_their_ttls_and_cnames_are_followed() {
    let server = by_hand(|query, mut response| {
        match (query.name().to_ascii().as_str(), query.query_type()) {
            ("alias.example.", RecordType::A) => {
                let target = RData::CNAME(CNAME(name("host.example.")));
                response.add_answer(Record::from_rdata(query.name().clone(), 30, target));
                let host = RData::A(A::new(192, 0, 2, 1));
                response.add_answer(Record::from_rdata(name("host.example."), 600, host));
            }
            ("_sip._udp.example.", RecordType::SRV) => {
                let srv = RData::SRV(SRV::new(1, 2, 5062, name("gw.example.")));
                response.add_answer(Record::from_rdata(query.name().clone(), 300, srv));
                let gw = RData::A(A::new(192, 0, 2, 9));
                response.add_additional(Record::from_rdata(name("gw.example."), 200, gw));
            }
            (other, _) => {
                let code = if other == "gone.example." { ResponseCode::NXDomain } else { ResponseCode::NoError };
                response.metadata.response_code = code;
                let soa = RData::SOA(SOA::new(name("ns.example."), name("h.example."), 1, 1, 1, 1, 77));
                response.add_authority(Record::from_rdata(name("example."), 900, soa));
            }
        }
        Some(response)
    })
    .await;
    let mut rig = rig(vec![server], 1000);
    let a = |name: &str, ttl_s, ip: [u8; 4]| DnsRecord { name: name.into(), ttl_s, data: DnsData::A(ip.into()) };
    let DnsAnswer::Records { answers, .. } = rig.ask("alias.example", Kind::A).await else { panic!("an address") };
    assert_eq!(answers, [a("host.example.", 30, [192, 0, 2, 1])], "no longer than the CNAME");
    let answer = rig.ask("_sip._udp.example", Kind::Srv).await;
    let target = "gw.example.".to_string();
    let data = DnsData::Srv { priority: 1, weight: 2, port: 5062, target };
    let answers = vec![DnsRecord { name: "_sip._udp.example.".into(), ttl_s: 300, data }];
    assert_eq!(answer, DnsAnswer::Records { answers, additional: vec![a("gw.example.", 200, [192, 0, 2, 9])] });
    assert_eq!(rig.ask("gone.example", Kind::A).await, DnsAnswer::NoSuchName { ttl_s: Some(77) }, "RFC 2308 §5");
    assert_eq!(rig.ask("host.example", Kind::Naptr).await, DnsAnswer::NoRecords { ttl_s: Some(77) });
}

#[tokio::test]
async fn a_name_server_that_is_silent_wrong_or_refuses_costs_its_time_and_no_more() {
    let silent = by_hand(|_, _| None).await;
    let began = Instant::now();
    assert_eq!(rig(vec![silent], 100).ask("a.example", Kind::A).await, DnsAnswer::Failed(DnsFailure::Timeout));
    assert!(began.elapsed() < Duration::from_secs(2), "two attempts of 100 ms took {:?}", began.elapsed());
    let failing = by_hand(|_, mut response| {
        response.metadata.response_code = ResponseCode::ServFail;
        Some(response)
    })
    .await;
    let mut failing = rig(vec![failing], 200);
    assert_eq!(failing.ask("a.example", Kind::Srv).await, DnsAnswer::Failed(DnsFailure::ServerFailure));
    // The second server stands in for a silent first one.
    let good = by_hand(|query, mut response| {
        response.add_answer(Record::from_rdata(query.name().clone(), 60, RData::A(A::new(192, 0, 2, 5))));
        Some(response)
    })
    .await;
    let mut both = rig(vec![silent, good], 300);
    let answer = both.ask("a.example", Kind::A).await;
    assert!(matches!(answer, DnsAnswer::Records { .. }), "{answer:?}");
    let began = Instant::now();
    assert!(matches!(both.ask("b.example", Kind::A).await, DnsAnswer::Records { .. }));
    assert!(
        began.elapsed() < Duration::from_millis(250),
        "the one that answered is asked first: {:?}",
        began.elapsed()
    );
    // Nothing listens there: the kernel says so, or nobody does.
    let closed = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert!(matches!(rig(vec![closed], 100).ask("a.example", Kind::A).await, DnsAnswer::Failed(_)));
}

/// Ended with the test.
struct Dnsmasq(Child);

impl Drop for Dnsmasq {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Debian's dnsmasq on a port of loopback; `None` if it is not installed.
fn dnsmasq(arguments: &[&str]) -> Option<(Dnsmasq, SocketAddr)> {
    let address = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut command = Command::new("dnsmasq");
    command.args(["--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--bind-interfaces"]);
    command.args(["--listen-address=127.0.0.1", "--pid-file=", "--local-ttl=120", "--local=/sip.test/", "--user="]);
    command.arg(format!("--port={}", address.port())).args(arguments);
    let paths = ["/usr/sbin", "/usr/local/sbin"].map(std::path::PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let all: Vec<_> = std::env::split_paths(&path).chain(paths).collect();
    command.env("PATH", std::env::join_paths(all).unwrap());
    match command.stdout(Stdio::null()).stderr(Stdio::inherit()).spawn() {
        Ok(child) => Some((Dnsmasq(child), address)),
        Err(error) => {
            assert!(std::env::var("CI").is_err(), "dnsmasq (Debian's dnsmasq-base) is needed here: {error}");
            println!("SKIP: dnsmasq (Debian's dnsmasq-base) does not start: {error}");
            None
        }
    }
}

#[tokio::test]
async fn a_real_name_server_tells_where_a_name_leads() {
    let records = [
        "--naptr-record=sip.test,90,50,s,SIP+D2T,,_sip._tcp.sip.test",
        "--naptr-record=sip.test,100,50,s,SIP+D2U,,_sip._udp.sip.test",
        "--srv-host=_sip._udp.sip.test,gw1.sip.test,5062,10,60",
        "--srv-host=_sip._udp.sip.test,alias.sip.test,5064,20,0",
        "--srv-host=_sip._udp.none.sip.test",
        "--host-record=gw1.sip.test,192.0.2.1,2001:db8::1",
        "--host-record=gw2.sip.test,192.0.2.2",
        "--cname=alias.sip.test,gw2.sip.test",
    ];
    let Some((_process, server)) = dnsmasq(&records) else { return };
    let mut rig = rig(vec![server], 500);
    let mut first = rig.ask("gw1.sip.test", Kind::A).await;
    for _ in 0..20 {
        if !matches!(first, DnsAnswer::Failed(_)) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        first = rig.ask("gw1.sip.test", Kind::A).await;
    }
    let DnsAnswer::Records { answers, .. } = first else { panic!("{first:?}") };
    assert_eq!((answers[0].ttl_s, &answers[0].data), (120, &DnsData::A([192, 0, 2, 1].into())));
    let DnsAnswer::Records { answers, .. } = rig.ask("gw1.sip.test", Kind::Aaaa).await else { panic!("AAAA") };
    assert_eq!(answers[0].data, DnsData::Aaaa("2001:db8::1".parse().unwrap()));
    let DnsAnswer::Records { mut answers, .. } = rig.ask("sip.test", Kind::Naptr).await else { panic!("NAPTR") };
    answers.sort_by_key(|r| format!("{:?}", r.data));
    let rule = |order, services: &str, replacement: &str| DnsData::Naptr {
        order,
        preference: 50,
        flags: "s".into(),
        services: services.into(),
        regexp: String::new(),
        replacement: replacement.into(),
    };
    let data: Vec<&DnsData> = answers.iter().map(|r| &r.data).collect();
    let (udp, tcp) = (rule(100, "SIP+D2U", "_sip._udp.sip.test."), rule(90, "SIP+D2T", "_sip._tcp.sip.test."));
    assert_eq!(data, [&udp, &tcp]);
    assert!(matches!(rig.ask("nobody.sip.test", Kind::A).await, DnsAnswer::NoSuchName { .. }));
    assert!(matches!(rig.ask("gw2.sip.test", Kind::Aaaa).await, DnsAnswer::NoRecords { .. }));
    // The whole way: NAPTR → SRV → A, a CNAME at its end.
    let hops = rig.locate("sip:+442071234567@sip.test").await;
    assert_eq!(hops.unwrap(), ["192.0.2.1:5062", "192.0.2.2:5064"]);
    assert_eq!(rig.locate("sip:gw2.sip.test").await.unwrap(), ["192.0.2.2:5060"]);
    assert_eq!(rig.locate("sip:nobody.sip.test").await.unwrap_err(), "the name nobody.sip.test does not exist");
    let none = rig.locate("sip:none.sip.test").await.unwrap_err();
    assert_eq!(none, "none.sip.test says that it has no SIP service");
}
