//! HTTP for those who watch: one thread, a bounded number of clients, each with a bounded time. Who hangs keeps
//! no client waiting, least of all the run.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{poll, PollFd, PollFlags, Timespec};

use super::exposition::{exposition, Format};
use super::live::Live;

/// Clients at a time; when one more comes, the one that has been there longest goes.
const CLIENTS_MAX: usize = 32;
/// How long a client may take for its request and its answer.
const TIME: Duration = Duration::from_secs(5);
const REQUEST_MAX: usize = 8 << 10;
/// How often clients whose time is over are looked for.
const LOOK: Timespec = Timespec {
    tv_sec: 1,
    tv_nsec: 0,
};
const PAGE: &str = include_str!("live.html");

struct Client {
    stream: TcpStream,
    request: Vec<u8>,
    answer: Vec<u8>,
    sent: usize,
    until: Instant,
}

/// Listens, and serves in a thread that ends with the process.
pub(super) fn start(address: SocketAddr, live: Arc<Live>) -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    std::thread::Builder::new()
        .name("metrics".into())
        .spawn(move || {
            let mut clients = Vec::new();
            loop {
                turn(&listener, &mut clients, &live);
            }
        })?;
    Ok(address)
}

/// Waits until something can be done, and does it.
fn turn(listener: &TcpListener, clients: &mut Vec<Client>, live: &Live) {
    let mut watched = vec![PollFd::new(listener, PollFlags::IN)];
    watched.extend(clients.iter().map(|client| {
        let flags = if client.answer.is_empty() {
            PollFlags::IN
        } else {
            PollFlags::OUT
        };
        PollFd::new(&client.stream, flags)
    }));
    if poll(&mut watched, Some(&LOOK)).is_err() {
        return; // interrupted by a signal
    }
    let ready: Vec<bool> = watched
        .iter()
        .map(|own| !own.revents().is_empty())
        .collect();
    let now = Instant::now();
    let mut at = 0;
    clients.retain_mut(|client| {
        at += 1;
        (!ready[at] || client.go_on(live)) && now < client.until
    });
    if !ready[0] {
        return;
    }
    while let Ok((stream, _)) = listener.accept() {
        if stream.set_nonblocking(true).is_err() {
            continue;
        }
        if clients.len() == CLIENTS_MAX {
            clients.remove(0);
        }
        clients.push(Client {
            stream,
            request: Vec::new(),
            answer: Vec::new(),
            sent: 0,
            until: now + TIME,
        });
    }
}

impl Client {
    /// Reads or writes as far as it goes; false when the client is done.
    fn go_on(&mut self, live: &Live) -> bool {
        if self.answer.is_empty() && !self.read() {
            return false;
        }
        if self.answer.is_empty() {
            let Some(request) = whole(&self.request) else {
                return self.request.len() < REQUEST_MAX;
            };
            self.answer = answer(request, live);
        }
        match self.stream.write(&self.answer[self.sent..]) {
            Ok(count) => self.sent += count,
            Err(error) => return is_later(&error),
        }
        self.sent < self.answer.len()
    }

    fn read(&mut self) -> bool {
        let mut buffer = [0; 1_024];
        match self.stream.read(&mut buffer) {
            Ok(0) => return false,
            Ok(count) => self.request.extend_from_slice(&buffer[..count]),
            Err(error) => return is_later(&error),
        }
        true
    }
}

fn is_later(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

/// A request whose head has come to its end.
fn whole(bytes: &[u8]) -> Option<&str> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    Some(std::str::from_utf8(&bytes[..end]).unwrap_or_default())
}

fn answer(request: &str, live: &Live) -> Vec<u8> {
    let mut lines = request.lines();
    let mut words = lines.next().unwrap_or_default().split(' ');
    let (method, path) = (
        words.next().unwrap_or_default(),
        words.next().unwrap_or_default(),
    );
    let accept: String = lines
        .filter_map(|line| line.split_once(':'))
        .filter(|(name, _)| name.eq_ignore_ascii_case("accept"))
        .map(|(_, value)| value)
        .collect();
    let html = "text/html; charset=utf-8";
    let (status, content_type, body) = match (method, path.split('?').next().unwrap_or_default()) {
        ("GET" | "HEAD", "/metrics") => {
            let format = Format::accepted(&accept);
            let text = exposition(&live.snapshot(), format);
            ("200 OK", format.content_type(), text)
        }
        ("GET" | "HEAD", "/live.json") => ("200 OK", "application/json", live.snapshot().json()),
        ("GET" | "HEAD", "/") => ("200 OK", html, PAGE.to_string()),
        ("GET" | "HEAD", _) => {
            let text = "/ is a page, /metrics for Prometheus\n";
            ("404 Not Found", "text/plain", text.to_string())
        }
        _ => {
            let text = "only GET and HEAD\n";
            ("405 Method Not Allowed", "text/plain", text.to_string())
        }
    };
    let length = body.len();
    let policy = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'";
    let mut bytes = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n\
         Content-Security-Policy: {policy}\r\nX-Content-Type-Options: nosniff\r\nCache-Control: no-store\r\n\
         Connection: close\r\n\r\n"
    )
    .into_bytes();
    if method != "HEAD" {
        bytes.extend(body.into_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(address: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn who_hangs_keeps_nobody_waiting() {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let address = start(any, Arc::default()).unwrap();
        let began = Instant::now();
        let mut hung = Vec::new();
        for at in 0..3 * CLIENTS_MAX {
            let mut stream = TcpStream::connect(address).unwrap();
            if at % 2 == 0 {
                let _ = stream.write_all(b"GET /metrics HTTP/1.1\r\nHos"); // may have been sent away
            }
            hung.push(stream);
        }
        for _ in 0..3 {
            let text = ask(address, "GET /metrics HTTP/1.1\r\n\r\n");
            assert!(
                text.starts_with("HTTP/1.1 200 OK") && text.contains("mqload_run_info"),
                "{text}"
            );
        }
        // None of them waited for the time that others may take.
        assert!(began.elapsed() < TIME, "{:?}", began.elapsed());
    }

    #[test]
    fn nonsense_is_answered_or_ended() {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let address = start(any, Arc::default()).unwrap();
        for (request, status) in [
            ("GET / HTTP/1.1\r\n\r\n", "200"),
            ("HEAD /live.json HTTP/1.1\r\n\r\n", "200"),
            ("GET /etc/passwd HTTP/1.1\r\n\r\n", "404"),
            ("POST /metrics HTTP/1.1\r\n\r\n", "405"),
            ("\r\n\r\n", "405"),
        ] {
            let text = ask(address, request);
            assert!(
                text.starts_with(&format!("HTTP/1.1 {status}")),
                "{request}: {text}"
            );
        }
        assert!(ask(address, "HEAD / HTTP/1.1\r\n\r\n").ends_with("\r\n\r\n"));
        let mut stream = TcpStream::connect(address).unwrap();
        let _ = stream.write_all(&vec![b'x'; 2 * REQUEST_MAX]); // the other end may have closed
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        assert!(rest.is_empty(), "too long a request is no request");
    }
}
