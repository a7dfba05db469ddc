//! How a queue serves who waits, as a document says it.

use trunkline_domain::vocabulary::{
    Ageing, IdleBasis, Millis, QueuePlan, Selection, SelectionStrategy, Step,
};

use super::lower::Lower;
use super::schema::{self, Text};

impl Lower {
    pub(super) fn plan(&mut self, at: &str, node: &schema::Queue) -> QueuePlan {
        let steps = self.all(&format!("{at}.steps"), &node.steps, Self::step);
        QueuePlan {
            tier: self.whole(at, "tier", node.tier.as_ref(), "a tier: 0, 1, 2, …"),
            head_start_ms: self.span_or(at, "head_start", node.head_start.as_ref(), Millis::ZERO),
            ageing: node
                .ageing
                .as_ref()
                .map(|node| self.one(format!("{at}.ageing"), node, Self::ageing).wanted),
            steps: steps.into_iter().map(|placed| placed.wanted).collect(),
            selection: Selection {
                prefer: self.texts(&format!("{at}.prefer"), &node.prefer),
                strategy: self
                    .word(at, "strategy", node.strategy.as_ref(), &SelectionStrategy::ALL, |it| it.as_str()),
                idle_since: self
                    .word(at, "idle_since", node.idle_since.as_ref(), &IdleBasis::ALL, |it| it.as_str()),
            },
        }
    }

    fn ageing(&mut self, at: &str, node: &schema::Ageing) -> Ageing {
        let amount = "an amount: 1, 2, …";
        Ageing {
            every_ms: self.span(at, "every", &node.every),
            by: match &node.by {
                None => 1,
                node => self.whole(at, "by", node.as_ref(), amount),
            },
            most: self.whole(at, "most", Some(&node.most), amount),
        }
    }

    fn step(&mut self, at: &str, node: &schema::Step) -> Step {
        let required = node.required_skills.as_ref();
        Step {
            after_ms: self.span(at, "after", &node.after),
            required_skills: required.map(|nodes| self.texts(&format!("{at}.required_skills"), nodes)),
            priority: node.priority.as_ref().map(|node| self.whole(at, "priority", Some(node), "a priority")),
            overflow_queue_id: node.overflow.as_ref().map(|node| self.id(at, "overflow", node)),
        }
    }

    /// One of the words of a closed list; the first when absent.
    fn word<T: Copy + Default>(
        &mut self,
        at: &str,
        key: &str,
        node: Option<&Text>,
        all: &[T],
        as_str: impl Fn(&T) -> &'static str,
    ) -> T {
        let Some(node) = node else { return T::default() };
        self.read(format!("{at}.{key}"), node, T::default(), |text| {
            let known = all.iter().find(|it| as_str(it) == text).copied();
            known.ok_or_else(|| unknown(key, text, all.iter().map(&as_str)))
        })
    }
}

fn unknown(key: &str, text: &str, all: impl Iterator<Item = &'static str>) -> String {
    let all: Vec<&str> = all.collect();
    format!("`{text}` is not a {key}: expected one of {}", all.join(", "))
}
