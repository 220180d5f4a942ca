use super::{run, run_asked};

/// Seeds of other ranges that found something.
const FOUND: [u64; 3] = [
    1_414, // the retained value was accepted before the subscription was known, and arrived after what came live
    2_301, // time jumps between a shard's end of a connection and its Action::Close
    4_925, // a client that takes what was sent to it is not silent, however long it says nothing
];

#[test]
fn seeds_pass_and_replay() {
    let (mut handed_over, mut upgraded, mut crashes) = (0, 0, 0);
    for seed in (0..300).chain(FOUND) {
        let outcome = run(seed, 0);
        handed_over += outcome.handed_over;
        upgraded += outcome.upgraded;
        crashes += outcome.crashes;
        let is_good = outcome.failures.is_empty();
        assert!(is_good, "seed {seed}: {:#?}", run(seed, 80));
        assert_eq!(
            outcome.hash,
            run_asked(seed, 0, false).hash,
            "seed {seed} does not replay, or a query has changed something"
        );
    }
    assert!(handed_over > 5_000, "only {handed_over} hand-overs");
    assert!(upgraded > 50, "only {upgraded} upgrades");
    assert!(crashes > 50, "only {crashes} crashes");
}
