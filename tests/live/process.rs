//! Child processes of a live run: started in a namespace, read line by line, ended with the run.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Lines kept of what a process printed.
const LINES_KEPT: usize = 20_000;

/// A running program whose output is gathered; it is killed when this is dropped.
pub struct Running {
    pub name: String,
    child: Child,
    input: Option<ChildStdin>,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Running {
    pub fn start(name: &str, command: &mut Command) -> Result<Running, String> {
        command.stdin(Stdio::null());
        Running::spawn(name, command)
    }

    /// With a standard input, for `tell`.
    pub fn start_interactive(name: &str, command: &mut Command) -> Result<Running, String> {
        command.stdin(Stdio::piped());
        Running::spawn(name, command)
    }

    fn spawn(name: &str, command: &mut Command) -> Result<Running, String> {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|e| format!("{name} did not start: {e}"))?;
        let lines = Arc::new(Mutex::new(Vec::new()));
        if let Some(out) = child.stdout.take() {
            gather(out, lines.clone());
        }
        if let Some(err) = child.stderr.take() {
            gather(err, lines.clone());
        }
        let input = child.stdin.take();
        Ok(Running { name: name.to_string(), child, input, lines })
    }

    /// Writes a line to its standard input.
    pub fn tell(&mut self, line: &str) -> Result<(), String> {
        let input = self.input.as_mut().ok_or(format!("{} has no input", self.name))?;
        writeln!(input, "{line}").and_then(|()| input.flush()).map_err(|e| format!("{}: {e}", self.name))
    }

    pub fn output(&self) -> String {
        self.lines.lock().map(|l| l.join("\n")).unwrap_or_default()
    }

    pub fn count(&self, what: &str) -> usize {
        self.lines.lock().map(|l| l.iter().filter(|line| line.contains(what)).count()).unwrap_or(0)
    }

    /// Waits until a line contains `what`.
    pub fn wait_for(&mut self, what: &str, patience: Duration) -> Result<(), String> {
        self.wait_for_count(what, 1, patience)
    }

    pub fn wait_for_count(&mut self, what: &str, count: usize, patience: Duration) -> Result<(), String> {
        let end = Instant::now() + patience;
        loop {
            if self.count(what) >= count {
                return Ok(());
            }
            let gone = self.child.try_wait().ok().flatten();
            if Instant::now() > end || gone.is_some() {
                let state = gone.map_or("still runs".to_string(), |s| format!("ended with {s}"));
                return Err(format!(
                    "{} {state} and never said {what:?}; its last lines:\n{}",
                    self.name,
                    self.tail(25)
                ));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn wait(&mut self, patience: Duration) -> Result<ExitStatus, String> {
        let end = Instant::now() + patience;
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => return Ok(status),
                Ok(None) if Instant::now() < end => std::thread::sleep(Duration::from_millis(20)),
                Ok(None) => {
                    return Err(format!(
                        "{} did not end within {patience:?}; its last lines:\n{}",
                        self.name,
                        self.tail(25)
                    ));
                }
                Err(e) => return Err(format!("{}: {e}", self.name)),
            }
        }
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        if let Some(pid) = rustix::process::Pid::from_raw(self.child.id() as i32) {
            let _ = rustix::process::kill_process(pid, signal);
        }
    }

    pub fn tail(&self, lines: usize) -> String {
        self.lines.lock().map(|l| l[l.len().saturating_sub(lines)..].join("\n")).unwrap_or_default()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn gather(from: impl std::io::Read + Send + 'static, lines: Arc<Mutex<Vec<String>>>) {
    let read = move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            if let Ok(mut kept) = lines.lock()
                && kept.len() < LINES_KEPT
            {
                kept.push(line);
            }
        }
    };
    if let Err(e) = std::thread::Builder::new().name("gather".to_string()).spawn(read) {
        eprintln!("no thread to read a child's output: {e}");
    }
}

/// Runs to the end; its output, or what went wrong.
pub fn run(command: &mut Command) -> Result<String, String> {
    let shown = format!("{command:?}");
    let output = command.stdin(Stdio::null()).output().map_err(|e| format!("{shown}: {e}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(text);
    }
    Err(format!("{shown}: {}\n{text}{}", output.status, String::from_utf8_lossy(&output.stderr)))
}

/// Where a command stands on the PATH (sbin included).
pub fn find(tool: &str) -> Option<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default();
    path.split(':').chain(["/usr/sbin", "/sbin"]).map(|dir| PathBuf::from(dir).join(tool)).find(|p| p.is_file())
}

/// The program under test: `SIPRACK_BIN`, else the release build beside this binary.
pub fn siprack() -> Result<PathBuf, String> {
    if let Ok(path) = std::env::var("SIPRACK_BIN") {
        return Ok(PathBuf::from(path));
    }
    let own = std::env::current_exe().map_err(|e| e.to_string())?;
    let target = own.ancestors().nth(2).ok_or("this binary stands outside a target folder")?;
    let path = target.join("release/siprack");
    path.is_file().then_some(path).ok_or_else(|| "build first: cargo build --release".to_string())
}
