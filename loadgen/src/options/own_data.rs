//! People's own data: payloads from templates and files, clients from tables.

use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use ringmq::mqtt::Version;

use super::Common;
use crate::feed::Feed;
use crate::payload_template::PayloadTemplate;
use crate::plan::{Group, Plan, Subscription, Template, FED};
use crate::proof::MARK;

/// In a filter: that of all topics of a table.
pub(crate) const ALL_TOPICS: &str = "{csv:topic}/#";

/// `--payload`.
pub(super) fn payload(text: &str) -> Result<Arc<PayloadTemplate>, String> {
    let template = PayloadTemplate::parse(text).map_err(|mistake| mistake.to_string());
    template.map(Arc::new)
}

/// `--payload-file`.
pub(super) fn payload_file(path: &str) -> Result<Arc<PayloadTemplate>, String> {
    PayloadTemplate::read(Path::new(path)).map(Arc::new)
}

/// `--clients-from [GROUP=]FILE`.
#[derive(Clone, Debug)]
pub struct ClientsFrom {
    /// The one that the scenario's `--clients` counts, unless it is named.
    group: Option<String>,
    feed: Arc<Feed>,
}

impl FromStr for ClientsFrom {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let named = text.split_once('=').filter(|(name, _)| {
            let mut letters = name.chars();
            letters.all(|letter| letter.is_ascii_alphanumeric() || letter == '-')
        });
        let (group, path) = match named {
            Some((group, path)) => (Some(group.to_string()), path),
            None => (None, text),
        };
        let feed = Arc::new(Feed::read(Path::new(path))?);
        Ok(Self { group, feed })
    }
}

impl Common {
    /// Topics of publishers that have them from a table.
    pub(crate) fn topic_of_table(&self, topics: u32) -> Option<Template> {
        let mut tables = self.clients_from.iter();
        let has_topics = tables.any(|own| own.feed.has("topic"));
        has_topics.then(|| {
            Template(match topics {
                0 | 1 => "{csv:topic}".into(),
                _ => "{csv:topic}/{t}".into(),
            })
        })
    }

    /// Gives clients of the plan what their tables say; `usual` is the group that `--clients` counts.
    ///
    /// # Errors
    /// A sentence when table and plan do not go together.
    pub fn feed(&self, plan: &mut Plan, usual: &str) -> Result<(), String> {
        for own in &self.clients_from {
            let name = own.group.as_deref().unwrap_or(usual);
            let groups = plan.groups.iter();
            let Some(at) = groups.clone().position(|group| group.name == name) else {
                let names: Vec<&str> = groups.map(|group| &group.name[..]).collect();
                return Err(format!(
                    "--clients-from: there is no group {name}, but {}",
                    names.join(", ")
                ));
            };
            give(plan, at, &own.feed).map_err(|why| format!("--clients-from: {why}"))?;
            let group = &mut plan.groups[at];
            if own.feed.has("client_id") && self.client_id.is_none() {
                group.client_id = Template("{csv:client_id}".into());
            }
            give_topics(plan, at, &own.feed)?;
        }
        check_own_data(plan)
    }
}

/// Gives a group's clients their lines of a table.
///
/// # Errors
/// A sentence when there are too few, or a file of a certificate is not what it should be.
pub(crate) fn give(plan: &mut Plan, at: usize, feed: &Arc<Feed>) -> Result<(), String> {
    let group = &mut plan.groups[at];
    check_rows(feed, group.clients, &group.name)?;
    group.feed = Some(Arc::clone(feed));
    group.is_fed = true;
    if feed.has("cert") {
        let Some(tls) = &mut plan.connection.transport.tls else {
            return Err(format!(
                "{}: the column cert is of TLS: give --tls",
                feed.name
            ));
        };
        tls.give_certificates(at, feed, group.clients)?;
    }
    Ok(())
}

/// # Errors
/// A sentence when a table has fewer lines than there are clients.
pub(crate) fn check_rows(feed: &Feed, clients: u32, group: &str) -> Result<(), String> {
    let rows = feed.rows();
    if rows < clients as usize {
        return Err(format!(
            "{} has lines for {rows} clients, and {clients} are asked for ({group}): give --clients {rows}, or \
             more lines",
            feed.name
        ));
    }
    Ok(())
}

