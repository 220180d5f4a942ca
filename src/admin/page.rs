//! The web page: files of the binary, which show what the API answers. Nothing is fetched from elsewhere.

use hyper::header::{HeaderValue, CONTENT_SECURITY_POLICY};

use super::role::Needs;
use super::route::{Answering, Route};
use super::{reply, Request};

/// Scripts, styles and requests of this origin alone; nothing may frame it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";

pub(super) fn routes() -> Vec<Route> {
    let file = |path, handle| Route::get(path, Needs::VIEWER, "The web page", handle);
    vec![
        file("/", |_: Request| {
            answer(HTML, include_bytes!("page/index.html"))
        }),
        file("/app.js", |_| answer(SCRIPT, include_bytes!("page/app.js"))),
        file("/views.js", |_| {
            answer(SCRIPT, include_bytes!("page/views.js"))
        }),
        file("/plants.js", |_| {
            answer(SCRIPT, include_bytes!("page/plants.js"))
        }),
        file("/plot.js", |_| {
            answer(SCRIPT, include_bytes!("page/plot.js"))
        }),
        file("/style.css", |_| {
            answer(STYLE, include_bytes!("page/style.css"))
        }),
    ]
}

fn answer(content_type: &'static str, bytes: &'static [u8]) -> Answering {
    Box::pin(async move {
        let mut reply = reply::of(content_type, bytes);
        let policy = HeaderValue::from_static(POLICY);
        reply.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
        Ok(reply)
    })
}
