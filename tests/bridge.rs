//! Two brokers of the simulator with a bridge between them.
#![cfg(feature = "sim")]

use ringmq::mqtt::Version;
use ringmq::mutant::{switch, Mutant};
use ringmq::sim::{run_bridge, run_bridge_cut_at};

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

/// From the first byte of CONNECT to the last acknowledgement, in each direction.
#[test]
fn a_link_that_is_cut_at_any_byte_loses_and_repeats_nothing() {
    for version in [Version::V5, Version::V311] {
        for way in 0..2 {
            let (bytes, failure) = run_bridge_cut_at(version, way, usize::MAX);
            assert_eq!(failure, None);
            assert!(bytes > 60, "{bytes} bytes are no conversation");
            for at in 0..=bytes {
                let (_, failure) = run_bridge_cut_at(version, way, at);
                assert_eq!(
                    failure, None,
                    "{version:?}, way {way}, cut behind byte {at}"
                );
            }
        }
    }
}

/// A run that could not fail would prove nothing.
#[test]
fn a_bridge_with_a_fault_is_noticed() {
    for mutant in Mutant::OF_BRIDGES {
        switch(Some(mutant));
        let mut failures = (0..SEEDS).filter_map(|seed| run_bridge(seed).failure);
        assert!(
            failures.next().is_some(),
            "{mutant:?} was not noticed in {SEEDS} seeds"
        );
    }
    switch(None);
}
