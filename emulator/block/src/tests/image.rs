use super::*;

const SIZE: usize = 1 << 20;

#[test]
fn a_file_cut_short_underneath_is_a_medium_error() {
    for engine in [Engine::Auto, Engine::Threads] {
        for place in [Place::Disk, Place::Memory] {
            let file = image_file(place, &pattern(SIZE));
            let other = file.try_clone().unwrap();
            let options = FileOptions {
                read_only: false,
                direct: false,
                engine,
            };
            let mut backend = Backend::file(file, options).unwrap();
            other.set_len(10_000).unwrap();
            let done = run(
                &mut backend,
                request(Op::Read, 8192, 4096, Data::Owned(vec![0; 4096])),
            );
            match done.result {
                Err(BlockError::Io {
                    offset: Some(10_000),
                    source,
                }) => {
                    assert_eq!(source.kind(), std::io::ErrorKind::UnexpectedEof);
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn what_cannot_be_a_disk_is_refused() {
    let options = FileOptions::default();
    let open = |file, options| Backend::file(file, options).map(|_| ()).unwrap_err();
    assert!(matches!(
        open(File::open("/dev/null").unwrap(), options),
        OpenError::NotADisk
    ));
    assert!(matches!(
        open(image_file(Place::Disk, &[]), options),
        OpenError::Empty
    ));
    assert!(matches!(
        open(image_file(Place::Disk, &[0; 700]), options),
        OpenError::PartialBlock { bytes: 700 }
    ));
    let named = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(named.path(), [0; 512]).unwrap();
    assert!(matches!(
        open(File::open(named.path()).unwrap(), options),
        OpenError::Access("writing")
    ));
    let write_only = std::fs::OpenOptions::new()
        .write(true)
        .open(named.path())
        .unwrap();
    let read_only = FileOptions {
        read_only: true,
        ..options
    };
    assert!(matches!(
        open(write_only, read_only),
        OpenError::Access("reading")
    ));
    Backend::file(File::open(named.path()).unwrap(), read_only).unwrap();
}

#[test]
fn a_file_opened_to_append_or_not_to_block_still_works() {
    use std::os::unix::fs::OpenOptionsExt;
    let named = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(named.path(), [0; 1024]).unwrap();
    let flags = (rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::APPEND)
        .bits()
        .cast_signed();
    let file = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(flags)
        .open(named.path())
        .unwrap();
    let mut backend = Backend::file(file, FileOptions::default()).unwrap();
    let data = Data::Owned(vec![9; 512]);
    run(&mut backend, request(Op::Write { fua: true }, 0, 512, data))
        .result
        .unwrap();
    let now = std::fs::read(named.path()).unwrap();
    assert!(now[..512] == [9; 512] && now[512..] == [0; 512]);
}

#[test]
fn a_page_cache_hit_needs_no_wait() {
    let disk = pattern(SIZE);
    let file = image_file(Place::Disk, &disk);
    assert_eq!(file_bytes(&file), disk);
    let mut backend = Backend::file(file, FileOptions::default()).unwrap();
    let mut hit = || {
        let done = backend.submit(request(Op::Read, 4096, 4096, Data::Owned(vec![0; 4096])));
        let hit = done.is_some();
        if let Some(done) = done {
            assert!(matches!(done.data, Data::Owned(bytes) if bytes == disk[4096..8192]));
            // Whether or not writes can be done at once.
            let data = Data::Owned(vec![0; 4096]);
            run(
                &mut backend,
                request(Op::Write { fua: false }, 65536, 4096, data),
            )
            .result
            .unwrap();
        }
        hit
    };
    // Not every file system has RWF_NOWAIT; one that has finds in the cache what was there before.
    if hit() {
        assert!(hit());
    }
}

#[test]
fn descriptors_are_given_back() {
    let count = || {
        std::fs::read_dir("/proc/self/fd")
            .unwrap()
            .filter_map(Result::ok)
            .filter(|entry| {
                // Other tests run beside this one: only what this one's images are called.
                std::fs::read_link(entry.path())
                    .is_ok_and(|to| to.to_string_lossy().contains("leak-check"))
            })
            .count()
    };
    let folder = tempfile::Builder::new()
        .prefix("leak-check")
        .tempdir()
        .unwrap();
    for round in 0..20 {
        for engine in [Engine::Auto, Engine::Threads] {
            for direct in [false, true] {
                let path = folder.path().join(format!("{round}"));
                std::fs::write(&path, pattern(SIZE)).unwrap();
                let file = File::options().read(true).write(true).open(&path).unwrap();
                let Ok(mut backend) = Backend::file(
                    file,
                    FileOptions {
                        read_only: false,
                        direct,
                        engine,
                    },
                ) else {
                    continue;
                };
                run(&mut backend, request(Op::Flush, 0, 0, Data::None))
                    .result
                    .unwrap();
                assert!(count() >= 1);
            }
        }
    }
    assert_eq!(count(), 0);
}

#[test]
fn threads_stand_in_where_io_uring_is_forbidden() {
    use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch};
    // The filter is for this thread and those that it starts.
    let forbidden = std::thread::spawn(|| {
        let rules = [(libc::SYS_io_uring_setup, vec![])].into_iter().collect();
        let refuse = SeccompAction::Errno(libc::EPERM.cast_unsigned());
        let arch = TargetArch::try_from(std::env::consts::ARCH).unwrap();
        let filter = SeccompFilter::new(rules, SeccompAction::Allow, refuse, arch).unwrap();
        seccompiler::apply_filter(&BpfProgram::try_from(filter).unwrap()).unwrap();

        let open = |engine| {
            let options = FileOptions {
                read_only: false,
                direct: false,
                engine,
            };
            Backend::file(image_file(Place::Disk, &pattern(SIZE)), options)
        };
        match open(Engine::IoUring) {
            Err(OpenError::IoUring(error)) => assert_eq!(error.raw_os_error(), Some(libc::EPERM)),
            other => panic!("{other:?}"),
        }
        let mut backend = open(Engine::Auto).unwrap();
        let data = Data::Owned(vec![3; 512]);
        run(&mut backend, request(Op::Write { fua: true }, 0, 512, data))
            .result
            .unwrap();
        let done = run(
            &mut backend,
            request(Op::Read, 0, 1024, Data::Owned(vec![0; 1024])),
        );
        let mut expected = pattern(1024);
        expected[..512].fill(3);
        assert!(matches!(done.data, Data::Owned(bytes) if bytes == expected));
    });
    forbidden.join().unwrap();
}

#[test]
fn guest_ram_that_its_owner_cut_off_is_an_error() {
    for engine in [Engine::Auto, Engine::Threads] {
        let options = FileOptions {
            read_only: false,
            direct: false,
            engine,
        };
        let mut backend = Backend::file(image_file(Place::Disk, &pattern(SIZE)), options).unwrap();
        let ram = fixture::memfd(RAM_SIZE);
        let mut gate = fixture::gate(&[]);
        let fd = ram.try_clone().unwrap();
        gate.map(outrigger_device::dma::Mapping {
            fd,
            ..fixture::mapping(RAM_START, RAM_SIZE)
        })
        .unwrap();
        for (op, direction) in [
            (Op::Read, Direction::ToGuest),
            (Op::Write { fua: true }, Direction::FromGuest),
        ] {
            let data = guest(&gate, direction, &[(8192, 4096)]);
            rustix::fs::ftruncate(&ram, 4096).unwrap();
            let done = run(&mut backend, request(op, 0, 4096, data));
            match done.result {
                Err(BlockError::Io { source, .. }) => {
                    assert_eq!(source.raw_os_error(), Some(libc::EFAULT))
                }
                other => panic!("{other:?}"),
            }
        }
    }
}
