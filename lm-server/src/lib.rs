//! The load manager: owns the VIP, judges who is alive, forwards each datagram by its Call-ID. Imports run downwards
//! only: a module may use what stands above it here.
//!
//! 1. `table`: the immutable forwarding table, made from a placement and the CC Server Table.
//! 2. `forward`: one datagram and a table in, one verdict out; pure, no allocation, no lock, no full parse.
//! 3. `membership`: CC Server Table, liveness, epochs, beacons; pure, drives everything that changes the table.
//! 4. `explain`: which slot a Call-ID has and who acts for it; `headroom`: whether the rack bears a death. For people.
//! 5. `rotation`: which keys stand, and what an operator's turn does.
//! 6. `io`: sockets, threads, the admin port.
//!
//! `streams` (connections, their tuple table) will stand beside `forward`.

pub mod table;

pub mod forward;

pub mod membership;

pub mod explain;
pub mod headroom;

pub mod rotation;

pub mod io;
