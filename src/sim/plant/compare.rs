//! A plant at rest: its certificates, what its host has seen, and the states of its nodes.

use super::host::{Got, Host};
use super::node::{Death, State};
use super::{Run, CERTIFICATES};
use crate::shard::{Answer, Query};

impl Run {
    /// What a client finds that comes now.
    pub(super) fn compare_certificates(&mut self) -> Result<(), String> {
        self.newcomers += 1;
        let shard = self.shard();
        let link = self.world.open(shard);
        let name = format!("newcomer-{}", self.newcomers);
        let (mut newcomer, hello) = Host::new(link, &name, &[CERTIFICATES]);
        self.world.send(link, &hello);
        self.world.settle();
        newcomer.unread = std::mem::take(&mut self.world.links[link].received);
        let (got, _) = newcomer.read();
        self.world.close(link);
        for births in self.nodes.iter().flat_map(|node| &node.births) {
            let topic = births.certificate();
            let found: Vec<_> = got.iter().filter(|got| got.topic == topic).collect();
            let number = |got: &Got| births.find(&got.payload).map_or(0, |number| number + 1);
            let numbers: Vec<usize> = found.iter().map(|got| number(got)).collect();
            let is_right = match numbers[..] {
                [] => births.had == 0,
                [number] => number >= births.had.max(1) && found[0].retain,
                _ => false,
            };
            if !is_right {
                let (had, sent) = (births.had, births.sent.len());
                return Err(format!(
                    "{topic}: {numbers:?} found, of {sent} births the broker has {had}"
                ));
            }
        }
        Ok(())
    }

    /// The host has seen all births that it should have, with their certificates, and every death once.
    pub(super) fn compare_seen(&self) -> Result<(), String> {
        let by = self.by();
        let has = |topic: &str, payload: &[u8]| {
            let mut got = self.got.iter();
            got.any(|got| got.topic == topic && got.payload == payload)
        };
        for births in self.nodes.iter().flat_map(|node| &node.births) {
            for birth in births
                .sent
                .iter()
                .filter(|it| it.is_had && it.seen_by == by)
            {
                if !has(&births.topic, &birth.payload)
                    || !has(&births.certificate(), &birth.payload)
                {
                    return Err(format!("{} was not seen with its copy", births.topic));
                }
            }
        }
        for node in &self.nodes {
            let must = |death: &&Death| death.seen_by == by && death.seen == 0;
            let wrong = |death: &&Death| must(death) || death.seen > 1;
            if let Some(death) = node.deaths.iter().find(wrong) {
                let (topic, seen) = (node.death_topic(), death.seen);
                return Err(format!("{topic} was seen {seen} times"));
            }
        }
        Ok(())
    }

    /// What is known of nodes.
    pub(super) fn compare_states(&mut self) -> Result<(), String> {
        for node in &self.nodes {
            let query = Query::Node {
                node: node.key(),
                after: None,
                max: 9,
            };
            let now = self.world.now;
            let shards = self.world.shards.iter_mut();
            let found = shards.filter_map(|shard| match shard.handle_query(&query, now) {
                Answer::Node(found) => found.map(|page| page.node),
                _ => None,
            });
            let found: Vec<_> = found.collect();
            let is_online = node.state == State::Up && node.is_born;
            let is_right = match &found[..] {
                // A birth that is acknowledged has left a certificate, which the next process reads.
                [] => !is_online && node.births[0].kept == 0,
                [row] => {
                    let is_same = row.bd_seq == Some(node.bd_seq()) && row.devices_online == 2;
                    row.online == is_online && row.gaps == 0 && (!is_online || is_same)
                }
                _ => false,
            };
            if !is_right {
                return Err(format!("{node:?} is held for {found:?}"));
            }
        }
        Ok(())
    }
}
