//! What the processes under test say of themselves on their admin ports.

use std::time::Duration;

/// An HTTP client that takes no proxy from the environment: everything is on this machine.
pub fn client(patience: Duration) -> ureq::Agent {
    ureq::Agent::config_builder().proxy(None).timeout_global(Some(patience)).build().new_agent()
}

/// The value of one line of `/metrics`; 0 if there is none.
pub fn metric(url: &str, line: &str) -> Result<u64, String> {
    let http = client(Duration::from_secs(5));
    let text = http.get(url).call().map_err(|e| format!("{url}: {e}"))?.body_mut().read_to_string();
    let text = text.map_err(|e| format!("{url}: {e}"))?;
    let value = text.lines().find_map(|l| l.strip_prefix(line)?.trim().parse().ok());
    Ok(value.unwrap_or(0))
}
