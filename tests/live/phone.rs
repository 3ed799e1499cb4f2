//! What every real client is to a case: something that registers, dials, answers, holds and hangs up on order, and tells
//! what it saw. `clients/` has one driver a client; `call` is the ladder that all of them must climb together.

use crate::namespaces::Host;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Who a phone is, and where it registers.
#[derive(Clone)]
pub struct Account {
    pub user: String,
    pub password: String,
    /// The VIP as `sip:` URIs have it: IPv6 in brackets.
    pub vip: String,
}

impl Account {
    pub fn new(user: &str, vip: &str) -> Account {
        Account { user: user.to_string(), password: "secret".to_string(), vip: vip.to_string() }
    }

    pub fn uri(&self) -> String {
        format!("sip:{}@rack.test", self.user)
    }
}

/// Where a phone runs, who it is there, and its folder.
pub struct Place {
    pub host: Host,
    pub account: Account,
    pub folder: PathBuf,
}

impl Place {
    /// `kind` and the user name the folder below `work`.
    pub fn new(kind: &str, host: &Host, account: Account, work: &Path) -> Result<Place, String> {
        let folder = work.join(format!("{kind}-{}", account.user));
        std::fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        Ok(Place { host: host.clone(), account, folder })
    }

    pub fn write(&self, name: &str, text: &str) -> Result<PathBuf, String> {
        let path = self.folder.join(name);
        std::fs::write(&path, text).map_err(|e| format!("{}: {e}", path.display()))?;
        Ok(path)
    }

    pub fn is_ipv6(&self) -> bool {
        self.host.address.contains(':')
    }

    /// The host's address as URIs have it.
    pub fn uri_host(&self) -> String {
        if self.is_ipv6() { format!("[{}]", self.host.address) } else { self.host.address.clone() }
    }
}

/// How a call goes. Clients that follow a script (SIPp) choose it by this; the others wait for orders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Answered; the caller holds, resumes and hangs up.
    CallerEnds,
    /// Answered; the callee holds, resumes and hangs up.
    CalleeEnds,
    /// The caller hangs up while it rings.
    Cancelled,
    /// The callee does not want it: 486, or what the client has for that.
    Refused,
}

pub const PLANS: [Plan; 4] = [Plan::CallerEnds, Plan::CalleeEnds, Plan::Cancelled, Plan::Refused];

#[derive(Clone, Debug)]
pub enum Order {
    /// A call of this plan will come in.
    Expect(Plan),
    Dial(String, Plan),
    Answer,
    Refuse,
    Hold,
    Resume,
    HangUp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Event {
    Registered,
    /// The registrar has refused the password for good.
    NotRegistered,
    /// A call came in, and it rings.
    Incoming,
    Established,
    HeldByOther,
    ResumedByOther,
    /// The other side ended the call, or took it back.
    Ended,
    /// The caller: 487 has come for its INVITE.
    Cancelled,
    /// The caller: the callee did not want it.
    Refused,
}

pub trait Phone: Send {
    fn name(&self) -> String;

    fn order(&mut self, order: Order) -> Result<(), String>;

    /// How often it has told this since it started.
    fn told(&self, event: Event) -> usize;

    /// What it printed last, for a report of failure.
    fn tail(&self) -> String;

