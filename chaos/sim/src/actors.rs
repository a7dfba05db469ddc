//! Everybody who can be given a turn.

use std::collections::BTreeMap;

use crate::clients::routed::{Node, Partition};
use crate::clients::{Media, Owner, Person};
use crate::directory::Directory;
use crate::message::{Address, Message};
use crate::turn::Turn;
use crate::voter::Voter;

/// Who acts, apart from what they see and the chance they take.
pub(crate) struct Actors<'a> {
    pub(crate) voters: &'a mut BTreeMap<u32, Voter>,
    pub(crate) medias: &'a mut [Media],
    pub(crate) owners: &'a mut [Owner],
    pub(crate) partitions: &'a mut [Partition],
    pub(crate) nodes: &'a mut [Node],
    pub(crate) people: &'a mut [Person],
    pub(crate) directory: &'a mut Directory,
}

impl Actors<'_> {
    pub(crate) fn tick(&mut self, who: Address, turn: &mut Turn<'_>) {
        match who {
            Address::Person(number) => self.people[number as usize - 1].tick(turn),
            Address::Owner(at) => self.owners[at as usize].tick(turn),
            Address::Media(at) => self.medias[at as usize].tick(turn),
            Address::Partition(at) => self.partitions[at as usize].tick(turn),
            Address::Node(at) => self.nodes[at as usize].tick(turn),
            Address::Directory => self.directory.tick(turn),
            Address::Voter(_) | Address::Log | Address::Operator => {}
        }
    }

    pub(crate) fn hear(&mut self, from: Address, who: Address, message: Message, turn: &mut Turn<'_>) {
        match who {
            Address::Person(number) => self.people[number as usize - 1].hear(message, turn),
            Address::Owner(at) => self.owners[at as usize].hear(message, turn),
            Address::Media(at) => self.medias[at as usize].hear(message, turn),
            Address::Partition(at) => self.partitions[at as usize].hear(message, turn),
            Address::Node(at) => self.nodes[at as usize].hear(from, message, turn),
            Address::Directory => self.directory.hear(message, turn),
            Address::Voter(_) | Address::Log | Address::Operator => {}
        }
    }
}
