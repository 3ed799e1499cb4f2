//! The address of record: `user@domain`, the canonical form under which everything about a user is kept (RFC 3261 §10.3 step 5).

use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// Canonical: user part unescaped and case kept, domain in lower case, no scheme, no parameters.
/// Cheap to clone; ordered and hashed by its text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Aor(Arc<str>);

impl Aor {
    /// From parts that a URI parser has already unescaped.
    pub fn new(user: &str, domain: &str) -> Aor {
        let mut text = String::with_capacity(user.len() + 1 + domain.len());
        text.push_str(user);
        text.push('@');
        text.push_str(domain);
        text[user.len()..].make_ascii_lowercase();
        Aor(text.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn user(&self) -> &str {
        self.0.rsplit_once('@').map_or("", |(user, _)| user)
    }

    pub fn domain(&self) -> &str {
        self.0.rsplit_once('@').map_or(&self.0, |(_, domain)| domain)
    }
}

impl fmt::Display for Aor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Aor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Aor({})", self.0)
    }
}
