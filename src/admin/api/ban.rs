//! One ban: whom, until when, by whom and why; as JSON, too.

use std::net::IpAddr;

use serde_json::{json, Value};

use crate::admin::Problem;

/// Who is banned.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Banned {
    Client(Box<str>),
    User(Box<str>),
    Address(IpAddr),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ban {
    pub(super) whom: Banned,
    /// Seconds since 1970; `None`: until it is lifted.
    pub(super) until_s: Option<u64>,
    pub(super) by: String,
    pub(super) reason: String,
}

impl Ban {
    /// As the API shows it and the file keeps it.
    pub(super) fn to_json(&self) -> Value {
        let (kind, whom) = match &self.whom {
            Banned::Client(id) => ("client", id.to_string()),
            Banned::User(user) => ("user", user.to_string()),
            Banned::Address(address) => ("address", address.to_string()),
        };
        json!({ kind: whom, "until_s": self.until_s, "by": self.by, "reason": self.reason })
    }

    /// `None`: it is none.
    pub(super) fn of_json(value: &Value) -> Option<Self> {
        let text = |name: &str| value.get(name).and_then(Value::as_str);
        let until_s = match &value["until_s"] {
            Value::Null => None,
            seconds => Some(seconds.as_u64()?),
        };
        Some(Self {
            whom: Banned::named(&text).ok()?,
            until_s,
            by: text("by")?.into(),
            reason: text("reason")?.into(),
        })
    }
}

impl Banned {
    /// Exactly one of client, user and address.
    pub(super) fn named<'a>(text: &impl Fn(&str) -> Option<&'a str>) -> Result<Self, Problem> {
        let wrong = || Problem::bad_request("one of client, user and address says who is meant");
        match (text("client"), text("user"), text("address")) {
            (Some(id), None, None) => Ok(Self::Client(id.into())),
            (None, Some(user), None) => Ok(Self::User(user.into())),
            (None, None, Some(address)) => {
                let parsed = address.parse().map(Self::Address);
                parsed.map_err(|_| {
                    let text = address.escape_debug();
                    Problem::bad_request(format!("address: \"{text}\" is not an IP address"))
                })
            }
            _ => Err(wrong()),
        }
    }
}
