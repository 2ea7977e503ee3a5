//! Step 7, timers: general purpose (GEN) and handshake-to-handshake (HTH), by STIME0 and STIME1 (manual, section 4.2).

use std::time::{Duration, Instant};

use super::Lsi;
use super::interrupt::Scsi;
use super::registers::{STEST1_QSEL, at};

/// The pre-scaler's divisors by SCNTL3.CCF, doubled (section 4.2, SCNTL3).
const DIVISORS: [u32; 8] = [6, 2, 3, 4, 6, 8, 12, 16];

/// Cycles behind the pre-scaler that a timer takes, doubled with each step of its field.
///
/// The manual's table has minimum time-outs: 125 µs for field 1, at the pre-scaler's divisor of 2 and 40 MHz. The chips take a seventh more,
/// and drivers rely on it: those of Linux and FreeBSD have GEN run at a divisor of 3 and take 4340 kHz · 2^field ÷ milliseconds for the
/// clock. At the minimum they find 46 MHz, and choose the dividers of a 50 or 80 MHz board.
const CYCLES: u32 = 1447;

/// A cycle at 40 MHz.
const CYCLE: Duration = Duration::from_nanos(25);

/// The period that a 4-bit field selects. `None` is off. `scale` is the scale factor bit: 16 times as long; `clock` multiplies
/// the 40 MHz.
fn period(field: u8, scale: bool, scntl3: u8, clock: u32) -> Option<Duration> {
    let step = u32::from(field & 15);
    let divisor = *DIVISORS.get(usize::from(scntl3 & 7))?;
    let unit = CYCLE * CYCLES * divisor / (2 * clock);
    (step > 0).then(|| unit * (1 << step) * if scale { 16 } else { 1 })
}

/// The timers and the clock as last read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timers {
    now: Option<Instant>,
    general: Option<Instant>,
    handshake: Option<Instant>,
}

impl Timers {
    /// All off.
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

impl Lsi {
    /// The period of a field of STIME0 or STIME1 now.
    pub(super) fn period(&self, field: u8, scale: bool) -> Option<Duration> {
        let quadrupled = self.registers.byte(at::STEST1) & STEST1_QSEL != 0;
        let clock = if quadrupled { 4 } else { 1 };
        period(field, scale, self.registers.byte(at::SCNTL3), clock)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_double_and_scale() {
        let shortest = Duration::from_nanos(144_700);
        // CCF 3 divides by 2.
        assert_eq!(period(0, false, 3, 1), None);
        assert_eq!(period(1, false, 3, 1), Some(shortest));
        assert_eq!(period(11, false, 3, 1), Some(shortest * 1024));
        assert_eq!(period(1, true, 3, 1), Some(shortest * 16));
        // 160 MHz by 8.
        assert_eq!(period(1, false, 7, 4), Some(shortest));
    }

    /// The manual's table: 125 µs, doubled with each step.
    #[test]
    fn no_timer_expires_before_its_minimum() {
        for field in 1..=15 {
            let minimum = Duration::from_micros(125) * (1 << (field - 1));
            let period = period(field, false, 3, 1).expect("on");
            assert!(
                period >= minimum && period < minimum * 2,
                "{field}: {period:?}"
            );
        }
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
