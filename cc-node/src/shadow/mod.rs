//! Shadows: what other nodes keep of this node's calls, and what it keeps of theirs. SHADOWS.md beside this crate tells the
//! whole with ladders.
//!
//! - [`crate::image`]: a call as its records tell it, on both sides.
//! - [`words`]: what nodes tell each other about them; [`courier`]: how it goes over the planes.
//! - [`shipper`]: the holder's side: its own calls (`own`), letters to each backup (`link`), messages that wait (`held`).
//! - [`shelf`]: the backup's side: the images of other nodes' calls.
//! - [`succession`]: who acts for a dead holder; [`exchange`]: what that one asks the others before.
//! - [`warnings`]: messages that nobody is to handle again.
//! - [`keeper`]: all of them together, as a worker has them.

pub mod courier;
pub mod exchange;
mod held;
pub mod keeper;
mod link;
pub mod notices;
mod own;
pub mod shelf;
pub mod shipper;
pub mod succession;
#[cfg(test)]
pub(crate) mod testing;
pub mod warnings;
pub mod words;
