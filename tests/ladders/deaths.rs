//! What dies and comes back in this first rack: a node (new calls work, requests of its calls are still forwarded by
//! token), the load manager (it takes the placement from the nodes), the location server (see `registration`).

use crate::{call, hang_up, must, two_phones, under_every_seed};
use common::ids::Slot;
use common::time::Duration;
use simulated_rack::simulation::Simulation;
use siprack::phone::{Event, Order};

#[test]
fn a_node_dies_and_new_calls_work() {
    for agent in [true, false] {
        for victim in 0..3 {
            let mut s = Simulation::new(70 + victim as u64);
            let run = |s: &mut Simulation| {
                let (a, b) = two_phones(s)?;
                s.kill_node(victim, agent);
                let died = s.now();
                must(s, 2, "the dead node is out of the placement", |s| s.lm().live().len() == 2)?;
                let detected = s.now().since(died);
                let bound = Duration::from_millis(if agent { 10 } else { 450 });
                if detected > bound {
                    return Err(format!("noticed after {detected:?}, the bound is {bound:?}"));
                }
                for _ in 0..10 {
                    let id = call(s, a, b, "1002")?;
                    hang_up(s, a, b, &id)?;
                }
                Ok::<_, String>(())
            };
            run(&mut s).unwrap_or_else(|e| panic!("victim {victim}, agent {agent}: {e}"));
        }
    }
}

#[test]
fn only_the_dead_nodes_slots_move_and_they_come_back() {
    let mut s = Simulation::new(75);
    let before: Vec<_> = (0..=u16::MAX).map(|n| s.lm().owner(Slot(n))).collect();
    let victim = s.nodes()[1].id();
    s.kill_node(1, true);
    s.run_for(Duration::from_secs(1));
    for n in 0..=u16::MAX {
        let (was, is) = (before[usize::from(n)], s.lm().owner(Slot(n)));
        assert_eq!(was == is, was != Some(victim), "slot {n}: {was:?} → {is:?}");
    }
    s.start_node(1);
    s.run_for(Duration::from_secs(3));
    let after: Vec<_> = (0..=u16::MAX).map(|n| s.lm().owner(Slot(n))).collect();
    assert!(before == after, "the return restores the placement");
}

#[test]
fn requests_of_a_call_whose_node_died_are_forwarded_by_token() {
    for victim in 0..3 {
        let mut s = Simulation::new(80 + victim as u64);
        let run = |s: &mut Simulation| {
            let (a, b) = two_phones(s)?;
            let id = call(s, a, b, "1002")?;
            s.kill_node(victim, true);
            s.run_for(Duration::from_millis(500));
            hang_up(s, b, a, &id)
        };
        run(&mut s).unwrap_or_else(|e| panic!("victim {victim}: {e}"));
    }
}

#[test]
fn the_load_manager_restarts_and_promotes_nobody() {
    under_every_seed(|seed| {
        let mut s = Simulation::new(seed);
        let (a, b) = two_phones(&mut s)?;
        let id = call(&mut s, a, b, "1002")?;
        let before: Vec<_> = (0..=u16::MAX).map(|n| s.lm().owner(Slot(n))).collect();
        let epoch = s.lm().epoch();
        s.kill_lm();
        s.run_for(Duration::from_millis(100));
        s.start_lm();
        must(&mut s, 2, "three live nodes again", |s| s.lm().live().len() == 3)?;
        let after: Vec<_> = (0..=u16::MAX).map(|n| s.lm().owner(Slot(n))).collect();
        if before != after {
            return Err(format!("the placement changed over the restart\n{}", s.story()));
        }
        if s.lm().epoch() < epoch {
            return Err(format!("epoch {:?} went back to {:?}", epoch, s.lm().epoch()));
        }
        hang_up(&mut s, a, b, &id)
    });
}

#[test]
fn a_dead_node_is_not_revived_by_a_restart_of_the_load_manager() {
    let mut s = Simulation::new(90);
    s.kill_node(0, true);
    s.run_for(Duration::from_secs(1));
    s.kill_lm();
    s.run_for(Duration::from_millis(50));
    s.start_lm();
    s.run_for(Duration::from_secs(1));
    assert_eq!(s.lm().live().len(), 2, "{}", s.story());
    assert!(!s.lm().live().contains(&s.nodes()[0].id()));
}

#[test]
fn a_ringing_call_survives_a_restart_of_the_load_manager() {
    let mut s = Simulation::new(91);
    let run = |s: &mut Simulation| {
        let (a, b) = two_phones(s)?;
        let id = s.order(a, Order::Call { to: "1002".to_string() }).ok_or("no call")?;
        must(s, 5, "ringing", |s| s.saw(a, |e| matches!(e, Event::Ringing { .. })))?;
        s.kill_lm();
        s.run_for(Duration::from_millis(300));
        s.start_lm();
        let ours = id.clone();
        must(s, 40, "answered", move |s| s.established(a).contains(&ours) && s.established(b).contains(&ours))?;
        hang_up(s, a, b, &id)
    };
    run(&mut s).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(s.cdrs().len(), 1);
}
