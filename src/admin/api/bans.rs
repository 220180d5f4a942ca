//! Bans: who is not let in, until when, by whom and why. Each shard has a copy, and the data directory a file.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hyper::{Method, StatusCode};
use serde_json::{json, Value};

use super::ban::{Ban, Banned};
use super::{ban_file, done, order_all};
use crate::admin::role::Needs;
use crate::admin::{reply, Admin, Problem, Reply, Request, Route};
use crate::auth::OperatorBans;
use crate::shard::{Answer, ClientFilter, Order, Query};

/// Bans at once.
const BANS_MAX: usize = 10_000;
/// Bytes of a reason.
const REASON_MAX: usize = 256;

type ByWhom = BTreeMap<Banned, Ban>;

/// Bans in force.
#[derive(Default)]
pub(super) struct Bans {
    in_force: Mutex<ByWhom>,
    /// One change at a time: it is kept on the disk before it is in force.
    changing: tokio::sync::Mutex<()>,
}

impl Bans {
    pub(super) fn of(bans: Vec<Ban>) -> Self {
        let bans = bans.into_iter().map(|ban| (ban.whom.clone(), ban));
        Self {
            in_force: Mutex::new(bans.collect()),
            ..Self::default()
        }
    }

    fn lock(&self) -> MutexGuard<'_, ByWhom> {
        self.in_force.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those in force, with one more.
    fn with(&self, ban: Ban, now_s: u64) -> Result<ByWhom, Problem> {
        let mut bans = self.lock().clone();
        expire(&mut bans, now_s);
        if bans.len() >= BANS_MAX && !bans.contains_key(&ban.whom) {
            let text = format!("there are {BANS_MAX} bans already: lift some");
            return Err(Problem::busy(text));
        }
        bans.insert(ban.whom.clone(), ban);
        Ok(bans)
    }

    /// Those in force, without one; `None`: it is not among them.
    fn without(&self, whom: &Banned) -> Option<ByWhom> {
        let mut bans = self.lock().clone();
        bans.remove(whom)?;
        Some(bans)
    }

    /// Those that have not ended; and whether some have ended since this was last asked.
    fn list(&self, now_s: u64) -> (Vec<Ban>, bool) {
        let mut bans = self.lock();
        let has_ended = expire(&mut bans, now_s);
        (bans.values().cloned().collect(), has_ended)
    }

    /// Whether some have ended since this was last asked.
    pub(super) fn expire(&self, now_s: u64) -> bool {
        expire(&mut self.lock(), now_s)
    }

    /// As the shards have them.
    pub(super) fn told(&self) -> OperatorBans {
        let mut told = OperatorBans::default();
        for whom in self.lock().keys() {
            match whom {
                Banned::Client(id) => told.clients.insert(id.clone()),
                Banned::User(user) => told.users.insert(user.clone()),
                Banned::Address(address) => told.addresses.insert(*address),
            };
        }
        told
    }
}

fn expire(bans: &mut BTreeMap<Banned, Ban>, now_s: u64) -> bool {
    let before = bans.len();
    bans.retain(|_, ban| ban.until_s.is_none_or(|until| until > now_s));
    bans.len() < before
}

pub(super) fn routes() -> Vec<Route> {
    let path = "/api/v1/bans";
    vec![
        Route::get(path, Needs::VIEWER, "Bans in force", |request| {
            Box::pin(list(request))
        }),
        Route::change(
            Method::POST,
            path,
            "Bans a client, a user or an address, and disconnects them",
            |request| Box::pin(add(request)),
        ),
        Route::change(
            Method::DELETE,
            path,
            "Lifts a ban, of an address also one by failed logins",
            |request| Box::pin(lift(request)),
        ),
    ]
}

/// Sends the bans to the shards.
async fn publish(admin: &Admin) -> Result<(), Problem> {
    let told = Arc::new(admin.api.bans.told());
    order_all(admin, || Order::Bans(Arc::clone(&told))).await?;
    Ok(())
}

/// Lifts what has ended, each second.
pub(super) async fn watch(admin: Arc<Admin>) {
    loop {
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        if admin.api.bans.expire(admin.broker.unix_s()) {
            // A shard that does not answer now gets them with the next change.
            let _ = publish(&admin).await;
        }
    }
}

/// Bans one more; who is connected stays so.
pub(super) async fn add_one(admin: &Arc<Admin>, ban: Ban) -> Result<(), Problem> {
    let now_s = admin.broker.unix_s();
    change(admin, |bans| bans.with(ban, now_s)).await
}

async fn list(request: Request) -> Result<Reply, Problem> {
    let admin = &request.admin;
    let (bans, has_ended) = admin.api.bans.list(admin.broker.unix_s());
    if has_ended {
        publish(admin).await?;
    }
    let bans: Vec<Value> = bans.iter().map(Ban::to_json).collect();
    Ok(reply::json(&json!({ "bans": bans })))
}

