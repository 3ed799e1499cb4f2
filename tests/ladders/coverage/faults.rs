//! The faults: what is done to a rack at the moment that a row names, and what undoes it.

use common::ids::Plane;
use common::time::Duration;
use simulated_rack::network::Conditions;
use simulated_rack::simulation::Simulation;

/// Whom it hits: nodes by their position.
#[derive(Clone, Copy, Debug)]
pub struct Hit {
    /// Who holds the call, or would be given it.
    pub holder: usize,
    /// Those that have its shadow, the first of which would go on with it.
    pub backups: [usize; 2],
    pub other: usize,
    /// For what may be one way or another.
    pub seed: u64,
}

#[derive(Clone, Copy)]
pub struct Fault {
    pub name: &'static str,
    pub strike: fn(&mut Simulation, Hit),
    /// A run of it takes long.
    pub is_long: bool,
    /// Somebody else goes on at once: what planted bugs are looked for with.
    pub kills: bool,
}

const fn fault(name: &'static str, strike: fn(&mut Simulation, Hit)) -> Fault {
    Fault { name, strike, is_long: false, kills: false }
}

const fn long(name: &'static str, strike: fn(&mut Simulation, Hit)) -> Fault {
    Fault { is_long: true, ..fault(name, strike) }
}

const fn kill(name: &'static str, strike: fn(&mut Simulation, Hit)) -> Fault {
    Fault { kills: true, ..fault(name, strike) }
}

pub const FAULTS: [Fault; 33] = [
    kill("killed, its agent says so", |s, hit| killed(s, hit, true)),
    kill("killed, unheard", |s, hit| killed(s, hit, false)),
    kill("killed, then its first backup", second_kill),
    fault("killed and back within 150 ms", quick_restart),
    fault("the load manager is killed", load_manager_killed),
    fault("the load manager is stopped", load_manager_stopped),
    fault("a load manager that never heard of the dead", never_heard),
    fault("stopped for 0.2 s", |s, hit| stopped(s, hit, 200)),
    fault("stopped for 1 s", |s, hit| stopped(s, hit, 1_000)),
    fault("stopped for 10 s", |s, hit| stopped(s, hit, 10_000)),
    long("stopped for 60 s", |s, hit| stopped(s, hit, 60_000)),
    fault("cut off for 0.2 s", |s, hit| cut(s, hit, 200)),
    fault("cut off for 1 s", |s, hit| cut(s, hit, 1_000)),
    fault("cut off for 10 s", |s, hit| cut(s, hit, 10_000)),
    long("cut off for 60 s", |s, hit| cut(s, hit, 60_000)),
    fault("cut off one way", cut_one_way),
    fault("only its beacons are lost", |s, hit| mute(s, hit, true)),
    fault("only its heartbeats are lost", |s, hit| mute(s, hit, false)),
    fault("its workers are stuck", stuck),
    fault("both backups stall", backups_stall),
    fault("5 % are lost", |s, _| network(s, Conditions { loss: 0.05, ..Conditions::CLEAN })),
    fault("20 % of one plane are lost", lossy_plane),
    fault("everything comes twice", |s, _| network(s, Conditions { duplication: 1.0, ..Conditions::CLEAN })),
    fault("25 % are reordered", |s, _| network(s, Conditions { reordering: 0.25, ..Conditions::CLEAN })),
    fault("1 % are corrupted", |s, _| network(s, Conditions { corruption: 0.01, ..Conditions::CLEAN })),
    fault("a plane is dead", plane),
    fault("one way over one plane is dead", way),
    fault("parted from its backups", parted),
    fault("it flaps", flaps),
    fault("it drains", drains),
    fault("another joins", joins),
    fault("a wall clock jumps a day", wall),
    fault("all mixed", mixed),
];

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn killed(s: &mut Simulation, hit: Hit, agent: bool) {
    s.kill_node(hit.holder, agent);
    s.later(ms(3_000), move |s| s.start_node(hit.holder));
}

fn second_kill(s: &mut Simulation, hit: Hit) {
    let agent = hit.seed.is_multiple_of(2);
    s.kill_node(hit.holder, agent);
    let between = s.chance().between(0, 900);
    s.later(ms(between), move |s| s.kill_node(hit.backups[0], agent));
    for n in [hit.holder, hit.backups[0]] {
        s.later(ms(4_000), move |s| s.start_node(n));
    }
}

fn quick_restart(s: &mut Simulation, hit: Hit) {
    s.kill_node(hit.holder, hit.seed.is_multiple_of(2));
    let after = s.chance().between(20, 150);
    s.later(ms(after), move |s| s.start_node(hit.holder));
}

fn load_manager_killed(s: &mut Simulation, _: Hit) {
    s.kill_lm();
    s.later(ms(250), Simulation::start_lm);
}

