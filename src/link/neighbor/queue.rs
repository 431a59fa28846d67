//! An order over the slots of a table: every slot is in it once or not at all, and enters, leaves and is found first in constant time.
//!
//! Used by the neighbour cache for the entries that wait for something, and for those that may be given up. A doubly linked list in two arrays that never grow beyond
//! the table. Slots that do not exist are ignored; nothing panics.

/// The order.
#[derive(Clone, Debug)]
pub(super) struct Queue {
    links: Vec<Links>,
    first: usize,
    last: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Links {
    before: usize,
    behind: usize,
    queued: bool,
}

/// No slot: the end of the list in either direction.
const NONE: usize = usize::MAX;

impl Queue {
    /// An empty order over the slots `0..slots`.
    pub(super) fn new(slots: usize) -> Self {
        Self { links: vec![Links { before: NONE, behind: NONE, queued: false }; slots], first: NONE, last: NONE }
    }

    /// The slot that comes first.
    pub(super) fn first(&self) -> Option<usize> {
        (self.first != NONE).then_some(self.first)
    }

    /// Puts a slot first; one that is in the order already is moved.
    pub(super) fn push_first(&mut self, slot: usize) {
        self.remove(slot);
        let behind = self.first;
        let Some(links) = self.links.get_mut(slot) else { return };
        *links = Links { before: NONE, behind, queued: true };
        match self.links.get_mut(behind) {
            Some(next) => next.before = slot,
            None => self.last = slot,
        }
        self.first = slot;
    }

    /// Puts a slot last; one that is in the order already is moved.
    pub(super) fn push_last(&mut self, slot: usize) {
        self.remove(slot);
        let before = self.last;
        let Some(links) = self.links.get_mut(slot) else { return };
        *links = Links { before, behind: NONE, queued: true };
        match self.links.get_mut(before) {
            Some(previous) => previous.behind = slot,
            None => self.first = slot,
        }
        self.last = slot;
    }

    /// Takes a slot out, if it is in.
    pub(super) fn remove(&mut self, slot: usize) {
        let Some(links) = self.links.get_mut(slot) else { return };
        let Links { before, behind, queued } = *links;
        if !queued {
            return;
        }
        links.queued = false;
        match self.links.get_mut(before) {
            Some(previous) => previous.behind = behind,
            None => self.first = behind,
        }
        match self.links.get_mut(behind) {
            Some(next) => next.before = before,
            None => self.last = before,
        }
    }
}

#[cfg(test)]
impl Queue {
    /// True when a slot is in the order.
    pub(super) fn contains(&self, slot: usize) -> bool {
        self.links.get(slot).is_some_and(|links| links.queued)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    fn drain(queue: &mut Queue) -> Vec<usize> {
        let mut order = Vec::new();
        while let Some(slot) = queue.first() {
            order.push(slot);
            queue.remove(slot);
        }
        order
    }

    proptest! {
        #[test]
        fn it_is_a_list_without_duplicates(steps in proptest::collection::vec((0u8..3, 0usize..10), 0..100)) {
            let mut queue = Queue::new(8);
            let mut model = VecDeque::new();
            for (step, slot) in steps {
                model.retain(|&other| other != slot);
                match step {
                    0 => queue.push_first(slot),
                    1 => queue.push_last(slot),
                    _ => queue.remove(slot),
                }
                match step {
                    0 if slot < 8 => model.push_front(slot),
                    1 if slot < 8 => model.push_back(slot),
                    _ => {}
                }
                prop_assert_eq!(queue.first(), model.front().copied());
                prop_assert_eq!(drain(&mut queue.clone()), Vec::from(model.clone()));
            }
        }
    }
}
