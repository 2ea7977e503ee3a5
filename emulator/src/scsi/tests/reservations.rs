//! Reservations of the one initiator there is.

use super::Rig;

const CONFLICT: u8 = 0x18;

fn key(low: u8) -> [u8; 8] {
    [0, 0, 0, 0, 0, 0, 0xbe, low]
}

impl Rig {
    /// PERSISTENT RESERVE OUT: its status.
    fn reserve(&mut self, action: u8, kind: u8, own: [u8; 8], service: [u8; 8], flags: u8) -> u8 {
        let mut list = [0; 24];
        list[..8].copy_from_slice(&own);
        list[8..16].copy_from_slice(&service);
        list[20] = flags;
        let cdb = [0x5f, action, kind, 0, 0, 0, 0, 0, 24, 0];
        self.run_out(&cdb, &list).status
    }

    fn reserve_in(&mut self, action: u8) -> Vec<u8> {
        self.data(&[0x5e, action, 0, 0, 0, 0, 0, 0, 255, 0])
    }
}

#[test]
fn a_persistent_reservation_from_beginning_to_end() {
    let mut rig = Rig::blank(8);
    let none = [0; 8];
    assert_eq!(rig.reserve_in(2), [0, 8, 0, 0x80, 0xea, 1, 0, 0]);
    assert_eq!(rig.reserve_in(0), [0; 8]);
    assert_eq!(rig.reserve_in(1), [0; 8]);
    assert_eq!(rig.reserve_in(3), [0; 8]);
    // Nobody reserves without a key.
    assert_eq!(rig.reserve(1, 3, none, none, 0), CONFLICT);
    assert_eq!(rig.reserve(0, 0, key(9), key(1), 0), CONFLICT);
    assert_eq!(rig.reserve(0, 0, none, none, 0), 0);
    assert_eq!(rig.reserve_in(0)[3], 0, "nothing was registered");
    assert_eq!(rig.reserve(0, 0, none, key(1), 0), 0);
    assert_eq!(
        rig.reserve_in(0),
        [0, 0, 0, 1, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0xbe, 1]
    );
    assert_eq!(rig.reserve(1, 3, key(2), none, 0), CONFLICT);
    assert_eq!(rig.reserve(1, 3, key(1), none, 0), 0);
    assert_eq!(rig.reserve(1, 3, key(1), none, 0), 0);
    assert_eq!(rig.reserve(1, 1, key(1), none, 0), CONFLICT);
    let held = [
        0, 0, 0, 1, 0, 0, 0, 16, 0, 0, 0, 0, 0, 0, 0xbe, 1, 0, 0, 0, 0, 0, 3, 0, 0,
    ];
    assert_eq!(rig.reserve_in(1), held);
    #[rustfmt::skip]
    let full = [
        0, 0, 0, 1, 0, 0, 0, 48, 0, 0, 0, 0, 0, 0, 0xbe, 1,
        0, 0, 0, 0, 1, 3, 0, 0, 0, 0, 0, 1, 0, 0, 0, 24,
        1, 0, 0, 7, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    ];
    assert_eq!(rig.reserve_in(3), full);
    // It outlasts a reset, and keeps no command out.
    rig.bus.reset();
    assert_eq!(rig.refusal(&[0; 6]), (6, 0x29, 2));
    assert_eq!(rig.reserve_in(1), held);
    assert_eq!(rig.run(&[10, 0, 0, 0, 1, 0]).status, 0);
    // RELEASE of another type, then of this one.
    assert_eq!(rig.reserve(2, 1, key(1), none, 0), 2);
    assert_eq!(rig.data(&[3, 0, 0, 0, 18, 0])[12..14], [0x26, 4]);
    assert_eq!(rig.reserve(2, 3, key(1), none, 0), 0);
    assert_eq!(rig.reserve_in(1)[..8], [0, 0, 0, 1, 0, 0, 0, 0]);
    assert_eq!(rig.reserve(2, 3, key(1), none, 0), 0);
    // Unregistering ends the reservation.
    assert_eq!(rig.reserve(1, 5, key(1), none, 0), 0);
    assert_eq!(rig.reserve(0, 0, key(1), none, 0), 0);
    assert_eq!(rig.reserve_in(1), [0, 0, 0, 2, 0, 0, 0, 0]);
}

