//! Questions to NATS are repeated while what was wrong may pass: servers that have just begun refuse connections, do not know each
//! other, have no leader, or do not answer.

use std::fmt::Display;
use std::future::Future;
use std::time::Duration;

use tokio::time::{sleep, Instant};

/// How long a question is asked: elections of servers that begin together are over within some seconds.
pub(super) const PATIENCE: Duration = Duration::from_secs(15);
const PAUSE: Duration = Duration::from_millis(250);

/// Codes of JetStream that say that servers are not ready: a cluster without all of its servers, or without enough of them
/// (10004, 10005), without a leader (10008, 10009), without room because servers are not there yet (10023), and Raft's own (10041).
const PASSING: [u32; 6] = [10_004, 10_005, 10_008, 10_009, 10_023, 10_041];

/// Whether the same question may be answered later. An error without a code is one of silence or of a connection.
fn passes(said: &str) -> bool {
    let code = said.split("error code ").nth(1);
    let digits = code.map(|rest| rest.trim_end_matches(|c: char| !c.is_ascii_digit()));
    let number = digits.and_then(|digits| digits.parse().ok());
    number.is_none_or(|number| PASSING.contains(&number))
}

/// Asks until there is an answer, the error is one that lasts, or the time is over; the error is that of the last question.
pub(super) async fn ask<T, E, Asked>(question: impl FnMut() -> Asked) -> Result<T, E>
where
    E: Display,
    Asked: Future<Output = Result<T, E>>,
{
    ask_while(|error: &E| passes(&error.to_string()), question).await
}

/// The same, where the caller says which errors pass.
pub(super) async fn ask_while<T, E, Asked>(
    passes: impl Fn(&E) -> bool,
    mut question: impl FnMut() -> Asked,
) -> Result<T, E>
where
    Asked: Future<Output = Result<T, E>>,
{
    let end = Instant::now() + PATIENCE;
    loop {
        match question().await {
            Err(error) if passes(&error) && Instant::now() + PAUSE < end => sleep(PAUSE).await,
            answer => return answer,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_servers_that_begin_say_passes() {
        for said in [
            "jetstream request timed out",
            "jetstream unavailable",
            "jetstream error: JetStream system temporarily unavailable (code 503, error code 10008)",
            "jetstream error: no suitable peers for placement (code 400, error code 10005)",
        ] {
            assert!(passes(said), "{said}");
        }
        let single = "jetstream error: replicas > 1 not supported in non-clustered mode (code 500, error code 10074)";
        assert!(!passes(single));
        let not_enabled = "JetStream not enabled for account (code 503, error code 10039)";
        assert!(!passes(not_enabled));
    }

    /// Answers the attempt of this number, and how many there were.
    fn attempts(answered: u32, error: &'static str) -> (Result<u32, String>, u32) {
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.enable_time().start_paused(true).build();
        let mut made = 0;
        let answer = runtime.expect("a runtime").block_on(ask(|| {
            made += 1;
            let answer = match made == answered {
                true => Ok(made),
                false => Err(error.to_owned()),
            };
            async { answer }
        }));
        (answer, made)
    }

    #[test]
    fn a_question_is_asked_again_until_it_is_answered_or_the_time_is_over() {
        assert_eq!(attempts(7, "timed out"), (Ok(7), 7));
        let most = (PATIENCE.as_millis() / PAUSE.as_millis()) as u32;
        assert_eq!(
            attempts(1_000, "timed out"),
            (Err("timed out".into()), most)
        );
        let lasts = "not enabled (code 503, error code 10039)";
        assert_eq!(attempts(7, lasts), (Err(lasts.into()), 1));
    }
}
