//! Typed views of header values, one header a file. All borrow from the message; none changes it.

pub mod auth;
pub mod contact;
pub mod cseq;
pub mod name_addr;
pub mod numbers;
pub mod via;
