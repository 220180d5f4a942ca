//! Queries to shards: one at a time for each shard from all requests together, so that they cost a turn no more
//! than one bounded answer.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{oneshot, Semaphore};
use tokio::time::{sleep, timeout};

use super::reply::Problem;
use crate::ids::ShardId;
use crate::io::Broker;
use crate::shard::{Answer, Query};

/// A shard that takes longer to answer is stuck, or its inbox is full all the time.
const PATIENCE: Duration = Duration::from_secs(5);
/// How soon a full inbox is tried again.
const AGAIN_AFTER: Duration = Duration::from_millis(2);

pub struct Shards {
    broker: Broker,
    /// A permit goes with the query and comes back with its answer, also when no request waits for it any more.
    permits: Vec<Arc<Semaphore>>,
}

impl Shards {
    #[must_use]
    pub fn new(broker: &Broker) -> Self {
        let permits = (0..broker.shards()).map(|_| Arc::new(Semaphore::new(1)));
        Self {
            broker: broker.clone(),
            permits: permits.collect(),
        }
    }

    #[must_use]
    pub fn count(&self) -> u16 {
        self.broker.shards()
    }

    /// Asks one shard.
    ///
    /// # Errors
    /// There is no such shard, or it does not answer in time.
    pub async fn ask(&self, shard: u16, query: impl Fn() -> Query) -> Result<Answer, Problem> {
        let asked = async {
            self.begin(shard, query)
                .await?
                .await
                .map_err(|_| ended(shard))
        };
        timeout(PATIENCE, asked).await.map_err(|_| silent(shard))?
    }

    /// Asks all shards at once; the answers are in their order.
    ///
    /// # Errors
    /// One of them does not answer in time.
    pub async fn ask_all(&self, query: impl Fn() -> Query) -> Result<Vec<Answer>, Problem> {
        let mut asked = Vec::new();
        for shard in 0..self.count() {
            let begun = timeout(PATIENCE, self.begin(shard, &query)).await;
            asked.push(begun.map_err(|_| silent(shard))??);
        }
        let mut answers = Vec::new();
        for (shard, answer) in (0..).zip(asked) {
            let answer = timeout(PATIENCE, answer).await.map_err(|_| silent(shard))?;
            answers.push(answer.map_err(|_| ended(shard))?);
        }
        Ok(answers)
    }

    async fn begin(
        &self,
        shard: u16,
        query: impl Fn() -> Query,
    ) -> Result<oneshot::Receiver<Answer>, Problem> {
        let permits = self.permits.get(usize::from(shard));
        let permits = permits.ok_or_else(|| {
            let text = format!("there is no shard {shard}: there are {}", self.count());
            Problem::not_found(text)
        })?;
        // Fails only when it is closed, which it never is.
        let permit = Arc::clone(permits).acquire_owned().await;
        let mut permit = Some(permit.map_err(|_| ended(shard))?);
        loop {
            let (sender, receiver) = oneshot::channel();
            let own = permit.take();
            let reply = move |answer| {
                drop(own);
                let _ = sender.send(answer); // fails when no request waits any more
            };
            if self.broker.ask(ShardId(shard), query(), Box::new(reply)) {
                return Ok(receiver);
            }
            sleep(AGAIN_AFTER).await;
            let again = Arc::clone(permits).acquire_owned().await;
            permit = Some(again.map_err(|_| ended(shard))?);
        }
    }
}

fn silent(shard: u16) -> Problem {
    Problem::busy(format!("shard {shard} does not answer"))
}

fn ended(shard: u16) -> Problem {
    Problem::busy(format!("shard {shard} has stopped"))
}
