//! The keys that rotate, for an operator: which stand since when, and whether all have followed a turn. Pure; `io/keys` asks
//! and orders.

use crate::columns::columns;
use crate::overview::duration;
use common::keys::{Generations, Span, Use};
use common::time::WallMillis;
use serde::Deserialize;
use serde_json::Value;

/// A table of what `GET /keys` of the load manager said.
pub fn table(answer: &Value, now: WallMillis) -> String {
    let mut rows = vec![["KEY", "WRITES", "OLDEST", "SINCE"].map(String::from)];
    rows.extend(Use::ALL.map(|what| {
        let key = &answer[what.label()];
        let since = match key["since_ms"].as_u64() {
            None => "-".into(),
            Some(0) => "the rack began".into(),
            Some(ms) => format!("{} ago", duration(now.0.saturating_sub(ms) as f64 / 1000.0)),
        };
        [what.label().into(), id(&key["newest"]), id(&key["oldest"]), since]
    }));
    columns(&rows)
}

fn id(value: &Value) -> String {
    value.as_u64().map_or("-".into(), |id| id.to_string())
}

/// The keys that the load manager was told to turn to, as it answers the order.
pub fn ordered(answer: &Value) -> Option<Generations> {
    Generations::deserialize(&answer["keys"]).ok()
}

/// Who has followed a turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spread {
    /// The load manager's own keys have turned.
    pub taken: bool,
    /// Of the load manager.
    pub epoch: u64,
    /// Nodes of the placement that have adopted that epoch.
    pub followed: Vec<u64>,
    /// Those that have not, each with the epoch where it stands.
    pub behind: Vec<(u64, u64)>,
}

impl Spread {
    /// From the load manager's `/status`; none if it is not one.
    pub fn from_json(status: &Value, wanted: &Generations) -> Option<Spread> {
        let (epoch, nodes) = (status["epoch"].as_u64()?, status["nodes"].as_array()?);
        let keys = Generations::deserialize(&status["keys"]).ok()?;
        // Another turn may have come behind ours.
        let has = |what: Use| keys.of(what).or_later(wanted.of(what)) == keys.of(what);
        let taken = Use::ALL.into_iter().all(has) && status["phase"] == "acting";
        let mut spread = Spread { taken, epoch, followed: Vec::new(), behind: Vec::new() };
        for node in nodes.iter().filter(|node| node["placed"] == true) {
            let (id, at) = (node["id"].as_u64()?, node["epoch"].as_u64()?);
            if at >= epoch { spread.followed.push(id) } else { spread.behind.push((id, at)) }
        }
        Some(spread)
    }

    pub fn is_whole(&self) -> bool {
        self.taken && self.behind.is_empty()
    }

    /// Who is waited for.
    pub fn waits_for(&self) -> String {
        if !self.taken {
            return "the load manager has not turned yet".into();
        }
        let nodes: Vec<String> = self.behind.iter().map(|(id, _)| format!("cc-node {id}")).collect();
        format!("waiting for {}", nodes.join(", "))
    }

    /// Why it is not whole after so many seconds.
    pub fn complaint(&self, waited_s: u64) -> String {
        if !self.taken {
            return format!(
                "the load manager has kept the order, but has not turned its keys after {waited_s} s; `siprack keys` shows when it has"
            );
        }
        let nodes: Vec<String> = self.behind.iter().map(|(id, at)| format!("cc-node {id} (epoch {at})")).collect();
        format!(
            "not all nodes have followed after {waited_s} s: {}, the load manager is at epoch {}; they do when they hear it, `siprack status` shows when they were heard last",
            nodes.join(", "),
            self.epoch
        )
    }
}

