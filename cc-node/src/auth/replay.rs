//! Which (nonce, nc) pairs were used: a bounded window, so that a captured request cannot be sent again.
//! Called by [`super::Authenticator`] after a digest was found right, so only those who know a password fill it.

use super::nonce::{Fresh, LIFETIME_MS};
use common::time::WallMillis;
use std::collections::BTreeMap;

/// How many nonces are remembered. When it is full the oldest goes, and with it all nonces made up to then become
/// stale: forgetting never lets a replay in.
const NONCES: usize = 16_384;

/// `nc` values below the highest that may still come, once each (requests may overtake each other).
const BEHIND: u32 = 64;

type NonceId = (u64, [u8; 12]);

#[derive(Debug, Default)]
struct Used {
    highest: u32,
    /// Bit i: `highest - i` was used.
    seen: u64,
}

/// Ordered by the time a nonce was made, so that the oldest is at hand.
#[derive(Debug, Default)]
pub struct ReplayWindow {
    used: BTreeMap<NonceId, Used>,
    /// Nonces made at or before this are taken for used.
    forgotten_up_to_ms: Option<u64>,
}

impl ReplayWindow {
    /// True the first time. `nc` = `None` for the legacy form without qop: such a nonce serves once.
    pub fn take(&mut self, wall: WallMillis, nonce: Fresh, nc: Option<u32>) -> bool {
        self.forget_expired(wall);
        if self.forgotten_up_to_ms.is_some_and(|ms| nonce.made_ms <= ms) {
            return false;
        }
        let id = (nonce.made_ms, nonce.id);
        let first = match (self.used.get_mut(&id), nc) {
            (Some(_), None) | (_, Some(0)) => false,
            (Some(used), Some(nc)) => used.take(nc),
            (None, nc) => {
                self.used.insert(
                    id,
                    Used { highest: nc.unwrap_or(u32::MAX), seen: if nc.is_some() { 1 } else { u64::MAX } },
                );
                true
            }
        };
        if self.used.len() > NONCES
            && let Some(((made_ms, _), _)) = self.used.pop_first()
        {
            self.forgotten_up_to_ms = self.forgotten_up_to_ms.max(Some(made_ms));
        }
        first
    }

    pub fn len(&self) -> usize {
        self.used.len()
    }

    pub fn is_empty(&self) -> bool {
        self.used.is_empty()
    }

    fn forget_expired(&mut self, wall: WallMillis) {
        while let Some(entry) = self.used.first_entry() {
            if wall.0.saturating_sub(entry.key().0) <= LIFETIME_MS {
                break;
            }
            entry.remove();
        }
    }
}

impl Used {
    fn take(&mut self, nc: u32) -> bool {
        if nc > self.highest {
            self.seen = self.seen.checked_shl(nc - self.highest).unwrap_or(0) | 1;
            self.highest = nc;
            return true;
        }
        let behind = self.highest - nc;
        if behind >= BEHIND || self.seen & (1 << behind) != 0 {
            return false;
        }
        self.seen |= 1 << behind;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: WallMillis = WallMillis(1_000_000);

    fn nonce(n: u32) -> Fresh {
        let mut id = [0; 12];
        id[..4].copy_from_slice(&n.to_be_bytes());
        Fresh { id, made_ms: NOW.0 + u64::from(n) }
    }

    #[test]
    fn each_nc_once_in_any_order_within_the_window() {
        let mut w = ReplayWindow::default();
        let mut take = |nc| w.take(NOW, nonce(1), Some(nc));
        assert!(take(1));
        assert!(!take(1), "replay");
        assert!(take(3));
        assert!(take(2), "overtaken, not a replay");
        assert!(!take(2));
        assert!(take(200));
        assert!(!take(100), "too far behind");
        assert!(take(137));
        assert!(!take(0), "nc starts at 1");
        assert!(take(u32::MAX));
        assert!(!take(200));
    }

    #[test]
    fn without_qop_a_nonce_serves_once() {
        let mut w = ReplayWindow::default();
        assert!(w.take(NOW, nonce(1), None));
        assert!(!w.take(NOW, nonce(1), None));
        assert!(!w.take(NOW, nonce(1), Some(5)), "nor with a qop later");
    }

    #[test]
    fn a_full_window_forgets_the_oldest_and_refuses_it() {
        let mut w = ReplayWindow::default();
        for n in 0..=NONCES as u32 {
            assert!(w.take(NOW, nonce(n), Some(1)));
        }
        assert_eq!(w.len(), NONCES);
        assert!(!w.take(NOW, nonce(0), Some(1)), "forgotten, and yet no replay");
        assert!(!w.take(NOW, nonce(NONCES as u32), Some(1)));
    }

    #[test]
    fn expired_nonces_leave() {
        let mut w = ReplayWindow::default();
        assert!(w.take(NOW, nonce(1), Some(1)));
        let later = WallMillis(NOW.0 + LIFETIME_MS + 10);
        assert!(w.take(later, Fresh { id: [1; 12], made_ms: later.0 }, Some(1)));
        assert_eq!(w.len(), 1);
    }
}
