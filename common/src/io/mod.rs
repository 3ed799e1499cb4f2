//! The only place in this crate that touches the machine, and the only one in the tree with `unsafe` (a file a need:
//! `udp` and `inside` for the batched system calls, `fds` for sockets that a parent passed on, `in_hand` for shared memory).
//!
//! - `clock`, `random`: where time and chance come from.
//! - `udp`, `poll`: datagrams in batches; waiting for several sockets.
//! - `inside`: what load manager and nodes send each other, many messages in one send.
//! - `fds`: sockets that an agent opens and passes to its child.
//! - `in_hand`: what a process died over, as its agent and its successor find it.
//! - `stream`: sealed records over TCP.
//! - `whole_file`: small files that a restart must find again. `keys_file`: which keys stand.
//! - `start`: what every server is started with, how it fails, when it ends.
//! - `log`, `admin`: what people and Prometheus see of a process.

pub mod admin;
pub mod clock;
pub mod fds;
pub mod in_hand;
pub mod inside;
pub mod keys_file;
pub mod log;
pub mod poll;
pub mod random;
pub mod start;
pub mod stream;
pub mod udp;
pub mod whole_file;