    /// After a call: whether it is content (a script that has an exit code looks at it).
    fn settle(&mut self) -> Result<(), String> {
        Ok(())
    }
}

/// Waits until the phone has told `event` once more than `before` times.
pub fn wait(phone: &dyn Phone, event: Event, before: usize) -> Result<(), String> {
    let patience = Duration::from_secs(12);
    let end = Instant::now() + patience;
    while phone.told(event) <= before {
        if Instant::now() > end {
            return Err(format!("{} never told {event:?}; its last lines:\n{}", phone.name(), phone.tail()));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// What a phone had told before the call.
struct Watch<'a> {
    phone: &'a mut dyn Phone,
    before: Vec<(Event, usize)>,
}

impl<'a> Watch<'a> {
    fn new(phone: &'a mut dyn Phone) -> Watch<'a> {
        use Event::*;
        let events = [Incoming, Established, HeldByOther, ResumedByOther, Ended, Cancelled, Refused];
        let before = events.iter().map(|&event| (event, phone.told(event))).collect();
        Watch { phone, before }
    }

    fn sees(&self, event: Event) -> Result<(), String> {
        let before = self.before.iter().find(|(e, _)| *e == event).map_or(0, |(_, n)| *n);
        wait(self.phone, event, before)
    }

    fn does(&mut self, order: Order) -> Result<(), String> {
        self.phone.order(order)
    }

    /// Marks what it told up to now as seen: a phone may tell `a=sendrecv` in its first offer already.
    fn looks_afresh(&mut self, event: Event) {
        let now = self.phone.told(event);
        self.before.iter_mut().filter(|(e, _)| *e == event).for_each(|(_, n)| *n = now);
    }
}

/// Where in a call something may be done to the rack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    Ringing,
    Answered,
}

/// What is done then.
pub type Strike<'a> = &'a mut dyn FnMut(Moment) -> Result<(), String>;

/// One call by plan; every step must be seen by whom it concerns.
pub fn call(plan: Plan, caller: &mut dyn Phone, callee: &mut dyn Phone, to: &Account) -> Result<(), String> {
    call_under(plan, caller, callee, to, &mut |_| Ok(()))
}

/// The same, with something done to the rack in the midst of it.
pub fn call_under(
    plan: Plan,
    caller: &mut dyn Phone,
    callee: &mut dyn Phone,
    to: &Account,
    strike: Strike<'_>,
) -> Result<(), String> {
    let names = format!("{} calls {}, {plan:?}", caller.name(), callee.name());
    ladder(plan, caller, callee, to, strike).map_err(|e| format!("{names}: {e}"))?;
    caller.settle().and_then(|()| callee.settle()).map_err(|e| format!("{names}: {e}"))?;
    // A phone says that the call has ended a moment before it takes the next order (linphone).
    std::thread::sleep(Duration::from_millis(200));
    Ok(())
}

fn ladder(
    plan: Plan,
    caller: &mut dyn Phone,
    callee: &mut dyn Phone,
    to: &Account,
    strike: Strike<'_>,
) -> Result<(), String> {
    let (mut a, mut b) = (Watch::new(caller), Watch::new(callee));
    b.does(Order::Expect(plan))?;
    a.does(Order::Dial(to.uri(), plan))?;
    b.sees(Event::Incoming)?;
    match plan {
        Plan::Cancelled => {
            // The 180 must be at the caller before it may cancel (RFC 3261 §9.1).
            std::thread::sleep(Duration::from_millis(200));
            strike(Moment::Ringing)?;
            a.does(Order::HangUp)?;
            b.sees(Event::Ended)?;
            a.sees(Event::Cancelled)
        }
        Plan::Refused => {
            strike(Moment::Ringing)?;
            b.does(Order::Refuse)?;
            a.sees(Event::Refused)
        }
        Plan::CallerEnds | Plan::CalleeEnds => {
            strike(Moment::Ringing)?;
            b.does(Order::Answer)?;
            a.sees(Event::Established)?;
            b.sees(Event::Established)?;
            strike(Moment::Answered)?;
            if plan == Plan::CallerEnds { hold_and_end(&mut a, &mut b) } else { hold_and_end(&mut b, &mut a) }
        }
    }
}

fn hold_and_end(active: &mut Watch<'_>, passive: &mut Watch<'_>) -> Result<(), String> {
    passive.looks_afresh(Event::HeldByOther);
    passive.looks_afresh(Event::ResumedByOther);
    std::thread::sleep(Duration::from_millis(200));
    active.does(Order::Hold)?;
    passive.sees(Event::HeldByOther)?;
    // Two re-INVITEs may not overlap: the first one's ACK is under way.
    std::thread::sleep(Duration::from_millis(200));
    active.does(Order::Resume)?;
    passive.sees(Event::ResumedByOther)?;
    std::thread::sleep(Duration::from_millis(200));
    active.does(Order::HangUp)?;
    passive.sees(Event::Ended)
}
