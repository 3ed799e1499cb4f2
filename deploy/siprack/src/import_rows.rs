//! Lines of an import file: CSV `aor,password` (quotes as usual, a heading is skipped) or JSON lines
//! `{"aor","password"}`, mixed if need be. Blank lines and lines that start with `#` are skipped. Used by `io/import`.

use serde::Deserialize;

#[derive(Clone, PartialEq, Eq)]
pub struct Row {
    /// From 1.
    pub line: usize,
    pub aor: String,
    pub password: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadRow {
    pub line: usize,
    pub error: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonRow {
    aor: String,
    password: String,
}

/// The row of a line; `None` for a line without one.
pub fn read(line: usize, text: &str) -> Option<Result<Row, BadRow>> {
    let text = text.trim_start_matches('\u{feff}').trim();
    if text.is_empty() || text.starts_with('#') || is_heading(line, text) {
        return None;
    }
    let row = if text.starts_with('{') { json(text) } else { csv(text) };
    Some(row.map(|(aor, password)| Row { line, aor, password }).map_err(|error| BadRow { line, error }))
}

fn is_heading(line: usize, text: &str) -> bool {
    line == 1 && text.to_ascii_lowercase().replace([' ', '"'], "") == "aor,password"
}

fn json(text: &str) -> Result<(String, String), String> {
    let row: JsonRow = serde_json::from_str(text).map_err(|e| {
        format!(
            "{}; write {{\"aor\":\"1001@example.com\",\"password\":\"…\"}}",
            e.to_string().replace(" at line 1", ",")
        )
    })?;
    checked(row.aor, row.password)
}

fn csv(text: &str) -> Result<(String, String), String> {
    let fields = split(text)?;
    match <[String; 2]>::try_from(fields) {
        Ok([aor, password]) => checked(aor, password),
        Err(fields) => Err(format!("{} fields; write aor,password (quote a password that has a comma)", fields.len())),
    }
}

fn checked(aor: String, password: String) -> Result<(String, String), String> {
    let bare = aor.strip_prefix("sip:").unwrap_or(&aor);
    match bare.rsplit_once('@') {
        _ if password.is_empty() => Err("the password is empty".into()),
        Some((user, domain)) if !user.is_empty() && !domain.is_empty() => Ok((bare.to_string(), password)),
        _ => Err(format!("`{aor}` is not an address of record; write user@domain")),
    }
}

fn split(text: &str) -> Result<Vec<String>, String> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let at_start = fields.last().is_some_and(String::is_empty);
        let mut push = |c| {
            if let Some(field) = fields.last_mut() {
                field.push(c);
            }
        };
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                push('"');
            }
            '"' if quoted => quoted = false,
            '"' if at_start => quoted = true,
            ',' if !quoted => fields.push(String::new()),
            c => push(c),
        }
    }
    if quoted { Err("a quote is not closed".into()) } else { Ok(fields) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(line: usize, text: &str) -> Option<Result<(String, String), String>> {
        read(line, text).map(|r| r.map(|row| (row.aor, row.password)).map_err(|bad| bad.error))
    }

    #[test]
    fn csv_and_json_lines_are_read() {
        let row = |aor: &str, password: &str| Some(Ok((aor.to_string(), password.to_string())));
        assert_eq!(said(2, "1001@rack.test,secret"), row("1001@rack.test", "secret"));
        assert_eq!(said(2, "\"sip:1001@rack.test\",\"a,\"\"b\"\"\"\r"), row("1001@rack.test", "a,\"b\""));
        assert_eq!(said(2, r#"{"aor":"1001@rack.test","password":"secret"}"#), row("1001@rack.test", "secret"));
        assert_eq!(said(1, "AOR, Password"), None);
        assert_eq!(said(7, ""), None);
        assert_eq!(said(7, "# phones of the second floor"), None);
    }

    #[test]
    fn bad_rows_say_why() {
        let error = |text: &str| said(2, text).and_then(Result::err).unwrap_or_default();
        assert_eq!(error("1001@rack.test"), "1 fields; write aor,password (quote a password that has a comma)");
        assert_eq!(error("1001,secret"), "`1001` is not an address of record; write user@domain");
        assert_eq!(error("1001@rack.test,"), "the password is empty");
        assert_eq!(error("1001@rack.test,\"x"), "a quote is not closed");
        assert!(error(r#"{"aor":"1001@rack.test"}"#).starts_with("missing field `password`"));
    }
}
