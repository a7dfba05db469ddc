//! How a queue serves its contacts: who comes first, whom they get, and what changes the longer they wait.

use super::{Clause, Millis, QueueId};

/// Steps of one plan, at most.
pub const STEPS_MAX: usize = 20;

/// The priorities that can be given; ageing may lead beyond.
pub const PRIORITIES: std::ops::RangeInclusive<i32> = -1000..=1000;

/// What is attached to a contact when it comes to a queue. The queue's definition may change afterwards; the contact keeps
/// its plan until it is planned anew.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct QueuePlan {
    /// Contacts of a lower tier are served before those of a higher one, whatever their priorities.
    pub tier: u32,
    /// It is served as if it had come so much earlier.
    pub head_start_ms: Millis,
    /// By how much its priority changes while it waits.
    pub ageing: Option<Ageing>,
    /// What else changes, by time of waiting; ascending.
    pub steps: Vec<Step>,
    /// Whom it gets of those who could serve it.
    pub selection: Selection,
}

/// A priority that changes with time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ageing {
    /// How often.
    pub every_ms: Millis,
    /// By how much the priority becomes smaller each time.
    pub by: u32,
    /// By how much it becomes smaller altogether, at most.
    pub most: u32,
}

/// What changes when a contact has waited for so long.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Step {
    /// Since it came to the queue; longer than that of the step before.
    pub after_ms: Millis,
    /// What it needs from then on instead; as before when absent.
    pub required_skills: Option<Vec<Clause>>,
    /// Its priority from then on, ageing apart; as before when absent.
    pub priority: Option<i32>,
    /// It leaves for this queue; the last step.
    pub overflow_queue_id: Option<QueueId>,
}

/// Who is chosen among those who are available and can serve a contact. Ties go by id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Selection {
    /// Who fulfils the first of these comes first, then who fulfils the second, and so on; then everybody else.
    pub prefer: Vec<Clause>,
    /// Among those that are equal so far.
    pub strategy: SelectionStrategy,
    /// What idle time is counted from.
    pub idle_since: IdleBasis,
}

/// How one is chosen among equals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum SelectionStrategy {
    /// Who is idle longest.
    #[default]
    LongestIdle,
    /// Who answered the fewest contacts since it signed in, then who is idle longest.
    FewestContacts,
    /// Who talked least since it signed in, then who is idle longest.
    LeastTalkTime,
    /// Whoever was offered a contact longest ago, of whatever queue: one after the other. Remembered over restarts.
    RoundRobin,
    /// Whoever chance names, by the contact's id: the same for everybody who decides.
    Random,
    /// The first by id.
    Linear,
    /// Who has the highest levels of the skills that are named in the need, then who is idle longest.
    MostSkilled,
    /// Who has the fewest skills, so that those who have many stay free, then who is idle longest.
    FewestSkills,
}

/// What idle time is counted from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum IdleBasis {
    /// Since it could take a contact: a pause begins it anew.
    #[default]
    Available,
    /// Since its last contact ended, after-contact work included, or it signed in: a pause does not matter.
    LastContact,
    /// Since it signed in.
    SignIn,
}

impl SelectionStrategy {
    /// Every strategy, in declaration order.
    pub const ALL: [SelectionStrategy; 8] = [
        Self::LongestIdle,
        Self::FewestContacts,
        Self::LeastTalkTime,
        Self::RoundRobin,
        Self::Random,
        Self::Linear,
        Self::MostSkilled,
        Self::FewestSkills,
    ];

    /// The word used in documents.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::LongestIdle => "longest_idle",
            Self::FewestContacts => "fewest_contacts",
            Self::LeastTalkTime => "least_talk_time",
            Self::RoundRobin => "round_robin",
            Self::Random => "random",
            Self::Linear => "linear",
            Self::MostSkilled => "most_skilled",
            Self::FewestSkills => "fewest_skills",
        }
    }
}

impl IdleBasis {
    /// Every basis, in declaration order.
    pub const ALL: [IdleBasis; 3] = [Self::Available, Self::LastContact, Self::SignIn];

    /// The word used in documents.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Available => "available",
            Self::LastContact => "last_contact",
            Self::SignIn => "sign_in",
        }
    }
}

/// Where a contact stands in its plan after some time of waiting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanState {
    /// How many steps have begun.
    pub step: u32,
    /// What it needs.
    pub required_skills: Vec<Clause>,
    /// Its priority, ageing included.
    pub priority: i32,
    /// It leaves for this queue.
    pub overflow_queue_id: Option<QueueId>,
}

