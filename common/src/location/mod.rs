//! The provisioning log's words: commands go in, records and entries come out.
//!
//! A cc-node sends a [`Command`]; the location server makes it durable, applies it, and answers with an [`Outcome`];
//! every replica receives the [`Entry`] (the changes of one level). Replicas hold [`Record`]s only: Call-ID, CSeq and
//! tombstones of a binding live at the server alone.

pub mod aor;
pub mod command;
pub mod record;
pub mod subscriber;
pub mod sum;

pub use aor::Aor;
pub use command::{Command, IdempotenceKey, Outcome, Refusal, RegisterCommand, RequestedBinding};
pub use record::{Binding, Bindings, Change, Entry, LogTime, Record, RecordKey};
pub use subscriber::Subscriber;
pub use sum::RecordSum;
