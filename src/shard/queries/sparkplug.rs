//! States of Sparkplug whose home is this shard.

use crate::shard::queries::rows::{Answer, NodePage, ROWS_MAX};
use crate::shard::Shard;
use crate::sparkplug::Installation;

impl Shard {
    fn installation(&self) -> Option<&Installation> {
        self.routes
            .sparkplug
            .as_deref()
            .map(|own| &own.installation)
    }

    pub(super) fn list_nodes(&self, after: Option<&str>, max: usize) -> Answer {
        let Some(own) = self.installation() else {
            return Answer::SparkplugOff;
        };
        let (rows, next) = own.nodes(after, max.clamp(1, ROWS_MAX));
        Answer::Nodes { rows, next }
    }

    pub(super) fn list_hosts(&self, after: Option<&str>, max: usize) -> Answer {
        let Some(own) = self.installation() else {
            return Answer::SparkplugOff;
        };
        let (rows, next) = own.hosts(after, max.clamp(1, ROWS_MAX));
        Answer::Hosts { rows, next }
    }

    pub(super) fn list_devices(&self, node: &str, after: Option<&str>, max: usize) -> Answer {
        let Some(own) = self.installation() else {
            return Answer::SparkplugOff;
        };
        let devices = own.devices(node, after, max.clamp(1, ROWS_MAX));
        let found = own.node(node).zip(devices);
        let page = |(node, (devices, next))| NodePage {
            node,
            devices,
            next,
        };
        Answer::Node(found.map(page).map(Box::new))
    }
}
