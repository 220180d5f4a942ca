//! Subscriptions of a client: all of its group's filters are asked for, or given up, in one packet.

use ringmq::mqtt::encode::{self, SubscribeOut, UnsubscribeOut};
use ringmq::mqtt::{PacketId, RetainHandling, SubscriptionOptions};

use super::{Client, Context, Promise};
use crate::plan::Plan;

/// SUBSCRIBE and UNSUBSCRIBE use the highest identifier, one at a time; PUBLISH begins at the lowest.
const CONTROL_ID: PacketId = PacketId(std::num::NonZeroU16::MAX);

impl Client {
    /// Appends SUBSCRIBE for all of the group's filters; false when there are none.
    pub fn subscribe(&mut self, cx: &mut Context<'_>) -> bool {
        let plan = cx.plan;
        let own = self.own(plan);
        let filters = self.filters(plan);
        let filters: Vec<_> = filters.iter().zip(&own.subscriptions).collect();
        let filters: Vec<(&str, SubscriptionOptions)> = filters
            .iter()
            .map(|(filter, subscription)| {
                let options = SubscriptionOptions {
                    qos: subscription.qos,
                    no_local: false,
                    retain_as_published: false,
                    retain_handling: RetainHandling::default(),
                };
                (filter.as_str(), options)
            })
            .collect();
        if filters.is_empty() {
            return false;
        }
        self.subscribes = true;
        let subscribe = SubscribeOut {
            packet_id: CONTROL_ID,
            subscription_identifier: None,
            user_properties: ringmq::mqtt::UserProperties::default(),
            filters: &filters,
        };
        encode::subscribe(&mut self.out, self.version, &subscribe);
        self.awaits_suback = true;
        self.ask(Promise::SubAck, cx);
        true
    }

    /// Appends UNSUBSCRIBE for all of the group's filters; false when there are none.
    pub fn unsubscribe(&mut self, cx: &mut Context<'_>) -> bool {
        let plan = cx.plan;
        let filters = self.filters(plan);
        let filters: Vec<&str> = filters.iter().map(String::as_str).collect();
        if filters.is_empty() {
            return false;
        }
        self.subscribes = false;
        self.is_subscribed = false;
        self.granted = None;
        let unsubscribe = UnsubscribeOut {
            packet_id: CONTROL_ID,
            user_properties: ringmq::mqtt::UserProperties::default(),
            filters: &filters,
        };
        encode::unsubscribe(&mut self.out, self.version, &unsubscribe);
        self.awaits_unsuback = true;
        self.ask(Promise::UnsubAck, cx);
        true
    }

    /// Filters of this client, with its number filled in.
    #[must_use]
    pub fn filters(&self, plan: &Plan) -> Vec<String> {
        let own = self.own(plan);
        let fill = |subscription: &crate::plan::Subscription| {
            own.fill(&subscription.filter, self.index, 0, plan.seed)
        };
        own.subscriptions.iter().map(fill).collect()
    }
}
