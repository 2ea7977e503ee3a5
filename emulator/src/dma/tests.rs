use super::*;

const PAGE: u64 = 4096;

#[test]
fn reads_back_what_it_wrote() {
    let gate = fixture::gate(&[(0x1000, PAGE)]);
    gate.write(0x1ffc, &[1, 2, 3, 4]).unwrap();
    let mut word = [0; 4];
    gate.read(0x1ffc, &mut word).unwrap();
    assert_eq!(word, [1, 2, 3, 4]);
}
