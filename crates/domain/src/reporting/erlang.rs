//! How many agents are needed, and what callers would see with fewer: Erlang B, C and A.
//!
//! `offered_load` is in erlangs: arrivals per second times mean handle time in seconds. Spans are in seconds here, as
//! floating point: these are forecasts, nothing is counted or charged from them.

/// Chance that an arrival finds all of `servers` taken and is lost, by Erlang B. In `[0, 1]`.
///
/// Source: Erlang (1917), as the recurrence `B(0) = 1`, `B(k) = A·B(k−1) / (k + A·B(k−1))`, which never forms a
/// factorial.
pub fn blocking(offered_load: f64, servers: u32) -> f64 {
    (1..=servers).fold(1.0, |b, k| offered_load * b / (f64::from(k) + offered_load * b))
}

/// What callers who never give up see, by Erlang C (M/M/n).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Patient {
    agents: f64,
    offered_load: f64,
    handle_secs: f64,
    /// Chance of having to wait, in `[0, 1]`; 1 when the load is more than the agents can carry.
    pub wait_probability: f64,
}

impl Patient {
    /// `handle_secs` is the mean time an agent is taken by a contact, wrap-up included; positive.
    ///
    /// Source: `C = n·B / (n − A·(1 − B))` for `n > A`, with `B` by [`blocking`].
    pub fn new(offered_load: f64, agents: u32, handle_secs: f64) -> Self {
        let b = blocking(offered_load, agents);
        let n = f64::from(agents);
        let stable = n > offered_load;
        let wait_probability = if stable { n * b / (n - offered_load * (1.0 - b)) } else { 1.0 };
        Self { agents: n, offered_load, handle_secs, wait_probability }
    }

    /// Whether the queue does not grow without end.
    pub fn stable(&self) -> bool {
        self.agents > self.offered_load
    }

    /// Share of contacts answered within `threshold_secs`: `1 − C·e^(−(n−A)·t/h)`; zero when unstable.
    pub fn service_level(&self, threshold_secs: f64) -> f64 {
        if !self.stable() {
            return 0.0;
        }
        let spare = (self.agents - self.offered_load) / self.handle_secs;
        1.0 - self.wait_probability * (-spare * threshold_secs).exp()
    }

    /// Mean wait of all contacts in seconds: `C·h / (n − A)`; `None` when unstable, where there is no mean.
    pub fn mean_wait_secs(&self) -> Option<f64> {
        let spare = self.agents - self.offered_load;
        self.stable().then(|| self.wait_probability * self.handle_secs / spare)
    }

    /// Share of the agents' time that is taken, in `[0, 1]`.
    pub fn occupancy(&self) -> f64 {
        (self.offered_load / self.agents).min(1.0)
    }
}

/// The fewest agents with which at least `target` of the contacts are answered within `threshold_secs`, callers never
/// giving up. `None` when `target` is 1 or more, which no number of agents reaches, or no number below 2²⁰ does.
pub fn agents_needed(offered_load: f64, handle_secs: f64, target: f64, threshold_secs: f64) -> Option<u32> {
    const AGENTS_MAX: u32 = 1 << 20;
    if target >= 1.0 || !(0.0..f64::from(AGENTS_MAX)).contains(&offered_load) {
        return None;
    }
    // Service level rises with every agent, so the first that reaches it is the fewest. Truncation is meant.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked just above")]
    let first = offered_load as u32 + 1;
    (first..AGENTS_MAX).find(|agents| {
        Patient::new(offered_load, *agents, handle_secs).service_level(threshold_secs) >= target
    })
}

/// What callers with finite patience see, by Erlang A (M/M/n+M).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Impatient {
    /// Chance of having to wait, in `[0, 1]`.
    pub wait_probability: f64,
    /// Chance of giving up, in `[0, 1]`.
    pub abandon_probability: f64,
    /// Mean wait of all contacts in seconds, whether answered or given up.
    pub mean_wait_secs: f64,
    /// Mean number of contacts waiting.
    pub mean_queue: f64,
    /// Share of the agents' time that is taken, in `[0, 1]`.
    pub occupancy: f64,
}

impl Impatient {
    /// All arguments positive: contacts a second, mean handle time and mean patience in seconds.
    ///
    /// Source: Palm (1957); the birth-death chain solved from state `n` downwards and upwards, so that the largest terms
    /// are near 1 and no factorial is formed.
    pub fn new(arrivals_per_sec: f64, handle_secs: f64, patience_secs: f64, agents: u32) -> Self {
        let (service, leaving) = (1.0 / handle_secs, 1.0 / patience_secs);
        let n = f64::from(agents);
        let mut term = 1.0;
        let below: f64 = (1..=agents)
            .rev()
            .map(|k| {
                term *= f64::from(k) * service / arrivals_per_sec;
                term
            })
            .sum();
        let (mut above, mut weighted, mut term, mut j) = (0.0, 0.0, 1.0, 0.0);
        while term > above * 1e-18 || j <= arrivals_per_sec / leaving {
            j += 1.0;
            term *= arrivals_per_sec / (n * service + j * leaving);
            above += term;
            weighted += j * term;
        }
        let all = 1.0 + below + above;
        let mean_queue = weighted / all;
        let abandon_probability = leaving * mean_queue / arrivals_per_sec;
        Self {
            wait_probability: (1.0 + above) / all,
            abandon_probability,
            mean_wait_secs: mean_queue / arrivals_per_sec,
            mean_queue,
            occupancy: arrivals_per_sec * (1.0 - abandon_probability) / (n * service),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_half_hour_table_of_the_textbooks_comes_out() {
        // 250 calls in 30 min of 210 s; agents, service level within 20 s in percent, mean wait in tenths of a second.
        let rows = [(30, 24, 2087), (31, 45, 747), (34, 82, 127), (36, 92, 49), (40, 99, 7), (42, 100, 3)];
        for (agents, percent, tenths) in rows {
            let it = Patient::new(250.0 * 210.0 / 1800.0, agents, 210.0);
            assert_eq!((it.service_level(20.0) * 100.0).round(), f64::from(percent), "{agents}");
            assert_eq!((it.mean_wait_secs().unwrap() * 10.0).round(), f64::from(tenths), "{agents}");
        }
    }

    #[test]
    fn a_load_above_the_agents_has_no_mean_wait_and_no_service() {
        let it = Patient::new(10.0, 10, 60.0);
        assert_eq!((it.stable(), it.wait_probability, it.service_level(20.0)), (false, 1.0, 0.0));
        assert_eq!((it.mean_wait_secs(), it.occupancy()), (None, 1.0));
        assert_eq!(agents_needed(10.0, 60.0, 1.0, 20.0), None);
    }

    #[test]
    fn the_published_example_of_impatient_callers_comes_out() {
        let it = Impatient::new(48.0 / 60.0, 60.0, 120.0, 50);
        let shown = format!(
            "{:.6} {:.6} {:.4} {:.4}",
            it.abandon_probability, it.occupancy, it.mean_wait_secs, it.wait_probability
        );
        assert_eq!(shown, "0.030912 0.930324 3.7095 0.4678");
    }
}
