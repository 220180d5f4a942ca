//! Consistency of the options with the plan they are for.

use super::Common;
use crate::plan::{Group, MessageProperties, Plan, Session};

/// Before MQTT 5 a password without a user name is malformed [MQTT-3.1.2-22].
///
/// # Errors
/// A sentence when clients would send that.
pub(crate) fn check_password(plan: &Plan) -> Result<(), String> {
    let common = &plan.connection;
    let is_lonely = common.password.is_some() && common.user.is_none();
    let all_have_users = plan.groups.iter().all(|group| {
        let feed = group.feed.as_ref().filter(|_| group.is_fed);
        feed.is_some_and(|feed| feed.has("user"))
    });
    let has_v3 = plan.versions().iter().any(|version| !version.is_v5());
    if is_lonely && has_v3 && !all_have_users {
        return Err(
            "there is a password and no user name, which MQTT before 5 does not have: give --user"
                .into(),
        );
    }
    Ok(())
}

impl Common {
    /// Looks whether the options go together with the plan.
    ///
    /// # Errors
    /// A sentence when they do not.
    pub fn check(&self, plan: &Plan) -> Result<(), String> {
        if self.session_expiry_s.is_some() && !self.has_v5() {
            return Err("--session-expiry-s needs --protocol 5".into());
        }
        let has_properties = |group: &Group| {
            let publishing = group.publishing.as_ref();
            publishing.is_some_and(|publishing| {
                publishing.topic_alias || publishing.properties != MessageProperties::default()
            })
        };
        if plan.groups.iter().any(has_properties) && !self.has_v5() {
            return Err(
                "topic aliases, user properties, content type and message expiry need --protocol 5"
                    .into(),
            );
        }
        let alike = |place: &str| {
            let template = self.client_id.as_ref();
            template.is_some_and(|template| !template.0.contains(place))
        };
        let others = plan
            .groups
            .iter()
            .filter(|group| group.clients > 0 && !group.is_taken_over);
        if alike("{g}") && others.count() > 1 {
            return Err(
                "--client-id: clients of two groups would have the same identifier, put {g} in it"
                    .into(),
            );
        }
        if alike("{i}") && plan.groups.iter().any(|group| group.clients > 1) {
            return Err(
                "--client-id: clients would have the same identifier, put {i} in it".into(),
            );
        }
        Ok(())
    }

    /// Gives the session asked for to clients whose scenario does not need another.
    pub fn set_sessions(&self, plan: &mut Plan) {
        let asked = Session {
            clean_start: self.clean_start,
            expiry_interval_s: self.session_expiry_s,
        };
        let plain = |group: &&mut Group| group.session == Session::default();
        let groups = plan.groups.iter_mut().filter(plain);
        groups.for_each(|group| group.session = asked.clone());
    }
}
