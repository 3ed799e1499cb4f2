//! What somebody without a key can make of a datagram that he has: flipped bits, other octets, less of it, more of it,
//! another key's id, other values. Each is made where a MAC stands over it, so each must be refused.

use super::ports::one_of;
use common::sip::call_id;
use simulated_rack::chance::Chance;
use std::ops::Range;

const HEARTBEAT_HEAD: usize = 16;
/// PROXY header: signature, version, family, length.
const PROXY_HEAD: usize = 16;
/// The MAC's TLV: its head, the key id, the MAC.
const PROXY_MAC: usize = 3 + 1 + MAC;
const MAC: usize = 16;

/// Where things stand in a datagram.
#[derive(Clone, Debug)]
pub struct Layout {
    /// All that a MAC stands over, and the MAC.
    pub covered: Vec<Range<usize>>,
    /// Behind this nothing is covered any more.
    pub end: usize,
    /// What would be worth another value.
    fields: Vec<Range<usize>>,
    pub key_id: usize,
    /// Says how long it is.
    length: Range<usize>,
    /// Where more may be put in so that the length can say so.
    room: usize,
    mac: Range<usize>,
}

#[derive(Clone, Copy)]
enum Change {
    Bits,
    Octets,
    Less,
    More,
    MoreAndSaysSo,
    Key,
    Value,
    Mac,
}

const CHANGES: [Change; 8] = [
    Change::Bits,
    Change::Octets,
    Change::Less,
    Change::More,
    Change::MoreAndSaysSo,
    Change::Key,
    Change::Value,
    Change::Mac,
];

impl Layout {
    /// Of a heartbeat of version 2: node, state, boot, sequence, nonce, epoch, progress, admit, plane.
    pub fn of_heartbeat(bytes: &[u8]) -> Layout {
        let fields = [6..8, 12..16, 20..28, 28..36, 44..52, 52..60, 60..68, 71..73, 76..77].to_vec();
        Layout { fields, ..Layout::whole(bytes, HEARTBEAT_HEAD + 3, HEARTBEAT_HEAD..HEARTBEAT_HEAD + 2) }
    }

    /// Of a control frame: kind, version, plane, the body's first octets.
    pub fn of_frame(bytes: &[u8]) -> Layout {
        let fields = [4..5, 5..6, 7..8, 12..13, 13..14].to_vec();
        Layout { fields, ..Layout::whole(bytes, 6, 8..12) }
    }

    /// Of a sealed datagram: kind, version, plane, sender's node, worker and boot, when it was sent, its counter. No length
    /// is said anywhere.
    pub fn of_packet(bytes: &[u8]) -> Layout {
        let fields = [4..5, 5..6, 7..8, 8..10, 10..12, 12..20, 20..24, 24..32].to_vec();
        Layout { fields, ..Layout::whole(bytes, 6, 24..32) }
    }

    fn whole(bytes: &[u8], key_id: usize, length: Range<usize>) -> Layout {
        let (end, room) = (bytes.len(), bytes.len() - MAC);
        Layout {
            covered: std::iter::once(0..end).collect(),
            end,
            fields: Vec::new(),
            key_id,
            length,
            room,
            mac: room..end,
        }
    }

    /// Of a message behind a PROXY header: the header with addresses and TLVs, and the message's Call-ID.
    pub fn of_message(bytes: &[u8]) -> Layout {
        let header = PROXY_HEAD + usize::from(u16::from_be_bytes([bytes[14], bytes[15]]));
        let id = call_id(&bytes[header..]).unwrap_or_default();
        let at = id.as_ptr() as usize - bytes.as_ptr() as usize;
        let room = header - PROXY_MAC;
        let mut fields = vec![16..20, 20..24, 24..26, 26..28];
        let mut tlv = 28;
        while tlv + 3 <= room {
            let value = tlv + 3..tlv + 3 + usize::from(u16::from_be_bytes([bytes[tlv + 1], bytes[tlv + 2]]));
            tlv = value.end;
            fields.push(value);
        }
        Layout {
            covered: vec![0..header, at..at + id.len()],
            end: at + id.len(),
            fields,
            key_id: header - MAC - 1,
            length: 14..16,
            room,
            mac: header - MAC..header,
        }
    }

    /// Something else than it was.
    pub fn changed(&self, dice: &mut Chance, bytes: &[u8]) -> Vec<u8> {
        loop {
            let mut out = bytes.to_vec();
            self.change(dice, &mut out);
            if out != bytes {
                return out;
            }
        }
    }

    fn change(&self, dice: &mut Chance, out: &mut Vec<u8>) {
        match one_of(dice, &CHANGES) {
            Change::Bits => {
                for _ in 0..dice.between(1, 8) {
                    let at = self.any_octet(dice).start;
                    out[at] ^= 1 << dice.between(0, 7);
                }
            }
            Change::Octets => {
                let rest = self.any_octet(dice);
                let most = dice.between(1, 16) as usize;
                fill(dice, &mut out[rest.start..rest.end.min(rest.start + most)]);
            }
            Change::Less => out.truncate(dice.between(0, self.end as u64 - 1) as usize),
            // What stands behind a message's Call-ID is under no MAC.
            Change::More if self.end == out.len() => {
                for _ in 0..dice.between(1, 64) {
                    out.push(dice.number() as u8);
                }
            }
            Change::More | Change::MoreAndSaysSo => self.more(dice, out),
            Change::Key => out[self.key_id] = dice.number() as u8,
            Change::Value => self.value(dice, out),
            Change::Mac => fill(dice, &mut out[self.mac.clone()]),
        }
    }

    /// A covered octet, and those behind it.
    fn any_octet(&self, dice: &mut Chance) -> Range<usize> {
        let mut at = dice.between(0, self.covered.iter().map(|range| range.len() as u64).sum::<u64>() - 1) as usize;
        for range in &self.covered {
            if at < range.len() {
                return range.start + at..range.end;
            }
            at -= range.len();
        }
        0..1
    }

    /// As a TLV that nobody reads, where there are TLVs.
    fn more(&self, dice: &mut Chance, out: &mut Vec<u8>) {
        let count = dice.between(3, 40) as u8;
        let mut more = vec![0; usize::from(count)];
        fill(dice, &mut more);
        more[..3].copy_from_slice(&[4, 0, count - 3]);
        let field = &mut out[self.length.clone()];
        let said = field.iter().fold(0u64, |said, octet| (said << 8) | u64::from(*octet)) + u64::from(count);
        let says = said.to_be_bytes();
        field.copy_from_slice(&says[says.len() - field.len()..]);
        drop(out.splice(self.room..self.room, more));
    }

    /// The next one, as of a sequence, a node or a plane; or any.
    fn value(&self, dice: &mut Chance, out: &mut [u8]) {
        let field = self.fields[dice.between(0, self.fields.len() as u64 - 1) as usize].clone();
        if dice.happens(0.5) {
            out[field.end - 1] = out[field.end - 1].wrapping_add(1);
        } else {
            fill(dice, &mut out[field]);
        }
    }
}

fn fill(dice: &mut Chance, octets: &mut [u8]) {
    octets.iter_mut().for_each(|octet| *octet = dice.number() as u8);
}
