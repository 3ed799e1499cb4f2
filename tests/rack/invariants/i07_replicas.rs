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

/// Of any run, at any moment of it: equal level, equal checksum.
pub fn holds(s: &Simulation) -> Result<(), String> {
    for site in s.sites() {
        let server = site.location.server().map(|server| (server.store().level(), server.store().sum()));
        let replicas = site.nodes.iter().filter_map(|node| node.replica()).map(|replica| replica.status());
        let all: Vec<_> = server.into_iter().chain(replicas.map(|status| (status.level, status.sum))).collect();
        for (level, sum) in &all {
            if let Some((_, other)) = all.iter().find(|(same, other)| same == level && other != sum) {
                return Err(format!("I7: at {level:?} one holds {sum:?}, another {other:?}"));
            }
        }
    }
    Ok(())
}
