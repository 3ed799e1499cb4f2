//! The way of one call through the rack, the planes included: what a failing run prints where a whole ladder would be too
//! wide to read.

use crate::network::Datagram;
use crate::site::Site;
use common::sip::call_id;
use common::time::Time;
use common::wire::proxy::ProxyHeader;
use siprack::ladder::label;

#[derive(Default)]
pub struct Trail {
    steps: Vec<Step>,
}

struct Step {
    at: Time,
    /// None: it concerns every call.
    call_id: Option<Vec<u8>>,
    text: String,
}

impl Trail {
    pub fn note(&mut self, at: Time, text: &str) {
        self.steps.push(Step { at, call_id: None, text: format!("· {text}") });
    }

    /// A datagram between the rack and the world.
    pub fn outside(&mut self, at: Time, from: &str, to: &str, bytes: &[u8], survived: bool) {
        let fate = if survived { "" } else { " (lost)" };
        let text = format!("{from} → {to}: {}{fate}", label(bytes));
        self.steps.push(Step { at, call_id: call_id(bytes).map(<[u8]>::to_vec), text });
    }

    /// A datagram on the planes; what carries no SIP is passed over.
    pub fn inside(&mut self, at: Time, site: &Site, datagram: &Datagram, survived: bool) {
        if !datagram.bytes.starts_with(b"\r\n\r\n\0\r\nQUIT\n") {
            return;
        }
        let Ok((header, start)) = ProxyHeader::read(&datagram.bytes, &site.keys.plane, call_id) else { return };
        let message = &datagram.bytes[start..];
        let who = |address| match site.nodes.iter().find(|node| node.owns(address)) {
            Some(node) => format!("node {}", node.id()),
            None => "lm".to_string(),
        };
        let (from, to) = (who(datagram.from), who(datagram.to));
        let asks = header.inquiry.map_or(String::new(), |(kind, number)| format!(" [{kind:?} {number}]"));
        let fate = if survived { "" } else { " (lost)" };
        let text = format!("    {from} → {to} (epoch {}):{asks} {}{fate}", header.epoch, label(message));
        self.steps.push(Step { at, call_id: call_id(message).map(<[u8]>::to_vec), text });
    }

    pub fn whole(&self) -> String {
        self.steps.iter().map(line).collect()
    }

    /// Everything about one call, and what happened meanwhile.
    pub fn of(&self, call_id: &str) -> String {
        let of_call = |step: &&Step| step.call_id.as_ref().is_none_or(|id| id == call_id.as_bytes());
        self.steps.iter().filter(of_call).map(line).collect()
    }
}

fn line(step: &Step) -> String {
    format!("{:>10.1}  {}\n", step.at.0 as f64 / 1000.0, step.text)
}
