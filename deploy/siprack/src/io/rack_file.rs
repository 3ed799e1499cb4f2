//! Reads the rack file that a command names, or the built-in demo rack, with its overrides.

use crate::args::Source;
use crate::failure::{Failure, exit};
use common::config::{Override, Rack};

/// Nodes of the demo rack unless `--nodes` says otherwise.
const NODES: u16 = 3;

/// The rack as written (with `one_machine`), and the name to show for its file.
pub fn read(source: &Source) -> Result<(Rack, String), Failure> {
    let (name, text) = match &source.config {
        Some(path) => {
            let name = path.display().to_string();
            let text = std::fs::read_to_string(path)
                .map_err(|e| Failure::new(exit::CONFIG, format!("cannot read the rack file {name}: {e}")))?;
            (name, text)
        }
        None => {
            let demo = Rack::one_machine_default(NODES).to_yaml();
            let text = demo.map_err(|e| Failure::new(exit::CONFIG, format!("the built-in demo rack: {e}")))?;
            ("the built-in demo rack".to_string(), text)
        }
    };
    let mut overrides = source.set.clone();
    if let Some(nodes) = source.nodes {
        overrides.insert(0, Override { path: "one_machine.nodes".into(), value: nodes.to_string() });
    }
    let mut rack = Rack::load(&name, &text, &overrides)?;
    // A relative key file is meant beside the rack file that names it.
    if let (Some(key_file), Some(config)) = (&rack.key_file, &source.config)
        && key_file.is_relative()
        && let Some(folder) = config.parent()
    {
        rack.key_file = Some(folder.join(key_file));
    }
    Ok((rack, name))
}
