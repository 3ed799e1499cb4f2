//! A load generator that costs a few microseconds a message: it fills templates and reads no more of an answer than it
//! must. One socket is all callers and all callees.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

/// What a run came to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    pub finished: u64,
    pub failed: u64,
    pub datagrams_sent: u64,
    pub datagrams_received: u64,
}

pub struct Generator {
    socket: UdpSocket,
    target: SocketAddr,
    local: SocketAddr,
    run: u32,
    tally: Tally,
}

impl Generator {
    pub fn new(target: SocketAddr) -> std::io::Result<Generator> {
        let socket = UdpSocket::bind(SocketAddr::new(target.ip(), 0))?;
        socket2::SockRef::from(&socket).set_recv_buffer_size(8 << 20)?;
        socket.set_read_timeout(Some(Duration::from_millis(100)))?;
        let local = socket.local_addr()?;
        Ok(Generator { socket, target, local, run: std::process::id(), tally: Tally::default() })
    }

    /// Binds `sip:bench@domain` to this socket.
    pub fn register(&mut self, domain: &str) -> std::io::Result<bool> {
        let (local, run) = (self.local, self.run);
        let text = format!(
            "REGISTER sip:{domain} SIP/2.0\r\nVia: SIP/2.0/UDP {local};rport;branch=z9hG4bKreg{run}\r\nMax-Forwards: 70\r\n\
             From: <sip:bench@{domain}>;tag=r{run}\r\nTo: <sip:bench@{domain}>\r\nCall-ID: reg{run}\r\nCSeq: 1 REGISTER\r\n\
             Contact: <sip:bench@{local}>\r\nExpires: 3600\r\nContent-Length: 0\r\n\r\n"
        );
        for _ in 0..20 {
            self.socket.send_to(text.as_bytes(), self.target)?;
            let mut buffer = [0u8; 4096];
            if let Ok(length) = self.socket.recv(&mut buffer)
                && buffer[..length].starts_with(b"SIP/2.0 200")
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// OPTIONS to the VIP itself, `window` at a time; each is one message in and one out for the load manager.
    pub fn options(&mut self, domain: &str, count: u64, window: u64) -> std::io::Result<Tally> {
        self.closed_loop(count, window, &|generator, n| {
            let (local, run) = (generator.local, generator.run);
            let text = format!(
                "OPTIONS sip:{domain} SIP/2.0\r\nVia: SIP/2.0/UDP {local};rport;branch=z9hG4bKo{run}x{n}\r\nMax-Forwards: 70\r\n\
                 From: <sip:bench@{domain}>;tag=o{n}\r\nTo: <sip:{domain}>\r\nCall-ID: o{run}x{n}\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
            );
            generator.send(text.as_bytes(), generator.target)
        })
    }

    /// Whole calls (INVITE, 100, 180, 200, ACK, BYE, 200) from this socket to this socket through the target.
    pub fn calls(&mut self, domain: &str, count: u64, window: u64) -> std::io::Result<Tally> {
        self.closed_loop(count, window, &|generator, n| {
            let (local, run) = (generator.local, generator.run);
            let text = format!(
                "INVITE sip:bench@{domain} SIP/2.0\r\nVia: SIP/2.0/UDP {local};rport;branch=z9hG4bKi{run}x{n}\r\nMax-Forwards: 70\r\n\
                 From: <sip:caller@{domain}>;tag=i{n}\r\nTo: <sip:bench@{domain}>\r\nCall-ID: i{run}x{n}\r\nCSeq: 1 INVITE\r\n\
                 Contact: <sip:caller@{local}>\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{SDP}",
                SDP.len()
            );
            generator.send(text.as_bytes(), generator.target)
        })
    }

    /// Raw datagrams of `bytes` octets to the target, which sends them back: for the relay.
    pub fn echo(&mut self, payload: &[u8], count: u64, window: u64) -> std::io::Result<Tally> {
        let payload = payload.to_vec();
        self.closed_loop(count, window, &move |generator, _| generator.send(&payload, generator.target))
    }

    pub fn local(&self) -> SocketAddr {
        self.local
    }

    fn send(&mut self, bytes: &[u8], to: SocketAddr) -> std::io::Result<()> {
        self.tally.datagrams_sent += 1;
        self.socket.send_to(bytes, to).map(|_| ())
    }

    /// Keeps `window` transactions open until `count` have ended; what is silent for 3 s has failed.
    fn closed_loop(
        &mut self,
        count: u64,
        window: u64,
        start: &dyn Fn(&mut Generator, u64) -> std::io::Result<()>,
    ) -> std::io::Result<Tally> {
        self.tally = Tally::default();
        let mut started = 0;
        let mut heard = Instant::now();
        let mut buffer = vec![0u8; 65_535];
        while self.tally.finished + self.tally.failed < count {
            while started < count && started - self.tally.finished - self.tally.failed < window {
                start(self, started)?;
                started += 1;
            }
            match self.socket.recv(&mut buffer) {
                Ok(length) => {
                    heard = Instant::now();
                    self.tally.datagrams_received += 1;
                    self.answer(&buffer[..length])?;
                }
                Err(_) if heard.elapsed() > Duration::from_secs(3) => {
                    self.tally.failed += started - self.tally.finished - self.tally.failed;
                    heard = Instant::now();
                }
                Err(_) => {}
            }
        }
        Ok(self.tally)
    }

    fn answer(&mut self, message: &[u8]) -> std::io::Result<()> {
        let text = String::from_utf8_lossy(message);
        if !text.contains("SIP/2.0") {
            self.tally.finished += 1; // an echo
        } else if text.starts_with("INVITE ") {
            let contact = format!("Contact: <sip:bench@{}>\r\n", self.local);
            self.send(response(&text, "180 Ringing", &contact).as_bytes(), self.target)?;
            self.send(response(&text, "200 OK", &contact).as_bytes(), self.target)?;
        } else if text.starts_with("BYE ") {
            self.send(response(&text, "200 OK", "").as_bytes(), self.target)?;
        } else if text.starts_with("SIP/2.0 ") {
            self.response(&text)?;
        }
        Ok(())
    }

    fn response(&mut self, text: &str) -> std::io::Result<()> {
        let status: u16 = text[8..].split(' ').next().and_then(|s| s.parse().ok()).unwrap_or(0);
        let method = header(text, "CSeq").and_then(|v| v.split(' ').nth(1)).unwrap_or_default();
        match (method, status) {
            (_, 100..=199) => Ok(()),
            ("INVITE", 200) => {
                for (method, cseq) in [("ACK", 1), ("BYE", 2)] {
                    let request = in_dialog(text, method, cseq, self.local);
                    self.send(request.as_bytes(), self.target)?;
                }
                Ok(())
            }
            (_, 200) => {
                self.tally.finished += 1;
                Ok(())
            }
            _ => {
                self.tally.failed += 1;
                Ok(())
            }
        }
    }
}

const SDP: &str = "v=0\r\no=b 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 40000 RTP/AVP 0 8 101\r\na=rtpmap:101 telephone-event/8000\r\n";

fn header<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':').map(str::trim))
}

