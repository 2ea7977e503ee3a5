//! A crossing and posted writes over the ring, both ends spinning on two CPUs, beside a bare cache line.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use outrigger_benches::bench::{Bound, Series};

fn transport(criterion: &mut Criterion) {
    let Ok(bound) = Bound::new() else {
        println!("skipped: two CPUs are needed");
        return;
    };
    let mut group = criterion.benchmark_group("transport");
    for series in Series::ALL {
        group.throughput(Throughput::Elements(1));
        group.bench_function(series.name(), |bencher| {
            bencher.iter_custom(|count| bound.repeat(series, count).expect("both ends work"));
        });
    }
    group.finish();
}

criterion_group!(benches, transport);
criterion_main!(benches);
