//! `siprack serve`: what the agent's children run. Reads the expanded rack and the key and becomes one service.

use super::children::AGENT_PID;
use super::state_directory::read_key;
use crate::args::{Serve, ServiceKind};
use crate::failure::{Failure, exit};
use common::config::Rack;
use common::ids::BootId;
use common::io::start::Options;
use common::keys::Keys;
use rustix::process::{Signal, getppid, set_parent_process_death_signal};
use std::sync::Arc;

/// Returns when the service has ended.
pub fn run(args: &Serve) -> Result<u8, Failure> {
    end_with_the_agent()?;
    let file = args.rack_file.display();
    let text = std::fs::read_to_string(&args.rack_file)
        .map_err(|e| Failure::new(exit::CONFIG, format!("cannot read the expanded rack {file}: {e}")))?;
    let rack = Rack::from_json(&text).map_err(|e| {
        Failure::new(exit::CONFIG, format!("{file} is no expanded rack: {e}; it is written by `siprack up`"))
    })?;
    let key_file = rack.key_file.clone().unwrap_or_else(|| args.data.join("rack.key"));
    let keys = Arc::new(Keys::derive(&read_key(&rack, &key_file)?));
    let options = Options { id: args.id, boot: BootId(args.boot), rack: Arc::new(rack), keys, data: args.data.clone() };
    let ended = match args.kind {
        ServiceKind::LmServer => lm_server::io::run(options),
        ServiceKind::CcNode => cc_node::io::run(options),
        ServiceKind::LocationServer => location_server::io::run(options),
    };
    match ended {
        Ok(()) => Ok(0),
        Err(error) => Err(Failure::new(error.exit_code(), error.to_string())),
    }
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