/// Other bans from now on: on the disk first, so that a restart brings them back.
async fn change(
    admin: &Arc<Admin>,
    next: impl FnOnce(&Bans) -> Result<ByWhom, Problem>,
) -> Result<(), Problem> {
    let _one = admin.api.bans.changing.lock().await;
    let next = next(&admin.api.bans)?;
    let (broker, kept) = (admin.broker.clone(), next.clone());
    let kept = tokio::task::spawn_blocking(move || ban_file::keep(&broker, kept.values())).await;
    let failed = match kept {
        Ok(Ok(())) => None,
        Ok(Err(text)) => Some(text),
        Err(_) => Some("the thread that writes them has failed".into()),
    };
    if let Some(text) = failed {
        let text = format!("bans cannot be kept, so they stay as they were: {text}");
        return Err(Problem::new(StatusCode::INSUFFICIENT_STORAGE, text));
    }
    *admin.api.bans.lock() = next;
    publish(admin).await
}

async fn add(request: Request) -> Result<Reply, Problem> {
    let body = request.json()?;
    let text = |name: &str| body.get(name).and_then(Value::as_str);
    let whom = Banned::named(&text)?;
    let minutes =
        match body.get("minutes") {
            None | Some(Value::Null) => None,
            Some(value) => Some(value.as_u64().filter(|minutes| *minutes > 0).ok_or_else(
                || Problem::bad_request(format!("minutes: {value} is not a whole number above 0")),
            )?),
        };
    let reason = text("reason").unwrap_or_default();
    if reason.len() > REASON_MAX {
        return Err(Problem::bad_request(format!(
            "reason: more than {REASON_MAX} bytes"
        )));
    }
    let now_s = request.admin.broker.unix_s();
    let ban = Ban {
        whom: whom.clone(),
        until_s: minutes.map(|minutes| now_s.saturating_add(minutes.saturating_mul(60))),
        by: request.who.to_string(),
        reason: reason.into(),
    };
    add_one(&request.admin, ban).await?;
    let disconnected = disconnect(&request.admin, &whom).await?;
    Ok(reply::json(&json!({ "disconnected": disconnected })))
}

async fn lift(request: Request) -> Result<Reply, Problem> {
    let whom = Banned::named(&|name: &str| request.query(name))?;
    let missing = || Problem::not_found("there is no such ban");
    let of_logins = match whom {
        Banned::Address(address) => request.admin.broker.lift_ban(address),
        Banned::Client(_) | Banned::User(_) => false,
    };
    let lifted = change(&request.admin, |bans| {
        bans.without(&whom).ok_or_else(missing)
    })
    .await;
    match lifted {
        Err(problem) if problem.status == StatusCode::NOT_FOUND && of_logins => Ok(done()),
        lifted => lifted.map(|()| done()),
    }
}

/// Disconnects those who are banned; how many there were.
async fn disconnect(admin: &Admin, whom: &Banned) -> Result<usize, Problem> {
    let mut filter = ClientFilter {
        connected: Some(true),
        ..ClientFilter::default()
    };
    match whom {
        Banned::Client(id) => {
            let order = || Order::Disconnect(id.clone());
            return Ok(usize::from(order_all(admin, order).await?));
        }
        Banned::User(user) => filter.user = Some(user.clone()),
        Banned::Address(address) => filter.address = Some(*address),
    }
    let mut count = 0;
    for shard in 0..admin.shards.count() {
        let mut from = Some(0);
        while let Some(place) = from {
            let query = || Query::Clients {
                from: place,
                filter: filter.clone(),
                sort: None,
                max: crate::shard::ROWS_MAX,
            };
            let Answer::Clients { rows, next } = admin.shards.ask(shard, query).await? else {
                break;
            };
            for row in rows {
                let order = || Query::Order(Order::Disconnect(row.client_id.clone()));
                let answer = admin.shards.ask(shard, order).await?;
                count += usize::from(answer == Answer::Done(true));
            }
            from = next;
        }
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ban_ends_and_is_lifted_and_there_are_so_many() {
        let bans = Bans::default();
        let ban = |name: &str, until_s| Ban {
            whom: Banned::Client(name.into()),
            until_s,
            by: String::new(),
            reason: String::new(),
        };
        let add = |ban: Ban, now_s| match bans.with(ban, now_s) {
            Ok(next) => {
                *bans.lock() = next;
                true
            }
            Err(_) => false,
        };
        assert!(add(ban("a", Some(10)), 5) && add(ban("b", None), 5));
        assert_eq!(bans.told().clients.len(), 2);
        assert!(!bans.expire(9) && bans.expire(10) && !bans.expire(11));
        assert!(bans.told().clients.contains("b") && bans.told().clients.len() == 1);
        let b = Banned::Client("b".into());
        *bans.lock() = bans.without(&b).unwrap();
        assert!(bans.without(&b).is_none());
        let many = (0..BANS_MAX).map(|nth| ban(&nth.to_string(), Some(20)));
        *bans.lock() = many.map(|one| (one.whom.clone(), one)).collect();
        assert!(!add(ban("b", None), 11));
        assert!(add(ban("0", None), 11), "it replaces one");
        assert!(add(ban("b", None), 20), "others have ended");
    }
}
