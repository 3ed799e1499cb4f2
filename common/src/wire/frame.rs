//! The frame of control messages: magic `SRP1` u32, kind u8, version u8, key id u8, plane u8, body length u32, body
//! (postcard; octets behind it are of a later version and left alone), 16 octets of HMAC-SHA256 over all before them.

use super::beacon::Beacon;
use super::control::{Report, Stopped};
use super::mac::{self, MAC};
use crate::ids::Plane;
use crate::keys::KeyRing;
use serde::Serialize;
use serde::de::DeserializeOwned;

const MAGIC: [u8; 4] = *b"SRP1";
const HEAD: usize = 12;
const VERSION: u8 = 4;
const BEACON: u8 = 1;
const REPORT: u8 = 2;
const STOPPED: u8 = 3;
const DOMAIN: &str = "control";

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    Beacon(Beacon),
    Report(Report),
    Stopped(Stopped),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    #[error("not a control frame")]
    NotOne,
    #[error("unknown kind {kind} or version {version}")]
    Unknown { kind: u8, version: u8 },
    #[error("its length field says {said}, {there} octets are there")]
    Length { said: usize, there: usize },
    #[error("unknown key id {0}")]
    UnknownKey(u8),
    #[error("the MAC is not by this rack's key")]
    Mac,
    #[error("the body of kind {0} cannot be read")]
    Body(u8),
}

/// `plane` is the one it will be sent over; it stands under the MAC.
pub fn encode(message: &Message, ring: &KeyRing<[u8; 32]>, plane: Plane) -> Vec<u8> {
    match message {
        Message::Beacon(beacon) => seal(BEACON, beacon, ring, plane),
        Message::Report(report) => seal(REPORT, report, ring, plane),
        Message::Stopped(stopped) => seal(STOPPED, stopped, ring, plane),
    }
}

fn seal(kind: u8, body: &impl Serialize, ring: &KeyRing<[u8; 32]>, plane: Plane) -> Vec<u8> {
    let (id, key) = ring.current();
    let mut out = Vec::with_capacity(256);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&[kind, VERSION, id, plane as u8, 0, 0, 0, 0]);
    // Plain data into memory: postcard cannot fail here.
    let mut out = postcard::to_extend(body, out).unwrap_or_default();
    let length = (out.len().saturating_sub(HEAD)) as u32;
    if let Some(field) = out.get_mut(8..HEAD) {
        field.copy_from_slice(&length.to_be_bytes());
    }
    let sum = mac::sign(key, DOMAIN, &out);
    out.extend_from_slice(&sum);
    out
}

/// The id of the plane key that a frame names; [`decode`] says whether it is by that key.
pub fn key_id(frame: &[u8]) -> u8 {
    frame.get(6).copied().unwrap_or_default()
}

/// Over which plane a frame says that it was sent.
pub fn is_of(plane: Plane, frame: &[u8]) -> bool {
    frame.get(7) == Some(&(plane as u8))
}

pub fn decode(bytes: &[u8], ring: &KeyRing<[u8; 32]>) -> Result<Message, FrameError> {
    if bytes.len() < HEAD + MAC || bytes[..4] != MAGIC {
        return Err(FrameError::NotOne);
    }
    let (kind, version, id) = (bytes[4], bytes[5], bytes[6]);
    let said = u32::from_be_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]) as usize;
    let there = bytes.len() - HEAD - MAC;
    if said != there {
        return Err(FrameError::Length { said, there });
    }
    let key = ring.get(id).ok_or(FrameError::UnknownKey(id))?;
    let (signed, sum) = bytes.split_at(bytes.len() - MAC);
    if !mac::verify(key, DOMAIN, signed, sum) {
        return Err(FrameError::Mac);
    }
    let body = &signed[HEAD..];
    match (kind, version) {
        (BEACON, VERSION) => Ok(Message::Beacon(read(kind, body)?)),
        (REPORT, VERSION) => Ok(Message::Report(read(kind, body)?)),
        (STOPPED, VERSION) => Ok(Message::Stopped(read(kind, body)?)),
        _ => Err(FrameError::Unknown { kind, version }),
    }
}

fn read<T: DeserializeOwned>(kind: u8, body: &[u8]) -> Result<T, FrameError> {
    postcard::take_from_bytes(body).map(|(value, _)| value).map_err(|_| FrameError::Body(kind))
}
