//! Durable state, which must be there after the broker's process was killed: sessions with their messages, retained messages, wills.

use std::time::Duration;

use clap::Args;
use ringmq::mqtt::Qos;

use super::{
    all_to_each, load, plan, publishers, subscribe, subscribers, topic_of, Scenario, STORED,
};
use crate::options::{at_least_one, Common, Traffic};
use crate::plan::{Connection, Crashes, Group, LoadStep, Plan, Session, Step, Template, Will};

/// Connections opened again per second after a kill, unless --reconnect says.
const RECONNECT_PER_S: f64 = 1_000.0;
/// Sessions outlive every run.
const EXPIRY_S: u32 = 3_600;

/// When the broker is killed, and how it is started again.
#[derive(Args, Debug)]
struct Kills {
    /// How often the broker (--broker-pid) is killed with SIGKILL while messages are published
    #[arg(long, default_value_t = 3)]
    kills: u32,
    /// Starts the broker again, as the same process: a program with its options, which stays in the
    /// foreground. mqload ends it with the run
    #[arg(long, value_name = "COMMAND")]
    restart_command: String,
}

impl Kills {
    /// Evenly over `time`.
    fn crashes(&self, common: &Common, time: Duration) -> Result<Option<Crashes>, String> {
        if common.setup.broker_pid.is_none() {
            return Err("the broker is killed by its process: name it with --broker-pid".into());
        }
        let part = time / (self.kills + 1);
        Ok(Some(Crashes {
            times: (1..=self.kills).map(|number| part * number).collect(),
            restart_command: self.restart_command.clone(),
        }))
    }
}

/// Sessions that outlive connections, with clients that come back after each kill.
fn kept(group: &mut Group) {
    group.session = Session {
        clean_start: false,
        expiry_interval_s: Some(EXPIRY_S),
    };
}

fn comes_back(connection: &mut Connection) {
    connection.reconnect_per_s.get_or_insert(RECONNECT_PER_S);
}

fn needs_qos(name: &str, traffic: &Traffic) -> Result<(), String> {
    match traffic.qos {
        Qos::AtMostOnce => Err(format!(
            "{name} needs --qos 1 or 2: messages of QoS 0 are not kept"
        )),
        _ => Ok(()),
    }
}

/// Publishers with sessions, a subscriber of each that stays connected and one that is away, while the broker is
/// killed: every acknowledged message must come, in order, and at QoS 2 once.
#[derive(Args, Debug)]
#[command(mut_arg("qos", |qos| qos.default_value("1")))]
pub struct DurableSessions {
    /// Publishers; as many subscribers that are there, and as many that are away
    #[arg(long, default_value_t = 10, value_parser = at_least_one)]
    clients: u32,
    #[command(flatten)]
    kills: Kills,
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    traffic: Traffic,
}

impl Scenario for DurableSessions {
    fn common(&self) -> &Common {
        &self.common
    }

    fn plan(&self) -> Result<Plan, String> {
        let (common, traffic) = (&self.common, &self.traffic);
        needs_qos("durable-sessions", traffic)?;
        let topic = topic_of(common, traffic, "durable/{r}/{i}");
        let mut groups = Vec::new();
        for name in ["there", "away"] {
            let mut group = Group::new(name, self.clients, common.client_ids(name));
            subscribe(&mut group, topic.clone(), traffic.subscribe_qos());
            kept(&mut group);
            groups.push(group);
        }
        groups[1].untimed = true; // they wait for the end of the load
        let mut from = publishers(common, traffic, self.clients, "durable/{r}/{i}");
        kept(&mut from);
        groups.push(from);
        let (per_s, quiet) = (common.connect_rate, traffic.drain);
        let under_load = Step::Load(LoadStep {
            groups: vec![(2, traffic.load()?)],
            time: traffic.duration,
            messages: traffic.messages,
            crashes: self.kills.crashes(common, traffic.duration)?,
            ..LoadStep::default()
        });
        let steps = vec![
            Step::Connect { group: 0, per_s },
            Step::Connect { group: 1, per_s },
            Step::Subscribe { group: 0 },
            Step::Subscribe { group: 1 },
            Step::Disconnect { group: 1 },
            Step::Connect { group: 2, per_s },
            under_load,
            Step::Drain { quiet: STORED },
            Step::Connect { group: 1, per_s },
            Step::Drain { quiet },
            Step::Disconnect { group: 2 },
            Step::Disconnect { group: 1 },
            Step::Disconnect { group: 0 },
        ];
        let mut plan = plan("durable-sessions", common, groups, steps)?;
        comes_back(&mut plan.connection);
        Ok(plan)
    }
}

