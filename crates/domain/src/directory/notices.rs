//! What may be a mistake in a wanted configuration, though it can be applied.

use super::{Problem, Wanted};
use crate::facts::Queue;
use crate::vocabulary::{Clause, level_of};

/// Queues, and steps of their plans, that need what nobody can do: agents may be defined later, and until then their contacts
/// wait in vain.
pub fn notices(wanted: &Wanted) -> Vec<Problem> {
    let mut notices = Vec::new();
    for placed in &wanted.queues {
        let (path, queue) = (&placed.path, &placed.wanted);
        let mut look = |path: String, required: &[Clause]| {
            if !required.is_empty() && !somebody_can(wanted, queue, required) {
                let needs: Vec<String> = required.iter().map(ToString::to_string).collect();
                let reason = format!("nobody can do what is needed here: {}", needs.join(" and "));
                notices.push(Problem { path, reason, other: None });
            }
        };
        look(format!("{path}.required_skills"), &queue.required_skills);
        for (index, step) in queue.plan.steps.iter().enumerate() {
            if let Some(required) = &step.required_skills {
                look(format!("{path}.steps[{index}].required_skills"), required);
            }
        }
    }
    notices
}

fn somebody_can(wanted: &Wanted, queue: &Queue, required: &[Clause]) -> bool {
    let company = wanted.companies.iter().find(|it| it.wanted.company_id == queue.company_id);
    let cell = company.map(|company| company.wanted.cell);
    wanted.agents.iter().map(|placed| &placed.wanted).any(|agent| {
        let holds = |clause: &Clause| clause.holds(|skill_id| level_of(&agent.skills, skill_id));
        Some(agent.cell) == cell && required.iter().all(holds)
    })
}
