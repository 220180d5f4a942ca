//! Routes: one row per method and path, with who may use it and what answers.
//!
//! A module adds its rows in a function `routes() -> Vec<Route>`, which `admin/mod.rs` names. A path has
//! segments; `{name}` takes one, whatever is in it, percent-decoded: `/api/v1/clients/{id}`.

use std::future::Future;
use std::pin::Pin;

use hyper::Method;

use super::path::{params, Params};
use super::reply::{Problem, Reply};
use super::request::Request;
use super::role::Needs;

/// What a handler returns: `Box::pin(async move { ... })`.
pub(super) type Answering = Pin<Box<dyn Future<Output = Result<Reply, Problem>> + Send>>;

pub struct Route {
    pub method: Method,
    pub path: &'static str,
    pub needs: Needs,
    /// One line, for the description of the API.
    pub summary: &'static str,
    pub handle: fn(Request) -> Answering,
}

impl Route {
    #[must_use]
    pub fn get(
        path: &'static str,
        needs: Needs,
        summary: &'static str,
        handle: fn(Request) -> Answering,
    ) -> Self {
        Self {
            method: Method::GET,
            path,
            needs,
            summary,
            handle,
        }
    }

    /// A request that changes something: it is logged with who did it.
    #[must_use]
    pub fn change(
        method: Method,
        path: &'static str,
        summary: &'static str,
        handle: fn(Request) -> Answering,
    ) -> Self {
        Self {
            method,
            path,
            needs: Needs::ADMIN,
            summary,
            handle,
        }
    }
}

/// What a path and a method lead to.
pub(super) enum Found<'a> {
    Route(&'a Route, Params),
    /// The path is there with other methods.
    OtherMethods(Vec<&'a Method>),
    Nothing,
}

/// The first route that fits. HEAD is GET without a body.
#[must_use]
pub(super) fn find<'a>(routes: &'a [Route], method: &Method, path: &str) -> Found<'a> {
    let asked = match *method {
        Method::HEAD => &Method::GET,
        _ => method,
    };
    let mut others = Vec::new();
    for route in routes {
        match params(route.path, path) {
            Some(params) if route.method == *asked => return Found::Route(route, params),
            Some(_) => others.push(&route.method),
            None => {}
        }
    }
    match others.is_empty() {
        true => Found::Nothing,
        false => Found::OtherMethods(others),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Vec<Route> {
        let handle: fn(Request) -> Answering = |_| Box::pin(async { Err(Problem::not_found("")) });
        vec![
            Route::get("/", Needs::Nothing, "", handle),
            Route::get("/api/v1/clients/{id}", Needs::VIEWER, "", handle),
            Route::change(Method::DELETE, "/api/v1/clients/{id}", "", handle),
        ]
    }

    fn shown(method: Method, path: &str) -> String {
        match find(&table(), &method, path) {
            Found::Route(route, params) => format!("{} {} {params:?}", route.method, route.path),
            Found::OtherMethods(methods) => format!("only {methods:?}"),
            Found::Nothing => "nothing".into(),
        }
    }

    #[test]
    fn a_path_leads_to_one_route() {
        assert_eq!(shown(Method::GET, "/"), "GET / []");
        let one = "/api/v1/clients/a%2Fb%20%C3%BC";
        assert_eq!(
            shown(Method::HEAD, one),
            "GET /api/v1/clients/{id} [(\"id\", \"a/b ü\")]"
        );
        assert!(shown(Method::DELETE, one).starts_with("DELETE "));
        assert_eq!(shown(Method::PUT, one), "only [GET, DELETE]");
        for path in [
            "",
            "/api",
            "/api/v1/clients",
            "/api/v1/clients/",
            "/api/v1/clients/a/b",
            "/api/v1/clients/%FF",
        ] {
            assert_eq!(shown(Method::GET, path), "nothing", "{path}");
        }
    }
}
