//! What processes have used, as the kernel accounts it: CPU time is the one figure that stays meaningful on a noisy
//! machine.

use std::fs::{read_dir, read_to_string};
use std::io::Result;
use std::time::Duration;

/// User and system time of a process so far, summed over its threads in nanoseconds by `/proc/PID/task/*/schedstat`.
pub fn used(pid: u32) -> Result<Duration> {
    let mut nanoseconds = 0u64;
    for task in read_dir(format!("/proc/{pid}/task"))? {
        let text = read_to_string(task?.path().join("schedstat"))?;
        nanoseconds += text.split_whitespace().next().and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
    }
    Ok(Duration::from_nanos(nanoseconds))
}

/// The sum over several processes.
pub fn used_by(pids: &[u32]) -> Result<Duration> {
    pids.iter().map(|pid| used(*pid)).sum()
}

/// Resident memory in octets, the sum over several processes; pages that they share count once.
pub fn resident(pids: &[u32]) -> Result<u64> {
    let mut octets = 0;
    for pid in pids {
        let text = read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
        let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
        let kilobytes = line.and_then(|l| l.split_whitespace().next()).and_then(|n| n.parse::<u64>().ok());
        octets += kilobytes.unwrap_or(0) * 1024;
    }
    Ok(octets)
}

/// A process and all that it has started.
pub fn with_children(pid: u32) -> Result<Vec<u32>> {
    let mut pids = vec![pid];
    let mut at = 0;
    while at < pids.len() {
        for task in read_dir(format!("/proc/{}/task", pids[at]))? {
            let text = read_to_string(task?.path().join("children"))?;
            pids.extend(text.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
        }
        at += 1;
    }
    Ok(pids)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_used_something() {
        let own = std::process::id();
        assert!(with_children(own).expect("readable").contains(&own));
        assert!(resident(&[own]).expect("readable") > 100_000);
        assert!(used(own).expect("readable") > Duration::ZERO);
    }
}
