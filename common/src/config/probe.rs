//! How the addresses of a trunk are asked whether they serve: an OPTIONS now and then.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Calls pass by an address that is down, as long as another one of its trunk is up. `{}` stands for the defaults.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Probe {
    /// Between two OPTIONS to one address; so long each is waited for, 32 s at most.
    pub every_s: u32,
    /// So many in a row without an answer that counts: the address is down.
    pub down_after: u8,
    /// So many in a row with one: it is up again.
    pub up_after: u8,
    /// Status codes that count. What else is answered, and silence, does not.
    pub alive: Vec<u16>,
}

/// Whoever answers so is there, whatever it thinks of OPTIONS.
const ALIVE: [u16; 18] = [200, 401, 403, 404, 405, 407, 415, 420, 480, 481, 483, 486, 488, 501, 600, 603, 604, 606];

impl Default for Probe {
    fn default() -> Self {
        Probe { every_s: 20, down_after: 3, up_after: 2, alive: ALIVE.to_vec() }
    }
}
