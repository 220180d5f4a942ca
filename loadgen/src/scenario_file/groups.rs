//! `[groups.NAME]`: clients that do the same.

use ringmq::mqtt::{Qos, Version};

use super::connection::ConnectionPart;
use super::section::{At, Section};
use super::{own_data, templates};
use crate::feed::Feed;
use crate::options::{parse_version, WINDOW_MAX};
use crate::payload::PUBLISHERS_MAX;
use crate::plan::{
    Group, MessageProperties, PayloadSize, Publishing, Subscription, Template, Will, FED,
};

/// Bytes of a payload, unless the file says.
const PAYLOAD: usize = 64;
/// Filters of one SUBSCRIBE.
const SUBSCRIPTIONS_MAX: usize = 1_000;

/// A group with the line that names its clients.
pub(super) struct FileGroup {
    pub(super) group: Group,
    client_ids_line: usize,
}

pub(super) fn read(top: &mut Section<'_>, connection: &ConnectionPart) -> Vec<FileGroup> {
    let Some(sections) = top.section("groups") else {
        top.lacks("groups", "a scenario needs at least one [groups.NAME]");
        return Vec::new();
    };
    let line = sections.line;
    let mut groups: Vec<FileGroup> = Vec::new();
    for (name, section) in sections.named() {
        groups.push(group(&name, section, connection));
    }
    let clients: u64 = groups.iter().map(|own| u64::from(own.group.clients)).sum();
    if clients > u64::from(PUBLISHERS_MAX) {
        let text = format!("{clients} clients in all: {PUBLISHERS_MAX} at most");
        top.mistake(line, "groups", text);
    }
    for (at, own) in groups.iter().enumerate() {
        let others = &groups[..at];
        let template = &own.group.client_id;
        if let Some(other) = others
            .iter()
            .find(|other| other.group.client_id == *template)
        {
            let text = format!(
                "clients of {} have the same identifiers: put {{g}} in it",
                other.group.name
            );
            let key = format!("groups.{}.client_id", own.group.name);
            top.mistake(own.client_ids_line, &key, text);
        }
    }
    groups
}

fn group(name: &str, mut section: Section<'_>, connection: &ConnectionPart) -> FileGroup {
    let (clients, feed) = own_data::clients(&mut section, PUBLISHERS_MAX);
    let has_ids = feed
        .as_ref()
        .is_some_and(|feed| feed.value.has("client_id"));
    let usual = Template(if has_ids {
        "{csv:client_id}".into()
    } else {
        format!("mqload-{{r}}-{name}-{{i}}")
    });
    let client_id = templates::client_id(&mut section, name);
    let client_ids_line = client_id.as_ref().map_or(section.line, |at| at.line);
    if let Some(At { value, line }) = &client_id {
        if clients > 1 && !value.0.contains("{i}") && !value.0.contains(FED) {
            let text = "all clients would have the same identifier: put {i} in it";
            section.mistake(*line, "client_id", text);
        }
    }
    let mut group = Group::new(name, clients, client_id.map_or(usual, |at| at.value));
    group.versions = versions(&mut section);
    let mut spoken = group.versions.iter();
    let is_v5 = if group.versions.is_empty() {
        connection.version.is_v5()
    } else {
        spoken.any(|version| version.is_v5())
    };
    group.is_fed = feed.is_some();
    group.feed = feed.map(|feed| feed.value);
    if let Some(clean_start) = section.flag("clean_start") {
        group.session.clean_start = clean_start.value;
    }
    if let Some(expiry) = section.count("session_expiry_s", 0, u64::from(u32::MAX)) {
        needs_v5(&section, &expiry, "session_expiry_s", is_v5);
        group.session.expiry_interval_s = Some(expiry.value as u32);
    }
    // Below 20 nothing would be read for seconds.
    group.read_bytes_per_s = section
        .count("read_bytes_per_s", 20, u64::MAX >> 1)
        .map(|rate| rate.value);
    group.untimed = group.read_bytes_per_s.is_some();
    group.publishing = section
        .section("publish")
        .map(|section| publishing(section, is_v5, group.feed.as_deref()));
    group.subscriptions = subscriptions(&mut section);
    let will_line = section.section("will").map(|own| {
        let line = own.line;
        group.will = Some(will(own));
        line
    });
    if let Some(line) = will_line.filter(|_| group.publishing.is_some()) {
        let text = "give it to a group that publishes nothing: its clients' wills are verified";
        section.mistake(line, "will", text);
    }
    section.end();
    FileGroup {
        group,
        client_ids_line,
    }
}

