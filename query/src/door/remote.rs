//! The other end of the HTTP door: `siji sql --server URL`.

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::unfold;
use serde_json::{Value, json};
use url::Url;

use crate::QueryError;
use crate::format::{ByteStream, Format};

mod ending;

use ending::Ending;

/// The header in which a server names the versions it read.
const VERSIONS: &str = "x-siji-versions";

/// An answer of a query server.
pub struct RemoteAnswer {
    /// Version of each lake table read, as `ledger=12,rollup=9`, where the server says it.
    pub versions: Option<String>,
    /// The bytes as they come.
    pub bytes: ByteStream,
}

/// Asks a query server and returns its answer's bytes as they come: [`ask_remote`] without its versions.
///
/// # Errors
/// As [`ask_remote`].
pub async fn run_sql_remote(
    server: &Url,
    token: Option<&str>,
    sql: &str,
    params: &[Value],
    format: Format,
) -> Result<ByteStream, QueryError> {
    let answer = ask_remote(server, token, sql, params, format).await?;
    Ok(answer.bytes)
}

/// Asks a query server.
///
/// `server` may have a path, such as that of a proxy, and a name and password; the password is never repeated.
///
/// # Errors
/// [`QueryError::Remote`] when the server cannot be reached, refuses the query, or breaks off; in the stream, when the
/// answer ends in the middle or in an `error` member.
pub async fn ask_remote(
    server: &Url,
    token: Option<&str>,
    sql: &str,
    params: &[Value],
    format: Format,
) -> Result<RemoteAnswer, QueryError> {
    let shown = shown(server);
    let remote = |detail: String| QueryError::Remote {
        url: shown.clone(),
        detail,
    };
    let mut url = sql_url(server).ok_or_else(|| remote("expected http://host:port".to_owned()))?;
    url.query_pairs_mut().append_pair("format", format.name());
    if let Format::Csv(style) = format
        && style.escape_formulas
    {
        url.query_pairs_mut().append_pair("escape_formulas", "true");
    }
    let client = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .map_err(|error| remote(causes(error)))?;
    let mut request = client
        .post(url)
        .json(&json!({"sql": sql, "params": params}));
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    let response = request
        .send()
        .await
        .map_err(|error| remote(causes(error)))?;
    let status = response.status();
    if !status.is_success() {
        let body = response.bytes().await.unwrap_or_else(|_| Bytes::new());
        let refused: Option<Value> = serde_json::from_slice(&body).ok();
        let words = refused.as_ref().and_then(words);
        return Err(remote(
            words.unwrap_or_else(|| format!("answered {status}")),
        ));
    }
    let versions = response.headers().get(VERSIONS);
    let versions = versions.and_then(|versions| versions.to_str().ok().map(str::to_owned));
    let bytes = response
        .bytes_stream()
        .map(|chunk| chunk.map_err(|error| format!("the answer broke off: {}", causes(error))))
        .boxed();
    let bytes = match format {
        Format::Json => whole(bytes),
        _ => bytes,
    };
    let failed = move |detail: String| QueryError::Remote {
        url: shown.clone(),
        detail,
    };
    Ok(RemoteAnswer {
        versions,
        bytes: bytes.map(move |chunk| chunk.map_err(&failed)).boxed(),
    })
}

/// Where the server answers SQL: `v1/sql` below the path it was given with.
fn sql_url(server: &Url) -> Option<Url> {
    let mut url = server.clone();
    url.set_query(None);
    url.set_fragment(None);
    url.path_segments_mut()
        .ok()?
        .pop_if_empty()
        .extend(["v1", "sql"]);
    Some(url)
}

/// The server as it may be repeated: its password stays with the one who gave it.
fn shown(server: &Url) -> String {
    let mut url = server.clone();
    if url.password().is_some() && url.set_password(None).is_err() {
        return "the server".to_owned();
    }
    url.set_query(None);
    url.to_string()
}

type Chunks = futures::stream::BoxStream<'static, Result<Bytes, String>>;

/// Passes a JSON answer on until it is over; one that is no whole answer ends in an error.
fn whole(chunks: Chunks) -> Chunks {
    let watched = Some((chunks, Ending::default()));
    unfold(watched, |watched| async move {
        let (mut chunks, mut ending) = watched?;
        while let Some(chunk) = chunks.next().await {
            match chunk {
                Ok(chunk) if ending.pass(&chunk) => {
                    return Some((Ok(chunk), Some((chunks, ending))));
                }
                // From its `error` member on, an answer is for us.
                Ok(_) => {}
                Err(broken) => return Some((Err(broken), None)),
            }
        }
        ending.trouble().map(|trouble| (Err(trouble), None))
    })
    .boxed()
}

/// A problem in the server's words; none when it speaks another language.
fn words(problem: &Value) -> Option<String> {
    let detail = problem.get("detail")?.as_str()?;
    let hint = problem.get("hint").and_then(Value::as_str);
    Some(match hint.filter(|hint| !hint.is_empty()) {
        Some(hint) => format!("{detail} ({hint})"),
        None => detail.to_owned(),
    })
}

/// reqwest's own message leaves out why, and its URL may hold a password.
fn causes(error: reqwest::Error) -> String {
    siji_lake::in_full(&error.without_url())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_a_server_was_given_with_is_kept() {
        for (server, asked) in [
            ("http://host", "http://host/v1/sql"),
            ("http://host:8470/", "http://host:8470/v1/sql"),
            ("http://host/prefix", "http://host/prefix/v1/sql"),
            ("http://host/prefix/", "http://host/prefix/v1/sql"),
            ("http://host/a/b?x=1#y", "http://host/a/b/v1/sql"),
        ] {
            let url = sql_url(&Url::parse(server).unwrap()).unwrap();
            assert_eq!(url.as_str(), asked);
        }
        assert_eq!(sql_url(&Url::parse("mailto:a@b").unwrap()), None);
    }

    #[tokio::test]
    async fn a_password_is_not_repeated() {
        let server = Url::parse("http://anna:secret@127.0.0.1:9/x").unwrap();
        let asked = run_sql_remote(
            &server,
            None,
            "SELECT 1",
            &[],
            Format::Csv(Default::default()),
        );
        let error = asked.await.err().unwrap().to_string();
        assert!(
            error.contains("anna@127.0.0.1:9/x") && !error.contains("secret"),
            "{error}"
        );
    }
}
