//! Verified subscribers in a process of their own, so that it can be stopped for real. The process is
//! this test binary again, running only [`plays_in_a_process_of_its_own`].
//!
//! The parent writes the number of each act; the helper writes lines that begin with `@`: `arrived`
//! (flow, messages), `handled` (packets since the last line), `settled` (act, connections).

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{channel, Sender};
use std::sync::Arc;

use super::flows::{Flows, FAN, GROUP, PAIR};
use super::stage::{Actor, Settled, Stage};
use crate::verified::flow::{Flow, Shape};

/// Flows of the parent that every helper receives, too: numbers 0 to here.
pub(super) const FLOWS: u32 = 6;
/// Set for the helper: port, seed and number.
const VARIABLE: &str = "RINGMQ_CHAOS_HELPER";

pub(super) struct Helper {
    child: Child,
    acts: ChildStdin,
}

impl Helper {
    /// Starts a helper. Returns the counts of what has arrived there, too, one for each flow.
    pub(super) fn start(
        stage: &Arc<Stage>,
        number: u32,
        settled: Sender<Settled>,
    ) -> (Self, Vec<Arc<AtomicU64>>) {
        let test = std::env::current_exe().expect("a program");
        let mut child = Command::new(test)
            .args(["--exact", "chaos::helper::plays_in_a_process_of_its_own"])
            .args(["--ignored", "--nocapture"])
            .env(VARIABLE, format!("{} {} {number}", stage.port, stage.seed))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the test binary starts again");
        let acts = child.stdin.take().expect("piped");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let counts: Vec<Arc<AtomicU64>> = (0..FLOWS).map(|_| Arc::default()).collect();
        let (arrived, stage) = (counts.clone(), Arc::clone(stage));
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                follow(&line, &arrived, &stage, &settled);
            }
        });
        (Self { child, acts }, counts)
    }

    pub(super) fn set_act(&mut self, act: u64) {
        writeln!(self.acts, "{act}").expect("the helper runs");
    }

    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(super) fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Handles one line of a helper; the test harness writes some of its own.
fn follow(line: &str, arrived: &[Arc<AtomicU64>], stage: &Stage, settled: &Sender<Settled>) {
    let Some((_, line)) = line.split_once('@') else {
        return;
    };
    let mut words = line.split(' ');
    let verb = words.next().unwrap_or_default();
    let mut number = || words.next().and_then(|word| word.parse::<u64>().ok());
    let (first, second) = (number().expect("a number"), number().unwrap_or(0));
    match verb {
        "arrived" => arrived[first as usize].store(second, Ordering::SeqCst),
        "handled" => stage.add_progress(first),
        "settled" => {
            let (act, connections) = (first, second as usize);
            let _ = settled.send(Settled { act, connections });
        }
        _ => panic!("helper: {line}"),
    }
}

/// One line to the parent.
fn tell(line: std::fmt::Arguments<'_>) {
    let mut out = std::io::stdout().lock(); // not `print!`: the harness may catch that
    writeln!(out, "@{line}").and_then(|()| out.flush()).ok();
}

/// [`Flows`] that tell the parent what arrives.
struct Distant {
    flows: Flows,
    told: Vec<u64>,
    handled: u64,
}

impl Actor for Distant {
    fn storm(&mut self, seed: u64) {
        self.flows.storm(seed);
    }

    fn calm(&mut self) {
        self.flows.calm();
    }

    fn turn(&mut self) {
        self.flows.turn();
        let arrived: Vec<u64> = self.flows.arrived().take(FLOWS as usize).collect();
        for (flow, (told, arrived)) in self.told.iter_mut().zip(arrived).enumerate() {
            if *told != arrived {
                tell(format_args!("arrived {flow} {arrived}"));
                *told = arrived;
            }
        }
        let before = std::mem::replace(&mut self.handled, self.flows.handled());
        if self.handled > before {
            tell(format_args!("handled {}", self.handled - before));
        }
    }

    fn is_settled(&self) -> bool {
        self.flows.is_settled()
    }

    fn handled(&self) -> u64 {
        self.handled
    }

    fn connections(&self) -> usize {
        self.flows.connections()
    }

    fn state(&self) -> String {
        self.flows.state()
    }
}

/// The parent's flows, without their publishers, and some of the helper's own.
fn flows(port: u16, seed: u64, number: u32) -> Vec<Flow> {
    let process = format!("h{number}");
    let shape = |shape: Shape, qos: u8| Shape { qos, ..shape };
    let parents = (0..FLOWS).map(|flow| {
        let shape = Shape {
            publishers: 0,
            ..shape(PAIR, 1 + flow as u8 % 2)
        };
        Flow::new(port, flow, &process, shape, seed)
    });
    let own = [
        shape(PAIR, 1),
        shape(PAIR, 2),
        shape(FAN, 2),
        shape(GROUP, 2),
    ];
    let own = (0..).zip(own).map(|(n, shape)| {
        let flow = 1_000 + number * 100 + n;
        Flow::new(port, flow, &process, shape, seed)
    });
    parents.chain(own).collect()
}

#[test]
#[ignore = "the chaos test starts it as a process of its own"]
fn plays_in_a_process_of_its_own() {
    let Ok(arguments) = std::env::var(VARIABLE) else {
        return; // started with all the ignored tests
    };
    let numbers = arguments.split(' ').map(|word| word.parse::<u64>());
    let numbers: Vec<u64> = numbers.collect::<Result<_, _>>().expect("numbers");
    let (port, seed, number) = (numbers[0] as u16, numbers[1], numbers[2] as u32);
    let stage = Arc::new(Stage::new(port, seed));
    let prompter = Arc::clone(&stage);
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            prompter.set_act(line.parse().expect("the number of an act"));
        }
        prompter.end(); // the parent is gone
    });
    let (sender, receiver) = channel::<Settled>();
    std::thread::spawn(move || {
        for Settled { act, connections } in receiver {
            tell(format_args!("settled {act} {connections}"));
        }
    });
    let flows = Flows::new(flows(port, seed, number), seed ^ u64::from(number));
    let distant = Distant {
        flows,
        told: vec![0; FLOWS as usize],
        handled: 0,
    };
    stage.play(distant, &sender);
}
