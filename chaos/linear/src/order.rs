//! Whether the Raft indexes that answers tell agree with real time.
//!
//! Keys are checked apart from each other, which is enough for linearizability and yet cannot see that one answer showed the
//! whole group at an index older than one already told. So this looks over all keys: an operation that was called after
//! another had returned stands behind it in the log.

use crate::history::{Index, Operation};

/// Two operations whose indexes contradict the order in which clients saw them: places in the history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Contradiction {
    /// It had returned before the other was called.
    pub earlier: usize,
    /// It tells an index that is too low.
    pub later: usize,
}

/// The first contradiction, by the time of the later call; `None` when there is none.
pub fn contradiction<K, C, R>(history: &[Operation<K, C, R>]) -> Option<Contradiction> {
    let told = |place: &usize| history[*place].index.is_some();
    let mut called: Vec<usize> = (0..history.len()).filter(told).collect();
    let mut returned = called.clone();
    called.sort_by_key(|place| history[*place].called_at);
    returned.retain(|place| history[*place].returned_at().is_some());
    returned.sort_by_key(|place| history[*place].returned_at());
    let mut returned = returned.into_iter().peekable();
    // The highest index told so far.
    let mut highest: Option<(u64, usize)> = None;
    for later in called {
        let before = |place: &usize| history[*place].returned_at() < Some(history[later].called_at);
        while let Some(earlier) = returned.next_if(before) {
            let index = history[earlier].index.map_or(0, number);
            if highest.is_none_or(|(highest, _)| index > highest) {
                highest = Some((index, earlier));
            }
        }
        let Some((highest, earlier)) = highest else { continue };
        let wrong = match history[later].index {
            // An entry that was proposed after an index was told stands behind it.
            Some(Index::Entry(index)) => index <= highest,
            Some(Index::Through(index)) => index < highest,
            None => false,
        };
        if wrong {
            return Some(Contradiction { earlier, later });
        }
    }
    None
}

fn number(index: Index) -> u64 {
    match index {
        Index::Entry(index) | Index::Through(index) => index,
    }
}
