//! The filter tree: one node per level of a filter, found by (parent, name of the level). It holds the
//! filters that the [table](super::table) leaves: of many shapes, or long.
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
/// No node, and no name.
const NONE: u32 = u32::MAX;

#[derive(Debug)]
struct Node<V> {
    /// Child `+`.
    plus: NodeId,
    /// Child `#`.
    hash: NodeId,
    /// One literal child and its name. Most nodes have no more, so that the tail of a filter is a
    /// walk along nodes that lie side by side: seven times faster than looking each up.
    child: NodeId,
    child_name: NameId,
    /// The other literal children, in the edge table, which is not asked when there are none.
    others: u32,
    /// Boxed: most nodes of long filters have none.
    value: Option<Box<V>>,
}

/// Two fit a cache line.
const _: () = assert!(size_of::<Node<[u64; 16]>>() <= 32);

impl<V> Node<V> {
    fn new() -> Self {
        Self {
            plus: NONE,
            hash: NONE,
            child: NONE,
            child_name: NONE,
            others: 0,
            value: None,
        }
    }

    fn is_needed(&self) -> bool {
        self.value.is_some() || self.others > 0 || [self.child, self.plus, self.hash] != [NONE; 3]
    }
}

/// Lives on: each shard its own. Bounded by the sessions' subscriptions.
#[derive(Debug)]
pub(super) struct Tree<V> {
    nodes: Vec<Node<V>>,
    free: Vec<NodeId>,
    names: Names,
    /// From a node and a name to a child.
    edges: HashMap<(NodeId, NameId), NodeId, ahash::RandomState>,
}

/// Room for a match to work in, kept between matches: at most one number per node of the tree.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    /// Nodes that the levels so far have led to.
    reached: Vec<NodeId>,
    /// Those that the next level leads to.
    next: Vec<NodeId>,
}

impl<V> Tree<V> {
    pub(super) fn new(hasher: &ahash::RandomState) -> Self {
        Self {
            nodes: vec![Node::new()],
            free: Vec::new(),
            names: Names::new(hasher),
            edges: HashMap::with_hasher(hasher.clone()),
        }
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        !self.nodes[ROOT as usize].is_needed()
    }

    #[cfg(any(test, feature = "testing"))]
    pub(super) fn get(&self, filter: &str) -> Option<&V> {
        self.nodes[self.find(filter)? as usize].value.as_deref()
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
        let mut parents = Vec::new();
        let mut node = ROOT;
        for level in filter.split('/') {
            let Some(child) = self.child(node, level) else {
                return;
            };
            parents.push((node, level));
            node = child;
        }
        self.nodes[node as usize].value = None;
        while let Some((parent, level)) = parents.pop() {
            if self.nodes[node as usize].is_needed() {
                break;
            }
            self.remove_child(parent, level);
            self.free.push(node);
            node = parent;
        }
    }

    /// Calls `visit` with the value of each filter that matches `topic`, in an order that depends on
    /// the filters only. Returns how many nodes it visited.
    ///
    /// Level by level, because the nodes of one level do not depend on each other: the processor
    /// fetches several at a time, which lie anywhere in memory.
    pub(super) fn matching<'t>(
        &'t self,
        topic: &str,
        scratch: &mut Scratch,
        mut visit: impl FnMut(&'t V),
    ) -> usize {
        let Scratch { reached, next } = scratch;
        reached.clear();
        reached.push(ROOT);
        let mut visited = 0;
        let mut levels = topic.split('/');
        // [MQTT-4.7.2-1]: wildcards at the first level do not match topics that start with $.
        let mut may_be_wildcard = !topic.starts_with('$');
        loop {
            visited += reached.len();
            let level = levels.next();
            let name = level.and_then(|level| self.names.find(level));
            for id in reached.iter() {
                let node = &self.nodes[*id as usize];
                if may_be_wildcard && node.hash != NONE {
                    // Also when no level is left: `a/#` matches `a`.
                    let child = &self.nodes[node.hash as usize];
                    child.value.iter().for_each(|value| visit(value));
                }
                if level.is_none() {
                    node.value.iter().for_each(|value| visit(value));
                    continue;
                }
                if may_be_wildcard && node.plus != NONE {
                    next.push(node.plus);
                }
                next.extend(name.and_then(|name| self.literal_child(*id, name)));
            }
            reached.clear();
            if next.is_empty() {
                return visited;
            }
            std::mem::swap(reached, next);
            may_be_wildcard = true;
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
            _ => self.literal_child(node, self.names.find(level)?),
        }
    }

    #[inline]
    fn literal_child(&self, node: NodeId, name: NameId) -> Option<NodeId> {
        let parent = &self.nodes[node as usize];
        if parent.child_name == name {
            Some(parent.child)
        } else if parent.others > 0 {
            self.edges.get(&(node, name)).copied()
        } else {
            None
        }
    }

    fn add_child(&mut self, parent: NodeId, level: &str) -> NodeId {
        let child = match self.free.pop() {
            Some(id) => {
                self.nodes[id as usize] = Node::new();
                id
            }
            None => {
                self.nodes.push(Node::new());
                (self.nodes.len() - 1) as NodeId
            }
        };
        let above = &mut self.nodes[parent as usize];
        match level {
            "+" => above.plus = child,
            "#" => above.hash = child,
            _ => {
                let name = self.names.take(level);
                if above.child == NONE {
                    above.child = child;
                    above.child_name = name;
                } else {
                    above.others += 1;
                    self.edges.insert((parent, name), child);
                }
            }
        }
        child
    }

    fn remove_child(&mut self, parent: NodeId, level: &str) {
        let above = &mut self.nodes[parent as usize];
        match level {
            "+" => above.plus = NONE,
            "#" => above.hash = NONE,
            _ => {
                let Some(name) = self.names.find(level) else {
                    return;
                };
                if above.child_name == name {
                    above.child = NONE;
                    above.child_name = NONE;
                } else {
                    above.others -= 1;
                    self.edges.remove(&(parent, name));
                }
                self.names.release(name);
            }
        }
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
