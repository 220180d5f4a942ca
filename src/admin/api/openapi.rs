//! The description of the API, as it lies in docs/openapi.json.

use crate::admin::role::Needs;
use crate::admin::{reply, Route};

const DOCUMENT: &str = include_str!("../../../docs/openapi.json");

pub(super) fn routes() -> Vec<Route> {
    vec![Route::get(
        "/api/v1/openapi.json",
        Needs::VIEWER,
        "This description",
        |_| Box::pin(async { Ok(reply::of("application/json", DOCUMENT)) }),
    )]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::Value;

    use super::DOCUMENT;
    use crate::admin::api;

    /// Method and path of each route, with its summary.
    type Rows = BTreeMap<(String, String), String>;

    #[test]
    fn what_is_described_is_what_there_is() {
        let document: Value = serde_json::from_str(DOCUMENT).unwrap();
        let mut described = Rows::new();
        for (path, methods) in document["paths"].as_object().unwrap() {
            for (method, operation) in methods.as_object().unwrap() {
                if method != "parameters" {
                    let summary = operation["summary"].as_str().unwrap_or_default();
                    described.insert((path.clone(), method.to_uppercase()), summary.into());
                }
            }
        }
        let there = api::routes();
        let there = there.iter().map(|route| {
            let key = (route.path.to_string(), route.method.to_string());
            (key, route.summary.to_string())
        });
        assert_eq!(described, there.collect::<Rows>());
    }
}
