//! Options of a cluster: where its NATS servers are, who this node is, how it shows who it is.

use super::{opt, Access, Opt};
use crate::config::kind::{Kind, Value};

const GROUP: &str = "Cluster";

pub(super) static OPTIONS: &[Opt] = &[
    opt(
        (GROUP, "cluster"),
        Kind::Names("the URL of a NATS server, such as \"nats://10.0.0.1:4222\" or \"tls://nats:4222\""),
        Access(
            |checked| Value::Texts(checked.run.cluster.servers.clone()),
            |checked, value| checked.run.cluster.servers = value.texts(),
        ),
        (
            "NATS servers by which this broker is a node of a cluster",
            "Nodes with the same servers and the same cluster-name pass on to each other what their clients publish. \
             What that promises today and what not is in docs/cluster.md. User and password may be in the URL.",
        ),
    ),
    opt(
        (GROUP, "node"),
        Kind::Text("1 to 32 letters, digits, - or _"),
        text!(run.cluster.node),
        (
            "Name of this node, which no other node of the cluster has",
            "It stays when the node is started again.",
        ),
    ),
    opt(
        (GROUP, "cluster-name"),
        Kind::Text("1 to 32 letters, digits, - or _"),
        text!(run.cluster.name),
        (
            "Name of the cluster, when NATS serves several",
            "It is a part of the subjects and of the bucket that the nodes use; \"\" is \"ringmq\".",
        ),
    ),
    opt(
        (GROUP, "cluster-durability"),
        Kind::Choice(&["cluster", "node"]),
        Access(
            |checked| {
                let own = checked.run.cluster.is_own_disk;
                Value::Choice(if own { "node" } else { "cluster" })
            },
            |checked, value| checked.run.cluster.is_own_disk = value.choice() == "node",
        ),
        (
            "Where what is durable has to be in a cluster before it is acknowledged",
            "\"cluster\": on the disk of data-dir and on those of NATS, so that it outlives this node. \"node\": on \
             the disk of data-dir, and lost with it. Without data-dir neither.",
        ),
    ),
    opt(
        (GROUP, "cluster-credentials"),
        Kind::Text("the name of a file"),
        text!(run.cluster.credentials),
        (
            "Credentials file of NATS (JWT and seed)",
            "As `nsc` writes it.",
        ),
    ),
    opt(
        (GROUP, "cluster-ca"),
        Kind::Text("the name of a file"),
        text!(run.cluster.ca),
        (
            "Certificates that sign those of the NATS servers",
            "Without it those of the system are trusted.",
        ),
    ),
    opt(
        (GROUP, "cluster-certificate"),
        Kind::Text("the name of a file"),
        text!(run.cluster.certificate),
        (
            "Certificate chain that is shown to the NATS servers",
            "Together with cluster-key.",
        ),
    ),
    opt(
        (GROUP, "cluster-key"),
        Kind::Text("the name of a file"),
        text!(run.cluster.key),
        ("Private key of cluster-certificate", "In PEM."),
    ),
    opt(
        (GROUP, "cluster-listen"),
        Kind::Text("an address and a port, such as \"10.0.0.1:7883\""),
        text!(run.cluster.listen),
        (
            "Where other nodes pass on clients whose client ids this one owns",
            "\"\" is the address from which this machine reaches NATS, and a free port. Whoever connects there must show \
             that it is a node of the cluster; what is passed on is not encrypted.",
        ),
    ),
    opt(
        (GROUP, "cluster-address"),
        Kind::Text("a host and a port"),
        text!(run.cluster.address),
        (
            "As what other nodes reach cluster-listen",
            "\"\" is the address of cluster-listen itself.",
        ),
    ),
    opt(
        (GROUP, "cluster-redirect"),
        Kind::Boolean,
        boolean!(run.cluster.redirects),
        (
            "Send clients of MQTT 5.0 to the node that owns their client id",
            "They are answered with 0x9C (use another server) and the cluster-client-address of that node, if it has one. \
             Older clients, which cannot be told, are passed on.",
        ),
    ),
    opt(
        (GROUP, "cluster-client-address"),
        Kind::Text("a host and a port"),
        text!(run.cluster.client_address),
        (
            "As what clients reach this node",
            "Other nodes with cluster-redirect send them there.",
        ),
    ),
    opt(
        (GROUP, "cluster-unsafe"),
        Kind::Boolean,
        boolean!(run.cluster.is_unsafe),
        (
            "Accept NATS servers that could forget who is alive",
            "A single server instead of three, an older version, a sync_interval other than \"always\": for tests. \
             Each start names what it has accepted.",
        ),
    ),
];
