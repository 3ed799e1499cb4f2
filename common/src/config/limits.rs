//! What is too much: bounds of one message, and of what a worker of a node keeps. Generous for real carriers; a message
//! beyond a bound is answered where it can be (`common::sip::Limits` measures), and always counted.

use crate::sip;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is too much.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// A longer message is answered 513; 1,300 to 65,535.
    pub message_bytes: u32,
    /// Header lines of a message.
    pub headers: u16,
    pub header_value_bytes: u32,
    /// Values of a header that is a list (Via, Route, Contact, Require …), over all its lines.
    pub header_values: u16,
    /// A Request-URI (a longer one is answered 414), and each URI in a header.
    pub uri_bytes: u32,
    /// Parameters of one value of a header, and of one URI.
    pub params: u16,
    /// One parameter, its name and value.
    pub param_bytes: u32,
    /// The name before the `<` of an address.
    pub display_name_bytes: u32,
    /// Transactions that a worker of a node keeps: for each call a second about 101, and 2 more for each second that it
    /// rings.
    pub transactions: u32,
    /// Calls that a worker of a node keeps.
    pub calls: u32,
    /// Requests of one source (an IPv4 address, an IPv6 /64) that a worker of a node has open; trunks are exempt.
    pub transactions_per_source: u32,
    /// Calls at a time that one account (the caller's address of record) may have in the whole rack; 0: as many as there are.
    pub calls_per_account: u32,
    /// The same of one source (an IPv4 address, an IPv6 /64); a trunk has its own `max_calls` instead.
    pub calls_per_source: u32,
    /// Messages and decisions that a worker of a node remembers for `siprack trace`, 64 octets each, the oldest
    /// overwritten; 0 remembers none.
    pub trace_entries: u32,
}

impl Default for Limits {
    fn default() -> Self {
        let sip::Limits { message, headers, header_value, values, uri, params, param, display_name } =
            sip::Limits::default();
        Limits {
            message_bytes: message as u32,
            headers: headers as u16,
            header_value_bytes: header_value as u32,
            header_values: values as u16,
            uri_bytes: uri as u32,
            params: params as u16,
            param_bytes: param as u32,
            display_name_bytes: display_name as u32,
            transactions: 1_000_000,
            calls: 500_000,
            transactions_per_source: 250_000,
            calls_per_account: 0,
            calls_per_source: 0,
            trace_entries: 32_768,
        }
    }
}

impl Limits {
    /// The part that a reader of messages goes by.
    pub fn of_messages(&self) -> sip::Limits {
        sip::Limits {
            message: self.message_bytes as usize,
            headers: usize::from(self.headers),
            header_value: self.header_value_bytes as usize,
            values: usize::from(self.header_values),
            uri: self.uri_bytes as usize,
            params: usize::from(self.params),
            param: self.param_bytes as usize,
            display_name: self.display_name_bytes as usize,
        }
    }
}
