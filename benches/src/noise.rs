//! What else the machine did while something was measured: the time of other processes, and what the hypervisor took.

use std::fmt;
use std::fs;

use rustix::thread::sched_getaffinity;
use serde::Serialize;

/// From this share of the CPUs' time on, others disturb what is measured.
const SHARE: f64 = 0.05;
/// From this ratio between the best and the worst round on, something did.
const SPREAD: f64 = 1.5;

/// The CPUs' time at one moment, in ticks of the kernel's, of the CPUs that this process may use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Moment {
    /// All of it.
    total: u64,
    /// What was used, by anyone.
    busy: u64,
    /// What the hypervisor gave to other machines although it was wanted here.
    stolen: u64,
    /// What this process and its children used.
    ours: u64,
}

impl Moment {
    /// Now; `children` are processes that work for this one. `None` where the kernel does not tell.
    pub(crate) fn now(children: impl IntoIterator<Item = u32>) -> Option<Self> {
        let allowed = sched_getaffinity(None).ok()?;
        let stat = fs::read_to_string("/proc/stat").ok()?;
        let mut now = of_cpus(&stat, |cpu| allowed.is_set(cpu))?;
        now.ours = of_process("self")?;
        for child in children {
            now.ours += of_process(&child.to_string()).unwrap_or(0);
        }
        Some(now)
    }
}

/// The sums over the CPUs that are asked for, of `/proc/stat`.
fn of_cpus(stat: &str, wanted: impl Fn(usize) -> bool) -> Option<Moment> {
    let mut moment = Moment::default();
    for line in stat.lines() {
        let mut fields = line.split_whitespace();
        let Some(cpu) = fields.next().and_then(|name| name.strip_prefix("cpu")) else {
            continue;
        };
        // The first line is the sum over all.
        if !cpu.parse().is_ok_and(&wanted) {
            continue;
        }
        // user, nice, system, idle, iowait, irq, softirq, steal; a guest's time is in the first two.
        let times: Vec<u64> = fields
            .take(8)
            .map(str::parse)
            .collect::<Result<_, _>>()
            .ok()?;
        let [user, nice, system, idle, iowait, irq, softirq, steal] = times.try_into().ok()?;
        let busy = user + nice + system + irq + softirq;
        moment.busy += busy;
        moment.stolen += steal;
        moment.total += busy + idle + iowait + steal;
    }
    (moment.total > 0).then_some(moment)
}

/// Time in user and kernel mode, of `/proc/PID/stat`.
fn of_process(pid: &str) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    of_stat(&stat)
}

fn of_stat(stat: &str) -> Option<u64> {
    // The name before may hold anything.
    let (_, fields) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let [user, system] = [fields.get(11)?, fields.get(12)?].map(|field| field.parse::<u64>());
    Some(user.ok()? + system.ok()?)
}

/// How undisturbed a measurement was.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Noise {
    /// Share of the CPUs' time that other processes and the kernel used; `None` where the kernel does not tell.
    others: Option<f64>,
    /// Share of the CPUs' time that the hypervisor kept back.
    stolen: Option<f64>,
    /// The greatest ratio between two rounds of the same measurement.
    spread: f64,
    /// Whether the figures say little.
    busy: bool,
}

impl Noise {
    /// Between two moments, with the same figure of each round in `rounds`.
    pub(crate) fn between<'a>(
        before: Option<Moment>,
        after: Option<Moment>,
        rounds: impl IntoIterator<Item = &'a [f64]>,
    ) -> Self {
        let shares = before.zip(after).and_then(|(before, after)| {
            let total = after.total.checked_sub(before.total)?;
            let busy = after.busy.saturating_sub(before.busy);
            let ours = after.ours.saturating_sub(before.ours);
            let stolen = after.stolen.saturating_sub(before.stolen);
            let share = |ticks| to_f64(ticks) / to_f64(total);
            (total > 0).then(|| (share(busy.saturating_sub(ours)), share(stolen)))
        });
        let spread = rounds.into_iter().map(spread).fold(1.0, f64::max);
        let taken = shares.map_or(0.0, |(others, stolen)| others + stolen);
        Self {
            others: shares.map(|(others, _)| others),
            stolen: shares.map(|(_, stolen)| stolen),
            spread,
            busy: taken > SHARE || spread > SPREAD,
        }
    }
}

