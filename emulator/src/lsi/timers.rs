//! Step 7, timers: general purpose (GEN) and handshake-to-handshake (HTH), STIME0 and STIME1 (manual, section 4.2).

use std::time::{Duration, Instant};

use super::interrupt::Scsi;

/// The pre-scaler's divisors by SCNTL3.CCF, doubled (section 4.2, SCNTL3).
const DIVISORS: [u32; 8] = [6, 2, 3, 4, 6, 8, 12, 16];

/// The period that a 4-bit field selects: 125 µs doubled with each step, at the pre-scaler's divisor of 2.
/// `None` is off. `scale` is the scale factor bit: 16 times as long.
pub(super) fn period(field: u8, scale: bool, scntl3: u8) -> Option<Duration> {
    let step = u32::from(field & 15).checked_sub(1)?;
    let divisor = DIVISORS[usize::from(scntl3 & 7)];
    let unit = Duration::from_micros(125) * divisor / 4;
    Some(unit * (1 << step) * if scale { 16 } else { 1 })
}

/// Both timers and the clock as last read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timers {
    now: Option<Instant>,
    general: Option<Instant>,
    handshake: Option<Instant>,
}

impl Timers {
    /// Both off.
    pub(super) const fn new() -> Self {
        Self {
            now: None,
            general: None,
            handshake: None,
        }
    }

    /// The worker's clock.
    pub(super) fn now(&mut self, now: Instant) {
        self.now = Some(now);
    }

    /// STIME1 was written: the general purpose timer starts anew or stops.
    pub(super) fn start_general(&mut self, period: Option<Duration>) {
        self.general = self.after(period);
    }

    /// The bus waits for a handshake. A wait that has begun goes on.
    pub(super) fn await_handshake(&mut self, period: Option<Duration>) {
        if self.handshake.is_none() {
            self.handshake = self.after(period);
        }
    }

    /// A handshake came, or nobody waits for one any more.
    pub(super) fn handshake(&mut self) {
        self.handshake = None;
    }

    fn after(&self, period: Option<Duration>) -> Option<Instant> {
        self.now?.checked_add(period?)
    }

    /// What has expired at `now`; each timer expires once.
    pub(super) fn expire(&mut self, now: Instant) -> Scsi {
        let mut expired = Scsi::empty();
        if self.general.take_if(|at| *at <= now).is_some() {
            expired |= Scsi::GEN;
        }
        if self.handshake.take_if(|at| *at <= now).is_some() {
            expired |= Scsi::HTH;
        }
        expired
    }

    /// The next expiry.
    pub(super) fn deadline(&self) -> Option<Instant> {
        [self.general, self.handshake].into_iter().flatten().min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_double_and_scale() {
        // CCF 3 divides by 2: the manual's table holds as it stands.
        assert_eq!(period(0, false, 3), None);
        assert_eq!(period(1, false, 3), Some(Duration::from_micros(125)));
        assert_eq!(period(11, false, 3), Some(Duration::from_millis(128)));
        assert_eq!(period(1, true, 3), Some(Duration::from_millis(2)));
    }

    #[test]
    fn a_timer_expires_once() {
        let start = Instant::now();
        let mut timers = Timers::new();
        timers.now(start);
        timers.start_general(Some(Duration::from_millis(1)));
        assert_eq!(
            timers.deadline(),
            start.checked_add(Duration::from_millis(1))
        );
        assert_eq!(timers.expire(start), Scsi::empty());
        let later = start + Duration::from_millis(1);
        assert_eq!(timers.expire(later), Scsi::GEN);
        assert_eq!(timers.expire(later), Scsi::empty());
    }
}
