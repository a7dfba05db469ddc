//! What the processes used, and what they say of themselves: CPU time, and the times of their appends.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::http::get_text;
use crate::rig::Rig;

/// How long a process may take to tell its metrics.
const METRICS_WITHIN: Duration = Duration::from_secs(2);
const APPENDS: &str = "trunkline_log_append_duration_seconds";

/// CPU time used so far, user and system, in ms, by service. What plays callers is `sipp`, what plays agents `bench`;
/// `others` is the rest of the machine, with what the kernel does for everybody: when it is much, so were the figures.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Cpu(BTreeMap<String, u64>);

impl Cpu {
    /// Of every process of a cluster, of this one, and of those that this one has started and that have ended.
    pub fn now(rig: &Rig) -> Self {
        let mut by_service = BTreeMap::<String, u64>::new();
        for process in &rig.processes {
            *by_service.entry(process.service.clone()).or_default() += process.cpu_ms().unwrap_or(0);
        }
        for (_, pid) in rig.brokers.all() {
            let [used, _] = pid.map_or([0; 2], |pid| cpu_ms(&pid.to_string()));
            *by_service.entry("kafka".to_owned()).or_default() += used;
        }
        let [bench, sipp] = cpu_ms("self");
        by_service.extend([("bench".to_owned(), bench), ("sipp".to_owned(), sipp)]);
        let others = busy_ms().saturating_sub(by_service.values().sum());
        by_service.insert("others".to_owned(), others);
        Self(by_service)
    }

    /// What was used since `before`, for each of `parts`, to two digits behind the point.
    pub fn since(&self, before: &Self, parts: f64) -> BTreeMap<String, f64> {
        let used = |(service, now): (&String, &u64)| {
            let ms = now.saturating_sub(before.0.get(service).copied().unwrap_or(0));
            (service.clone(), (ms as f64 / parts.max(1.0) * 100.0).round() / 100.0)
        };
        self.0.iter().map(used).collect()
    }
}

/// Of a process, and of its children that have ended.
fn cpu_ms(pid: &str) -> [u64; 2] {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // Behind the name in parentheses: state is field 3, utime 14 to cstime 17, in ticks of 10 ms (proc(5)).
    let behind = stat.rsplit_once(')').map_or("", |(_, behind)| behind);
    let ticks: Vec<u64> =
        behind.split_whitespace().skip(11).take(4).filter_map(|it| it.parse().ok()).collect();
    let sum = |from: usize| ticks.iter().skip(from).take(2).sum::<u64>() * 10;
    [sum(0), sum(2)]
}

/// Of all processors.
fn busy_ms() -> u64 {
    let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let first = stat.lines().next().unwrap_or_default();
    let ticks: Vec<u64> = first.split_whitespace().skip(1).filter_map(|it| it.parse().ok()).collect();
    // user, nice, system, idle, iowait, irq, softirq (proc(5)).
    [0, 1, 2, 5, 6].iter().filter_map(|nth| ticks.get(*nth)).sum::<u64>() * 10
}

/// How many records a service made durable in a log, and how long that took altogether, in s.
#[derive(Debug, Clone, Default)]
pub(super) struct Appends(BTreeMap<(String, String), (f64, f64)>);

/// A service's appends to a log during a case.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Appended {
    pub service: String,
    pub log: String,
    /// Records a call.
    pub per_call: f64,
    /// From the append to its acknowledgement, as the service measured it.
    pub mean_us: u64,
}

impl Appends {
    /// What the processes have counted so far. A process that does not answer has counted nothing.
    pub async fn now(rig: &Rig) -> Self {
        let mut appends = Self::default();
        for process in &rig.processes {
            let answer = get_text(&process.ops, "/metrics", METRICS_WITHIN).await;
            appends.take(&process.service, &answer.map(|(_, text)| text).unwrap_or_default());
        }
        appends
    }

    /// Takes a process's metrics in.
    fn take(&mut self, service: &str, metrics: &str) {
        for line in metrics.lines() {
            let Some((series, value)) = line.rsplit_once(' ') else { continue };
            let Some((kind, labels)) = series.strip_prefix(APPENDS).and_then(|it| it.split_once('{')) else {
                continue;
            };
            let log = labels.split('"').nth(1).unwrap_or_default().to_owned();
            let value: f64 = value.parse().unwrap_or(0.0);
            let sums = self.0.entry((service.to_owned(), log)).or_default();
            match kind {
                "_count" => sums.0 += value,
                "_sum" => sums.1 += value,
                _ => {}
            }
        }
    }

    /// What came since `before`, during so many calls; without what hardly came.
    pub fn since(&self, before: &Self, call_count: usize) -> Vec<Appended> {
        let appended = |((service, log), (count, seconds)): (&(String, String), &(f64, f64))| {
            let (count_before, seconds_before) =
                before.0.get(&(service.clone(), log.clone())).copied().unwrap_or_default();
            let count = count - count_before;
            let per_call = count / call_count.max(1) as f64;
            (per_call >= 0.1).then(|| Appended {
                service: service.clone(),
                log: log.clone(),
                per_call: (per_call * 100.0).round() / 100.0,
                mean_us: ((seconds - seconds_before) / count * 1e6) as u64,
            })
        };
        self.0.iter().filter_map(appended).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn appends_are_summed_over_the_processes_of_a_service_and_told_a_call() {
        let text = "# TYPE trunkline_log_append_duration_seconds histogram\n\
            trunkline_log_append_duration_seconds_bucket{log=\"contacts\",le=\"0.001\"} 1\n\
            trunkline_log_append_duration_seconds_sum{log=\"contacts\"} 0.5\n\
            trunkline_log_append_duration_seconds_count{log=\"contacts\"} 100\n\
            trunkline_log_append_duration_seconds_sum{log=\"routing\"} 0\n\
            trunkline_log_append_duration_seconds_count{log=\"routing\"} 0\n";
        let (mut before, mut after) = (Appends::default(), Appends::default());
        before.take("media", text);
        for _ in 0..3 {
            after.take("media", text);
        }
        let expected = Appended {
            service: "media".to_owned(),
            log: "contacts".to_owned(),
            per_call: 5.0,
            mean_us: 5_000,
        };
        assert_eq!(after.since(&before, 40), [expected]);
    }

    #[test]
    fn cpu_time_is_told_for_each_part() {
        let cpu = |kafka| Cpu([("kafka".to_owned(), kafka)].into());
        assert_eq!(cpu(150).since(&cpu(50), 40.0), [("kafka".to_owned(), 2.5)].into());
        assert!(cpu_ms("self").iter().all(|ms| *ms < 1_000_000) && cpu_ms("no process") == [0, 0]);
    }
}
