//! A request as its handler gets it: read whole, within bounds, from someone who may make it.

use std::sync::Arc;

use bytes::Bytes;
use hyper::header::HeaderMap;
use hyper::upgrade::OnUpgrade;
use hyper::Method;
use serde_json::Value;

use super::path::Params;
use super::reply::Problem;
use super::role::Who;
use super::Admin;

pub struct Request {
    pub admin: Arc<Admin>,
    pub who: Who,
    pub method: Method,
    pub headers: HeaderMap,
    /// Behind the `?`.
    pub query: Vec<(String, String)>,
    pub body: Bytes,
    /// To take the connection over, after a reply of 101.
    pub upgrade: Option<OnUpgrade>,
    pub(super) params: Params,
}

impl Request {
    /// The value of `{name}` in the path; empty if the route has none of that name.
    #[must_use]
    pub fn param(&self, name: &str) -> &str {
        let found = self.params.iter().find(|(own, _)| *own == name);
        found.map_or("", |(_, value)| value)
    }

    /// The first value of this name behind the `?`.
    #[must_use]
    pub fn query(&self, name: &str) -> Option<&str> {
        let found = self.query.iter().find(|(own, _)| own == name);
        found.map(|(_, value)| &value[..])
    }

    /// A number behind the `?`.
    ///
    /// # Errors
    /// It is none.
    pub fn number(&self, name: &str) -> Result<Option<u64>, Problem> {
        let wrong = |text: &str| {
            Problem::bad_request(format!(
                "{name}: \"{}\" is not a whole number",
                text.escape_debug()
            ))
        };
        self.query(name)
            .map(|text| text.parse().map_err(|_| wrong(text)))
            .transpose()
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// It is none.
    pub fn json(&self) -> Result<Value, Problem> {
        serde_json::from_slice(&self.body)
            .map_err(|error| Problem::bad_request(format!("the body is not JSON: {error}")))
    }
}
