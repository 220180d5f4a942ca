//! Two brokers of the simulator with a bridge between them.
#![cfg(feature = "sim")]

use ringmq::sim::run_bridge;

const SEEDS: u64 = 60;

#[test]
fn a_bridge_delivers_exactly_once_over_cuts_and_crashes_of_both_brokers() {
    let (mut cuts, mut crashes) = (0, 0);
    for seed in 0..SEEDS {
        let outcome = run_bridge(seed);
        assert_eq!(outcome.failure, None);
        cuts += outcome.cuts;
        crashes += outcome.crashes;
    }
    assert!(
        cuts > 500 && crashes > 100,
        "{cuts} cuts, {crashes} crashes"
    );
}
