//! The keeper of style: what the house rules say about the tree is checked here, file by file, so that nobody has to
//! remember it in a review.

mod imports;
mod links;
mod metrics;
mod purity;
mod rooms;
mod sources;
mod words;