/// Topics of the table are those that its clients publish to, or subscribe to when no client publishes.
fn give_topics(plan: &mut Plan, at: usize, feed: &Arc<Feed>) -> Result<(), String> {
    if feed.has("topic") && plan.groups[at].publishing.is_none() {
        let publishes = |group: &Group| group.publishing.is_some() && group.clients > 0;
        if plan.groups.iter().any(publishes) {
            return Err(format!(
                "--clients-from: {}: its topics would be those of {}, which publish nothing: name the \
                 publishers' group before the file, or leave the column out",
                feed.name, plan.groups[at].name
            ));
        }
        let group = &mut plan.groups[at];
        let qos = group.subscriptions.first().map(|own| own.qos);
        group.subscriptions.truncate(0);
        group.subscriptions.push(Subscription {
            filter: Template("{csv:topic}".into()),
            qos: qos.unwrap_or_default(),
        });
    }
    let filter = feed.filter_of_topics();
    for group in &mut plan.groups {
        for subscription in &mut group.subscriptions {
            let text = &mut subscription.filter.0;
            *text = text.replace(ALL_TOPICS, &filter);
        }
        // The other end of its flows, by the same number.
        if group.feed.is_none() && templates(group).any(|own| own.0.contains(FED)) {
            check_rows(feed, group.clients, &group.name)?;
            group.feed = Some(Arc::clone(feed));
        }
    }
    Ok(())
}

/// All templates of a group that a table can fill.
fn templates(group: &Group) -> impl Iterator<Item = &Template> {
    let publishing = group.publishing.as_ref();
    let topic = publishing.map(|own| &own.topic);
    let response = publishing.and_then(|own| own.response_topic.as_ref());
    let will = group.will.as_ref().map(|own| &own.topic);
    let single = [topic, response, will, group.answers_to.as_ref()];
    let filters = group.subscriptions.iter().map(|own| &own.filter);
    single
        .into_iter()
        .flatten()
        .chain(filters)
        .chain([&group.client_id])
}

/// Names of the columns that a text wants.
fn columns(text: &str) -> impl Iterator<Item = &str> {
    let places = text.split(FED).skip(1);
    places.map(|place| place.split_once('}').map_or(place, |(name, _)| name))
}

/// Looks whether payloads and tables go together with the plan.
///
/// # Errors
/// A sentence when they do not.
pub(crate) fn check_own_data(plan: &Plan) -> Result<(), String> {
    for group in &plan.groups {
        let own = group
            .publishing
            .as_ref()
            .and_then(|own| own.own_payload.as_deref());
        let wanted = templates(group).flat_map(|template| columns(&template.0));
        let wanted = wanted.chain(own.into_iter().flat_map(PayloadTemplate::columns));
        for column in wanted {
            check_column(group, column)?;
        }
        if let Some(own) = own {
            check_payload(plan, group, own)?;
        }
    }
    Ok(())
}

fn check_column(group: &Group, column: &str) -> Result<(), String> {
    match &group.feed {
        Some(feed) if feed.has(column) => Ok(()),
        Some(feed) => Err(format!(
            "{{csv:{column}}}: {} has no column {column}, but {}",
            feed.name,
            feed.names()
        )),
        None => Err(format!(
            "{{csv:{column}}}: clients of {} come from no table (--clients-from FILE, in a scenario file \
             clients_from)",
            group.name
        )),
    }
}

fn check_payload(plan: &Plan, group: &Group, own: &PayloadTemplate) -> Result<(), String> {
    own.check_size(group.feed.as_deref())?;
    let properties = group.publishing.as_ref().map(|own| &own.properties.user);
    let mut names = properties.into_iter().flatten().map(|(name, _)| name);
    if own.wants_proof_beside() && names.any(|name| name == MARK) {
        return Err(format!(
            "the user property {MARK} is that of the proof: take another name"
        ));
    }
    let somebody_receives = plan
        .groups
        .iter()
        .any(|group| !group.subscriptions.is_empty());
    if own.wants_proof_beside() && somebody_receives && !plan.is_all(Version::V5) {
        return Err(
            "payloads of your own do not show which message they are, so nothing can be verified: put {proof} \
             where your format has room for 39 characters, or use MQTT 5, where the proof travels beside \
             them, or say that you do without (--unverified, in a scenario file verified = false)"
                .into(),
        );
    }
    Ok(())
}
