//! Who may ask.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, HOST};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::Door;
use super::problem::Problem;
use crate::Principal;

/// A bearer token's SHA-256, under the name its holder has in logs. The token itself is nowhere kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenHash {
    name: String,
    sha256: [u8; 32],
}

impl TokenHash {
    /// From the 64 hexadecimal digits of a configuration; `None` when it is something else.
    pub fn from_hex(name: impl Into<String>, digits: &str) -> Option<Self> {
        let bytes = data_encoding::HEXLOWER_PERMISSIVE
            .decode(digits.as_bytes())
            .ok()?;
        Some(Self {
            name: name.into(),
            sha256: bytes.try_into().ok()?,
        })
    }

    /// Of a token in clear.
    pub fn of(name: impl Into<String>, token: &str) -> Self {
        Self {
            name: name.into(),
            sha256: Sha256::digest(token.as_bytes()).into(),
        }
    }
}

/// Lets a request with a known token through, its holder's name attached.
pub(super) async fn check(
    State(door): State<Arc<Door>>,
    mut request: Request,
    next: Next,
) -> Response {
    let admitted = if door.options.tokens.is_empty() {
        addressed_to_loopback(request.headers()).then(|| Principal::named("anonymous"))
    } else {
        bearer(request.headers()).and_then(|token| holder(&door.options.tokens, token))
    };
    match admitted {
        Some(principal) => {
            request.extensions_mut().insert(principal);
            next.run(request).await
        }
        None if door.options.tokens.is_empty() => Problem {
            status: StatusCode::FORBIDDEN,
            code: "host",
            detail: "this server answers only requests addressed to this machine".to_owned(),
            hint: "ask http://127.0.0.1:<port>, or configure a token to serve other machines",
        }
        .into_response(),
        None => Problem {
            status: StatusCode::UNAUTHORIZED,
            code: "token",
            detail: "a valid token is needed".to_owned(),
            hint: "send the header Authorization: Bearer <token>",
        }
        .into_response(),
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then_some(token.trim())
}

/// The holder of `token`. Looks at every hash, whichever fits.
fn holder(tokens: &[TokenHash], token: &str) -> Option<Principal> {
    let given: [u8; 32] = Sha256::digest(token.as_bytes()).into();
    let mut found = None;
    for known in tokens {
        if bool::from(known.sha256.ct_eq(&given)) {
            found = Some(Principal::named(known.name.clone()));
        }
    }
    found
}

/// A web page elsewhere can make a browser resolve its own name to 127.0.0.1 and read the answers; its name is then in
/// `Host`. An open port answers only to loopback's own names.
fn addressed_to_loopback(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(HOST).and_then(|h| h.to_str().ok()) else {
        return true;
    };
    let name = match host.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name.eq_ignore_ascii_case("localhost")
        || name
            .parse::<std::net::IpAddr>()
            .is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(value: &str) -> HeaderMap {
        HeaderMap::from_iter([(HOST, value.parse().unwrap())])
    }

    #[test]
    fn only_loopback_names_reach_an_open_port() {
        for fine in [
            "localhost",
            "LOCALHOST:8470",
            "127.0.0.1:8470",
            "127.9.9.9",
            "[::1]:8470",
        ] {
            assert!(addressed_to_loopback(&host(fine)), "{fine}");
        }
        for other in [
            "evil.example",
            "evil.example:8470",
            "localhost.evil.example",
            "10.0.0.1",
            "[::2]:1",
            "",
        ] {
            assert!(!addressed_to_loopback(&host(other)), "{other}");
        }
    }

    #[test]
    fn a_token_is_known_by_its_hash() {
        let tokens = [
            TokenHash::of("board", "secret"),
            TokenHash::of("office", "other"),
        ];
        assert_eq!(holder(&tokens, "other"), Some(Principal::named("office")));
        assert_eq!(holder(&tokens, "Other"), None);
        let hex = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";
        assert_eq!(
            TokenHash::from_hex("board", hex),
            Some(TokenHash::of("board", "secret"))
        );
        assert_eq!(TokenHash::from_hex("board", "secret"), None);
    }
}
