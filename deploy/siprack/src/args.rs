//! The command line of `siprack`. Only what exists is shown; `serve` and `schema` are for the agent and for the build.

use clap::{Args, Parser, Subcommand, ValueEnum};
use common::config::Override;
use common::keys::Use;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;

const EXIT_CODES: &str = "\
Exit codes: 0 done · 1 not ready, or it failed · 2 no rack answers, or wrong arguments · 69 the rack refused ·
73 the state directory cannot be used · 75 another `siprack up` uses it · 78 the rack file, the key or the directory's
identity is wrong · 98 a port is taken · 99 an address is not of this machine";

#[derive(Debug, Parser)]
#[command(name = "siprack", version, about = "A rack of SIP services behind one address: the agent and operator's tool", after_help = EXIT_CODES)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start the rack's services of this machine and keep them running (Ctrl-C ends all)
    Up(Up),
    /// Place a call between two built-in phones and print its SIP ladder
    Try(Try),
    /// Show what runs: services, states, levels; exit 0 when ready, 1 when not, 2 when no rack answers
    Status(Asking),
    /// Check a rack file: every mistake with line, key and what would be right
    Check(Check),
    /// Say which slot a Call-ID has, which nodes it belongs to, and who acts for it now
    Explain(Explain),
    /// Show what became of a call: its messages and what each node decided about them, as a ladder
    Trace(Trace),
    /// Give a node no new calls, from now on and after a restart; those it has stay until they end
    Drain(Drain),
    /// Give a drained node new calls again
    Undrain(OneNode),
    /// Show which keys stand, and turn them: `siprack keys turn plane`
    Keys(Keys),
    /// Add, list or remove subscribers
    #[command(subcommand)]
    Subscriber(Subscriber),
    /// Show who is registered, and where
    Registrations(Registrations),
    /// Show the calls that have ended, of all nodes of this machine: when, who with whom, how long
    Cdr(Cdrs),
    /// Add or replace many subscribers from a file: CSV lines `aor,password` or JSON lines {"aor","password"}
    Import(Import),
    /// Kill a node for real, with calls of its own in every phase, and tell which went on
    #[command(subcommand)]
    Drill(Drill),
    /// Offer a SIP server calls, registrations or OPTIONS, and tell how many went well and how fast
    Load(Load),
    /// Run one service (the agent does this)
    #[command(hide = true)]
    Serve(Serve),
    /// Print the JSON Schema of the rack file
    #[command(hide = true)]
    Schema,
}

/// Which rack a command is about.
#[derive(Clone, Debug, Args)]
pub struct At {
    /// State directory of the rack
    #[arg(long, value_name = "DIR", default_value = "./siprack-data")]
    pub data: PathBuf,
}

#[derive(Debug, Args)]
pub struct Asking {
    #[command(flatten)]
    pub at: At,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Which rack file is meant.
#[derive(Clone, Debug, Args)]
pub struct Source {
    /// Rack file (YAML); without it: the built-in demo rack on loopback
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Override a key of the rack file, such as listeners.0.port=5070 (may be repeated)
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<Override>,
    /// Number of call-control nodes of a one-machine rack
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub nodes: Option<u16>,
}

#[derive(Debug, Args)]
pub struct Up {
    #[command(flatten)]
    pub source: Source,
    #[command(flatten)]
    pub at: At,
}

#[derive(Debug, Args)]
pub struct Try {
    #[command(flatten)]
    pub at: At,
    /// Who calls; without it a phone of the rack file's `subscribers`
    #[arg(long, value_name = "USER:PASSWORD", requires = "callee")]
    pub caller: Option<Login>,
    /// Who is called
    #[arg(long, value_name = "USER:PASSWORD", requires = "caller")]
    pub callee: Option<Login>,
}

/// A user's name and password, the latter hidden from debug output.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    pub user: String,
    pub password: String,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Login({}, password hidden)", self.user)
    }
}

