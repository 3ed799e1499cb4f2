//! Histories of registrations and look-ups through all nodes, while nodes, the load manager and the location server die and
//! come back and the network is bad: each must be one that a single register for each AOR could have had
//! (`invariants::i03_order` and `i03_registration` read it from the wire).

use crate::ownership::{FOUR, settles};
use crate::seeds_of;
use common::time::Duration;
use simulated_rack::hosts::actor::dialog::{Dialog, Draft};
use simulated_rack::invariants::i07_replicas as replicas;
use simulated_rack::network::Conditions;
use simulated_rack::script::ActorId;
use simulated_rack::simulation::Simulation;

const STEPS: usize = 50;
const AORS: [&str; 2] = ["sip:one@rack.test", "sip:two@rack.test"];
/// A history takes a third of a second.
const FEWER: usize = 6;

/// A phone that binds its Contact to an AOR and removes it again, one REGISTER after another; now and then it only asks, or
/// removes all there is.
struct Registrant {
    phone: ActorId,
    series: Dialog,
    bound: bool,
}

impl Registrant {
    fn new(s: &mut Simulation, phone: ActorId, aor: &str) -> Registrant {
        let mut series = s.the_mut(phone).attempt(aor);
        series.target = "sip:rack.test".to_string();
        series.local = format!("<{aor}>;tag={}", s.the_mut(phone).draw());
        Registrant { phone, series, bound: false }
    }

    /// Nothing is sent before the last one was answered (RFC 3261 §10.2).
    fn registers(&mut self, s: &mut Simulation) {
        let of = |heard: &&simulated_rack::hosts::actor::Heard| heard.message.call_id() == self.series.call_id;
        let answered = s.the(self.phone).heard.iter().filter(of).map(|heard| heard.message.cseq()).max().unwrap_or(0);
        if answered < self.series.cseq {
            return;
        }
        let contact = s.the(self.phone).contact();
        let draft = Draft { to_address: None, ..self.series.request("REGISTER") };
        let draft = match s.chance().between(0, 9) {
            0 | 1 => draft,
            2 => {
                self.bound = false;
                draft.with("Contact: *").with("Expires: 0")
            }
            _ => {
                self.bound = !self.bound;
                let expires = if self.bound { 3600 } else { 0 };
                draft.with(format!("Contact: <{contact}>")).with(format!("Expires: {expires}"))
            }
        };
        s.send(self.phone, draft);
    }
}

fn fault(s: &mut Simulation) {
    if s.planned_until() > s.now() {
        return;
    }
    let n = s.chance().between(0, 3) as usize;
    let after = Duration::from_millis(s.chance().between(50, 1_500));
    match s.chance().between(0, 5) {
        0 => {
            s.kill_node(n, true);
            s.later(after, move |s| s.start_node(n));
        }
        1 => {
            s.stop_node(n);
            s.later(after, move |s| s.resume_node(n));
        }
        2 => {
            s.kill_location();
            s.later(Duration::from_millis(300), Simulation::start_location);
        }
        3 => {
            s.kill_lm();
            s.later(Duration::from_millis(200), Simulation::start_lm);
        }
        4 => {
            s.jump_wall(None, 86_400_000 * (s.now().millis() % 3) as i64 - 86_400_000);
        }
        _ => {}
    }
}

/// How many REGISTERs were answered, and how many look-ups there were.
fn history(seed: u64) -> Result<(u32, u32), String> {
    let mut s = Simulation::of_rack(FOUR, seed);
    let asker = s.actor("asker", "rack.test");
    let phones = ["first", "second", "third"].map(|name| s.actor(name, "rack.test"));
    let mut registrants = Vec::new();
    for phone in phones {
        for aor in AORS {
            registrants.push(Registrant::new(&mut s, phone, aor));
        }
    }
    s.set_conditions(Conditions { loss: 0.02, duplication: 0.1, reordering: 0.1, ..Conditions::CLEAN });
    let mut asked = 0;
    for _ in 0..STEPS {
        let (what, which) = (s.chance().between(0, 9), s.chance().between(0, 5) as usize);
        match what {
            0..=3 => registrants[which].registers(&mut s),
            4..=7 => {
                s.invite(asker, AORS[which % 2]);
                asked += 1;
            }
            _ => fault(&mut s),
        }
        let pause = s.chance().between(5, 700);
        s.run_for(Duration::from_millis(pause));
        for phone in phones {
            for invite in s.the_mut(phone).inbox.drain(..).filter(|m| m.is("INVITE")).collect::<Vec<_>>() {
                s.answer(phone, &invite, 486, "busy");
            }
        }
    }
    s.set_conditions(Conditions::CLEAN);
    let left = s.planned_until().since(s.now());
    s.run_for(left);
    settles(&mut s)?;
    s.run_for(Duration::from_secs(2));
    replicas::check(&s)?;
    s.verdict()?;
    // None was sent before the one before it was answered.
    let registered = registrants.iter().map(|registrant| registrant.series.cseq.saturating_sub(1)).sum();
    Ok((registered, asked))
}

#[test]
fn registrations_are_as_of_one_register() {
    let seeds = seeds_of(2_000);
    let seeds = &seeds[..seeds.len().div_ceil(FEWER)];
    let (mut registered, mut asked) = (0, 0);
    for seed in seeds {
        let (r, a) = history(*seed).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
        (registered, asked) = (registered + r, asked + a);
    }
    println!("{registered} registrations, {asked} look-ups");
    assert!(registered as usize >= 5 * seeds.len(), "too few REGISTERs came to anything: {registered}");
}
