//! Call control: one contact from its INVITE to its end, as a state machine without sockets or clocks.
//!
//! [`Contact`] decides, `LIFECYCLE.md` beside this file draws it. [`LiveContacts`] is the fold a restarted media node
//! needs to end what it had lost; [`Phones`] is the fold of the agents log that says where an agent can be called.

mod contact;
mod input;
mod lost;
mod offer_leg;
mod output;
mod phones;
#[cfg(test)]
mod property_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod turn_away_tests;

pub use contact::Contact;
pub use input::{Input, Invited, Offer, Plan, QueueTerms, Service};
pub use lost::{LiveContact, LiveContacts};
pub use output::{Output, with_rtp_counts};
pub use phones::{Phone, Phones, Reservation};