impl std::str::FromStr for Login {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some((user, password)) if !user.is_empty() => Ok(Login { user: user.into(), password: password.into() }),
            _ => Err("write USER:PASSWORD, such as 1001:secret".into()),
        }
    }
}

#[derive(Debug, Args)]
pub struct Check {
    #[command(flatten)]
    pub source: Source,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Explain {
    pub call_id: String,
    #[command(flatten)]
    pub asking: Asking,
}

#[derive(Debug, Args)]
pub struct Trace {
    pub call_id: String,
    /// Go on with what comes, until Ctrl-C
    #[arg(long)]
    pub follow: bool,
    #[command(flatten)]
    pub asking: Asking,
}

/// A command about one node.
#[derive(Debug, Args)]
pub struct OneNode {
    /// Id or name of the node, such as 2 or cc-node-2
    pub node: String,
    #[command(flatten)]
    pub asking: Asking,
}

#[derive(Debug, Args)]
pub struct Drain {
    #[command(flatten)]
    pub one: OneNode,
    /// Wait until the node holds no calls any more
    #[arg(long)]
    pub wait: bool,
    /// Wait no longer than this; then exit 1, and the node goes on draining
    #[arg(long, value_name = "SECONDS", requires = "wait", value_parser = positive)]
    pub timeout: Option<f64>,
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Keys {
    #[command(flatten)]
    pub asking: Asking,
    #[command(subcommand)]
    pub order: Option<KeysOrder>,
}

#[derive(Debug, Subcommand)]
pub enum KeysOrder {
    /// Write with the next key from now on; what the last one wrote still verifies
    Turn(Turn),
}

#[derive(Debug, Args)]
pub struct Turn {
    /// Which key
    #[arg(value_enum)]
    pub what: Turned,
    /// A key has leaked: none but the new one verifies from now on, whatever that breaks
    #[arg(long)]
    pub now: bool,
    #[command(flatten)]
    pub asking: Asking,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Turned {
    /// Of the tokens that far ends carry for their calls
    Token,
    /// Of the digest challenges
    Nonce,
    /// Of what the services say to each other
    Plane,
    /// All three
    All,
}

impl Turned {
    pub fn uses(self) -> &'static [Use] {
        match self {
            Turned::Token => &[Use::Token],
            Turned::Nonce => &[Use::Nonce],
            Turned::Plane => &[Use::Plane],
            Turned::All => &Use::ALL,
        }
    }

    /// As the load manager has it.
    pub fn label(self) -> &'static str {
        match self.uses() {
            [one] => one.label(),
            _ => "all",
        }
    }
}

#[derive(Debug, Subcommand)]
pub enum Subscriber {
    /// Add one
    Add {
        /// user@domain; a user alone is of the rack's default domain
        aor: String,
        #[arg(long, value_name = "PW")]
        password: String,
        #[command(flatten)]
        asking: Asking,
    },
    /// List all
    List {
        #[command(flatten)]
        asking: Asking,
    },
    /// Remove one together with its registrations
    Remove {
        /// user@domain; a user alone is of the rack's default domain
        aor: String,
        #[command(flatten)]
        asking: Asking,
    },
}

#[derive(Debug, Args)]
pub struct Registrations {
    /// Only how many addresses of record are registered
    #[arg(long)]
    pub count: bool,
    #[command(flatten)]
    pub asking: Asking,
}

#[derive(Debug, Args)]
pub struct Cdrs {
    /// Only those of this Call-ID
    pub call_id: Option<String>,
    /// Wait for more (Ctrl-C ends it)
    #[arg(long)]
    pub follow: bool,
    /// Calls that were not answered
    #[arg(long)]
    pub missed: bool,
    /// Calls as they were answered, whether they have ended or not
    #[arg(long, conflicts_with = "missed")]
    pub starts: bool,
    /// Calls that were answered and have not ended
    #[arg(long, conflicts_with_all = ["missed", "starts", "follow"])]
    pub in_progress: bool,
    /// Only those that ended (with --starts and --in-progress: were answered) then or later, such as 2026-11-22T08:30:00Z
    #[arg(long, value_name = "RFC3339")]
    pub since: Option<String>,
    /// Print CSV with a heading
    #[arg(long, conflicts_with = "json")]
    pub csv: bool,
    /// Print JSON lines, as the nodes have written them
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub at: At,
}

#[derive(Debug, Args)]
pub struct Import {
    /// CSV or JSON lines; `-` reads standard input
    pub file: PathBuf,
    #[command(flatten)]
    pub asking: Asking,
}

/// Calls of a drill: at least one in each phase.
pub const DRILL_CALLS: RangeInclusive<u64> = 6..=3000;

#[derive(Debug, Subcommand)]
pub enum Drill {
    /// Kill a cc-node's process (SIGKILL; the agent starts it again). Exit 0: no call was lost, 1: calls were, 2: it could not be run
    Kill(Kill),
}

#[derive(Debug, Args)]
pub struct Kill {
    /// Id or name of the node, such as 2 or cc-node-2
    pub node: String,
    /// Calls of the drill, all of them at that node
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u64).range(DRILL_CALLS))]
    pub calls: u64,
    /// Kill it although the rack carries calls that are not the drill's
    #[arg(long)]
    pub yes: bool,
    /// Two subscribers whom no phone has registered; without it phones of the rack file's `subscribers` (twice)
    #[arg(long = "phone", value_name = "USER:PASSWORD")]
    pub phones: Vec<Login>,
    #[command(flatten)]
    pub asking: Asking,
}

