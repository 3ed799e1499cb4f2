//! Reaches a running rack from the operator's side: finds the agent, the API and its token by the state directory.

use super::watch::{client, reachable};
use crate::args::At;
use crate::failure::{Failure, exit};
use common::config::{CcNode, Rack};
use serde_json::Value;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(10);
/// An import of many rows waits for the disk.
const IMPORT_PATIENCE: Duration = Duration::from_secs(120);

/// A rack that was started on a state directory.
pub struct Client {
    data: PathBuf,
    http: ureq::Agent,
}

/// Status code and body of an answer.
pub struct Answer {
    pub status: u16,
    pub body: Value,
}

impl Answer {
    /// The body of a 2xx; otherwise what the service said.
    pub fn good(self) -> Result<Value, Failure> {
        if (200..300).contains(&self.status) {
            return Ok(self.body);
        }
        let said = self.body.get("error").and_then(Value::as_str).map_or_else(|| self.body.to_string(), str::to_string);
        let hint = if self.status == 401 { " (is --data the directory of the rack that answers?)" } else { "" };
        Err(Failure::new(exit::REFUSED, format!("{said}{hint}")))
    }
}

impl Client {
    pub fn at(at: &At) -> Client {
        Client { data: at.data.clone(), http: client(PATIENCE) }
    }

    pub fn for_import(at: &At) -> Client {
        Client { data: at.data.clone(), http: client(IMPORT_PATIENCE) }
    }

    fn nobody(&self, why: &str) -> Failure {
        let message = format!(
            "no rack answers on {} ({why}); start one with `siprack up`, or name its directory with --data DIR",
            self.data.display()
        );
        Failure::new(exit::NO_RACK, message)
    }

    fn file(&self, name: &str) -> Result<String, Failure> {
        let path = self.data.join(name);
        std::fs::read_to_string(&path).map_err(|e| self.nobody(&format!("{}: {e}", path.display())))
    }

    /// What the agent says of all services.
    pub fn status(&self) -> Result<Value, Failure> {
        let agent: Value = serde_json::from_str(&self.file("run/agent.json")?)
            .map_err(|e| self.nobody(&format!("run/agent.json: {e}")))?;
        let address: SocketAddr = agent["address"]
            .as_str()
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| self.nobody("run/agent.json names no address"))?;
        let answer =
            self.get(&format!("http://{address}/status"), None).map_err(|_| self.nobody("its agent is gone"))?;
        answer.good()
    }

    /// The expanded rack that runs.
    pub fn rack(&self) -> Result<Rack, Failure> {
        let text = self.file("run/rack.json")?;
        Rack::from_json(&text)
            .map_err(|e| Failure::new(exit::CONFIG, format!("{}: {e}", self.data.join("run/rack.json").display())))
    }

    /// The load manager's admin port.
    pub fn load_manager(&self, path: &str) -> Result<Answer, Failure> {
        self.get(&self.of_load_manager(path)?, None)
    }

    /// An order to the load manager: `/keys/turn`.
    pub fn load_manager_order(&self, path: &str) -> Result<Answer, Failure> {
        self.answered(self.http.post(self.of_load_manager(path)?).send_empty())
    }

    pub fn of_load_manager(&self, path: &str) -> Result<String, Failure> {
        let rack = self.rack()?;
        let lm = rack.load_managers.first().ok_or_else(|| self.nobody("its rack file has no load manager"))?;
        Ok(format!("http://{}{path}", reachable(lm.admin)))
    }

    /// What a node says of itself, on its admin port.
    pub fn node_status(&self, node: &CcNode) -> Result<Answer, Failure> {
        self.node(node, "/status")
    }

    /// A question to a node.
    pub fn node(&self, node: &CcNode, path: &str) -> Result<Answer, Failure> {
        let url = format!("http://{}{path}", reachable(node.admin));
        read(self.http.get(url).call().map_err(|e| silent(node, &e))?)
    }

    /// An order to a node: `/drain`, `/undrain`.
    pub fn node_order(&self, node: &CcNode, path: &str) -> Result<Answer, Failure> {
        let url = format!("http://{}{path}", reachable(node.admin));
        read(self.http.post(url).send_empty().map_err(|e| silent(node, &e))?)
    }

    pub fn api_get(&self, path: &str) -> Result<Answer, Failure> {
        self.get(&self.api(path)?, Some(self.token()?))
    }

    pub fn api_delete(&self, path: &str) -> Result<Answer, Failure> {
        let request = self.http.delete(self.api(path)?).header("Authorization", self.token()?);
        self.answered(request.call())
    }

    pub fn api_post(&self, path: &str, content_type: &str, body: &str) -> Result<Answer, Failure> {
        let request =
            self.http.post(self.api(path)?).header("Authorization", self.token()?).header("Content-Type", content_type);
        self.answered(request.send(body))
    }

    fn api(&self, path: &str) -> Result<String, Failure> {
        let rack = self.rack()?;
        let server =
            rack.location_servers.first().ok_or_else(|| self.nobody("its rack file has no location server"))?;
        Ok(format!("http://{}{path}", reachable(server.api)))
    }

    fn token(&self) -> Result<String, Failure> {
        Ok(format!("Bearer {}", self.file("api.token")?.trim()))
    }

    fn get(&self, url: &str, authorization: Option<String>) -> Result<Answer, Failure> {
        let mut request = self.http.get(url);
        if let Some(authorization) = authorization {
            request = request.header("Authorization", authorization);
        }
        self.answered(request.call())
    }

    fn answered(&self, result: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Result<Answer, Failure> {
        read(result.map_err(|e| self.nobody(&e.to_string()))?)
    }
}

fn read(mut response: ureq::http::Response<ureq::Body>) -> Result<Answer, Failure> {
    let status = response.status().as_u16();
    let text = response
        .body_mut()
        .with_config()
        .limit(256 << 20)
        .read_to_string()
        .map_err(|e| Failure::new(exit::REFUSED, format!("the answer broke off: {e}")))?;
    let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
    Ok(Answer { status, body })
}

fn silent(node: &CcNode, why: &ureq::Error) -> Failure {
    let (id, admin) = (node.id, node.admin);
    let what = format!("cc-node {id} does not answer on its admin port {admin} ({why})");
    Failure::new(exit::REFUSED, format!("{what}; `siprack status` shows what runs"))
}

/// A text as one part of a path or query (RFC 3986 §2.3: all but unreserved characters are escaped).
pub fn escaped(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn call_ids_and_aors_stand_in_urls() {
        assert_eq!(escaped("1001@rack.test"), "1001%40rack.test");
        assert_eq!(escaped("a/b?c=ü"), "a%2Fb%3Fc%3D%C3%BC");
    }
}
