//! A subscriber as it is given to us: `{"aor","password"}`, in a request's body or a line of an import. Every mistake is
//! answered with the name of the field.

use super::Api;
use super::digests;
use super::problem::Problem;
use common::location::{Aor, Subscriber};
use serde_json::{Map, Value};

const MOST_AOR: usize = 256;
const MOST_PASSWORD: usize = 256;

/// Reads an object that has exactly these fields, all texts.
pub fn texts<const N: usize>(body: &[u8], fields: [&str; N]) -> Result<[String; N], Problem> {
    let value: Value = serde_json::from_slice(body).map_err(|e| Problem::bad_request(format!("not JSON: {e}")))?;
    let Value::Object(mut object) = value else {
        return Err(Problem::bad_request(format!("not a JSON object with {}", fields.join(" and "))));
    };
    if let Some(unknown) = object.keys().find(|k| !fields.contains(&k.as_str())) {
        return Err(Problem::field(unknown, format!("unknown; there is {}", fields.join(" and "))));
    }
    let mut texts = [const { String::new() }; N];
    for (text, field) in texts.iter_mut().zip(fields) {
        *text = take(&mut object, field)?;
    }
    Ok(texts)
}

fn take(object: &mut Map<String, Value>, field: &str) -> Result<String, Problem> {
    match object.remove(field) {
        Some(Value::String(text)) => Ok(text),
        Some(_) => Err(Problem::field(field, "must be a text")),
        None => Err(Problem::field(field, "is missing")),
    }
}

/// `user@domain`, with or without `sip:` before it, of a domain of this rack.
pub fn aor(api: &Api, text: &str) -> Result<Aor, Problem> {
    let wrong = |what: String| Err(Problem::field("aor", what));
    let bare = text.strip_prefix("sip:").unwrap_or(text);
    let Some((user, domain)) = bare.rsplit_once('@') else {
        return wrong(format!("{text:?} has no @; an AOR is user@domain"));
    };
    let odd = |c: char| c.is_control() || c.is_whitespace() || "<>\"@".contains(c);
    if user.is_empty() || user.contains(odd) || bare.len() > MOST_AOR {
        return wrong(format!("{text:?} is not user@domain (no spaces, <, >, quotes; at most {MOST_AOR} octets)"));
    }
    if !api.domains.iter().any(|d| d.eq_ignore_ascii_case(domain)) {
        return wrong(format!("the domain {domain:?} is not of this rack, which has {}", api.domains.join(", ")));
    }
    Ok(Aor::new(user, domain))
}

pub fn subscriber(aor: Aor, password: &str) -> Result<Subscriber, Problem> {
    if password.is_empty() || password.len() > MOST_PASSWORD || password.contains(char::is_control) {
        return Err(Problem::field(
            "password",
            format!("must have 1 to {MOST_PASSWORD} octets and no control characters"),
        ));
    }
    Ok(digests::subscriber(aor, password))
}