/// `protocol`: one, or several that clients take in turn.
fn versions(section: &mut Section<'_>) -> Vec<Version> {
    let Some(At { value, line }) = section.texts("protocol") else {
        return Vec::new();
    };
    let mut versions = Vec::new();
    for text in value {
        match parse_version(&text) {
            Ok(version) => versions.push(version),
            Err(why) => section.mistake(line, "protocol", format!("{text}: {why}")),
        }
    }
    versions
}

fn publishing(mut section: Section<'_>, is_v5: bool, feed: Option<&Feed>) -> Publishing {
    let topic = templates::topic(&mut section);
    let has_topics = feed.is_some_and(|feed| feed.has("topic"));
    if topic.is_none() && !section.has("topic") && !has_topics {
        section.lacks("topic", "publish to which topic? give topic = \"a/{i}\"");
    }
    let topics = section.count("topics", 1, 1 << 20);
    let qos = qos(&mut section);
    let window = section.count("window", 1, u64::from(WINDOW_MAX));
    if let Some(window) = &window {
        if qos == Qos::AtMostOnce {
            section.mistake(
                window.line,
                "window",
                "needs qos 1 or 2: messages of QoS 0 are not acknowledged",
            );
        }
    }
    let alias = section.flag("topic_alias");
    if let Some(alias) = alias.as_ref().filter(|alias| alias.value) {
        needs_v5(&section, alias, "topic_alias", is_v5);
        if topics.as_ref().is_some_and(|topics| topics.value > 65_535) {
            section.mistake(alias.line, "topic_alias", "there are 65535 aliases at most");
        }
    }
    let publishing = Publishing {
        topic: topic.map_or(Template("{csv:topic}".into()), |topic| topic.value),
        topics: topics.map_or(1, |topics| topics.value as u32),
        qos,
        retain: section.flag("retain").is_some_and(|retain| retain.value),
        payload: section
            .parsed("payload_size", str::parse)
            .map_or(PayloadSize::Fixed(PAYLOAD), |size| size.value),
        own_payload: own_data::payload(&mut section),
        topic_alias: alias.is_some_and(|alias| alias.value),
        properties: properties(&mut section, is_v5),
        response_topic: None,
        window: window.map(|window| window.value as u16),
    };
    section.end();
    publishing
}

fn properties(section: &mut Section<'_>, is_v5: bool) -> MessageProperties {
    let expiry = section.count("message_expiry_s", 0, u64::from(u32::MAX));
    let content_type = section.text("content_type");
    let user = section.pairs("user_properties");
    if let Some(at) = &expiry {
        needs_v5(section, at, "message_expiry_s", is_v5);
    }
    if let Some(at) = &content_type {
        needs_v5(section, at, "content_type", is_v5);
    }
    if let Some(at) = &user {
        needs_v5(section, at, "user_properties", is_v5);
    }
    MessageProperties {
        message_expiry_interval_s: expiry.map(|expiry| expiry.value as u32),
        content_type: content_type.map(|text| text.value),
        user: user.map_or(Vec::new(), |user| user.value),
    }
}

fn subscriptions(section: &mut Section<'_>) -> Vec<Subscription> {
    let sections = section.list("subscribe");
    if sections.len() > SUBSCRIPTIONS_MAX {
        section.lacks("subscribe", format!("{SUBSCRIPTIONS_MAX} filters at most"));
    }
    let mut subscriptions = Vec::new();
    for mut section in sections {
        let filter = templates::filter(&mut section);
        if filter.is_none() && !section.has("filter") {
            section.lacks("filter", "subscribe to which filter? give filter = \"a/+\"");
        }
        let qos = qos(&mut section);
        if let Some(filter) = filter {
            let filter = filter.value;
            subscriptions.push(Subscription { filter, qos });
        }
        section.end();
    }
    subscriptions
}

fn will(mut section: Section<'_>) -> Will {
    let topic = templates::topic(&mut section);
    if topic.is_none() && !section.has("topic") {
        section.lacks("topic", "which topic? give topic = \"will/{i}\"");
    }
    let will = Will {
        topic: topic.map_or(Template("x".into()), |topic| topic.value),
        qos: qos(&mut section),
    };
    section.end();
    will
}

fn qos(section: &mut Section<'_>) -> Qos {
    let qos = section.count("qos", 0, 2);
    qos.and_then(|qos| Qos::from_bits(qos.value as u8))
        .unwrap_or(Qos::AtMostOnce)
}

fn needs_v5<T>(section: &Section<'_>, at: &At<T>, key: &str, is_v5: bool) {
    if !is_v5 {
        let text = "needs MQTT 5: give protocol = \"5\" in [connection]";
        section.mistake(at.line, key, text);
    }
}
