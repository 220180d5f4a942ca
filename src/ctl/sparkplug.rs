//! The verb for what is there of Sparkplug: edge nodes, devices and host applications.

use clap::Arg;
use serde_json::Value;

use super::arguments::{encoded, flag, limit, limit_arg, pages};
use super::table::{fields, table};
use super::verbs::Verb;

pub(super) const SPARKPLUG: &[Verb] = &[Verb {
    name: "sparkplug",
    about: "Lists edge nodes of Sparkplug; with a node its devices, with --hosts host applications",
    args: || {
        let node = Arg::new("node").value_name("GROUP/NODE");
        vec![
            node.help("Shows this edge node, and its devices")
                .value_parser(node_names),
            flag("hosts", "Lists host applications").conflicts_with("node"),
            limit_arg(),
        ]
    },
    run: |client, own, each| {
        let names = own.get_one::<(String, String)>("node");
        let (path, rows) = match (names, own.get_flag("hosts")) {
            (Some((group, node)), _) => {
                let (group, node) = (encoded(group), encoded(node));
                (format!("/api/v1/sparkplug/nodes/{group}/{node}"), "devices")
            }
            (None, true) => ("/api/v1/sparkplug/hosts".into(), "hosts"),
            (None, false) => ("/api/v1/sparkplug/nodes".into(), "nodes"),
        };
        each(&pages(client, &path, &[], (rows, limit(own)))?)
    },
    show: show_sparkplug,
}];

/// `GROUP/NODE`: names of Sparkplug have no separator in them.
fn node_names(text: &str) -> Result<(String, String), String> {
    let names = text.split_once('/');
    let are_whole = |(group, node): &(&str, &str)| !group.is_empty() && !node.is_empty();
    let names = names
        .filter(are_whole)
        .filter(|(_, node)| !node.contains('/'));
    let names = names.map(|(group, node)| (group.into(), node.into()));
    names.ok_or_else(|| "it is not GROUP/NODE".into())
}

/// Edge nodes; host applications; or one edge node with its devices.
fn show_sparkplug(value: &Value) -> String {
    if value["hosts"].is_array() {
        let columns = [
            ("HOST", "host"),
            ("ONLINE", "online"),
            ("SINCE (ms)", "timestamp_ms"),
        ];
        return table(&value["hosts"], &columns);
    }
    if value["nodes"].is_array() {
        let columns = [
            ("GROUP", "group"),
            ("NODE", "node"),
            ("STATE", "state"),
            ("BDSEQ", "bd_seq"),
            ("DEVICES", "devices_known"),
            ("DEVICES ONLINE", "devices_online"),
            ("MESSAGES", "messages"),
            ("BIRTHS", "births"),
            ("DEATHS", "deaths"),
            ("GAPS", "gaps"),
            ("NO DEATH", "births_without_death"),
        ];
        return table(&value["nodes"], &columns);
    }
    let columns = [
        ("DEVICE", "device"),
        ("STATE", "state"),
        ("METRICS", "metrics"),
        ("MESSAGES", "messages"),
        ("BIRTHS", "births"),
        ("DEATHS", "deaths"),
    ];
    fields(&value["node"]) + "\n" + &table(&value["devices"], &columns)
}
