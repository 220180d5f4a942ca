//! Listening sockets that were open before the process began: socket activation, `LISTEN_FDS` and `LISTEN_FDNAMES`.

use std::net::TcpListener;
use std::os::fd::OwnedFd;

use listenfd::ListenFd;
use rustix::fs::{fcntl_setfl, OFlags};
use rustix::net::sockopt;

use super::errors::StartError;
use super::fd_store;
use super::listener_names::is_stored;
use crate::listener::{Address, Listener};

/// What a socket without a name is called, as systemd does.
const UNNAMED: &str = "unknown";

/// Sockets that the service manager has handed over. Lives on: the start.
#[derive(Debug, Default)]
pub(super) struct Inherited(Vec<(String, OwnedFd)>);

impl Inherited {
    /// Takes all of them from the environment, once. Each must be named by one listener, and each listener must find
    /// its own: clients would wait without an end on a socket that is never accepted from.
    pub(super) fn take(listeners: &[Listener]) -> Result<Self, StartError> {
        let text = |name: &str| std::env::var_os(name).map(|text| text.to_string_lossy().into());
        check_environment(text, std::process::id())?;
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut names = names.split(':').filter(|name| !name.is_empty());
        let mut handed = ListenFd::from_env();
        let mut found = Vec::new();
        for index in 0..handed.len() {
            let name = names.next().unwrap_or(UNNAMED).to_owned();
            let socket = listening(&mut handed, index)
                .map_err(|text| StartError::Inherited(name.clone(), text))?;
            found.push((name, socket));
        }
        let wanted = |name: &str| {
            listeners
                .iter()
                .any(|listener| matches!(&listener.address, Address::Inherited(own) if own == name))
        };
        let is_kept = |name: &str| name.starts_with(fd_store::PREFIX);
        let is_unused =
            |(name, _): &mut (String, OwnedFd)| is_kept(name) && !is_stored(name, listeners);
        for (name, _) in found.extract_if(.., is_unused) {
            tracing::info!(
                "{name} was kept by the service manager, and no listener is there any more"
            );
            fd_store::forget(&name);
        }
        match found.iter().find(|(name, _)| !wanted(name) && !is_kept(name)) {
            Some((name, _)) => Err(StartError::Inherited(
                name.clone(),
                format!("no listener uses it: give one address = \"fd:{name}\", or take it out of the socket unit"),
            )),
            None => Ok(Self(found)),
        }
    }

    /// The socket of a listener that the service manager has kept since an earlier process.
    pub(super) fn kept(&mut self, name: &str) -> Option<OwnedFd> {
        let place = self.0.iter().position(|(own, _)| own == name);
        place.map(|place| self.0.swap_remove(place).1)
    }

    /// The socket of this name.
    pub(super) fn socket(&mut self, name: &str) -> Result<OwnedFd, String> {
        self.kept(name).ok_or_else(|| {
            let names: Vec<&str> = self.0.iter().map(|(name, _)| name.as_str()).collect();
            let there = match names.is_empty() {
                true => "none was handed over".to_owned(),
                false => format!("left are: {}", names.join(", ")),
            };
            format!(
                "no socket of the name \"{name}\" was handed over by the service manager ({there}); it needs a socket \
                 unit with FileDescriptorName={name}"
            )
        })
    }
}

/// What cannot be read would look like no sockets at all, and the broker like one that listens where it should not.
fn check_environment(text: impl Fn(&str) -> Option<String>, own: u32) -> Result<(), StartError> {
    let (Some(sockets), Some(process)) = (text("LISTEN_FDS"), text("LISTEN_PID")) else {
        return Ok(()); // nothing is handed over
    };
    let is_broken = |name: &str, text: &str| {
        StartError::System(std::io::Error::other(format!(
            "{name} is \"{text}\" in its environment, which is no number: the service manager sets it, and nothing else \
             should"
        )))
    };
    let for_whom: u32 = process
        .parse()
        .map_err(|_| is_broken("LISTEN_PID", &process))?;
    let count = sockets.parse::<u16>();
    match count.map_err(|_| is_broken("LISTEN_FDS", &sockets)) {
        Err(error) if for_whom == own => Err(error),
        _ => Ok(()), // of a process before
    }
}

/// A socket that listens, as the driver wants it.
fn listening(handed: &mut ListenFd, index: usize) -> Result<OwnedFd, String> {
    let tcp: Result<Option<TcpListener>, _> = handed.take_tcp_listener(index);
    let socket: Option<OwnedFd> = match tcp {
        Ok(socket) => socket.map(OwnedFd::from),
        Err(_) => {
            let unix = handed.take_unix_listener(index);
            unix.map_err(|_| "it is no stream socket of TCP or Unix".to_owned())?
                .map(OwnedFd::from)
        }
    };
    let socket = socket.ok_or("it is not there")?;
    if !sockopt::socket_acceptconn(&socket).map_err(|error| error.to_string())? {
        return Err("it does not listen: the socket unit needs ListenStream= and Accept=no".into());
    }
    fcntl_setfl(&socket, OFlags::NONBLOCK).map_err(|error| error.to_string())?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_environment_that_cannot_be_read_is_a_sentence() {
        for (sockets, process, wrong) in [
            (None, Some("x"), None),
            (Some("x"), None, None),
            (Some("2"), Some("7"), None),
            (Some("x"), Some("8"), None), // of another process
            (Some("x"), Some("7"), Some("LISTEN_FDS is \"x\"")),
            (Some("-1"), Some("7"), Some("LISTEN_FDS is \"-1\"")),
            (Some("99999999"), Some("7"), Some("LISTEN_FDS")),
            (Some("2"), Some(""), Some("LISTEN_PID is \"\"")),
        ] {
            let text = |name: &str| match name {
                "LISTEN_FDS" => sockets.map(str::to_owned),
                _ => process.map(str::to_owned),
            };
            let found = check_environment(text, 7)
                .err()
                .map(|error| error.to_string());
            let is_right = match wrong {
                None => found.is_none(),
                Some(wrong) => found.as_ref().is_some_and(|text| text.contains(wrong)),
            };
            assert!(is_right, "{sockets:?} {process:?}: {found:?}");
        }
    }
}
