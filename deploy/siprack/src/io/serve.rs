//! `siprack serve`: what the agent's children run. Reads the expanded rack and the key and becomes one service.

use super::children::AGENT_PID;
use crate::args::{Serve, ServiceKind};
use crate::failure::{Failure, exit};
use common::io::start::{Options, StartError};
use rustix::process::{Signal, getppid, set_parent_process_death_signal};

/// Returns when the service has ended.
pub fn run(args: &Serve) -> Result<u8, Failure> {
    end_with_the_agent()?;
    let options = Options::read(&args.flags).map_err(failure)?;
    let ended = match args.kind {
        ServiceKind::LmServer => lm_server::io::run(options),
        ServiceKind::CcNode => cc_node::io::run(options),
        ServiceKind::LocationServer => location_server::io::run(options),
    };
    ended.map(|()| 0).map_err(failure)
}

fn failure(error: StartError) -> Failure {
    Failure::new(error.exit_code(), error.to_string())
}

/// A child must not outlive its agent, not even one that is killed.
fn end_with_the_agent() -> Result<(), Failure> {
    let Ok(agent) = std::env::var(AGENT_PID) else { return Ok(()) };
    set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|e| Failure::new(exit::FAILED, format!("cannot be bound to the agent: {e}")))?;
    // The agent may have died before the line above.
    let parent = getppid().map(|pid| pid.as_raw_nonzero().to_string());
    if parent.as_deref() == Some(agent.as_str()) {
        return Ok(());
    }
    Err(Failure::new(exit::FAILED, format!("the agent (process {agent}) is gone")))
}
