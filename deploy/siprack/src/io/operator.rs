//! The operator's questions and orders to a running rack: `status`, `check`, `explain`, `subscriber`, `registrations`,
//! `try`.

use super::client::{Client, escaped};
use super::terminal::print;
use super::{rack_file, try_call};
use crate::args::{Asking, Check, Explain, Registrations, Subscriber, Try};
use crate::columns::{columns, printable};
use crate::failure::{Failure, exit};
use crate::readiness::Report;
use crate::{explanation, try_plan};
use common::config::Rack;
use serde_json::{Value, json};

/// Rows of one page of the API.
const PAGE: usize = 1000;

pub fn status(args: &Asking) -> Result<u8, Failure> {
    let status = Client::at(&args.at).status()?;
    let report: Report = serde_json::from_value(status.clone())
        .map_err(|e| Failure::new(exit::REFUSED, format!("the agent's status is of another version: {e}")))?;
    print(&if args.json { pretty(&status) } else { report.table() })?;
    Ok(if report.ready { 0 } else { exit::FAILED })
}

pub fn check(args: &Check) -> Result<u8, Failure> {
    match rack_file::read(&args.source) {
        Ok((rack, file)) => {
            let expanded = rack.expand();
            let text = format!(
                "{file}: good. Rack `{}`: listeners {}, domains {}, load managers {}, nodes {}, location servers {}, trunks {}, routes {}",
                rack.name,
                rack.listeners.len(),
                rack.domains.len(),
                expanded.load_managers.len(),
                expanded.cc_nodes.len(),
                expanded.location_servers.len(),
                rack.trunks.len(),
                rack.routes.len()
            );
            let warnings = warnings(&rack);
            let said = warnings.iter().map(|w| format!("\n{file}: warning: {w}")).collect::<String>();
            let json = json!({ "ok": true, "problems": [], "warnings": warnings });
            print(&if args.json { pretty(&json) } else { text + &said })
        }
        Err(failure) if args.json => {
            let problems: Vec<&str> = failure.message.lines().collect();
            print(&pretty(&json!({ "ok": false, "problems": problems })))?;
            Ok(failure.code)
        }
        Err(failure) => Err(failure),
    }
}

/// What is no mistake in the rack file, but will not work on this host.
fn warnings(rack: &Rack) -> Vec<String> {
    let knows_a_server = || {
        let text = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
        text.lines().any(|line| line.split_whitespace().next() == Some("nameserver"))
    };
    let mut named = rack.trunks_by_name();
    match named.next() {
        Some(trunk) if rack.dns.servers.is_empty() && !knows_a_server() => vec![format!(
            "trunk `{}` is called by name, but dns.servers is empty and this host's /etc/resolv.conf names no name server; \
             add dns: {{ servers: [\"address:53\"] }}",
            trunk.name
        )],
        _ => Vec::new(),
    }
}

pub fn explain(args: &Explain) -> Result<u8, Failure> {
    let path = format!("/explain?call_id={}", escaped(&args.call_id));
    let answer = Client::at(&args.asking.at).load_manager(&path)?.good()?;
    print(&if args.asking.json { pretty(&answer) } else { explanation::in_words(&args.call_id, &answer) })
}

pub fn subscriber(command: Subscriber) -> Result<u8, Failure> {
    match command {
        Subscriber::Add { aor, password, asking } => {
            let client = Client::at(&asking.at);
            let aor = full_aor(&client, &aor)?;
            let body = json!({ "aor": aor, "password": password }).to_string();
            let answer = client.api_post("/v1/subscribers", "application/json", &body)?.good()?;
            print(&if asking.json { pretty(&answer) } else { format!("{aor} added") })
        }
        Subscriber::Remove { aor, asking } => {
            let client = Client::at(&asking.at);
            let aor = full_aor(&client, &aor)?;
            let answer = client.api_delete(&format!("/v1/subscribers/{}", escaped(&aor)))?.good()?;
            print(&if asking.json { pretty(&answer) } else { format!("{aor} removed") })
        }
        Subscriber::List { asking } => {
            let all = pages(&Client::at(&asking.at), "subscribers")?;
            if asking.json {
                return print(&pretty(&json!({ "subscribers": all, "total": all.len() })));
            }
            let mut rows = vec![["AOR".to_string(), "CONTACTS".to_string()]];
            rows.extend(all.iter().map(|s| [text(&s["aor"]), text(&s["contacts"])]));
            print(&columns(&rows))
        }
    }
}

