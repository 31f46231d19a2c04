//! A door and what it makes of a collector's answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::http::StatusCode;
use axum::http::header::RETRY_AFTER;

use super::*;

/// Shorter than any wait a collector asks for.
const PATIENCE: Duration = Duration::from_millis(500);

/// A collector that gives these answers, a status and a `Retry-After`, in turn and the last of them from then on. Its
/// URL and how often it was asked.
async fn collector(answers: &'static [(u16, &'static str)]) -> (Url, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let answer = move || {
        let at = count.fetch_add(1, Ordering::SeqCst);
        let (status, wait) = answers[at.min(answers.len() - 1)];
        let status = StatusCode::from_u16(status).unwrap();
        std::future::ready((status, [(RETRY_AFTER, wait)], "{}"))
    };
    let router = axum::Router::new().route("/v1/events", axum::routing::post(answer));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async { axum::serve(listener, router).await.unwrap() });
    (Url::parse(&format!("http://{address}")).unwrap(), asked)
}

/// Sends a row of one event.
async fn send(url: &Url) -> Result<Vec<Fate>, Failure> {
    let door = Door::new(url, None, Some(PATIENCE))?;
    let row = vec![b"{}".to_vec()];
    door.send(&[row.as_slice()]).await
}

#[tokio::test]
async fn a_rate_that_is_used_up_is_waited_for_longer_than_patience_lasts() {
    let (url, asked) = collector(&[(429, "1"), (429, "1"), (202, "")]).await;
    assert_eq!(send(&url).await.unwrap(), [Fate::Sent]);
    assert_eq!(asked.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn waiting_for_the_rate_can_be_broken_off() {
    let (url, asked) = collector(&[(429, "18446744073709551615")]).await;
    let waiting = tokio::time::timeout(Duration::from_secs(2), send(&url)).await;
    assert!(waiting.is_err(), "it waits");
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_collector_that_takes_nothing_is_given_up_when_patience_ends() {
    for answers in [&[(429, "")], &[(503, "2")], &[(502, "")]] {
        let (url, _) = collector(answers).await;
        let failure = send(&url).await.unwrap_err();
        let status = answers[0].0.to_string();
        assert!(failure.message().contains(&status), "{failure:?}");
    }
}

#[tokio::test]
async fn name_and_password_of_the_collector_are_not_repeated() {
    for answers in [&[(401, "")], &[(503, "2")]] {
        let (mut url, _) = collector(answers).await;
        let plain = format!("{url}v1/events");
        url.set_username("anna").unwrap();
        url.set_password(Some("secret")).unwrap();
        let failure = send(&url).await.unwrap_err();
        assert!(failure.message().starts_with(&plain), "{failure:?}");
    }
    for (url, shown) in [
        ("ftp://anna:secret@host/?token=secret", "ftp://host/"),
        ("anna:secret@host", "URL"),
    ] {
        let failure = send(&Url::parse(url).unwrap()).await.unwrap_err();
        let message = format!("--collector {shown}: expected http://host:port");
        assert_eq!(failure.message(), message);
    }
}

#[test]
fn a_token_that_cannot_be_sent_is_refused_without_being_shown() {
    let url = Url::parse("http://127.0.0.1:9").unwrap();
    for token in ["secret\n", "sec\r\nret", "secret\0"] {
        let failure = Door::new(&url, Some(token.to_owned()), None).unwrap_err();
        let message = failure.message();
        assert!(message.contains("line break"), "{message}");
        assert!(!message.contains("sec"), "{message}");
    }
    let door = Door::new(&url, Some("secret".to_owned()), None).unwrap();
    assert!(!format!("{door:?}").contains("secret"));
}
