//! The pipe between the old and the new process: messages, with descriptors beside them.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::net::{
    recvmsg, sendmsg, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};

use crate::upgrade::Message;

/// The other end is not there any more.
pub(super) const HAS_ENDED: &str = "the new process has ended; the log has its words";

/// Descriptors beside one message at most; the kernel takes 253.
pub(super) const DESCRIPTORS_MAX: usize = 128;
/// Kind, length of the body, number of descriptors.
const HEAD: usize = 7;
/// Of a body that is read at once: a length alone reserves no more.
const PIECE: usize = 1 << 20;

/// See the module.
pub(in crate::io) struct Pipe(UnixStream);

impl Pipe {
    pub(super) fn new(stream: UnixStream) -> Self {
        Self(stream)
    }

    /// Both ends.
    pub(super) fn pair() -> io::Result<(Self, UnixStream)> {
        let (own, other) = UnixStream::pair()?;
        Ok((Self(own), other))
    }

    /// The other process has so long for each read and write.
    pub(super) fn set_patience(&self, patience: Duration) -> io::Result<()> {
        self.0.set_read_timeout(Some(patience))?;
        self.0.set_write_timeout(Some(patience))
    }

    /// Sends a message; descriptors are copied, and stay here, too.
    pub(super) fn send(&self, message: &Message, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let (kind, body) = message.encode();
        let mut head = [kind; HEAD];
        let length = u32::try_from(body.len()).map_err(io::Error::other)?;
        head[1..5].copy_from_slice(&length.to_le_bytes());
        head[5..].copy_from_slice(&(descriptors.len() as u16).to_le_bytes());
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
        let mut beside = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() && !beside.push(SendAncillaryMessage::ScmRights(descriptors)) {
            return Err(io::Error::other("too many descriptors beside one message"));
        }
        let sent = sendmsg(
            &self.0,
            &[IoSlice::new(&head)],
            &mut beside,
            SendFlags::NOSIGNAL,
        )?;
        (&self.0).write_all(&head[sent..])?;
        (&self.0).write_all(&body)
    }

    /// The next message, and what came beside it. `None`: the other process has ended.
    pub(super) fn receive(&self) -> io::Result<Option<(Message, Vec<OwnedFd>)>> {
        let mut head = [0; HEAD];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
        let mut beside = RecvAncillaryBuffer::new(&mut space);
        let mut slices = [IoSliceMut::new(&mut head)];
        let flags = RecvFlags::CMSG_CLOEXEC;
        let count = match recvmsg(&self.0, &mut slices, &mut beside, flags) {
            Ok(received) => received.bytes,
            // What was sent and not read by a process that has ended.
            Err(rustix::io::Errno::CONNRESET) => 0,
            Err(error) => return Err(error.into()),
        };
        if count == 0 {
            return Ok(None);
        }
        let mut descriptors = Vec::new();
        for message in beside.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                descriptors.extend(rights);
            }
        }
        let body = (&self.0)
            .read_exact(&mut head[count..])
            .and_then(|()| self.body(u32::from_le_bytes([head[1], head[2], head[3], head[4]])));
        let body = match body {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            body => body?,
        };
        if descriptors.len() != usize::from(u16::from_le_bytes([head[5], head[6]])) {
            let text = "descriptors were lost on their way: the limit of open files is too low (ulimit -n)";
            return Err(io::Error::other(text));
        }
        let message = Message::decode(head[0], &body).map_err(io::Error::other)?;
        Ok(Some((message, descriptors)))
    }

    fn body(&self, length: u32) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        let mut left = length as usize;
        while left > 0 {
            let piece = left.min(PIECE);
            let from = body.len();
            body.resize(from + piece, 0);
            (&self.0).read_exact(&mut body[from..])?;
            left -= piece;
        }
        Ok(body)
    }
}

/// Why something could not be sent to the new process.
pub(super) fn not_taken(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => HAS_ENDED.into(),
        _ => format!("the new process does not take what it is given: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn messages_arrive_with_what_is_beside_them_until_the_other_end_is_closed() {
        let (one, other) = Pipe::pair().unwrap();
        let other = Pipe::new(other);
        let (ours, theirs) = UnixStream::pair().unwrap();
        let large = Message::Sessions(vec![vec![7; 3 * PIECE]]);
        let reader = std::thread::spawn(move || {
            let mut found = Vec::new();
            while let Some(one) = other.receive().unwrap() {
                found.push(one);
            }
            found
        });
        one.send(&Message::Still, &[]).unwrap();
        let twice = [theirs.as_fd(), theirs.as_fd()];
        one.send(&large, &twice).unwrap();
        one.send(&Message::Ready { refused: 3 }, &[]).unwrap();
        drop((one, theirs));
        let found = reader.join().unwrap();
        let (messages, beside): (Vec<_>, Vec<_>) = found.into_iter().unzip();
        let expected = [Message::Still, large, Message::Ready { refused: 3 }];
        assert_eq!(messages, expected);
        assert_eq!(beside.each_ref_len(), [0, 2, 0]);
        (&ours).write_all(b"x").unwrap();
        let mut byte = [0];
        let moved = UnixStream::from(beside.into_iter().flatten().next().unwrap());
        (&moved).read_exact(&mut byte).unwrap();
        assert_eq!(&byte, b"x");
    }

    trait Lengths {
        fn each_ref_len(&self) -> Vec<usize>;
    }

    impl Lengths for Vec<Vec<OwnedFd>> {
        fn each_ref_len(&self) -> Vec<usize> {
            self.iter().map(Vec::len).collect()
        }
    }

    #[test]
    fn a_message_that_is_cut_is_the_end() {
        let (one, mut other) = Pipe::pair().unwrap();
        let (kind, body) = Message::Refused("a reason".into()).encode();
        let mut bytes = vec![kind];
        bytes.extend_from_slice(&(body.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&[0, 0]);
        bytes.extend_from_slice(&body[..3]);
        other.write_all(&bytes).unwrap();
        drop(other);
        assert!(one.receive().unwrap().is_none());
    }
}