#[test]
fn all_types_and_their_ends() {
    let mut rig = Rig::blank(8);
    let none = [0; 8];
    for kind in [1, 3, 5, 6, 7, 8] {
        // Whatever key there is.
        assert_eq!(rig.reserve(6, 0, key(0x77), key(1), 0), 0);
        assert_eq!(rig.reserve(1, kind, key(1), none, 0), 0);
        let held = rig.reserve_in(1);
        let all_registrants = kind >= 7;
        assert_eq!((held[15], held[21]), (u8::from(!all_registrants), kind));
        assert_eq!(rig.reserve(3, 0, key(1), none, 0), 0);
        assert_eq!(rig.reserve_in(0)[4..], [0; 4]);
        assert_eq!(rig.reserve_in(1)[4..], [0; 4]);
    }
    for kind in [0, 2, 4, 9, 0x13] {
        let sense = rig.sense(&[0x5f, 1, kind, 0, 0, 0, 0, 0, 24, 0]);
        let bit = if kind == 0x13 { 0xcf } else { 0xcb };
        assert_eq!(sense[12..18], [0x24, 0, 0, bit, 0, 2]);
    }
}

#[test]
fn preempting_oneself() {
    let mut rig = Rig::blank(8);
    let none = [0; 8];
    assert_eq!(rig.reserve(6, 0, none, key(1), 0), 0);
    assert_eq!(rig.reserve(1, 3, key(1), none, 0), 0);
    assert_eq!(rig.reserve(4, 5, key(1), key(2), 0), CONFLICT);
    assert_eq!(rig.reserve(4, 5, key(1), none, 0), 2);
    assert_eq!(
        rig.data(&[3, 0, 0, 0, 18, 0])[12..18],
        [0x26, 0, 0, 0x80, 0, 8]
    );
    assert_eq!(rig.reserve(4, 5, key(1), key(1), 0), 0);
    assert_eq!(rig.reserve_in(1)[21], 5);
    assert_eq!(rig.reserve(5, 7, key(1), key(1), 0), 0);
    assert_eq!(rig.reserve_in(1)[21], 7);
    // All the others, of whom there are none.
    assert_eq!(rig.reserve(5, 8, key(1), none, 0), 0);
    assert_eq!(rig.reserve_in(1)[21], 8);
    assert_eq!(rig.reserve(4, 8, key(1), key(1), 0), 0);
    assert_eq!(rig.reserve_in(0)[4..], [0; 4]);
}

#[test]
fn what_is_not_remembered_is_refused() {
    let mut rig = Rig::blank(8);
    // APTPL, ALL_TG_PT, SPEC_I_PT.
    for (flags, pointer) in [(1, 0x88), (4, 0x8a), (8, 0x8b)] {
        assert_eq!(rig.reserve(0, 0, [0; 8], key(1), flags), 2);
        let sense = rig.data(&[3, 0, 0, 0, 18, 0]);
        assert_eq!(sense[12..18], [0x26, 0, 0, pointer, 0, 20]);
    }
    assert_eq!(
        rig.refusal(&[0x5f, 0, 0, 0, 0, 0, 0, 0, 23, 0]),
        (5, 0x1a, 0)
    );
    assert_eq!(
        rig.sense(&[0x5f, 7, 0, 0, 0, 0, 0, 0, 24, 0])[12..18],
        [0x24, 0, 0, 0xcc, 0, 1]
    );
    assert_eq!(
        rig.sense(&[0x5e, 4, 0, 0, 0, 0, 0, 0, 24, 0])[12..18],
        [0x24, 0, 0, 0xcc, 0, 1]
    );
}

#[test]
fn the_old_way_and_the_new_one_exclude_each_other() {
    let mut rig = Rig::blank(8);
    let keys = [0x5e, 0, 0, 0, 0, 0, 0, 0, 255, 0];
    for (reserve, release) in [(0x16, 0x17), (0x56, 0x57)] {
        let cdb = |code| [code, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(rig.run(&cdb(reserve)).status, 0);
        assert_eq!(rig.run(&cdb(reserve)).status, 0);
        assert_eq!(rig.run(&keys).status, CONFLICT);
        assert_eq!(rig.reserve(0, 0, [0; 8], key(1), 0), CONFLICT);
        assert_eq!(rig.run(&cdb(release)).status, 0);
        assert_eq!(rig.run(&cdb(release)).status, 0);
        assert_eq!(rig.run(&keys).status, 0);
        // For somebody else.
        let other = rig.sense(&[reserve, 0x10, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(other[12..18], [0x24, 0, 0, 0xcc, 0, 1]);
    }
    assert_eq!(rig.run(&[0x16, 0, 0, 0, 0, 0]).status, 0);
    rig.bus.reset();
    assert_eq!(rig.refusal(&[0; 6]), (6, 0x29, 2));
    assert_eq!(rig.reserve(0, 0, [0; 8], key(1), 0), 0);
    assert_eq!(rig.run(&[0x16, 0, 0, 0, 0, 0]).status, CONFLICT);
    assert_eq!(rig.run(&[0x17, 0, 0, 0, 0, 0]).status, CONFLICT);
}
