//! Step 7, register instructions: the ALU (manual, section 5.5).

use super::Step;
use crate::lsi::Lsi;
use crate::lsi::register_access::Origin;
use crate::lsi::registers::at;
use crate::lsi::scripts::instruction::{Operator, RegisterMove, RegisterOperation};

impl Lsi {
    pub(super) fn register_move(&mut self, r: RegisterMove) -> Step {
        let sfbr = self.registers.byte(at::SFBR);
        let data = if r.sfbr_data { sfbr } else { r.data };
        let source = match r.operation {
            // Plain data need no source, and a read may have side effects.
            _ if r.operator == Operator::Move => 0,
            RegisterOperation::FromSfbr => sfbr,
            RegisterOperation::ToSfbr | RegisterOperation::ReadModifyWrite => {
                self.read_register(r.register)
            }
        };
        let (result, carry) = compute(r.operator, source, data, self.processor.carry);
        self.processor.carry = carry;
        let destination = match r.operation {
            RegisterOperation::ToSfbr => at::SFBR,
            RegisterOperation::FromSfbr | RegisterOperation::ReadModifyWrite => r.register,
        };
        self.write_register(destination, result, Origin::Scripts);
        Step::Done
    }
}

/// The result and the new carry.
fn compute(operator: Operator, source: u8, data: u8, carry: bool) -> (u8, bool) {
    match operator {
        Operator::Move => (data, carry),
        Operator::ShiftLeft => (source << 1 | u8::from(carry), source & 0x80 != 0),
        Operator::Or => (source | data, carry),
        Operator::Xor => (source ^ data, carry),
        Operator::And => (source & data, carry),
        Operator::ShiftRight => (source >> 1 | u8::from(carry) << 7, source & 1 != 0),
        Operator::Add => source.overflowing_add(data),
        Operator::AddCarry => {
            let (sum, first) = source.overflowing_add(data);
            let (sum, second) = sum.overflowing_add(u8::from(carry));
            (sum, first || second)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operators_and_their_carry() {
        use Operator::{Add, AddCarry, And, Move, Or, ShiftLeft, ShiftRight, Xor};
        for (operator, source, data, carry, expected) in [
            (Move, 0xff, 0x12, true, (0x12, true)),
            (ShiftLeft, 0x81, 0, false, (0x02, true)),
            (ShiftLeft, 0x01, 0, true, (0x03, false)),
            (ShiftRight, 0x01, 0, true, (0x80, true)),
            (Or, 0x0f, 0xf0, true, (0xff, true)),
            (Xor, 0xff, 0x0f, false, (0xf0, false)),
            (And, 0x3c, 0x0f, false, (0x0c, false)),
            (Add, 0xff, 1, true, (0, true)),
            (Add, 1, 1, true, (2, false)),
            (AddCarry, 0xff, 0, true, (0, true)),
            (AddCarry, 0xff, 0xff, true, (0xff, true)),
            (AddCarry, 1, 1, true, (3, false)),
        ] {
            assert_eq!(
                compute(operator, source, data, carry),
                expected,
                "{operator:?} {source:#x} {data:#x}"
            );
        }
    }
}
