//! How a queue serves its contacts. What was before there was a choice has no number of its own, and no plan is no message.

use trunkline_domain::vocabulary::{
    Ageing, Clause, IdleBasis, QueuePlan, Selection, SelectionStrategy, SkillLevel, Step,
};

use super::{DecodeError, Field};
use crate::common::v1 as wire;

/// Lists of texts in a small language.
macro_rules! texts {
    ($($core:ident),*) => {$(
        impl Field for Vec<$core> {
            type Wire = Vec<String>;

            fn to_wire(&self) -> Vec<String> {
                self.iter().map(ToString::to_string).collect()
            }

            fn from_wire(wire: Vec<String>, field: &'static str) -> Result<Self, DecodeError> {
                let read = |text: &String| match text.as_str() {
                    "" => Err(DecodeError::Missing { field }),
                    text => text.parse().map_err(|source| DecodeError::BadSkill { field, source }),
                };
                wire.iter().map(read).collect()
            }
        }
    )*};
}

texts!(Clause, SkillLevel);

/// Enums whose first value is what was before there was a choice.
macro_rules! since_ever {
    ($core:ident: $first:ident, $($other:ident),*) => {
        impl Field for $core {
            type Wire = i32;

            fn to_wire(&self) -> i32 {
                let value = match self {
                    Self::$first => wire::$core::Unspecified,
                    $(Self::$other => wire::$core::$other,)*
                };
                value as i32
            }

            fn from_wire(number: i32, field: &'static str) -> Result<Self, DecodeError> {
                match wire::$core::try_from(number) {
                    Ok(wire::$core::Unspecified) => Ok(Self::$first),
                    $(Ok(wire::$core::$other) => Ok(Self::$other),)*
                    Err(_) => Err(DecodeError::UnknownValue { field, value: number }),
                }
            }
        }
    };
}

since_ever!(
    SelectionStrategy: LongestIdle, FewestContacts, LeastTalkTime, RoundRobin, Random, Linear, MostSkilled,
    FewestSkills
);
since_ever!(IdleBasis: Available, LastContact, SignIn);

impl Field for QueuePlan {
    type Wire = Option<wire::QueuePlan>;

    fn to_wire(&self) -> Self::Wire {
        let Self { tier, head_start_ms, ageing, steps, selection } = self;
        let ageing = ageing.map(|Ageing { every_ms, by, most }| wire::Ageing {
            every_ms: every_ms.0,
            by_priority: by,
            most_priority: most,
        });
        let plan = wire::QueuePlan {
            tier: *tier,
            head_start_ms: head_start_ms.0,
            ageing,
            steps: steps.iter().map(step).collect(),
            selection: (*selection != Selection::default()).then(|| wire::Selection {
                prefer: selection.prefer.to_wire(),
                strategy: selection.strategy.to_wire(),
                idle_since: selection.idle_since.to_wire(),
            }),
        };
        (*self != Self::default()).then_some(plan)
    }

    fn from_wire(plan: Self::Wire, _: &'static str) -> Result<Self, DecodeError> {
        let Some(wire::QueuePlan { tier, head_start_ms, ageing, steps, selection }) = plan else {
            return Ok(Self::default());
        };
        let ageing = ageing.map(|it| {
            let every_ms = Field::from_wire(it.every_ms, "Ageing.every_ms")?;
            Ok(Ageing { every_ms, by: it.by_priority, most: it.most_priority })
        });
        let selection = selection.map(|it| {
            Ok(Selection {
                prefer: Field::from_wire(it.prefer, "Selection.prefer")?,
                strategy: Field::from_wire(it.strategy, "Selection.strategy")?,
                idle_since: Field::from_wire(it.idle_since, "Selection.idle_since")?,
            })
        });
        Ok(Self {
            tier,
            head_start_ms: Field::from_wire(head_start_ms, "QueuePlan.head_start_ms")?,
            ageing: ageing.transpose()?,
            steps: steps.into_iter().map(read_step).collect::<Result<_, _>>()?,
            selection: selection.transpose()?.unwrap_or_default(),
        })
    }
}

fn step(it: &Step) -> wire::Step {
    let need = it.required_skills.as_ref().map(|it| wire::Need { required_skills: it.to_wire() });
    wire::Step {
        after_ms: it.after_ms.0,
        need,
        priority: it.priority,
        overflow_queue_id: it.overflow_queue_id.to_wire(),
    }
}

fn read_step(it: wire::Step) -> Result<Step, DecodeError> {
    let need = it.need.map(|need| Field::from_wire(need.required_skills, "Need.required_skills"));
    Ok(Step {
        after_ms: Field::from_wire(it.after_ms, "Step.after_ms")?,
        required_skills: need.transpose()?,
        priority: it.priority,
        overflow_queue_id: Field::from_wire(it.overflow_queue_id, "Step.overflow_queue_id")?,
    })
}

/// Whether a reader that knows skills alone understands these clauses.
pub(super) fn plain(clauses: &[Clause]) -> bool {
    clauses.iter().all(Clause::is_plain)
}
