//! A look whether the main address takes connections, for a bridge that is connected to another one.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use super::files;
use super::keeper::Keeper;
use crate::transport::tunnel::Tunnel;
use crate::transport::Layer;

impl Keeper {
    pub(super) fn reaches_main(&self) -> bool {
        let main = &self.bridge.addresses[0];
        match &self.bridge.proxy {
            Some(proxy) if !main.starts_with("unix:") => {
                self.is_led_by(proxy, main).unwrap_or_default()
            }
            _ => self.dial(main).is_ok(),
        }
    }

    /// A proxy takes every connection: what it leads to is known when it has answered.
    fn is_led_by(&self, proxy: &str, target: &str) -> Result<bool, String> {
        let login = files::proxy_login(&self.bridge)?;
        let (socket, _) = self.dial(proxy)?;
        let patience = Duration::from_secs(self.bridge.connect_timeout_s.into());
        let tunnel = Tunnel::new(target, login.as_deref());
        opens(socket, tunnel, patience).map_err(|error| error.to_string())
    }
}

/// Blocks until the proxy has answered.
fn opens(socket: OwnedFd, mut tunnel: Tunnel, patience: Duration) -> std::io::Result<bool> {
    let end = Instant::now() + patience;
    let mut stream = TcpStream::from(socket);
    stream.set_nonblocking(false)?;
    stream.set_write_timeout(Some(patience))?;
    let mut request = Vec::new();
    tunnel.start(&mut request);
    stream.write_all(&request)?;
    let (mut up, mut down, mut bytes) = (Vec::new(), Vec::new(), [0; 1024]);
    while !tunnel.is_open() {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(false);
        }
        stream.set_read_timeout(Some(left))?;
        let count = stream.read(&mut bytes)?;
        let taken = tunnel.receive(&mut bytes[..count], &mut up, &mut down);
        if count == 0 || taken.is_err() {
            return Ok(false);
        }
    }
    Ok(true)
}
