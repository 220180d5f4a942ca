//! Sensors of MQTT-SN at a simulated broker.
#![cfg(feature = "sim")]

use ringmq::sim::run_sensors;

const SEEDS: u64 = 12;

#[test]
fn sensors_lose_nothing_over_lost_datagrams_sleep_reboots_and_crashes() {
    let (mut rounds, mut reboots, mut crashes) = (0, 0, 0);
    for seed in 0..SEEDS {
        let outcome = run_sensors(seed);
        assert_eq!(outcome.failure, None);
        rounds += outcome.rounds;
        reboots += outcome.reboots;
        crashes += outcome.crashes;
    }
    assert!(
        rounds > 500 && reboots > 20 && crashes > 10,
        "{rounds} rounds, {reboots} reboots, {crashes} crashes"
    );
}
