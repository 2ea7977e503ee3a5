//! A peer that does not wait for its turn.

use std::hash::{DefaultHasher, Hasher as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::Input;

/// What the other thread does at most for one input.
const MOST: u32 = 100_000;
/// The bytes that decide one thing that it does.
const BLOCK: usize = 128;

/// Does `work`, and meanwhile, in a second thread, `other` again and again, with choices that look random. The thread has
/// done it once when `work` begins, and has ended when this returns.
///
/// The choices follow from `input` alone. What they coincide with in `work` does not.
///
/// # Panics
/// If `work` or `other` does.
pub fn meanwhile<T>(
    input: &[u8],
    other: impl Fn(&mut Input<'_>) + Sync,
    work: impl FnOnce() -> T,
) -> T {
    let mut hasher = DefaultHasher::new();
    hasher.write(input);
    // Not zero, which xorshift would keep.
    let mut state = hasher.finish() | 1;
    let (begun, ended) = (AtomicBool::new(false), AtomicBool::new(false));
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            // Ends the wait below even if `other` panics.
            let _begun = Raise(&begun);
            let mut block = [0; BLOCK];
            for _ in 0..MOST {
                for bytes in block.chunks_exact_mut(8) {
                    state ^= state << 13;
                    state ^= state >> 7;
                    state ^= state << 17;
                    bytes.copy_from_slice(&state.to_le_bytes());
                }
                other(&mut Input::new(&block));
                begun.store(true, Ordering::Relaxed);
                if ended.load(Ordering::Relaxed) {
                    return;
                }
            }
        });
        while !begun.load(Ordering::Relaxed) {
            thread::yield_now();
        }
        let result = {
            let _ended = Raise(&ended);
            work()
        };
        // Joined, not only done: what the thread had allocated is free again.
        if let Err(panic) = thread.join() {
            std::panic::resume_unwind(panic);
        }
        result
    })
}

/// Sets a flag at the end of its life, also in a panic.
struct Raise<'a>(&'a AtomicBool);

impl Drop for Raise<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use super::*;

    #[test]
    fn the_other_thread_works_until_the_work_has_ended() {
        let times = AtomicU64::new(0);
        let seen = meanwhile(
            b"input",
            |_| {
                times.fetch_add(1, Ordering::Relaxed);
            },
            || {
                let seen = times.load(Ordering::Relaxed);
                while times.load(Ordering::Relaxed) == seen {
                    thread::yield_now();
                }
                seen
            },
        );
        assert!(seen > 0);
        let after = times.load(Ordering::Relaxed);
        thread::yield_now();
        assert_eq!(times.load(Ordering::Relaxed), after);
    }

    #[test]
    fn equal_inputs_give_equal_choices() {
        let first = |input: &[u8]| {
            let choice = AtomicU64::new(0);
            let note = |it: &mut Input<'_>| {
                let _ = choice.compare_exchange(0, it.u64(), Ordering::Relaxed, Ordering::Relaxed);
            };
            meanwhile(input, note, || {});
            choice.into_inner()
        };
        assert_eq!(first(b"one"), first(b"one"));
        assert_ne!(first(b"one"), first(b"another"));
    }
}
