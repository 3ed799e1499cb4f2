//! Which two phones `siprack try` uses: those named, else two of the rack file's subscribers, else any two where the
//! domain asks for no proof. Used by `io/operator`.

use crate::args::Login;
use common::config::{Auth, Provisioning, Rack};

/// Caller and callee, or what to do about it.
pub fn phones(rack: &Rack, named: Option<(Login, Login)>) -> Result<(Login, Login), String> {
    if let Some(pair) = named {
        return Ok(pair);
    }
    let domain = rack.default_domain().ok_or("the rack has no domain")?;
    let of_domain = |name: &Option<String>| name.as_ref().is_none_or(|n| n.eq_ignore_ascii_case(&domain.name));
    // The last two, because people take the first numbers for phones of their own.
    let range = rack.subscribers.iter().rfind(|r| of_domain(&r.domain) && r.last > r.first);
    let login = |user: String, password: &str| Login { user, password: password.into() };
    if let Some(range) = range {
        return Ok((
            login((range.last - 1).to_string(), &range.password),
            login(range.last.to_string(), &range.password),
        ));
    }
    if domain.auth == Auth::None && domain.provisioning == Provisioning::Open {
        return Ok((login("try-caller".into(), ""), login("try-callee".into(), "")));
    }
    Err(format!(
        "the rack file names no phones to try with; give two subscribers of {}: \
         --caller USER:PASSWORD --callee USER:PASSWORD",
        domain.name
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_two_of_the_demo_rack() {
        let rack = Rack::one_machine_default(3);
        let (caller, callee) = phones(&rack, None).expect("the demo has phones");
        assert_eq!((caller.user.as_str(), callee.user.as_str(), callee.password.as_str()), ("1019", "1020", "secret"));
    }

    #[test]
    fn without_phones_the_cure_is_said() {
        let mut rack = Rack::one_machine_default(3);
        rack.subscribers.clear();
        assert!(phones(&rack, None).is_err_and(|e| e.contains("--caller")));
        rack.domains[0].auth = Auth::None;
        rack.domains[0].provisioning = Provisioning::Open;
        assert!(phones(&rack, None).is_ok());
    }
}
