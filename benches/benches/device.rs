//! The device's own work: SCRIPTS, the parse of CDBs, a command without data, a 4 KiB read from memory, and a
//! queue of such reads.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use outrigger_benches::cdbs;
use outrigger_benches::chip::{Chip, INSTRUCTIONS, Queue, READ_BYTES, REQUESTS};

fn device(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("device");
    let mut chip = Chip::new().expect("a chip");
    chip.prepare_scripts().expect("a script");
    group.throughput(Throughput::Elements(INSTRUCTIONS.into()));
    group.bench_function("scripts", |bencher| {
        bencher.iter(|| chip.scripts().expect("the script ends"));
    });
    group.throughput(Throughput::Elements(cdbs::TYPICAL.len() as u64));
    group.bench_function("parse of each typical CDB", |bencher| {
        bencher.iter(|| cdbs::TYPICAL.map(cdbs::parse));
    });
    chip.prepare_test_unit_ready().expect("a command");
    group.throughput(Throughput::Elements(1));
    group.bench_function("test unit ready", |bencher| {
        bencher.iter(|| chip.command().expect("GOOD"));
    });
    chip.prepare_read().expect("a command");
    group.throughput(Throughput::Bytes(READ_BYTES.into()));
    group.bench_function("read 4 KiB", |bencher| {
        bencher.iter(|| chip.command().expect("GOOD"));
    });
    let mut queue = Queue::new().expect("a queue");
    group.throughput(Throughput::Elements(REQUESTS.into()));
    group.bench_function("queued reads of 4 KiB", |bencher| {
        bencher.iter(|| queue.run().expect("GOOD"));
    });
    group.finish();
}

criterion_group!(benches, device);
criterion_main!(benches);