/// Retained messages on many topics; then the broker is killed, and subscribers must get all of them.
#[derive(Args, Debug)]
#[command(mut_arg("qos", |qos| qos.default_value("1")))]
pub struct DurableRetained {
    /// Subscribers
    #[arg(long, default_value_t = 4, value_parser = at_least_one)]
    clients: u32,
    /// Retained messages
    #[arg(long, default_value_t = 1_000)]
    retained: u32,
    #[command(flatten)]
    kills: Kills,
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    traffic: Traffic,
}

impl Scenario for DurableRetained {
    fn common(&self) -> &Common {
        &self.common
    }

    fn plan(&self) -> Result<Plan, String> {
        let (common, mut traffic) = (&self.common, self.traffic.clone());
        needs_qos("durable-retained", &traffic)?;
        (traffic.topics, traffic.retain) = (self.retained, true);
        let mut groups = all_to_each(common, &traffic, self.clients, 1, "durable/{r}");
        (groups[0].gets_retained, groups[0].gets_stored) = (true, true);
        kept(&mut groups[1]);
        let (per_s, quiet) = (common.connect_rate, traffic.drain);
        let steps = vec![
            Step::Connect { group: 1, per_s },
            load(&traffic, Some(u64::from(self.retained)))?,
            Step::Drain { quiet: STORED },
            quiet_with(&self.kills, common, traffic.duration)?,
            Step::Connect { group: 0, per_s },
            Step::Subscribe { group: 0 },
            Step::Drain { quiet },
            Step::Disconnect { group: 1 },
            Step::Disconnect { group: 0 },
        ];
        let mut plan = plan("durable-retained", common, groups.into(), steps)?;
        comes_back(&mut plan.connection);
        Ok(plan)
    }
}

/// No messages are published while the broker is killed.
fn quiet_with(kills: &Kills, common: &Common, time: Duration) -> Result<Step, String> {
    Ok(Step::Load(LoadStep {
        time,
        crashes: kills.crashes(common, time)?,
        ..LoadStep::default()
    }))
}

/// Connected clients with wills, whose broker is killed: the next one publishes each will once, to watchers with
/// sessions.
#[derive(Args, Debug)]
#[command(mut_arg("qos", |qos| qos.default_value("1")))]
pub struct DurableWills {
    /// Clients with a will; as many watchers, one of each
    #[arg(long, default_value_t = 100, value_parser = at_least_one)]
    clients: u32,
    #[command(flatten)]
    kills: Kills,
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    traffic: Traffic,
}

impl Scenario for DurableWills {
    fn common(&self) -> &Common {
        &self.common
    }

    fn plan(&self) -> Result<Plan, String> {
        let (common, traffic) = (&self.common, &self.traffic);
        needs_qos("durable-wills", traffic)?;
        let topic = Template("will/{r}/{i}".into());
        let mut watching = subscribers(common, traffic, self.clients, topic.clone());
        kept(&mut watching);
        let mut dying = Group::new("dying", self.clients, common.client_ids("dying"));
        dying.will = Some(Will {
            topic,
            qos: traffic.qos,
        });
        dying.wills_are_kept = true;
        kept(&mut dying);
        let (per_s, quiet) = (common.connect_rate, traffic.drain);
        let steps = vec![
            Step::Connect { group: 0, per_s },
            Step::Subscribe { group: 0 },
            Step::Connect { group: 1, per_s },
            quiet_with(&self.kills, common, traffic.duration)?,
            Step::Drain { quiet },
            // They leave with DISCONNECT, and without their wills.
            Step::Disconnect { group: 1 },
            Step::Hold {
                time: Duration::from_millis(200),
            },
            Step::Disconnect { group: 0 },
        ];
        let mut plan = plan("durable-wills", common, vec![watching, dying], steps)?;
        comes_back(&mut plan.connection);
        Ok(plan)
    }
}
