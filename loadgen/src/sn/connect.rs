//! Clients that connect, all of them, and disconnect.

use std::time::{Duration, Instant};

use clap::Args;
use hdrhistogram::Histogram;
use ringmq::mqtt_sn::{self, Message, ReturnCode, PROTOCOL_ID};

use super::fleet::Fleet;
use super::result::{SnResult, Times};
use super::Common;

/// Keep alive and sleep of clients: longer than any run.
pub(super) const DURATION_S: u16 = 3_600;
/// Clients that wait for an answer at once, so that buffers of sockets do not overflow.
pub(super) const AT_ONCE: usize = 512;
/// Longest time between two looks at what is to be done.
pub(super) const LOOK: Duration = Duration::from_millis(20);

#[derive(Args, Clone, Debug)]
pub(super) struct Connect {
    #[command(flatten)]
    pub(super) common: Common,
}

impl Connect {
    pub(super) fn run(&self) -> Result<SnResult, String> {
        let mut fleet = self.common.fleet(0)?;
        let mut result = SnResult {
            scenario: "connect",
            clients: self.common.clients,
            ..SnResult::default()
        };
        let begun = Instant::now();
        let all = 0..self.common.clients;
        let latency = connect(&self.common, &mut fleet, all.clone())?;
        result.connected = latency.len() as usize;
        result.took(begun.elapsed(), latency.len());
        result.latency = Times::of(&latency);
        for client in all {
            fleet.send(client, &Message::Disconnect(None));
        }
        result.timed_out = result.connected < result.clients;
        result.retransmitted = fleet.retransmitted;
        Ok(result)
    }
}

/// Connects clients; the times that took, of those that did.
pub(super) fn connect(
    common: &Common,
    fleet: &mut Fleet,
    clients: std::ops::Range<usize>,
) -> Result<Histogram<u64>, String> {
    let mut latency = histogram();
    each(
        common,
        fleet,
        clients,
        &mut latency,
        &mut |fleet, client| {
            let client_id = common.client_id(client);
            let connect = Message::Connect(mqtt_sn::Connect {
                will: false,
                clean_session: true,
                protocol_id: PROTOCOL_ID,
                duration_s: DURATION_S,
                client_id: &client_id,
            });
            fleet.ask(client, &connect);
            matches_connack
        },
    )?;
    Ok(latency)
}

fn matches_connack(message: &Message<'_>) -> bool {
    matches!(message, Message::ConnAck(ReturnCode::Accepted))
}

/// Whether a message is the answer to a request.
pub(super) type IsAnswer = fn(&Message<'_>) -> bool;

/// Each client asks something once, [`AT_ONCE`] at a time, and the times until their answers are recorded.
pub(super) fn each(
    common: &Common,
    fleet: &mut Fleet,
    clients: std::ops::Range<usize>,
    latency: &mut Histogram<u64>,
    ask: &mut dyn FnMut(&mut Fleet, usize) -> IsAnswer,
) -> Result<(), String> {
    let until = Instant::now() + common.timeout;
    let first = clients.start;
    let mut asked: Vec<Option<(Instant, IsAnswer)>> = vec![None; clients.len()];
    let mut next = clients.start;
    let mut open = 0;
    let given_up = fleet.given_up;
    while (next < clients.end || open > 0) && Instant::now() < until {
        while next < clients.end && open < AT_ONCE {
            let is_answer = ask(fleet, next);
            asked[next - first] = Some((Instant::now(), is_answer));
            next += 1;
            open += 1;
        }
        fleet.turn(LOOK, &mut |fleet, client, message| {
            let Some(slot) = client.checked_sub(first).and_then(|at| asked.get_mut(at)) else {
                return;
            };
            if slot.is_some_and(|(_, is_answer)| is_answer(message)) {
                if let Some((begun, _)) = slot.take() {
                    latency.saturating_record(begun.elapsed().as_micros() as u64);
                    fleet.answered(client);
                    open -= 1;
                }
            }
        })?;
        if fleet.given_up > given_up {
            return Err(format!(
                "{} clients were not answered: is there a listener of MQTT-SN at {}?",
                fleet.given_up - given_up,
                common.target
            ));
        }
    }
    Ok(())
}

/// Microseconds up to some minutes.
pub(super) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 600_000_000, 3).expect("these bounds are valid")
}
