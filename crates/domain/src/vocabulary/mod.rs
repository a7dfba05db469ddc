//! Words every module shares: ids, time, exact money, telephone numbers, causes.

mod cause;
mod channel;
mod ids;
mod log;
mod money;
mod phone;
mod plan;
mod skills;
mod time;

pub use cause::{ContactEndCause, Party};
pub use channel::{CAPACITY_MAX, Channel, ChannelRule, Channels, ChannelsError};
pub use ids::*;
pub use log::{Cell, Epoch, InputPosition, LogName, Position};
pub use money::{Currency, Exact, Money, MoneyError};
pub use phone::{PhoneNumber, PhoneNumberError};
pub use plan::{
    Ageing, IdleBasis, PRIORITIES, PlanState, QueuePlan, STEPS_MAX, Selection, SelectionStrategy, Step,
};
pub use skills::{CONDITIONS_MAX, Clause, Condition, LEVEL_MAX, SkillError, SkillLevel, level_of};
pub use time::{Millis, Timestamp};