fn response(request: &str, status: &str, extra: &str) -> String {
    let mut reply = format!("SIP/2.0 {status}\r\n");
    for line in request.lines().take_while(|l| !l.is_empty()) {
        let name = line.split(':').next().unwrap_or_default();
        if matches!(name, "Via" | "From" | "Call-ID" | "CSeq" | "Record-Route") {
            reply.push_str(line);
            reply.push_str("\r\n");
        } else if name == "To" {
            reply.push_str(line);
            reply.push_str(if line.contains("tag=") { "\r\n" } else { ";tag=callee\r\n" });
        }
    }
    reply + extra + "Content-Length: 0\r\n\r\n"
}

fn in_dialog(answer: &str, method: &str, cseq: u32, local: SocketAddr) -> String {
    let call_id = header(answer, "Call-ID").unwrap_or_default();
    let mut routes: Vec<&str> = answer.lines().filter_map(|l| l.strip_prefix("Record-Route:")).map(str::trim).collect();
    routes.reverse();
    let routes: String = routes.iter().map(|r| format!("Route: {r}\r\n")).collect();
    format!(
        "{method} sip:bench@{local} SIP/2.0\r\nVia: SIP/2.0/UDP {local};rport;branch=z9hG4bK{method}{call_id}\r\nMax-Forwards: 70\r\n{routes}\
         From: {}\r\nTo: {}\r\nCall-ID: {call_id}\r\nCSeq: {cseq} {method}\r\nContent-Length: 0\r\n\r\n",
        header(answer, "From").unwrap_or_default(),
        header(answer, "To").unwrap_or_default()
    )
}