pub fn registrations(args: &Registrations) -> Result<u8, Failure> {
    let client = Client::at(&args.asking.at);
    if args.count {
        let answer = client.api_get("/v1/registrations/count")?.good()?;
        return print(&if args.asking.json { pretty(&answer) } else { text(&answer["count"]) });
    }
    let all = pages(&client, "registrations")?;
    if args.asking.json {
        return print(&pretty(&json!({ "registrations": all, "total": all.len() })));
    }
    let mut rows = vec![["AOR", "CONTACT", "EXPIRES IN", "RECEIVED FROM", "USER AGENT"].map(String::from)];
    for registration in &all {
        for binding in registration["bindings"].as_array().into_iter().flatten() {
            rows.push([
                text(&registration["aor"]),
                text(&binding["contact"]),
                format!("{} s", text(&binding["expires_s"])),
                text(&binding["received"]),
                text(&binding["user_agent"]),
            ]);
        }
    }
    print(&columns(&rows))
}

pub fn try_call(args: Try) -> Result<u8, Failure> {
    let client = Client::at(&args.at);
    // The rack file stays behind when a rack ends; only a running agent answers this.
    client.status()?;
    let rack = client.rack()?;
    let phones = try_plan::phones(&rack, args.caller.zip(args.callee)).map_err(|e| Failure::new(exit::FAILED, e))?;
    let missing = || Failure::new(exit::CONFIG, "the rack has no listener or no domain");
    let vip = rack.listeners.first().ok_or_else(missing)?.socket_address();
    let domain = rack.default_domain().ok_or_else(missing)?.name.clone();
    let plan = try_call::Plan {
        vip,
        domain,
        caller: (phones.0.user, phones.0.password),
        callee: (phones.1.user, phones.1.password),
    };
    let outcome =
        try_call::run(&plan).map_err(|e| Failure::new(exit::FAILED, format!("no socket towards {vip}: {e}")))?;
    print(&outcome.ladder.to_string())?;
    for step in &outcome.steps {
        print(&format!("  right: {step}"))?;
    }
    match outcome.failure {
        None => print("siprack: every step was right"),
        Some(failure) => Err(Failure::new(exit::FAILED, failure)),
    }
}

/// A user alone is of the default domain.
fn full_aor(client: &Client, aor: &str) -> Result<String, Failure> {
    let aor = aor.strip_prefix("sip:").unwrap_or(aor);
    if aor.contains('@') {
        return Ok(aor.to_string());
    }
    let rack = client.rack()?;
    let domain = rack.default_domain().map(|d| d.name.as_str()).unwrap_or_default();
    Ok(format!("{aor}@{domain}"))
}

/// All rows of a list of the API, page by page.
fn pages(client: &Client, list: &str) -> Result<Vec<Value>, Failure> {
    let mut all = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let from = after.map(|aor| format!("&after={}", escaped(&aor))).unwrap_or_default();
        let page = client.api_get(&format!("/v1/{list}?limit={PAGE}{from}"))?.good()?;
        all.extend(page[list].as_array().cloned().unwrap_or_default());
        match page["next"].as_str() {
            Some(next) => after = Some(next.to_string()),
            None => return Ok(all),
        }
    }
}

/// A value in a table.
fn text(value: &Value) -> String {
    printable(&value.as_str().map_or_else(|| value.to_string(), str::to_string))
}

pub fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}
