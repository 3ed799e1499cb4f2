//! A state directory belongs to one rack and one key: `identity.json` says to which. Used by `io/state_directory`.

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    pub rack: String,
    /// Eight hex digits that tell the key without giving it away.
    pub key_fingerprint: String,
}

impl Identity {
    /// Why `self`, found in `directory`, does not fit the rack that shall run there.
    pub fn conflict(&self, wanted: &Identity, directory: &str) -> Option<String> {
        if self.rack != wanted.rack {
            return Some(format!(
                "{directory} belongs to rack `{}`, not to `{}`; use another directory (--data DIR) or the rack file of `{}`",
                self.rack, wanted.rack, self.rack
            ));
        }
        if self.key_fingerprint != wanted.key_fingerprint {
            return Some(format!(
                "{directory} was made with the rack key {}, this key is {}; its records cannot be read with another key: \
                 give the right key (`key_file`, or rack.key in that directory), or use another directory (--data DIR)",
                self.key_fingerprint, wanted.key_fingerprint
            ));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_rack_and_a_wrong_key_are_told_apart() {
        let identity = |rack: &str, key: &str| Identity { rack: rack.into(), key_fingerprint: key.into() };
        let found = identity("demo", "aaaaaaaa");
        assert_eq!(found.conflict(&identity("demo", "aaaaaaaa"), "data"), None);
        assert!(
            found
                .conflict(&identity("bench", "aaaaaaaa"), "data")
                .is_some_and(|t| t.starts_with("data belongs to rack `demo`"))
        );
        assert!(
            found
                .conflict(&identity("demo", "bbbbbbbb"), "data")
                .is_some_and(|t| t.contains("was made with the rack key aaaaaaaa"))
        );
    }
}
