use super::run;

#[test]
fn seeds_pass_and_replay() {
    for seed in 0..300 {
        let outcome = run(seed, 0);
        assert!(outcome.failures.is_empty(), "seed {seed}: {outcome:#?}");
        assert_eq!(
            outcome.hash,
            run(seed, 0).hash,
            "seed {seed} does not replay"
        );
    }
}
