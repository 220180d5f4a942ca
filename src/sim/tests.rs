use super::run;

#[test]
fn seeds_pass_and_replay() {
    for seed in 0..300 {
        let outcome = run(seed, 0);
        let is_good = outcome.failures.is_empty();
        assert!(is_good, "seed {seed}: {:#?}", run(seed, 80));
        assert_eq!(
            outcome.hash,
            run(seed, 0).hash,
            "seed {seed} does not replay"
        );
    }
}
