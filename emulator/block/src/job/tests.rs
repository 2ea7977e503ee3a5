//! The kernel's answers that no test can make a real kernel give.

use super::*;
use crate::Data;

fn job(op: Op, length: u64, route: Route, granule: u64) -> Job {
    let data = match op {
        Op::Read | Op::Write { .. } => Data::Owned(vec![0; usize::try_from(length).unwrap()]),
        _ => Data::None,
    };
    Job::new(
        Request {
            cookie: 1,
            op,
            offset: 4096,
            length,
            data,
        },
        route,
        granule,
    )
}

fn error(code: i32) -> io::Result<usize> {
    Err(io::Error::from_raw_os_error(code))
}

/// What the next call names: where on the disk, and how many bytes.
fn aim(job: &mut Job) -> (u64, usize) {
    let offset = match job.next_call() {
        Call::Read { offset } | Call::Write { offset, .. } => offset,
        other => panic!("{other:?}"),
    };
    (
        offset,
        job.buffers().list().iter().map(|piece| piece.iov_len).sum(),
    )
}

#[test]
fn short_answers_are_continued() {
    let mut job = job(Op::Read, 8192, Route::Straight, 1);
    assert_eq!(aim(&mut job), (4096, 8192));
    assert!(job.answer(Ok(100)).is_none());
    assert_eq!(aim(&mut job), (4196, 8092));
    assert!(job.answer(error(libc::EINTR)).is_none());
    assert_eq!(aim(&mut job), (4196, 8092));
    assert!(matches!(job.answer(Ok(8092)), Some(Ok(()))));
}

#[test]
fn short_direct_answers_are_continued_where_it_is_aligned() {
    for route in [Route::Straight, Route::Bounced] {
        let mut job = job(Op::Write { fua: true }, 8192, route, 512);
        assert_eq!(aim(&mut job), (4096, 8192));
        assert!(job.answer(Ok(1500)).is_none());
        assert_eq!(aim(&mut job), (4096 + 1024, 8192 - 1024));
        // Less than one block is no progress.
        let end = job.answer(Ok(511));
        assert!(matches!(
            end,
            Some(Err(BlockError::Io {
                offset: Some(5120),
                ..
            }))
        ));
    }
}

#[test]
fn a_bounce_buffer_is_used_in_bounded_parts() {
    let size = (MAX_BOUNCE as u64) * 2 + 512;
    let mut job = job(Op::Read, size, Route::Bounced, 512);
    assert_eq!(aim(&mut job), (4096, MAX_BOUNCE));
    assert!(job.answer(Ok(MAX_BOUNCE)).is_none());
    assert_eq!(aim(&mut job), (4096 + MAX_BOUNCE as u64, MAX_BOUNCE));
    assert!(job.answer(Ok(MAX_BOUNCE)).is_none());
    assert_eq!(aim(&mut job).1, 512);
    assert!(matches!(job.answer(Ok(512)), Some(Ok(()))));
}

#[test]
fn errors_keep_their_meaning() {
    let write = || job(Op::Write { fua: false }, 512, Route::Straight, 1);
    for code in [libc::ENOSPC, libc::EDQUOT, libc::EFBIG] {
        assert!(matches!(
            write().answer(error(code)),
            Some(Err(BlockError::NoSpace))
        ));
    }
    assert!(matches!(
        write().answer(error(libc::EROFS)),
        Some(Err(BlockError::ReadOnly))
    ));
    for code in [
        libc::EIO,
        libc::EFAULT,
        libc::EINVAL,
        libc::ECANCELED,
        libc::EAGAIN,
    ] {
        match write().answer(error(code)) {
            Some(Err(BlockError::Io {
                offset: Some(4096),
                source,
            })) => {
                assert_eq!(source.raw_os_error(), Some(code));
            }
            other => panic!("{other:?}"),
        }
    }
    let flush = job(Op::Flush, 0, Route::Straight, 1).answer(error(libc::EIO));
    assert!(matches!(
        flush,
        Some(Err(BlockError::Io { offset: None, .. }))
    ));
}

#[test]
fn cancelled_jobs_need_no_further_call() {
    for answer in [Ok(100), error(libc::EINTR), error(libc::ECANCELED)] {
        let mut job = job(Op::Read, 512, Route::Straight, 1);
        job.cancel();
        assert!(matches!(
            job.answer(answer),
            Some(Err(BlockError::Cancelled))
        ));
    }
    let mut job = job(Op::Read, 512, Route::Straight, 1);
    job.cancel();
    assert!(
        matches!(job.answer(Ok(512)), Some(Ok(()))),
        "what is done is done"
    );
}

#[test]
fn zeroes_are_written_where_the_file_system_cannot() {
    for unmap in [false, true] {
        let mut job = job(
            Op::WriteZeroes { unmap },
            (1 << 20) + 512,
            Route::Straight,
            1,
        );
        assert!(matches!(
            job.next_call(),
            Call::Allocate { offset: 4096, .. }
        ));
        assert!(job.answer(error(libc::EOPNOTSUPP)).is_none());
        assert_eq!(aim(&mut job), (4096, 1 << 20));
        assert!(!job.buffers().is_writable());
        assert!(job.answer(Ok(1 << 20)).is_none());
        assert_eq!(aim(&mut job), (4096 + (1 << 20), 512));
        assert!(matches!(job.answer(Ok(512)), Some(Ok(()))));
    }
    // A hint may be ignored.
    let mut job = job(Op::Discard, 512, Route::Straight, 1);
    assert!(matches!(job.answer(error(libc::EOPNOTSUPP)), Some(Ok(()))));
}

#[test]
fn what_must_be_stable_is_asked_of_the_kernel() {
    for fua in [false, true] {
        let mut job = job(Op::Write { fua }, 512, Route::Straight, 1);
        assert!(matches!(job.next_call(), Call::Write { durable, .. } if durable == fua));
        // What is tried without a wait goes through the page cache alone.
        assert_eq!(job.moves_data(), !fua);
    }
    let mut flush = job(Op::Flush, 0, Route::Straight, 1);
    assert!(matches!(flush.next_call(), Call::Sync));
}
