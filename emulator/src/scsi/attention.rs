//! Step 8, SCSI: the pending unit attention conditions of a logical unit (SAM-2 section 5.9.7).
//!
//! What has happened to the medium is not forgotten because of a reset, nor the other way round.

use super::sense::Sense;

/// Additional sense code of power-on and resets.
const RESET: u8 = 0x29;

/// One condition of each kind; those of resets are reported first.
#[derive(Debug, Default)]
pub(crate) struct Attentions {
    reset: Option<Sense>,
    medium: Option<Sense>,
}

impl Attentions {
    /// Another condition. Of two resets the one with the lower qualifier says more: power-on before a reset of the bus before
    /// one of the device.
    pub(crate) fn add(&mut self, condition: Sense) {
        if condition.code.0 != RESET {
            self.medium = Some(condition);
        } else if self
            .reset
            .is_none_or(|pending| condition.code.1 < pending.code.1)
        {
            self.reset = Some(condition);
        }
    }

    /// The condition that is reported next; it is no longer pending.
    pub(crate) fn take(&mut self) -> Option<Sense> {
        self.reset.take().or_else(|| self.medium.take())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reset_and_a_change_are_both_reported() {
        let mut attentions = Attentions::default();
        attentions.add(Sense::MEDIUM_CHANGED);
        attentions.add(Sense::DEVICE_RESET);
        attentions.add(Sense::POWER_ON);
        attentions.add(Sense::BUS_RESET);
        attentions.add(Sense::MEDIUM_CHANGED);
        assert_eq!(attentions.take(), Some(Sense::POWER_ON));
        assert_eq!(attentions.take(), Some(Sense::MEDIUM_CHANGED));
        assert_eq!(attentions.take(), None);
    }
}