impl QueuePlan {
    /// Where a contact stands that came with a need and a priority and has waited for so long.
    pub fn at(&self, required_skills: &[Clause], priority: i32, waited: Millis) -> PlanState {
        let begun = self.steps.iter().take_while(|step| step.after_ms <= waited);
        let mut state = PlanState {
            step: 0,
            required_skills: required_skills.to_vec(),
            priority,
            overflow_queue_id: None,
        };
        for step in begun {
            state.step += 1;
            if let Some(required) = &step.required_skills {
                state.required_skills.clone_from(required);
            }
            state.priority = step.priority.unwrap_or(state.priority);
            state.overflow_queue_id.clone_from(&step.overflow_queue_id);
        }
        state.priority = state.priority.saturating_sub_unsigned(self.aged(waited));
        state
    }

    /// When something changes next for a contact that has waited for so long; `None` when nothing will any more.
    pub fn next_change_after(&self, waited: Millis) -> Option<Millis> {
        let step = self.steps.iter().map(|step| step.after_ms).find(|after| *after > waited);
        let aged = self.ageing.filter(|ageing| self.aged(waited) < ageing.most && ageing.every_ms.0 > 0);
        let aged = aged.map(|ageing| Millis((waited.0.max(0) / ageing.every_ms.0 + 1) * ageing.every_ms.0));
        step.into_iter().chain(aged).min()
    }

    /// By how much the priority has become smaller.
    fn aged(&self, waited: Millis) -> u32 {
        let Some(Ageing { every_ms, by, most }) = self.ageing else { return 0 };
        let times = waited.0.max(0).checked_div(every_ms.0).unwrap_or(0);
        u32::try_from(times).unwrap_or(u32::MAX).saturating_mul(by).min(most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clauses(text: &str) -> Vec<Clause> {
        text.split(',').map(|clause| clause.parse().unwrap()).collect()
    }

    fn plan() -> QueuePlan {
        QueuePlan {
            ageing: Some(Ageing { every_ms: Millis(10_000), by: 2, most: 5 }),
            steps: vec![
                Step {
                    after_ms: Millis(15_000),
                    required_skills: Some(clauses("skl_a >= 3")),
                    ..Step::default()
                },
                Step { after_ms: Millis(30_000), priority: Some(-10), ..Step::default() },
                Step {
                    after_ms: Millis(60_000),
                    overflow_queue_id: Some(QueueId::parse("que_b").unwrap()),
                    ..Step::default()
                },
            ],
            ..QueuePlan::default()
        }
    }

    #[test]
    fn a_plan_says_what_counts_after_each_time() {
        let need = clauses("skl_a >= 7");
        let told = |waited: i64| {
            let state = plan().at(&need, 0, Millis(waited));
            let needs: Vec<String> = state.required_skills.iter().map(ToString::to_string).collect();
            let leaves = state.overflow_queue_id.map_or("stays".to_owned(), |it| it.to_string());
            format!("{} {} {} {leaves}", state.step, state.priority, needs.join(","))
        };
        for (waited, expected) in [
            (-5, "0 0 skl_a >= 7 stays"),
            (0, "0 0 skl_a >= 7 stays"),
            (9_999, "0 0 skl_a >= 7 stays"),
            (10_000, "0 -2 skl_a >= 7 stays"),
            (15_000, "1 -2 skl_a >= 3 stays"),
            (20_000, "1 -4 skl_a >= 3 stays"),
            (30_000, "2 -15 skl_a >= 3 stays"),
            (59_999, "2 -15 skl_a >= 3 stays"),
            (60_000, "3 -15 skl_a >= 3 que_b"),
        ] {
            assert_eq!(told(waited), expected, "{waited}");
        }
    }

    /// Whoever wakes at each change, and at no other time, misses nothing.
    #[test]
    fn nothing_changes_between_the_changes() {
        let (plan, need) = (plan(), clauses("skl_a >= 7"));
        let (mut at, mut changes) = (Millis(0), vec![]);
        while let Some(next) = plan.next_change_after(at) {
            assert!(next > at);
            for between in [at.0, (at.0 + next.0) / 2, next.0 - 1] {
                assert_eq!(plan.at(&need, 0, at), plan.at(&need, 0, Millis(between)), "{between}");
            }
            assert_ne!(plan.at(&need, 0, at), plan.at(&need, 0, next), "{next:?}");
            changes.push(next.0 / 1_000);
            at = next;
        }
        assert_eq!(changes, [10, 15, 20, 30, 60]);
        assert_eq!(plan.at(&need, 0, at), plan.at(&need, 0, Millis(i64::MAX)));
    }

    #[test]
    fn without_a_plan_nothing_ever_changes() {
        assert_eq!(QueuePlan::default().next_change_after(Millis(0)), None);
    }
}
