//! From filters that match a topic to the sessions it goes to, each once.

use std::rc::Rc;

use super::filters::FilterEntry;
use super::route::{Grant, Targets, TargetsBuilder};
use super::subscribers::Subscription;
use crate::ids::SessionId;

/// From so many subscribers on, a filter keeps its list of targets for all topics that match it
/// alone: 10,000 topics under a `#` of 1,000 subscribers are one list, not 160 MB.
const KEPT_TARGETS_MIN: usize = 8;

/// The targets of a topic that one filter matches.
pub(super) fn of_one(plain: &Rc<[Grant]>, entry: &FilterEntry) -> Rc<Targets> {
    let subscribers = &entry.subscribers;
    let build = || {
        let mut builder = TargetsBuilder::new(plain, subscribers.len());
        subscribers.for_each(|session, subscription| {
            push_target(&mut builder, session, &[subscription]);
        });
        builder.finish()
    };
    if subscribers.len() < KEPT_TARGETS_MIN {
        return build();
    }
    subscribers
        .kept_targets(build)
        .map_or_else(build, Rc::clone)
}

/// One target per session, however many of its filters match.
pub(super) fn of_several(
    plain: &Rc<[Grant]>,
    first: &FilterEntry,
    more: &[&FilterEntry],
) -> Rc<Targets> {
    let matched = || std::iter::once(&first).chain(more);
    let count = matched().map(|entry| entry.subscribers.len()).sum();
    let mut all: Vec<(SessionId, Subscription)> = Vec::with_capacity(count);
    for entry in matched() {
        entry
            .subscribers
            .for_each(|session, subscription| all.push((session, subscription)));
    }
    // Stable, so that identifiers come in the order of the match; and made for runs that are sorted.
    all.sort_by_key(|(session, _)| *session);
    let mut builder = TargetsBuilder::new(plain, count);
    let mut matching = Vec::new();
    for of_session in all.chunk_by(|one, next| one.0 == next.0) {
        matching.clear();
        matching.extend(of_session.iter().map(|(_, subscription)| *subscription));
        push_target(&mut builder, of_session[0].0, &matching);
    }
    builder.finish()
}

fn push_target(builder: &mut TargetsBuilder, session: SessionId, matching: &[Subscription]) {
    let Some(grant) = grant_number(builder, matching.iter()) else {
        return;
    };
    let own = if matching.iter().any(|one| one.options.no_local) {
        grant_number(builder, matching.iter().filter(|one| !one.options.no_local))
    } else {
        Some(grant)
    };
    builder.push(session, grant, own);
}

/// What subscriptions of one session come to; `None` when there are none.
fn grant_number<'s>(
    builder: &mut TargetsBuilder,
    matching: impl Iterator<Item = &'s Subscription>,
) -> Option<u32> {
    let mut qos = None;
    let mut retain_as_published = false;
    let mut identifiers = Vec::new(); // allocates when there are any
    for subscription in matching {
        qos = qos.max(Some(subscription.options.qos));
        retain_as_published |= subscription.options.retain_as_published;
        identifiers.extend(subscription.identifier);
    }
    Some(builder.grant(qos?, retain_as_published, &identifiers))
}
