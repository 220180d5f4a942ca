//! A plant of Sparkplug at a simulated broker.
#![cfg(feature = "sim")]

use ringmq::sim::run_plant;

const SEEDS: u64 = 60;

#[test]
fn certificates_deaths_and_states_follow_from_what_passes_over_cuts_and_crashes() {
    let (mut births, mut deaths, mut crashes) = (0, 0, 0);
    for seed in 0..SEEDS {
        let outcome = run_plant(seed);
        assert_eq!(outcome.failure, None);
        births += outcome.births;
        deaths += outcome.deaths;
        crashes += outcome.crashes;
    }
    assert!(
        births > 1_000 && deaths > 1_000 && crashes > 30,
        "{births} births, {deaths} deaths, {crashes} crashes"
    );
}
