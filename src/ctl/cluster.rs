//! Verbs about the cluster: its nodes, and orders to drain them.

use serde_json::json;

use super::arguments::{encoded, needed, word};
use super::table::{nothing, table};
use super::verbs::Verb;

pub(super) const CLUSTER: &[Verb] = &[
    Verb {
        name: "cluster",
        about: "Shows the nodes of the cluster, the lease of this one, and who owns how many groups of client ids",
        args: Vec::new,
        run: |client, _, each| each(&client.get("/api/v1/cluster")?),
        show: |value| {
            let columns = [
                ("NODE", "name"),
                ("SELF", "self"),
                ("DRAINED", "drained"),
                ("GROUPS", "groups"),
                ("WAITING BYTES", "waiting_bytes"),
                ("PASSES ON TO", "relay_address"),
                ("CLIENTS", "client_address"),
            ];
            let nodes = table(&value["nodes"], &columns);
            let columns = [
                ("JOINED", "joined"),
                ("LEASE MS", "lease_left_ms"),
                ("NATS", "nats"),
                ("WITHOUT OWNER", "groups_without_owner"),
                ("KEPT", "groups_kept"),
                ("SENT", "messages_sent"),
                ("RECEIVED", "messages_received"),
                ("DROPPED", "messages_dropped"),
            ];
            format!("{nodes}\n{}", table(&json!([value]), &columns))
        },
    },
    Verb {
        name: "cluster-node",
        about: "Drains a node, or lets it own its part again; groups with sessions that outlive their connections stay",
        args: || {
            vec![
                word("name", "Its name"),
                word("order", "drain or undrain").value_parser(["drain", "undrain"]),
            ]
        },
        run: |client, own, each| {
            let (name, order) = (encoded(needed(own, "name")), needed(own, "order"));
            let target = format!("/api/v1/cluster/nodes/{name}/{order}");
            each(&client.request("POST", &target, None)?)
        },
        show: nothing,
    },
];
