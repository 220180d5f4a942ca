//! Protocol of coordinator and agents: JSON in frames that begin with their length (4 bytes,
//! big endian), over TCP.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::engine::Remark;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Raised when frames change; both sides must have the same, and the same mqload, since the command line
/// is read anew by each agent.
pub(super) const PROTOCOL: u32 = 2;
/// Bytes of a frame at most, before the token has been checked and after.
pub(super) const HELLO_MAX: usize = 4 << 10;
pub(super) const FRAME_MAX: usize = 8 << 20;
/// A peer that owes a frame and is silent for this long is lost.
pub(super) const SILENCE_MAX: Duration = Duration::from_secs(15);

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum ToAgent {
    Hello {
        protocol: u32,
        version: String,
        token: String,
    },
    /// The coordinator's time, which comes back with the agent's.
    Ping {
        sent_ns: u64,
    },
    Run {
        /// Command line of the scenario, without the program.
        arguments: Vec<String>,
        index: u32,
        count: u32,
        /// What the run's clock is ahead of the agent's.
        ahead_ns: i64,
        /// The run's seconds are counted from here, on its clock.
        began_ns: u64,
    },
    /// A step of the plan, by its place, on the run's clock.
    Do {
        step: usize,
        start_ns: u64,
    },
    /// Ends the step before; what is on its way may come.
    Drain,
    /// Each connection sends PINGREQ and awaits the answer.
    RoundTrip,
    /// Wants counters and timings of one moment.
    Cut,
    Finish,
    Bye,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum FromAgent {
    Refused {
        sentence: String,
    },
    Welcome {
        kernel: String,
        cpu_model: String,
    },
    Pong {
        sent_ns: u64,
        agent_ns: u64,
    },
    Ready {
        workers: usize,
        clients: u32,
    },
    /// All counters, in the order of `meter::Count`.
    Counts(Vec<u64>),
    /// By place in `meter::Timing::ALL`: a histogram, V2 deflated, base64.
    /// With the counters of the same moment.
    Timings(Vec<(usize, String)>, Vec<u64>),
    /// A worker's report begins; its parts follow.
    Report(Box<Head>),
    /// (client, messages sent, of those not acknowledged)
    Published(Vec<(u32, u64, u64)>),
    /// (receiver, publisher, [received, duplicates, reordered, holes])
    Flows(Vec<(u32, u32, [u64; 4])>),
    Remarks(Vec<(u32, Remark)>),
    Missed(Vec<u32>),
    /// All reports have been sent.
    Done,
}

/// A worker's report without its tables.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Head {
    pub(super) counts: Vec<u64>,
    pub(super) errors: BTreeMap<String, u64>,
    pub(super) interruptions: BTreeMap<String, u64>,
    pub(super) away: u64,
    pub(super) load_cpu_ns: u64,
    pub(super) load_wall_ns: u64,
    pub(super) load_asleep_ns: u64,
}

/// Why there is no frame, as the end of a sentence about the peer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PeerLost(pub(super) String);

/// Writes a frame; one write, so that it leaves at once.
pub(super) fn write(mut stream: &TcpStream, frame: &impl Serialize) -> Result<(), PeerLost> {
    let mut bytes = vec![0; 4];
    serde_json::to_writer(&mut bytes, frame)
        .map_err(|error| PeerLost(format!("cannot be told: {error}")))?;
    let length = bytes.len() - 4;
    if length > FRAME_MAX {
        return Err(PeerLost(format!("cannot be told {length} bytes at once")));
    }
    bytes[..4].copy_from_slice(&(length as u32).to_be_bytes());
    stream.write_all(&bytes).map_err(|error| lost(&error))
}

/// Reads a frame of up to `most` bytes, all of which must be there within `patience`.
pub(super) fn read<T: DeserializeOwned>(
    stream: &TcpStream,
    most: usize,
    patience: Duration,
) -> Result<T, PeerLost> {
    let deadline = Instant::now() + patience;
    let mut length = [0; 4];
    fill(stream, &mut length, deadline)?;
    let length = u32::from_be_bytes(length) as usize;
    if length > most {
        return Err(PeerLost(format!(
            "sent a frame of {length} bytes where {most} are allowed: is it mqload?"
        )));
    }
    let mut bytes = Vec::new();
    while bytes.len() < length {
        // Room is made as bytes come, not as they are announced.
        let start = bytes.len();
        bytes.resize(length.min(start + (64 << 10)), 0);
        fill(stream, &mut bytes[start..], deadline)?;
    }
    serde_json::from_slice(&bytes)
        .map_err(|error| PeerLost(format!("sent a frame that is not understood: {error}")))
}

fn fill(mut stream: &TcpStream, mut room: &mut [u8], deadline: Instant) -> Result<(), PeerLost> {
    while !room.is_empty() {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(silent());
        }
        stream
            .set_read_timeout(Some(left))
            .map_err(|error| lost(&error))?;
        match stream.read(room) {
            Ok(0) => return Err(PeerLost("closed the connection".into())),
            Ok(count) => room = &mut room[count..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(lost(&error)),
        }
    }
    Ok(())
}

fn silent() -> PeerLost {
    PeerLost("was silent for too long".into())
}

fn lost(error: &std::io::Error) -> PeerLost {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => silent(),
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::UnexpectedEof => {
            PeerLost("closed the connection".into())
        }
        _ => PeerLost(format!("cannot be reached any more: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let one = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (one, listener.accept().unwrap().0)
    }

    fn sentence(result: Result<ToAgent, PeerLost>) -> String {
        result.unwrap_err().0
    }

    #[test]
    fn frames_survive_the_wire_one_by_one() {
        let (one, other) = pair();
        write(&one, &ToAgent::Finish).unwrap();
        write(&one, &ToAgent::Ping { sent_ns: 7 }).unwrap();
        assert!(matches!(
            read(&other, HELLO_MAX, SILENCE_MAX),
            Ok(ToAgent::Finish)
        ));
        assert!(matches!(
            read(&other, HELLO_MAX, SILENCE_MAX),
            Ok(ToAgent::Ping { sent_ns: 7 })
        ));
        drop(one);
        assert_eq!(
            sentence(read(&other, HELLO_MAX, SILENCE_MAX)),
            "closed the connection"
        );
    }

    #[test]
    fn bad_frames_end_in_sentences() {
        let rows: [(&[u8], &str); 3] = [
            (&[0, 0, 16, 1], "a frame of 4097 bytes where 4096"),
            (&[0, 0, 0, 2, b'{', b'['], "is not understood"),
            (&[0, 0, 0, 9, b'{'], "closed the connection"),
        ];
        for (bytes, expected) in rows {
            let (mut one, other) = pair();
            one.write_all(bytes).unwrap();
            drop(one);
            let said = sentence(read(&other, HELLO_MAX, SILENCE_MAX));
            assert!(said.contains(expected), "{said}");
        }
    }

    #[test]
    fn a_silent_peer_is_given_up() {
        let (mut one, other) = pair();
        one.write_all(&[0, 0, 0, 9, b'{']).unwrap();
        let said = sentence(read(&other, HELLO_MAX, Duration::from_millis(1)));
        assert_eq!(said, "was silent for too long");
    }
}
