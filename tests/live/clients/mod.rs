//! The real clients, one driver a file, all of them a `Phone`.

pub mod baresip;
pub mod linphone;
pub mod pjsua2;
pub mod sipp_phone;

use crate::namespaces::Host;
use crate::phone::{Account, Event, Phone, Place, wait};
use std::path::Path;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Baresip,
    Linphone,
    Pjsua2,
    Sipp,
}

pub const KINDS: [Kind; 4] = [Kind::Baresip, Kind::Linphone, Kind::Pjsua2, Kind::Sipp];

/// The commands that all of them need.
pub const NEEDS: &[&str] = &["ip", "baresip", "linphonec", "pjsua2", "sipp"];

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Kind::Baresip => "baresip",
            Kind::Linphone => "linphone",
            Kind::Pjsua2 => "pjsua2",
            Kind::Sipp => "sipp",
        }
    }

    /// Starts one; it registers by itself and says how that went.
    pub fn start(self, host: &Host, account: Account, work: &Path) -> Result<Box<dyn Phone>, String> {
        let place = Place::new(self.word(), host, account, work)?;
        Ok(match self {
            Kind::Baresip => Box::new(baresip::Baresip::start(place)?),
            Kind::Linphone => Box::new(linphone::Linphone::start(place)?),
            Kind::Pjsua2 => Box::new(pjsua2::Pjsua2::start(place)?),
            Kind::Sipp => Box::new(sipp_phone::SippPhone::start(place)?),
        })
    }

    /// Starts one and waits until it is registered.
    pub fn register(self, host: &Host, account: Account, work: &Path) -> Result<Box<dyn Phone>, String> {
        let phone = self.start(host, account, work)?;
        wait(phone.as_ref(), Event::Registered, 0)?;
        Ok(phone)
    }
}
