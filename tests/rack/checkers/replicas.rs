//! I7: equal level ⇒ equal checksum, and every living replica is at the server's level.

use crate::simulation::Simulation;

pub fn check(s: &Simulation) -> Result<(), String> {
    let server = s.location().server().map(|server| (server.store().level(), server.store().sum()));
    for node in s.nodes() {
        let Some(replica) = node.replica() else { continue };
        let status = replica.status();
        let here = (status.level, status.sum);
        if server.is_some_and(|server| server != here) {
            return Err(format!("node {} is at {here:?}, the server at {server:?}\n{}", node.id(), s.story()));
        }
    }
    Ok(())
}
