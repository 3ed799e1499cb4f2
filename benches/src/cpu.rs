//! CPU time of a process, user and system, all threads: the one figure that stays meaningful on a noisy machine.

use std::time::Duration;

/// What a process has used so far, summed over its threads in nanoseconds by `/proc/PID/task/*/schedstat`.
pub fn used(pid: u32) -> std::io::Result<Duration> {
    let mut nanoseconds = 0u64;
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = std::fs::read_to_string(task?.path().join("schedstat"))?;
        nanoseconds += text.split_whitespace().next().and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
    }
    Ok(Duration::from_nanos(nanoseconds))
}

/// The sum over several processes.
pub fn used_by(pids: &[u32]) -> std::io::Result<Duration> {
    pids.iter().map(|pid| used(*pid)).sum()
}
