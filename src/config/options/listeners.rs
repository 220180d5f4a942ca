//! Options of listeners in common: plain listeners, anonymous clients, watched files.

use super::{opt, Access, Opt};
use crate::config::kind::{Kind, Value};

const GROUP: &str = "Listeners";

pub(super) static OPTIONS: &[Opt] = &[
    opt(
        (GROUP, "listen"),
        Kind::Addresses,
        Access(
            |checked| Value::Addresses(checked.listen.clone()),
            |checked, value| {
                if let Value::Addresses(addresses) = value {
                    checked.listen = addresses;
                }
            },
        ),
        (
            "Address and port to listen on; may be given more than once",
            "Several addresses are a list in the file and repeated options on the command line. \
             \"0.0.0.0:1883\" and \"[::]:1883\" are all addresses of the machine; port 0 lets the \
             kernel choose. Anything but loopback needs a way to log in (password-file and others) or \
             allow-anonymous. Beside a [[listener]] the default is none, which [] says in words.",
        ),
    ),
    opt(
        (GROUP, "allow-anonymous"),
        Kind::Boolean,
        boolean!(allow_anonymous),
        (
            "Let clients without credentials connect",
            "A broker that answers the network without asking who is there must have been meant. \
             Where nobody can log in, loopback listeners take anonymous clients in any case. Who \
             gives credentials that are wrong is refused all the same.",
        ),
    ),
    opt(
        (GROUP, "watch-files"),
        Kind::Boolean,
        boolean!(run.watch_files),
        (
            "Read the files of TLS, accounts and rules again when they change",
            "As at SIGHUP, within a few seconds: one that does not load leaves the old in force. For \
             certificates that something else renews.",
        ),
    ),
];