/// What holds now that all have followed: a line for each key that was turned. `nodes`: how many followed.
pub fn turned(uses: &[Use], keys: &Generations, nodes: usize) -> String {
    let on = match nodes {
        0 => "the load manager; no node is in the placement".to_string(),
        1 => "the load manager and 1 node".to_string(),
        nodes => format!("the load manager and {nodes} nodes"),
    };
    let line = |what: &Use| {
        let span = keys.of(*what);
        format!("{} key {} writes now on {on}; {}", what.label(), span.newest, verifying(span))
    };
    uses.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn verifying(span: Span) -> String {
    let before = span.newest.wrapping_sub(1);
    match span.count() {
        1 => "those before it verify no more".into(),
        2 => format!("{before} still verifies"),
        _ => format!("{} to {before} still verify", span.oldest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn span(oldest: u8, newest: u8) -> Span {
        Span { oldest, newest }
    }

    fn keys(plane: Span) -> Generations {
        Generations { plane, ..Generations::default() }
    }

    #[test]
    fn which_keys_stand_is_a_table() {
        let now = 1_750_000_000_000_u64;
        let answer = json!({
            "token": { "oldest": 250, "newest": 1, "since_ms": now - 7_325_000 },
            "nonce": { "oldest": 1, "newest": 1, "since_ms": 0 },
            "plane": { "oldest": 3, "newest": 4, "since_ms": now + 5 },
        });
        let wanted = "\
KEY    WRITES  OLDEST  SINCE
token  1       250     2 h 2 min ago
nonce  1       1       the rack began
plane  4       3       0.0 s ago
";
        assert_eq!(table(&answer, WallMillis(now)), wanted);
        assert!(table(&json!("not found"), WallMillis(now)).contains("nonce  -       -       -"));
    }

    fn status(plane: Span, nodes: Value) -> Value {
        json!({ "phase": "acting", "epoch": 7, "keys": keys(plane), "nodes": nodes })
    }

    #[test]
    fn a_turn_is_whole_when_every_placed_node_has_adopted_it() {
        let nodes = json!([
            { "id": 1, "placed": true, "epoch": 7 },
            { "id": 2, "placed": true, "epoch": 6 },
            { "id": 3, "placed": false, "epoch": 2 },
        ]);
        let read = |status: &Value| Spread::from_json(status, &keys(span(3, 4)));
        let early = read(&status(span(2, 3), nodes.clone()));
        assert!(early.is_some_and(|s| !s.is_whole() && s.waits_for() == "the load manager has not turned yet"));
        let spread = read(&status(span(3, 4), nodes));
        let wanted = Spread { taken: true, epoch: 7, followed: vec![1], behind: vec![(2, 6)] };
        assert_eq!(spread, Some(wanted.clone()));
        assert!(!wanted.is_whole() && wanted.waits_for() == "waiting for cc-node 2");
        assert!(wanted.complaint(10).contains("after 10 s: cc-node 2 (epoch 6), the load manager is at epoch 7;"));
        let nodes = json!([{ "id": 1, "placed": true, "epoch": 7 }]);
        assert!(read(&status(span(4, 5), nodes.clone())).is_some_and(|s| s.is_whole()), "turned again meanwhile");
        let mut learning = status(span(3, 4), nodes);
        learning["phase"] = json!("learning");
        assert!(read(&learning).is_some_and(|s| !s.is_whole()));
        assert_eq!(read(&json!("not found")), None);
    }

    #[test]
    fn what_holds_now_is_said() {
        let all = Generations { token: span(2, 6), nonce: span(5, 5), plane: span(3, 4) };
        assert_eq!(
            turned(&[Use::Plane], &all, 3),
            "plane key 4 writes now on the load manager and 3 nodes; 3 still verifies"
        );
        let said = turned(&Use::ALL, &all, 1);
        let lines: Vec<&str> = said.lines().collect();
        assert_eq!(lines[0], "token key 6 writes now on the load manager and 1 node; 2 to 5 still verify");
        assert_eq!(lines[1], "nonce key 5 writes now on the load manager and 1 node; those before it verify no more");
        assert!(turned(&[Use::Plane], &all, 0).contains("no node is in the placement"));
        assert!(turned(&[Use::Plane], &keys(span(255, 0)), 2).ends_with("and 2 nodes; 255 still verifies"));
    }

    #[test]
    fn an_order_is_answered_with_the_keys() {
        assert_eq!(ordered(&json!({ "keys": keys(span(1, 2)) })), Some(keys(span(1, 2))));
        assert_eq!(ordered(&json!({ "error": "no" })), None);
    }
}
