//! Verbs about bridges: how they are, and orders to start and stop them.

use super::arguments::{encoded, needed, word};
use super::table::{nothing, table};
use super::verbs::Verb;

pub(super) const BRIDGES: &[Verb] = &[
    Verb {
        name: "bridges",
        about: "Lists bridges with their state and what waits for them",
        args: Vec::new,
        run: |client, _, each| each(&client.get("/api/v1/bridges")?),
        show: |value| {
            let columns = [
                ("BRIDGE", "name"),
                ("STATE", "state"),
                ("ADDRESS", "address"),
                ("QUEUE", "queue_messages"),
                ("LAG MS", "lag_ms"),
                ("OUT", "messages_out"),
                ("IN", "messages_in"),
                ("CONNECTS", "connects"),
                ("FAILURES", "failures"),
                ("LAST END", "last_end"),
            ];
            table(&value["bridges"], &columns)
        },
    },
    Verb {
        name: "bridge",
        about: "Starts or stops a bridge; what goes out waits for one that is stopped",
        args: || {
            vec![
                word("name", "Its name"),
                word("order", "start or stop").value_parser(["start", "stop"]),
            ]
        },
        run: |client, own, each| {
            let (name, order) = (encoded(needed(own, "name")), needed(own, "order"));
            let target = format!("/api/v1/bridges/{name}/{order}");
            each(&client.request("POST", &target, None)?)
        },
        show: nothing,
    },
];
