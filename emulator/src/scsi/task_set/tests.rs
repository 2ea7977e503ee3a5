//! The blocking rules, by example and at random.

use Attribute::{HeadOfQueue, Ordered, Simple};
use proptest::prelude::*;

use super::*;

fn id(index: u32) -> TaskId {
    TaskId {
        index,
        generation: 0,
    }
}

fn enabled_by_end_of(set: &mut TaskSet, index: u32) -> Vec<u32> {
    set.remove(id(index));
    std::iter::from_fn(|| set.enable_next())
        .map(|task| task.index)
        .collect()
}

#[test]
fn ordered_waits_for_all_and_holds_all() {
    let mut set = TaskSet::default();
    assert!(set.insert(id(0), Some(0), Simple));
    assert!(set.insert(id(1), Some(1), Simple));
    assert!(!set.insert(id(2), Some(2), Ordered));
    assert!(!set.insert(id(3), Some(3), Simple));
    assert!(!set.insert(id(4), Some(4), Simple));
    assert!(enabled_by_end_of(&mut set, 0).is_empty());
    assert_eq!(enabled_by_end_of(&mut set, 1), [2]);
    assert_eq!(enabled_by_end_of(&mut set, 2), [3, 4]);
}

#[test]
fn head_of_queue_runs_at_once_and_holds_dormant_ones() {
    let mut set = TaskSet::default();
    assert!(set.insert(id(0), Some(0), Simple));
    assert!(!set.insert(id(1), Some(1), Ordered));
    assert!(set.insert(id(2), Some(2), HeadOfQueue));
    assert!(!set.insert(id(3), Some(3), Simple));
    assert!(enabled_by_end_of(&mut set, 0).is_empty());
    assert_eq!(enabled_by_end_of(&mut set, 2), [1]);
    assert_eq!(enabled_by_end_of(&mut set, 1), [3]);
}

#[test]
fn finds_by_tag() {
    let mut set = TaskSet::default();
    set.insert(id(0), None, Simple);
    set.insert(id(1), Some(0), Simple);
    assert_eq!(set.find(None), Some(id(0)));
    assert_eq!(set.find(Some(0)), Some(id(1)));
    assert_eq!(set.find(Some(1)), None);
}

proptest! {
    /// Whatever comes and ends: an enabled task is always there, and no task passes an older ORDERED one.
    #[test]
    fn never_stuck_and_never_out_of_order(steps in proptest::collection::vec((0u8..4, any::<u8>()), 1..200)) {
        let mut set = TaskSet::default();
        let mut live: Vec<(TaskId, Attribute, bool)> = Vec::new();
        for (number, (kind, pick)) in (0u32..).zip(steps) {
            let attribute = match kind { 0 => Simple, 1 => Ordered, 2 => HeadOfQueue, _ => {
                let enabled: Vec<_> = live.iter().filter(|task| task.2).map(|task| task.0).collect();
                if enabled.is_empty() { prop_assert!(live.is_empty()); continue; }
                let ended = enabled[usize::from(pick) % enabled.len()];
                live.retain(|task| task.0 != ended);
                set.remove(ended);
                while let Some(next) = set.enable_next() {
                    let at = live.iter().position(|task| task.0 == next).expect("a live task");
                    prop_assert!(!live[at].2);
                    prop_assert!(live.iter().all(|task| task.1 != HeadOfQueue));
                    prop_assert!(live[..at].iter().all(|task| task.1 != Ordered));
                    prop_assert!(live[at].1 != Ordered || at == 0);
                    live[at].2 = true;
                }
                continue;
            }};
            let enabled = set.insert(id(number), None, attribute);
            live.push((id(number), attribute, enabled));
        }
    }
}
