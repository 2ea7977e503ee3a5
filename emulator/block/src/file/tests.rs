use super::*;
use crate::tests::{Place, image_file};
use crate::{FileOptions, open};

/// An image on 4 KiB O_DIRECT blocks, whatever the file system would do with less.
fn image(bytes: &[u8]) -> Option<Image> {
    let file = image_file(Place::Disk, bytes);
    let options = FileOptions {
        direct: true,
        ..FileOptions::default()
    };
    match open(file, options) {
        Ok(mut opened) => {
            opened.alignment = Some(Alignment {
                memory: 4096,
                offset: 4096,
            });
            Some(Image::start(opened).unwrap())
        }
        Err(OpenError::Direct(error)) => {
            outrigger_skip::skipped(error);
            None
        }
        Err(error) => panic!("{error}"),
    }
}

fn write(cookie: u64, offset: u64, length: usize) -> Request {
    let byte = cookie.to_le_bytes()[0];
    let data = Data::Owned(vec![byte; length]);
    Request {
        cookie,
        op: Op::Write { fua: false },
        offset,
        length: length as u64,
        data,
    }
}

#[test]
fn what_goes_through_the_page_cache_is_alone() {
    let Some(mut image) = image(&[0; 65536]) else {
        return;
    };
    let mut done = Vec::new();
    // Two that share nothing with the third but its page, then the third, then two that share it again.
    let requests = [
        (1, 0, 4096),
        (2, 4096, 4096),
        (3, 512, 512),
        (4, 0, 4096),
        (5, 8192, 4096),
        (6, 1024, 512),
    ];
    for (cookie, offset, length) in requests {
        assert!(image.submit(write(cookie, offset, length)).is_none());
    }
    assert_eq!((image.in_flight, image.waiting.len()), (2, 4));
    image.kick();
    while done.len() < 6 {
        let before = done.len();
        image.reap(&mut done);
        if done.len() == before {
            std::thread::yield_now();
        }
        let alone = image.exclusive && image.in_flight != 1;
        assert!(!alone, "{image:?}");
    }
    let order: Vec<_> = done.iter().map(|c| c.cookie).collect();
    let place = |cookie| order.iter().position(|c| *c == cookie).unwrap();
    assert!(
        place(3) == 2 && place(6) == 5 && place(4) > 2 && place(5) > 2,
        "{order:?}"
    );

    let read = Request {
        op: Op::Read,
        ..write(0, 0, 8192)
    };
    assert!(image.submit(read).is_none());
    image.drain(false, &mut done);
    let Some(Completion {
        data: Data::Owned(now),
        result: Ok(()),
        ..
    }) = done.pop()
    else {
        panic!()
    };
    let mut expected = vec![4; 4096];
    expected[1024..1536].fill(6);
    expected.extend([2; 4096]);
    assert!(now == expected);
}

#[test]
fn cancelling_reaches_what_waits() {
    let Some(mut image) = image(&[0; 65536]) else {
        return;
    };
    for cookie in 0..4 {
        assert!(image.submit(write(cookie, 512, 512)).is_none());
    }
    assert_eq!((image.in_flight, image.waiting.len()), (1, 3));
    let mut done = Vec::new();
    image.drain(true, &mut done);
    let cancelled = |c: &&Completion| matches!(c.result, Err(BlockError::Cancelled));
    assert_eq!(done.len(), 4);
    assert!(done.iter().filter(cancelled).count() >= 3);
    assert_eq!(
        (image.in_flight, image.waiting.len(), image.exclusive),
        (0, 0, false)
    );
}

#[test]
fn a_file_that_grows_or_shrinks_is_looked_at_again() {
    let file = image_file(Place::Disk, &[0; 4096]);
    let other = file.try_clone().unwrap();
    let mut image = Image::start(open(file, FileOptions::default()).unwrap()).unwrap();
    for (size, seen) in [(8192 + 100, 8192), (512, 512), (0, 512), (4096, 4096)] {
        other.set_len(size).unwrap();
        image.refresh().unwrap();
        assert_eq!(image.geometry().bytes, seen);
    }
}
