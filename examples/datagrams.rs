//! The least that a broker can cost which takes datagrams: a bare loop of `recvmmsg`.
//!
//! Takes up to 64 datagrams with one call, with the addresses they come from, as the broker does, and looks at nothing.
//! What `mqload sn flood --alone` sends to it is the price of the kernel alone, below which no broker gets that makes
//! this call. When nothing has come for a second after the first datagram it says what each has cost, and ends.
//!
//! ```sh
//! cargo run --release --example datagrams -- 1884
//! mqload sn flood --alone --target 127.0.0.1:1884
//! ```

use std::io;
use std::mem::{size_of, zeroed};
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::time::Duration;

/// As the broker receives at once.
const BATCH: usize = 64;
/// Room for one, as the broker has by default.
const ROOM: usize = 1_040;
/// As the broker asks for.
const RECEIVE_BUFFER: libc::c_int = 4 << 20;

fn main() -> io::Result<()> {
    let port = std::env::args().nth(1).and_then(|text| text.parse().ok());
    let Some(port) = port else {
        eprintln!("usage: datagrams PORT");
        std::process::exit(2);
    };
    let socket = UdpSocket::bind(("127.0.0.1", port))?;
    set_receive_buffer(&socket);
    socket.set_read_timeout(Some(Duration::from_secs(1)))?;
    println!(
        "counting on 127.0.0.1:{port}, process {}",
        std::process::id()
    );
    let mut bytes = vec![0; BATCH * ROOM];
    let (mut count, mut calls) = (0_u64, 0_u64);
    let mut before = cpu()?;
    loop {
        match receive(&socket, &mut bytes) {
            Ok(received) => {
                count += received as u64;
                calls += 1;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && count > 0 => break,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => before = cpu()?,
            Err(error) => return Err(error),
        }
    }
    let took = cpu()? - before;
    let each = took.as_nanos() as f64 / count as f64;
    println!(
        "{count} datagrams in {calls} calls, {:.2} s of CPU: {each:.0} ns of CPU for each",
        took.as_secs_f64()
    );
    Ok(())
}

/// Waits for the first, and takes what has come by then.
fn receive(socket: &UdpSocket, bytes: &mut [u8]) -> io::Result<usize> {
    // SAFETY: all of these are plain numbers and pointers, for which zeros are a value.
    let mut names: [libc::sockaddr_storage; BATCH] = unsafe { zeroed() };
    // SAFETY: as above.
    let mut parts: [libc::iovec; BATCH] = unsafe { zeroed() };
    // SAFETY: as above.
    let mut headers: [libc::mmsghdr; BATCH] = unsafe { zeroed() };
    let rows = headers.iter_mut().zip(&mut parts).zip(&mut names);
    for (((header, part), name), room) in rows.zip(bytes.chunks_exact_mut(ROOM)) {
        part.iov_base = room.as_mut_ptr().cast();
        part.iov_len = room.len();
        header.msg_hdr.msg_iov = part;
        header.msg_hdr.msg_iovlen = 1;
        header.msg_hdr.msg_name = std::ptr::from_mut(name).cast();
        header.msg_hdr.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
    }
    // SAFETY: the headers point to names, parts and rooms that outlive the call, each of its own.
    let count = unsafe {
        libc::recvmmsg(
            socket.as_raw_fd(),
            headers.as_mut_ptr(),
            BATCH as libc::c_uint,
            libc::MSG_WAITFORONE,
            std::ptr::null_mut(),
        )
    };
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}

/// A failure costs datagrams in bursts, and nothing else.
fn set_receive_buffer(socket: &UdpSocket) {
    let size = RECEIVE_BUFFER;
    // SAFETY: the option's value is an int that lives through the call, and its length is its own.
    unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_RCVBUF,
            (&raw const size).cast(),
            size_of_val(&size) as libc::socklen_t,
        );
    }
}

/// CPU time of this process.
fn cpu() -> io::Result<Duration> {
    // SAFETY: numbers alone, for which zeros are a value.
    let mut usage: libc::rusage = unsafe { zeroed() };
    // SAFETY: the kernel writes a value of this type.
    if unsafe { libc::getrusage(libc::RUSAGE_SELF, &raw mut usage) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let of = |time: libc::timeval| Duration::new(time.tv_sec as u64, time.tv_usec as u32 * 1_000);
    Ok(of(usage.ru_utime) + of(usage.ru_stime))
}
