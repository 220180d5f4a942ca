//! From a request as it came to the answer of its route: origin, login, role, body, audit.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::header::{HeaderValue, ALLOW, UPGRADE};
use hyper::{Method, StatusCode};
use tokio::time::timeout;

use super::login::unauthorized;
use super::path::Params;
use super::reply::{strict, Problem, Reply};
use super::request::Request;
use super::role::{Needs, Peer, Role, Who};
use super::route::{self, Found, Route};
use super::{origin, path, Admin};

/// Bytes of a request's body.
const BODY_MAX: usize = 64 << 10;
/// How long a body may take to come, and a handler to answer.
const BODY_PATIENCE: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_secs(30);

/// A connection that requests come by.
#[derive(Clone)]
pub(super) struct Connection {
    pub(super) admin: Arc<Admin>,
    pub(super) peer: Peer,
    /// Its listener can be reached by other machines.
    pub(super) needs_login: bool,
}

impl Connection {
    pub(super) async fn answer(
        self,
        request: hyper::Request<Incoming>,
    ) -> Result<Reply, Infallible> {
        let reply = self.try_answer(request).await;
        Ok(strict(reply.unwrap_or_else(Problem::into_reply)))
    }

    async fn try_answer(&self, mut request: hyper::Request<Incoming>) -> Result<Reply, Problem> {
        let upgrade = request.headers().contains_key(UPGRADE);
        let upgrade = upgrade.then(|| hyper::upgrade::on(&mut request));
        let (head, body) = request.into_parts();
        let settings = self.admin.settings();
        let who = self
            .admin
            .logins
            .who(&settings, &head.headers, &self.peer, self.needs_login)
            .await?;
        let checked = origin::check(&head.method, &head.headers, who.is_bearer, self.needs_login);
        checked.map_err(|text| Problem::new(StatusCode::FORBIDDEN, text))?;
        let (route, params) = self.find(&head.method, head.uri.path())?;
        allow(&who, route)?;
        let query = path::query(head.uri.query().unwrap_or_default());
        let query = query.ok_or_else(|| Problem::bad_request("the query is not UTF-8"))?;
        let collected = timeout(BODY_PATIENCE, Limited::new(body, BODY_MAX).collect()).await;
        let body = match collected {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(_)) => {
                let text = format!("the body is cut off or larger than {BODY_MAX} bytes");
                return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, text));
            }
            Err(_) => {
                let text = "the body takes too long to come";
                return Err(Problem::new(StatusCode::REQUEST_TIMEOUT, text));
            }
        };
        let request = Request {
            admin: Arc::clone(&self.admin),
            who: who.clone(),
            method: head.method.clone(),
            headers: head.headers,
            query,
            body,
            upgrade,
            params,
        };
        let answered = timeout(PATIENCE, (route.handle)(request)).await;
        let answered = answered.unwrap_or_else(|_| Err(Problem::busy("it takes too long")));
        if !origin::only_reads(&head.method) {
            let status = match &answered {
                Ok(reply) => reply.status(),
                Err(problem) => problem.status,
            };
            audit(&who, &head.method, &head.uri, status);
        }
        answered
    }

    fn find(&self, method: &Method, path: &str) -> Result<(&Route, Params), Problem> {
        match route::find(&self.admin.routes, method, path) {
            Found::Route(route, params) => Ok((route, params)),
            Found::Nothing => Err(Problem::not_found(format!("there is nothing at {path}"))),
            Found::OtherMethods(methods) => {
                let methods: Vec<&str> = methods.into_iter().map(Method::as_str).collect();
                let text = methods.join(", ");
                let detail = format!("{path} takes {text}");
                let problem = Problem::new(StatusCode::METHOD_NOT_ALLOWED, detail);
                Err(match HeaderValue::from_str(&text) {
                    Ok(value) => problem.with(ALLOW, value),
                    Err(_) => problem,
                })
            }
        }
    }
}

fn allow(who: &Who, route: &Route) -> Result<(), Problem> {
    if who.may(route.needs) {
        return Ok(());
    }
    let needed = match route.needs {
        Needs::Role(role) => role.word(),
        Needs::Nothing => "",
    };
    match who.role.map(Role::word) {
        None => Err(unauthorized(
            "log in with an account that has a role, or a bearer token",
        )),
        Some(own) => {
            let text = format!("this needs the role {needed}, and yours is {own}");
            Err(Problem::new(StatusCode::FORBIDDEN, text))
        }
    }
}

/// The line of the log about a change, or the attempt at one.
fn audit(who: &Who, method: &Method, uri: &hyper::Uri, status: StatusCode) {
    let target = uri.path_and_query().map_or("", |target| target.as_str());
    tracing::info!(
        "admin: {who}: {method} {} -> {}",
        target.escape_debug(),
        status.as_u16()
    );
}
