//! Certificates of the listeners: whether they load, their dates, their chains.

use ringmq::config::Checked;
use ringmq::io::look_at_tls;

use super::finding::{Finding, Weight};
use super::machine::Machine;

pub(super) fn findings(_: &Machine, checked: &Checked) -> Vec<Finding> {
    let mut found = Vec::new();
    for listener in checked
        .all_listeners()
        .iter()
        .filter(|own| own.transport.has_tls())
    {
        let address = &listener.address;
        match look_at_tls(listener) {
            Err(text) => found.push(
                Finding::new("certificates", Weight::Fatal, format!("{address}: {text}"))
                    .why("the broker does not start without them")
                    .mend("see the message; the user ringmq must be able to read the files: runuser -u ringmq -- cat FILE"),
            ),
            Ok(warnings) if warnings.is_empty() => {
                found.push(Finding::fine("certificates", format!("{address}: dates and chain are good")));
            }
            Ok(warnings) => found.extend(warnings.into_iter().map(|text| {
                Finding::new("certificates", Weight::Advice, format!("{address}: {text}"))
                    .why("clients look at dates and at the whole chain")
                    .costs("those that do so do not connect")
                    .mend("put a new certificate with its chain there, and systemctl reload ringmq")
            })),
        }
    }
    found
}