/// What `siprack load` offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LoadKind {
    /// INVITE, 100, 180, 200, ACK, BYE, 200, from one address of ours to another
    Calls,
    /// REGISTER
    Register,
    /// OPTIONS to the domain
    Options,
}

#[derive(Debug, Args)]
pub struct Load {
    /// What is offered
    #[arg(value_enum, default_value_t = LoadKind::Calls)]
    pub kind: LoadKind,
    /// The SIP server
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:5060")]
    pub target: SocketAddr,
    #[arg(long, default_value = "rack.test")]
    pub domain: String,
    /// New ones a second, whatever becomes of those before; without it as many as the window lets through
    #[arg(long, value_name = "N", value_parser = positive)]
    pub rate: Option<f64>,
    /// Open at a time, at most [default: 64; with --rate 100000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub window: Option<u64>,
    /// New ones in all
    #[arg(long, visible_alias = "count", value_name = "N")]
    pub calls: Option<u64>,
    /// Begin new ones for this many seconds [default: 10, unless --calls is given]
    #[arg(long, value_name = "SECONDS", value_parser = positive)]
    pub duration: Option<f64>,
    /// Users that are called or registered
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    pub users: u64,
    /// The first user's name; the others are counted up from it
    #[arg(long, value_name = "NAME", default_value = "load1")]
    pub first_user: String,
    /// Every user's password, if the server asks for one
    #[arg(long, value_name = "PW")]
    pub password: Option<String>,
    /// Our called side's address [default: any port, on the address that reaches the server]
    #[arg(long, value_name = "ADDR:PORT")]
    pub uas: Option<SocketAddr>,
    /// Do not register the called users first: the server knows the way (a trunk's route)
    #[arg(long)]
    pub unregistered: bool,
    /// From 180 to 200
    #[arg(long, value_name = "SECONDS", default_value_t = 0.0, value_parser = not_negative)]
    pub ring: f64,
    /// From ACK to BYE
    #[arg(long, value_name = "SECONDS", default_value_t = 0.0, value_parser = not_negative)]
    pub hold: f64,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

fn positive(text: &str) -> Result<f64, String> {
    not_negative(text).and_then(|n| if n > 0.0 { Ok(n) } else { Err("it must be more than 0".into()) })
}

fn not_negative(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(n) if (0.0..=1e7).contains(&n) => Ok(n),
        _ => Err("a number from 0 to 10000000 is wanted".into()),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ServiceKind {
    LmServer,
    CcNode,
    LocationServer,
}

#[derive(Debug, Args)]
pub struct Serve {
    pub kind: ServiceKind,
    #[command(flatten)]
    pub flags: common::io::start::Flags,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn help_shows_what_exists_and_nothing_else() {
        let help = Arguments::command().render_help().to_string();
        let asks = ["up", "try", "status", "check", "explain", "subscriber", "registrations", "import", "load"];
        for word in asks.into_iter().chain(["drain", "undrain", "keys", "drill", "trace", "cdr"]) {
            assert!(help.lines().any(|l| l.trim_start().starts_with(&format!("{word} "))), "{word} is not in:\n{help}");
        }
        for word in ["serve", "schema", "top"] {
            assert!(!help.lines().any(|l| l.trim_start().starts_with(&format!("{word} "))), "{word} is in:\n{help}");
        }
    }

    #[test]
    fn draining_waits_as_long_as_it_is_told() {
        let parse = |more: &[&str]| Arguments::try_parse_from([&["siprack", "drain", "cc-node-2"][..], more].concat());
        let Ok(Arguments { command: Command::Drain(drain) }) = parse(&["--wait", "--timeout", "90", "--json"]) else {
            panic!("{:?}", parse(&["--wait", "--timeout", "90", "--json"]));
        };
        assert_eq!((drain.one.node.as_str(), drain.wait, drain.timeout), ("cc-node-2", true, Some(90.0)));
        assert!(drain.one.asking.json);
        assert!(parse(&["--timeout", "90"]).is_err(), "it waits for nothing");
        assert!(parse(&["--wait", "--timeout", "0"]).is_err());
    }

    #[test]
    fn records_are_asked_for_in_one_form() {
        let parse = |more: &[&str]| Arguments::try_parse_from([&["siprack", "cdr"][..], more].concat());
        let Ok(Arguments { command: Command::Cdr(cdrs) }) = parse(&["--csv", "--since", "x", "c@host", "--data", "d"])
        else {
            panic!("{:?}", parse(&["--csv"]));
        };
        assert_eq!((cdrs.call_id.as_deref(), cdrs.since.as_deref()), (Some("c@host"), Some("x")));
        assert!(cdrs.csv && !cdrs.json && !cdrs.follow && !cdrs.missed && !cdrs.starts && !cdrs.in_progress);
        for wrong in [["--csv", "--json"], ["--starts", "--missed"], ["--in-progress", "--follow"]] {
            assert!(parse(&wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn keys_are_shown_or_turned() {
        let parse = |more: &[&str]| match Arguments::try_parse_from([&["siprack", "keys"][..], more].concat()) {
            Ok(Arguments { command: Command::Keys(keys) }) => Some(keys),
            _ => None,
        };
        let shown = parse(&["--json", "--data", "d"]);
        assert!(shown.is_some_and(|keys| keys.order.is_none() && keys.asking.json));
        for (word, count) in [("token", 1), ("nonce", 1), ("plane", 1), ("all", 3)] {
            let Some(Keys { order: Some(KeysOrder::Turn(turn)), .. }) = parse(&["turn", word, "--data", "d"]) else {
                panic!("{word}");
            };
            assert_eq!((turn.what.label(), turn.what.uses().len(), turn.now), (word, count, false));
            assert_eq!(turn.asking.at.data, PathBuf::from("d"));
        }
        let at_once = parse(&["turn", "plane", "--now", "--json"]).and_then(|keys| keys.order);
        assert!(at_once.is_some_and(|KeysOrder::Turn(turn)| turn.now && turn.asking.json));
        let all_wrong: [&[&str]; 4] = [&["turn"], &["turn", "branch"], &["--data", "d", "turn", "plane"], &["--now"]];
        for wrong in all_wrong {
            assert!(parse(wrong).is_none(), "{wrong:?}");
        }
    }

    #[test]
    fn the_arguments_are_consistent() {
        Arguments::command().debug_assert();
    }
}