fn load_manager_stopped(s: &mut Simulation, _: Hit) {
    s.stop_lm();
    let after = s.chance().between(100, 1_000);
    s.later(ms(after), Simulation::resume_lm);
}

fn never_heard(s: &mut Simulation, hit: Hit) {
    s.kill_lm();
    s.kill_node(hit.holder, false);
    s.later(ms(250), Simulation::start_lm);
    s.later(ms(4_000), move |s| s.start_node(hit.holder));
}

fn stopped(s: &mut Simulation, hit: Hit, for_ms: u64) {
    s.stop_node(hit.holder);
    s.later(ms(for_ms), move |s| s.resume_node(hit.holder));
}

fn cut(s: &mut Simulation, hit: Hit, for_ms: u64) {
    s.cut_node(hit.holder, true, true);
    s.later(ms(for_ms), move |s| s.mend_node(hit.holder));
}

fn cut_one_way(s: &mut Simulation, hit: Hit) {
    let inwards = hit.seed.is_multiple_of(2);
    s.cut_node(hit.holder, inwards, !inwards);
    s.later(ms(3_000), move |s| s.mend_node(hit.holder));
}

fn mute(s: &mut Simulation, hit: Hit, beacons: bool) {
    s.mute(hit.holder, beacons);
    s.later(ms(3_000), move |s| s.unmute(hit.holder));
}

fn stuck(s: &mut Simulation, hit: Hit) {
    s.stick_node(hit.holder);
    s.later(ms(2_500), move |s| s.unstick_node(hit.holder));
}

fn backups_stall(s: &mut Simulation, hit: Hit) {
    for n in hit.backups {
        s.stick_node(n);
        s.later(ms(2_500), move |s| s.unstick_node(n));
    }
}

fn network(s: &mut Simulation, conditions: Conditions) {
    s.set_conditions(conditions);
    s.later(ms(8_000), |s| s.set_conditions(Conditions::CLEAN));
}

fn some_plane(hit: Hit) -> Plane {
    Plane::ALL[(hit.seed % 2) as usize]
}

fn lossy_plane(s: &mut Simulation, hit: Hit) {
    let plane = some_plane(hit);
    s.lossy_plane(plane, 0.2);
    s.later(ms(8_000), move |s| s.lossy_plane(plane, 0.0));
}

fn plane(s: &mut Simulation, hit: Hit) {
    let plane = some_plane(hit);
    s.plane(plane, false);
    s.later(ms(5_000), move |s| s.plane(plane, true));
}

fn way(s: &mut Simulation, hit: Hit) {
    let plane = some_plane(hit);
    s.cut_way(hit.holder, plane, hit.seed % 4 < 2);
    s.later(ms(5_000), move |s| s.mend_way(hit.holder, plane));
}

fn parted(s: &mut Simulation, hit: Hit) {
    for n in hit.backups {
        s.part(hit.holder, n, true);
        s.later(ms(3_000), move |s| s.part(hit.holder, n, false));
    }
}

/// Five times within 5 s.
fn flaps(s: &mut Simulation, hit: Hit) {
    for n in 0..5 {
        s.later(ms(1_000 * n), move |s| s.cut_node(hit.holder, true, true));
        s.later(ms(1_000 * n + 420), move |s| s.mend_node(hit.holder));
    }
}

fn drains(s: &mut Simulation, hit: Hit) {
    s.drain_node(hit.holder, true);
    s.later(ms(2_500), move |s| s.drain_node(hit.holder, false));
}

/// It was away for a moment; so it returns, too.
fn joins(s: &mut Simulation, hit: Hit) {
    s.kill_node(hit.other, true);
    s.later(ms(5), move |s| s.start_node(hit.other));
}

/// Of one host or of all, on or back.
fn wall(s: &mut Simulation, hit: Hit) {
    let day = 86_400_000 * if hit.seed % 4 < 2 { 1 } else { -1 };
    s.jump_wall(hit.seed.is_multiple_of(2).then_some(hit.holder), day);
}

/// Some of all that goes together: a death or a pause, the load manager's, a bad network, a clock.
fn mixed(s: &mut Simulation, hit: Hit) {
    network(s, Conditions { loss: 0.03, duplication: 0.2, reordering: 0.1, corruption: 0.005, ..Conditions::CLEAN });
    let first = |s: &mut Simulation, strike: fn(&mut Simulation, Hit)| {
        let after = s.chance().between(0, 300);
        s.later(ms(after), move |s| strike(s, hit));
    };
    match hit.seed % 3 {
        0 => first(s, |s, hit| killed(s, hit, false)),
        1 => first(s, |s, hit| stopped(s, hit, 1_000)),
        _ => first(s, |s, hit| cut(s, hit, 1_000)),
    }
    first(s, wall);
    let load_manager = if hit.seed.is_multiple_of(2) { load_manager_killed } else { load_manager_stopped };
    s.later(ms(1_500), move |s| load_manager(s, hit));
}
