//! The broker itself: version, listeners, configuration in force, reload, log.

use hyper::Method;
use serde_json::{json, Value};
use tokio::sync::oneshot;

use super::order_all;
use crate::admin::role::Needs;
use crate::admin::{reply, Problem, Reply, Request, Route};
use crate::io::Stage;
use crate::shard::Order;
use crate::version;

const LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];

pub(super) fn routes() -> Vec<Route> {
    let level = "/api/v1/log-level";
    vec![
        Route::get(
            "/api/v1/broker",
            Needs::VIEWER,
            "Version, uptime and stage",
            |request| Box::pin(async move { Ok(show(&request)) }),
        ),
        Route::get(
            "/api/v1/listeners",
            Needs::VIEWER,
            "Listeners with connections, refusals and the end of their certificates",
            |request| Box::pin(listeners(request)),
        ),
        Route::get(
            "/api/v1/config",
            Needs::VIEWER,
            "Configuration in force and where each value was given",
            |request| Box::pin(async move { Ok(config(&request)) }),
        ),
        Route::change(
            Method::POST,
            "/api/v1/reload",
            "Reads files again, as SIGHUP does, and tells what became of it",
            |request| Box::pin(reload(request)),
        ),
        Route::change(
            Method::POST,
            "/api/v1/upgrade",
            "Has a new process take over everything, as SIGUSR2 does, and tells what became of it",
            |request| Box::pin(upgrade(request)),
        ),
        Route::get(
            level,
            Needs::VIEWER,
            "The level from which lines are logged",
            |request| Box::pin(async move { Ok(level_json(&request)) }),
        ),
        Route::change(
            Method::PUT,
            level,
            "Changes the level of the log until the process ends",
            |request| Box::pin(set_level(request)),
        ),
        Route::get(
            "/api/v1/log",
            Needs::VIEWER,
            "The last lines of the log",
            |request| Box::pin(log(request)),
        ),
    ]
}

fn show(request: &Request) -> Reply {
    let broker = &request.admin.broker;
    let stage = match broker.stage() {
        Stage::Starting => "starting",
        Stage::Ready => "ready",
        Stage::Stopping => "stopping",
    };
    let process = broker.process_report();
    reply::json(&json!({
        "version": version::VERSION,
        "commit": version::COMMIT,
        "uptime_s": broker.uptime_s(),
        "stage": stage,
        "shards": broker.shards(),
        "connections_max": process.connections_max,
        "memory_bytes": process.resident_bytes,
        "memory_limit_bytes": process.memory_limit_bytes,
        "cpu_ms": process.cpu.as_millis(),
        "role": request.who.role.map(|role| role.word()),
    }))
}

async fn listeners(request: Request) -> Result<Reply, Problem> {
    let broker = request.admin.broker.clone();
    let states = tokio::task::spawn_blocking(move || broker.listener_states());
    let states = states
        .await
        .map_err(|_| Problem::busy("the listeners cannot be read now"))?;
    let listeners = states.into_iter().map(|state| {
        let refused = state.refused.into_iter();
        let refused: serde_json::Map<String, Value> = refused
            .map(|(option, count)| (option.into(), json!(count)))
            .collect();
        json!({
            "name": state.name,
            "transport": state.transport,
            "connections": state.connections,
            "refused": refused,
            "certificate_until_s": state.certificate_until_s,
        })
    });
    let listeners: Vec<Value> = listeners.collect();
    Ok(reply::json(&json!({ "listeners": listeners })))
}

fn config(request: &Request) -> Reply {
    let settings = request.admin.settings();
    let options = settings.options.in_force.iter().map(|option| {
        let value = without_login(&option.value);
        json!({ "name": option.name, "value": value, "origin": option.origin })
    });
    reply::json(&json!({ "options": options.collect::<Vec<_>>() }))
}

/// A URL without the login it may have.
fn without_login(value: &str) -> String {
    let Some((scheme, rest)) = value.split_once("://") else {
        return value.into();
    };
    let host_end = rest.find('/').unwrap_or(rest.len());
    match rest[..host_end].rfind('@') {
        Some(at) => format!("{scheme}://…{}", &rest[at..]),
        None => value.into(),
    }
}

async fn reload(request: Request) -> Result<Reply, Problem> {
    let (done, waiting) = oneshot::channel();
    request.admin.broker.reload(move |reloaded| {
        let _ = done.send(reloaded.to_vec()); // fails when its request has ended
    });
    let reloaded = waiting
        .await
        .map_err(|_| Problem::busy("the broker is stopping"))?;
    let is_ok = reloaded.iter().all(|one| one.problem.is_none());
    let files = reloaded
        .iter()
        .map(|one| json!({ "what": one.what, "problem": one.problem, "needs_restart": one.needs_restart }));
    let files: Vec<Value> = files.collect();
    Ok(reply::json(&json!({ "ok": is_ok, "reloaded": files })))
}

async fn upgrade(request: Request) -> Result<Reply, Problem> {
    let (done, waiting) = oneshot::channel();
    request.admin.broker.upgrade(move |outcome| {
        let _ = done.send(outcome.clone()); // fails when its request has ended
    });
    let outcome = waiting
        .await
        .map_err(|_| Problem::busy("the broker is stopping"))?;
    let (successor, problem) = match outcome {
        Ok(successor) => (Some(successor), None),
        Err(problem) => (None, Some(problem)),
    };
    let pauses = successor.and_then(|successor| successor.pauses);
    let pauses = pauses.map(|pauses| {
        json!({
            "clients": pauses.clients,
            "median_us": pauses.median_us,
            "p99_us": pauses.p99_us,
            "longest_us": pauses.longest_us,
        })
    });
    let process = successor.map(|successor| successor.process);
    Ok(reply::json(
        &json!({ "process": process, "pauses": pauses, "problem": problem }),
    ))
}

fn level_json(request: &Request) -> Reply {
    reply::json(&json!({ "level": request.admin.broker.log_level() }))
}

async fn set_level(request: Request) -> Result<Reply, Problem> {
    let body = request.json()?;
    let word = body["level"].as_str().filter(|word| LEVELS.contains(word));
    let level = word.and_then(|word| word.parse::<tracing::Level>().ok());
    let Some(level) = level else {
        let text = format!("level: {} is none of {}", body["level"], LEVELS.join(", "));
        return Err(Problem::bad_request(text));
    };
    if !request.admin.broker.set_log_level(level) {
        return Err(Problem::busy("the log cannot be changed"));
    }
    let tells = level >= tracing::Level::DEBUG;
    order_all(&request.admin, || Order::TellConnections(tells)).await?;
    Ok(level_json(&request))
}

async fn log(request: Request) -> Result<Reply, Problem> {
    let after = request.number("after")?.unwrap_or(0);
    let lines = request.admin.broker.log_lines(after);
    let lines = lines
        .into_iter()
        .map(|(number, text)| json!({ "number": number, "text": text }));
    Ok(reply::json(&json!({ "lines": lines.collect::<Vec<_>>() })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_in_a_url_is_not_shown() {
        for (value, shown) in [
            ("\"http://u:p@host/x\"", "\"http://…@host/x\""),
            ("\"http://host/a@b\"", "\"http://host/a@b\""),
            ("12", "12"),
        ] {
            assert_eq!(without_login(value), shown);
        }
    }
}
