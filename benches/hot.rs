//! Time per operation of the hot paths.

mod support;

use criterion::{criterion_group, criterion_main, Criterion, Throughput};

fn hot(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("hot");
    for mut case in support::cases::all() {
        group.throughput(Throughput::Elements(case.operations));
        group.bench_function(case.name, |bencher| bencher.iter(&mut case.run));
    }
    group.finish();
}

criterion_group!(benches, hot);
criterion_main!(benches);
