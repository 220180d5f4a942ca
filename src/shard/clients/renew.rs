//! Another configuration while the shard runs: limits, rates, policies of listeners.

use std::sync::Arc;

use crate::shard::clients::meters::Metering;
use crate::shard::delivery::retained_limits;
use crate::shard::sparkplug::Sparkplug;
use crate::shard::{Shard, ShardConfig};

impl Shard {
    /// Takes other limits. Listeners keep their numbers, and more may come behind them; the number of shards and all
    /// seeds stay. What is above a limit that was lowered stays; the next one is refused.
    pub fn handle_config(&mut self, config: Arc<ShardConfig>) {
        let before = Arc::clone(&self.config);
        assert!(
            config.shards == before.shards && config.listeners.len() >= before.listeners.len(),
            "what connections and places of sessions name stays"
        );
        self.admission.half_open.renew(&config);
        let metering = self.admission.metering.take();
        let ShardConfig {
            limits,
            listeners,
            shards,
            ..
        } = &*config;
        let renewed = Metering::renewed(metering, limits, listeners, *shards);
        let paces = config.paces();
        self.admission.metering =
            renewed.or_else(|| paces.then(|| Metering::for_paces(limits, listeners, *shards)));
        let (messages_max, bytes_max) = retained_limits(&config);
        self.routes.retained.set_limits(messages_max, bytes_max);
        let sparkplug = self.routes.sparkplug.take();
        self.routes.sparkplug = Sparkplug::renewed(sparkplug, limits, *shards);
        self.admission
            .lags
            .retain(|id| config.own_terms.contains_key(id));
        for client_id in before.own_terms.keys().chain(config.own_terms.keys()) {
            if let Some(session) = self.clients.by_client_id.get(&**client_id) {
                let entry = self.clients.sessions.get_mut(*session);
                let entry = entry.expect("the session of a client id is there");
                entry.has_own_terms = config.own_terms.contains_key(client_id);
            }
        }
        self.config = config;
    }
}
