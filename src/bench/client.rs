//! A client of the collector's door that leaves the cores to the collector: one connection, prepared bytes, and of the
//! answer only what is needed.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Longest head of an answer that is read.
const MAX_HEAD: usize = 16 << 10;

/// A request, ready to be sent as often as wanted.
pub struct Request(Vec<u8>);

impl Request {
    /// Events for the door.
    pub fn post(token: &str, body: &[u8]) -> Request {
        let head = format!(
            "POST /v1/events HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {token}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        Request([head.as_bytes(), body].concat())
    }
}

/// One connection that is kept.
pub struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Client {
    /// Connects.
    pub async fn connect(address: &str) -> io::Result<Client> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Client {
            stream,
            buffer: Vec::with_capacity(4096),
        })
    }

    /// Sends a request and waits for the whole answer; its status.
    pub async fn send(&mut self, request: &Request) -> io::Result<u16> {
        self.stream.write_all(&request.0).await?;
        self.buffer.clear();
        let (status, whole) = loop {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if let Some(found) = head(&self.buffer) {
                break found;
            }
            if self.buffer.len() > MAX_HEAD {
                return Err(io::Error::other("an answer without an end of its head"));
            }
        };
        while self.buffer.len() < whole {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(status)
    }
}

/// Status, and length of head and body together, once the head is there.
fn head(answer: &[u8]) -> Option<(u16, usize)> {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&answer[..end]).ok()?;
    let status = head.get(9..12)?.parse().ok()?;
    let body = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse().ok())?
    });
    Some((status, end + body.unwrap_or(0usize)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_an_answer_is_found() {
        let answer = b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\n{}";
        assert_eq!(head(answer), Some((202, answer.len())));
        assert_eq!(head(&answer[..30]), None);
    }
}
