//! A SIP message as an actor reads it: lines, and nothing of the rack's own parser, so that it is a second opinion.

use std::net::SocketAddr;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub first: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Message {
    /// `None` for what has no first line and headers.
    pub fn parse(bytes: &[u8]) -> Option<Message> {
        let text = String::from_utf8_lossy(bytes);
        let (head, body) = text.split_once("\r\n\r\n")?;
        let mut lines = head.split("\r\n");
        let first = lines.next()?.to_string();
        let headers = lines.filter_map(|line| line.split_once(':'));
        let headers = headers.map(|(name, value)| (name.trim().to_string(), value.trim().to_string())).collect();
        Some(Message { first, headers, body: body.to_string() })
    }

    pub fn write(&self) -> bytes::Bytes {
        let lines: String = self.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        format!("{}\r\n{lines}\r\n{}", self.first, self.body).into()
    }

    pub fn is_request(&self) -> bool {
        !self.first.starts_with("SIP/2.0 ")
    }

    /// Of a response; 0 for a request.
    pub fn status(&self) -> u16 {
        self.first.strip_prefix("SIP/2.0 ").and_then(|s| s.get(..3)?.parse().ok()).unwrap_or(0)
    }

    /// Of a request its own, of a response that of the request.
    pub fn method(&self) -> &str {
        let word = if self.is_request() { self.first.split(' ').next() } else { self.header("CSeq").split(' ').nth(1) };
        word.unwrap_or_default()
    }

    pub fn uri(&self) -> &str {
        self.first.split(' ').nth(1).unwrap_or_default()
    }

    /// `INVITE` or `180`, `200 BYE`: whether this is what somebody waits for.
    pub fn is(&self, what: &str) -> bool {
        match what.split_once(' ') {
            Some((status, method)) => self.status().to_string() == status && self.method() == method,
            None if self.is_request() => self.method() == what,
            None => self.status().to_string() == what,
        }
    }

    /// The first header of this name; empty if there is none.
    pub fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name));
        found.map_or("", |(_, value)| value.as_str())
    }

    /// All values of this name, split at the commas between them.
    pub fn values(&self, name: &str) -> Vec<String> {
        let lines = self.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name));
        lines.flat_map(|(_, value)| split(value)).collect()
    }

    /// All header lines of this name.
    pub fn lines(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str()).collect()
    }

    pub fn branch(&self) -> String {
        self.values("Via").first().and_then(|via| parameter(via, "branch")).unwrap_or_default()
    }

    pub fn call_id(&self) -> &str {
        self.header("Call-ID")
    }

    pub fn cseq(&self) -> u32 {
        self.header("CSeq").split(' ').next().and_then(|n| n.parse().ok()).unwrap_or(0)
    }

    pub fn from_tag(&self) -> String {
        parameter(self.header("From"), "tag").unwrap_or_default()
    }

    pub fn to_tag(&self) -> String {
        parameter(self.header("To"), "tag").unwrap_or_default()
    }
}

/// At commas outside of quotes and angle brackets.
fn split(value: &str) -> Vec<String> {
    let (mut quoted, mut depth, mut out, mut part) = (false, 0, Vec::new(), String::new());
    for c in value.chars() {
        match c {
            '"' => quoted = !quoted,
            '<' if !quoted => depth += 1,
            '>' if !quoted => depth -= 1,
            ',' if !quoted && depth == 0 => {
                out.push(std::mem::take(&mut part).trim().to_string());
                continue;
            }
            _ => {}
        }
        part.push(c);
    }
    out.push(part.trim().to_string());
    out
}

/// A parameter behind a value, outside its angle brackets.
pub fn parameter(value: &str, name: &str) -> Option<String> {
    let behind = value.rsplit_once('>').map_or(value, |(_, behind)| behind);
    behind.split(';').skip(1).find_map(|p| match p.split_once('=') {
        Some((n, v)) if n.trim().eq_ignore_ascii_case(name) => Some(v.trim().to_string()),
        None if p.trim().eq_ignore_ascii_case(name) => Some(String::new()),
        _ => None,
    })
}

/// The URI of a name-addr or addr-spec.
pub fn address_of(value: &str) -> String {
    match (value.find('<'), value.find('>')) {
        (Some(start), Some(end)) if start < end => value[start + 1..end].to_string(),
        _ => value.split(';').next().unwrap_or_default().trim().to_string(),
    }
}

/// Where a URI with an IP address leads.
pub fn host_port(uri: &str) -> Option<SocketAddr> {
    let rest = uri.strip_prefix("sip:")?.split([';', '?']).next()?;
    let host = rest.rsplit('@').next()?;
    host.parse().ok().or_else(|| format!("{host}:5060").parse().ok())
}

/// Where a response goes by this Via value (RFC 3261 §18.2.2, RFC 3581 §4).
pub fn response_address(via: &str) -> Option<SocketAddr> {
    let sent_by = via.split_whitespace().nth(1)?.split(';').next()?;
    let written = host_port(&format!("sip:{sent_by}"))?;
    let ip = parameter(via, "received").and_then(|ip| ip.parse().ok()).unwrap_or(written.ip());
    let port = parameter(via, "rport").and_then(|port| port.parse().ok()).unwrap_or(written.port());
    Some(SocketAddr::new(ip, port))
}
