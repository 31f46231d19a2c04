//! Connections that want nothing, or take their time, do not keep others out.

use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::get;
use siji_collector::intake::{ConnectionLimits, serve};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

struct Door {
    address: std::net::SocketAddr,
    stop: oneshot::Sender<Instant>,
    ended: JoinHandle<usize>,
}

async fn door(limits: ConnectionLimits) -> Door {
    let router = Router::new().route("/healthz", get(async || "ok")).route(
        "/slow",
        get(async || {
            tokio::time::sleep(Duration::from_millis(600)).await;
            "done"
        }),
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel();
    let ended = tokio::spawn(serve(listener, router, limits, async {
        stopped.await.unwrap()
    }));
    Door {
        address,
        stop,
        ended,
    }
}

/// A whole request on a connection of its own, and the answer.
async fn ask(address: std::net::SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

fn short() -> ConnectionLimits {
    ConnectionLimits {
        header: Duration::from_millis(400),
        ..ConnectionLimits::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_half_sent_request_is_closed_however_slowly_it_goes_on() {
    let door = door(short()).await;
    let mut stream = TcpStream::connect(door.address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let started = Instant::now();
    stream
        .write_all(b"GET /healthz HTTP/1.1\r\nx: ")
        .await
        .unwrap();
    while stream.write_all(b"y").await.is_ok() {
        assert!(started.elapsed() < Duration::from_secs(5), "still open");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(started.elapsed() > Duration::from_millis(300));
    assert!(ask(door.address, "/healthz").await.ends_with("ok"));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_finds_no_place_waits_for_one_and_idle_ones_give_theirs_up() {
    let door = door(ConnectionLimits {
        connections: 2,
        ..short()
    })
    .await;
    let _idle = [
        TcpStream::connect(door.address).await.unwrap(),
        TcpStream::connect(door.address).await.unwrap(),
    ];
    tokio::time::sleep(Duration::from_millis(50)).await;
    let started = Instant::now();
    assert!(ask(door.address, "/healthz").await.ends_with("ok"));
    assert!(
        started.elapsed() > Duration::from_millis(200),
        "the limit holds"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn eleven_hundred_idle_connections_leave_other_listeners_alone() {
    let crowded = door(ConnectionLimits::default()).await;
    let admin = door(ConnectionLimits::default()).await;
    let mut idle = Vec::new();
    for _ in 0..1100 {
        idle.push(TcpStream::connect(crowded.address).await.unwrap());
    }
    let started = Instant::now();
    assert!(ask(admin.address, "/healthz").await.ends_with("ok"));
    assert!(started.elapsed() < Duration::from_secs(1));
    drop(idle);
    assert!(ask(crowded.address, "/healthz").await.ends_with("ok"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_waits_for_running_requests_and_for_nothing_else() {
    let door = door(ConnectionLimits::default()).await;
    let address = door.address;
    let _idle = TcpStream::connect(address).await.unwrap();
    let running = tokio::spawn(async move { ask(address, "/slow").await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    let started = Instant::now();
    door.stop.send(started + Duration::from_secs(8)).unwrap();
    assert_eq!(door.ended.await.unwrap(), 0, "nothing was cut off");
    assert!(started.elapsed() < Duration::from_secs(3));
    assert!(running.await.unwrap().ends_with("done"));
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_cuts_off_what_is_not_done_in_time_and_counts_it() {
    let door = door(ConnectionLimits::default()).await;
    let address = door.address;
    let mut half = TcpStream::connect(address).await.unwrap();
    half.write_all(b"GET /healthz HTTP/1.1\r\n").await.unwrap();
    let running = tokio::spawn(async move { ask(address, "/slow").await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    let started = Instant::now();
    door.stop
        .send(started + Duration::from_millis(200))
        .unwrap();
    assert_eq!(door.ended.await.unwrap(), 2);
    assert!(started.elapsed() < Duration::from_millis(500));
    assert!(!running.await.unwrap_or_default().contains("done"));
}
