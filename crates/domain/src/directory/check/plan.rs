//! Rules about how queues serve who waits: skills that exist, plans that come to an end.

use std::collections::BTreeSet;

use super::Check;
use crate::facts::Queue;
use crate::vocabulary::{Ageing, Clause, Millis, PRIORITIES, QueueId, STEPS_MAX, SkillId, SkillLevel};

const DAY: Millis = Millis(86_400_000);
const TIER_MAX: u32 = 100;
/// By how much ageing may change a priority, at most; a step may set it to what a queue's may be.
const AGED_MAX: u32 = 1_000;
/// How often, at most: each time is a fact.
const AGED_TIMES_MAX: u32 = 100;
const PREFER_MAX: usize = 20;

impl Check<'_> {
    pub(super) fn skills_of(&mut self, path: &str, skills: &[SkillLevel]) {
        let mut seen = BTreeSet::new();
        for (index, skill) in skills.iter().enumerate() {
            let path = format!("{path}[{index}]");
            if self.skill_known(&path, &skill.skill_id) && !seen.insert(&skill.skill_id) {
                self.problem(path, format!("skill {} is listed twice", skill.skill_id));
            }
        }
    }

    pub(super) fn clauses_known(&mut self, path: &str, clauses: &[Clause]) {
        let mut seen = BTreeSet::new();
        for (index, clause) in clauses.iter().enumerate() {
            let path = format!("{path}[{index}]");
            let known: Vec<bool> =
                clause.conditions.iter().map(|it| self.skill_known(&path, &it.skill_id)).collect();
            if known.iter().all(|known| *known) && !seen.insert(clause) {
                let what = if clause.conditions.len() == 1 { "skill " } else { "" };
                self.problem(path, format!("{what}{clause} is listed twice"));
            }
        }
    }

    fn skill_known(&mut self, path: &str, skill_id: &SkillId) -> bool {
        let known = self.wanted.skills.iter().any(|it| it.wanted.skill_id == *skill_id);
        if !known {
            self.problem(path, format!("no skill {skill_id} is defined"));
        }
        known
    }

    pub(super) fn plan(&mut self, path: &str, queue: &Queue) {
        let plan = &queue.plan;
        if plan.tier > TIER_MAX {
            self.problem(format!("{path}.tier"), format!("a tier is from 0 to {TIER_MAX}"));
        }
        self.span(format!("{path}.head_start"), plan.head_start_ms, Millis::ZERO, DAY);
        if let Some(ageing) = &plan.ageing {
            self.ageing(&format!("{path}.ageing"), ageing);
        }
        self.clauses_known(&format!("{path}.prefer"), &plan.selection.prefer);
        if plan.selection.prefer.len() > PREFER_MAX {
            let why =
                format!("{} groups are preferred, at most {PREFER_MAX} can be", plan.selection.prefer.len());
            self.problem(format!("{path}.prefer"), why);
        }
        self.steps(&format!("{path}.steps"), queue);
    }

    fn ageing(&mut self, path: &str, ageing: &Ageing) {
        self.span(format!("{path}.every"), ageing.every_ms, Millis(1_000), DAY);
        let Ageing { by, most, .. } = *ageing;
        if !(1..=AGED_MAX).contains(&most) {
            self.problem(format!("{path}.most"), format!("a priority ages by 1 to {AGED_MAX} altogether"));
        } else if by == 0 || by > most {
            self.problem(format!("{path}.by"), format!("a priority ages by 1 to {most} each time"));
        } else if most.div_ceil(by) > AGED_TIMES_MAX {
            let why = format!("a priority ages at most {AGED_TIMES_MAX} times: take more each time");
            self.problem(format!("{path}.by"), why);
        }
    }

    fn steps(&mut self, path: &str, queue: &Queue) {
        let (steps, mut before) = (&queue.plan.steps, Millis::ZERO);
        if steps.len() > STEPS_MAX {
            self.problem(path, format!("{} steps are listed, at most {STEPS_MAX} can be", steps.len()));
        }
        for (index, step) in steps.iter().enumerate() {
            let path = format!("{path}[{index}]");
            let after = format!("{path}.after");
            self.span(after.clone(), step.after_ms, Millis(1_000), DAY);
            if step.after_ms <= before {
                self.problem(after, "a step begins later than the step before it");
            } else if queue.wait_ms_max > Millis::ZERO && step.after_ms >= queue.wait_ms_max {
                self.problem(after, "nobody waits so long here: wait_max comes before");
            }
            before = before.max(step.after_ms);
            if let Some(required) = &step.required_skills {
                self.clauses_known(&format!("{path}.required_skills"), required);
            }
            if step.priority.is_some_and(|priority| !PRIORITIES.contains(&priority)) {
                self.problem(format!("{path}.priority"), "a priority is from -1000 to 1000");
            }
            if step.overflow_queue_id.is_some() && index + 1 < steps.len() {
                self.problem(
                    format!("{path}.overflow"),
                    "who has gone to another queue takes no further step",
                );
            }
            if step.required_skills.is_none() && step.priority.is_none() && step.overflow_queue_id.is_none() {
                self.problem(path, "a step that changes nothing");
            }
        }
        let leaves = steps.last().is_some_and(|step| step.overflow_queue_id.is_some());
        if !steps.is_empty() && !leaves && queue.wait_ms_max == Millis::ZERO {
            let why = "a plan without an end: let the last step overflow, or say wait_max";
            self.problem(path, why);
        }
    }

    /// Overflows lead to queues of the same company, and not in a circle: who waits would go round for ever.
    pub(super) fn overflows(&mut self) {
        let queues = &self.wanted.queues;
        let overflow =
            |queue: &Queue| queue.plan.steps.iter().find_map(|step| step.overflow_queue_id.clone());
        let find = |queue_id: &QueueId| queues.iter().find(|it| it.wanted.queue_id == *queue_id);
        let mut found = Vec::new();
        for placed in queues {
            let Some(next) = overflow(&placed.wanted) else { continue };
            let path = format!("{}.steps[{}].overflow", placed.path, placed.wanted.plan.steps.len() - 1);
            match find(&next) {
                None => found.push((path, format!("no queue {next} is defined"))),
                Some(other) if other.wanted.company_id != placed.wanted.company_id => {
                    let (whose, ours) = (&other.wanted.company_id, &placed.wanted.company_id);
                    found.push((path, format!("queue {next} belongs to {whose}, not to {ours}")));
                }
                Some(_) => {
                    let mut way = vec![placed.wanted.queue_id.clone()];
                    let mut at = Some(next);
                    while let Some(queue_id) = at.filter(|queue_id| !way.contains(queue_id)) {
                        at = find(&queue_id).and_then(|queue| overflow(&queue.wanted));
                        way.push(queue_id);
                        if at.as_ref() == way.first() {
                            let way: Vec<String> = way.iter().map(ToString::to_string).collect();
                            let why = format!("overflows go round: {} → {}", way.join(" → "), way[0]);
                            found.push((path.clone(), why));
                        }
                    }
                    if way.len() == 1 {
                        found.push((path, "a queue that overflows into itself".to_owned()));
                    }
                }
            }
        }
        found.into_iter().for_each(|(path, why)| self.problem(path, why));
    }
}
