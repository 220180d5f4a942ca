//! The filter tree: one node per level of a filter, found by (parent, name of the level).
//!
//! A match visits a node at most once, and only nodes that exist: whatever mix of `+` a client
//! subscribes to, it costs at most the nodes of filters whose beginning matches. A client pays for
//! each such node with a level of a subscription (`subscriptions-max`, `topic-levels-max`). Nothing
//! recurses, so deep filters cost memory, not stack.

use std::collections::HashMap;

use super::names::{NameId, Names};

/// Index of a node; the root is 0.
type NodeId = u32;

const ROOT: NodeId = 0;
const NONE: u32 = u32::MAX;

#[derive(Debug)]
struct Node<V> {
    parent: NodeId,
    /// Child `+`.
    plus: NodeId,
    /// Child `#`.
    hash: NodeId,
    /// Children in the edge table, which is asked only when there are any.
    literals: u32,
    /// Name in the edge table; [`NONE`] for the root, `+` and `#`.
    name: NameId,
    /// Boxed: most nodes of long filters have none.
    value: Option<Box<V>>,
}

/// A match reads three to five nodes that lie anywhere: two fit a cache line.
const _: () = assert!(size_of::<Node<[u64; 16]>>() <= 32);

impl<V> Node<V> {
    fn new(parent: NodeId, name: NameId) -> Self {
        Self {
            parent,
            plus: NONE,
            hash: NONE,
            literals: 0,
            name,
            value: None,
        }
    }

    fn is_needed(&self) -> bool {
        self.value.is_some() || self.literals > 0 || self.plus != NONE || self.hash != NONE
    }
}

/// Lives on: each shard its own. Bounded by the sessions' subscriptions.
#[derive(Debug)]
pub(super) struct Trie<V> {
    nodes: Vec<Node<V>>,
    free: Vec<NodeId>,
    names: Names,
    edges: HashMap<(NodeId, NameId), NodeId, ahash::RandomState>,
}

/// Room for a match to work in, kept between matches.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    /// End of each level looked at so far and the number of its name, or [`NONE`].
    levels: Vec<(usize, NameId)>,
    /// Nodes still to be visited, with the number of levels that led there. At most one more than
    /// the topic has levels.
    to_visit: Vec<(NodeId, usize)>,
}

impl<V> Trie<V> {
    pub(super) fn new(hasher: &ahash::RandomState) -> Self {
        Self {
            nodes: vec![Node::new(NONE, NONE)],
            free: Vec::new(),
            names: Names::new(hasher),
            edges: HashMap::with_hasher(hasher.clone()),
        }
    }

    pub(super) fn get_mut(&mut self, filter: &str) -> Option<&mut V> {
        let node = self.find(filter)?;
        self.nodes[node as usize].value.as_deref_mut()
    }

    /// The value of a filter, made if need be.
    pub(super) fn entry(&mut self, filter: &str) -> &mut V
    where
        V: Default,
    {
        let mut node = ROOT;
        for level in filter.split('/') {
            node = match self.child(node, level) {
                Some(child) => child,
                None => self.add_child(node, level),
            };
        }
        self.nodes[node as usize].value.get_or_insert_default()
    }

    /// Removes a filter's value and the nodes that are no longer needed.
    pub(super) fn remove(&mut self, filter: &str) {
        let Some(mut node) = self.find(filter) else {
            return;
        };
        self.nodes[node as usize].value = None;
        while node != ROOT && !self.nodes[node as usize].is_needed() {
            let parent = self.nodes[node as usize].parent;
            self.remove_child(parent, node);
            node = parent;
        }
    }

    /// Calls `visit` with the value of each filter that matches `topic`, in an order that depends on
    /// the filters only.
    pub(super) fn matching<'t>(
        &'t self,
        topic: &str,
        scratch: &mut Scratch,
        mut visit: impl FnMut(&'t V),
    ) {
        let Scratch { levels, to_visit } = scratch;
        levels.clear();
        to_visit.clear();
        to_visit.push((ROOT, 0));
        while let Some((node, depth)) = to_visit.pop() {
            let node_id = node;
            let node = &self.nodes[node as usize];
            // [MQTT-4.7.2-1]: wildcards at the first level do not match topics that start with $.
            let wildcards = depth > 0 || !topic.starts_with('$');
            if wildcards && node.hash != NONE {
                // `a/#` matches `a` too, so this comes before asking whether levels are left.
                self.nodes[node.hash as usize]
                    .value
                    .iter()
                    .for_each(|value| visit(value));
            }
            let start = match depth {
                0 => 0,
                _ => levels[depth - 1].0 + 1,
            };
            if start > topic.len() {
                node.value.iter().for_each(|value| visit(value));
                continue;
            }
            if depth == levels.len() {
                let rest = &topic.as_bytes()[start..];
                let length = rest.iter().position(|byte| *byte == b'/');
                let end = start + length.unwrap_or(rest.len());
                let name = self.names.find(&topic[start..end]);
                levels.push((end, name.unwrap_or(NONE)));
            }
            if wildcards && node.plus != NONE {
                to_visit.push((node.plus, depth + 1));
            }
            let name = levels[depth].1;
            if node.literals > 0 && name != NONE {
                if let Some(child) = self.edges.get(&(node_id, name)) {
                    to_visit.push((*child, depth + 1));
                }
            }
        }
    }

    fn find(&self, filter: &str) -> Option<NodeId> {
        filter
            .split('/')
            .try_fold(ROOT, |node, level| self.child(node, level))
    }

    fn child(&self, node: NodeId, level: &str) -> Option<NodeId> {
        let parent = &self.nodes[node as usize];
        match level {
            "+" => Some(parent.plus).filter(|child| *child != NONE),
            "#" => Some(parent.hash).filter(|child| *child != NONE),
            _ => {
                let name = self.names.find(level)?;
                self.edges.get(&(node, name)).copied()
            }
        }
    }

    fn add_child(&mut self, parent: NodeId, level: &str) -> NodeId {
        let name = match level {
            "+" | "#" => NONE,
            _ => self.names.take(level),
        };
        let node = Node::new(parent, name);
        let id = match self.free.pop() {
            Some(id) => {
                self.nodes[id as usize] = node;
                id
            }
            None => {
                self.nodes.push(node);
                (self.nodes.len() - 1) as NodeId
            }
        };
        let above = &mut self.nodes[parent as usize];
        match level {
            "+" => above.plus = id,
            "#" => above.hash = id,
            _ => {
                above.literals += 1;
                self.edges.insert((parent, name), id);
            }
        }
        id
    }

    fn remove_child(&mut self, parent: NodeId, child: NodeId) {
        let name = self.nodes[child as usize].name;
        let above = &mut self.nodes[parent as usize];
        if above.plus == child {
            above.plus = NONE;
        } else if above.hash == child {
            above.hash = NONE;
        } else {
            above.literals -= 1;
            self.edges.remove(&(parent, name));
            self.names.release(name);
        }
        self.free.push(child);
    }

    /// Nodes, edges and names in use, to see that nothing is left behind.
    #[cfg(test)]
    pub(super) fn counts(&self) -> (usize, usize, usize) {
        (
            self.nodes.len() - self.free.len(),
            self.edges.len(),
            self.names.len(),
        )
    }
}