/// The greatest figure over the least.
fn spread(rounds: &[f64]) -> f64 {
    let least = rounds.iter().copied().fold(f64::INFINITY, f64::min);
    let most = rounds.iter().copied().fold(0.0, f64::max);
    if least > 0.0 { most / least } else { 1.0 }
}

impl fmt::Display for Noise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.busy {
            true => f.write_str("busy machine, trust the counts and not the ratios: ")?,
            false => f.write_str("quiet machine: ")?,
        }
        if let (Some(others), Some(stolen)) = (self.others, self.stolen) {
            let [others, stolen] = [others, stolen].map(|share| 100.0 * share);
            write!(
                f,
                "others took {others:.0} % of the CPUs, the host {stolen:.0} %; "
            )?;
        }
        write!(f, "rounds differ by up to {:.2} ×", self.spread)
    }
}

#[expect(clippy::cast_precision_loss, reason = "ticks of a short run")]
fn to_f64(ticks: u64) -> f64 {
    ticks as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_files_are_read() {
        let stat = "cpu  9 9 9 9 9 9 9 9 9 9\ncpu0 1 2 3 4 5 6 7 8 1 0\ncpu1 10 0 0 90 0 0 0 0\nintr 5 1 2\n";
        let first = Moment {
            total: 36,
            busy: 19,
            stolen: 8,
            ours: 0,
        };
        assert_eq!(of_cpus(stat, |cpu| cpu == 0), Some(first));
        let both = of_cpus(stat, |_| true).unwrap();
        assert_eq!((both.total, both.busy), (136, 29));
        assert_eq!(of_cpus(stat, |cpu| cpu == 2), None);
        assert_eq!(of_cpus("cpu0 1 2\n", |_| true), None);
        let stat = "7 (a) b) c) R 1 7 7 0 -1 4194304 90 0 0 0 31 11 0 0 20 0 1 0 5";
        assert_eq!(of_stat(stat), Some(42));
        assert_eq!(of_stat("7 (a"), None);
        assert!(Moment::now([]).is_some_and(|now| now.total > 0));
    }

    fn moment(total: u64, busy: u64, stolen: u64, ours: u64) -> Option<Moment> {
        Some(Moment {
            total,
            busy,
            stolen,
            ours,
        })
    }

    #[test]
    fn what_others_took_is_what_we_did_not() {
        let before = moment(1000, 500, 5, 100);
        let quiet = Noise::between(before, moment(1200, 604, 6, 200), [&[10.0, 11.0][..]]);
        assert_eq!((quiet.others, quiet.stolen), (Some(0.02), Some(0.005)));
        assert!(!quiet.busy);
        assert_eq!(
            quiet.to_string(),
            "quiet machine: others took 2 % of the CPUs, the host 0 %; rounds differ by up to 1.10 ×"
        );
        let busy = Noise::between(before, moment(1200, 700, 5, 200), [&[10.0, 11.0][..]]);
        assert!(busy.busy && busy.to_string().starts_with("busy machine"));
        let stolen = Noise::between(before, moment(1200, 600, 25, 200), [&[1.0][..]]);
        assert!(stolen.busy);
    }

    #[test]
    fn rounds_that_differ_are_noise_too() {
        let steady: &[f64] = &[100.0, 104.0, 96.0];
        let moved: &[f64] = &[100.0, 40.0, 110.0];
        assert!(!Noise::between(None, None, [steady]).busy);
        let noise = Noise::between(None, None, [steady, moved]);
        assert!(noise.busy);
        assert_eq!(
            noise.to_string(),
            "busy machine, trust the counts and not the ratios: rounds differ by up to 2.75 ×"
        );
        assert!(!Noise::between(None, None, [&[0.0][..], &[][..]]).busy);
    }

    #[test]
    fn a_busy_neighbour_is_seen() {
        let before = Moment::now([]);
        // Some tenths of a second.
        let count = "i=0; while [ $i -lt 400000 ]; do i=$((i + 1)); done";
        let mut neighbour = std::process::Command::new("sh");
        assert!(neighbour.args(["-c", count]).status().unwrap().success());
        let noise = Noise::between(before, Moment::now([]), []);
        assert!(noise.others.is_some_and(|others| others > 0.0), "{noise:?}");
    }
}
