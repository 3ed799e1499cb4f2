//! The API's port and its token file.

use crate::provisioning::{Api, ApiToken, router};
use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use tokio::net::TcpListener;

/// Octets of randomness in a new token.
const TOKEN_OCTETS: usize = 24;

/// Reads the token of `path`, or makes one there that only this user can read.
///
/// # Errors
/// What is wrong with the file, in words.
pub fn token(path: &Path) -> Result<ApiToken, String> {
    let mut secret = [0u8; TOKEN_OCTETS];
    getrandom::fill(&mut secret).map_err(|e| format!("no randomness: {e}"))?;
    let fresh: String = secret.iter().map(|b| format!("{b:02x}")).collect();
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(mut file) => {
            writeln!(file, "{fresh}").map_err(|e| format!("{}: {e}", path.display()))?;
            Ok(ApiToken(fresh.into()))
        }
        Err(e) if e.kind() == ErrorKind::AlreadyExists => {
            let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
            match text.trim() {
                short if short.len() < 16 => Err(format!(
                    "{}: the API's token must have at least 16 characters; remove the file and one is made",
                    path.display()
                )),
                token => Ok(ApiToken(token.into())),
            }
        }
        Err(e) => Err(format!("{}: {e}", path.display())),
    }
}

/// Serves the API until the process ends.
pub async fn serve(listener: TcpListener, api: Api) {
    if let Err(error) = axum::serve(listener, router(api)).await {
        tracing::error!(%error, "the API's port is closed");
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_token_is_made_once_and_kept_private() {
        use std::os::unix::fs::PermissionsExt;
        let path = std::env::temp_dir().join(format!("siprack-token-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let made = token(&path).unwrap();
        assert_eq!(made.0.len(), 2 * TOKEN_OCTETS);
        assert_eq!(token(&path).unwrap().0, made.0);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::write(&path, "short\n").unwrap();
        assert!(token(&path).err().unwrap().contains("16 characters"));
        std::fs::remove_file(&path).unwrap();
    }
}
