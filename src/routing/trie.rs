//! The filter tree: one node per level of a filter, found by (parent, level).
//!
//! A topic visits a node at most once, and only nodes that exist, so a match costs at most the number
//! of filters' nodes, whatever mix of `+` a client subscribes to; the depth is bounded by
//! `topic-levels-max`.

use std::collections::HashMap;
use std::rc::Rc;

/// Index of a node; the root is 0.
pub(super) type NodeId = u32;

const ROOT: NodeId = 0;
const NONE: NodeId = u32::MAX;

#[derive(Debug)]
struct Node<V> {
    parent: NodeId,
    /// Name of this level; shared with the table of names.
    name: Rc<str>,
    /// Child `+`, child `#`.
    plus: NodeId,
    hash: NodeId,
    /// Children of all kinds; a node without children and value is removed.
    children: u32,
    /// Literal children are in the edge table: asked only when there are any.
    literals: u32,
    value: Option<V>,
}

/// Lives on: each shard its own. Bounded by the sessions' subscriptions.
#[derive(Debug)]
pub(super) struct Trie<V> {
    nodes: Vec<Node<V>>,
    free: Vec<NodeId>,
    /// Level names in use, to a number and how many nodes bear it.
    names: HashMap<Rc<str>, (u32, u32), ahash::RandomState>,
    free_names: Vec<u32>,
    edges: HashMap<(NodeId, u32), NodeId, ahash::RandomState>,
}

impl<V> Trie<V> {
    pub(super) fn new(hasher: &ahash::RandomState) -> Self {
        let root = Node {
            parent: NONE,
            name: Rc::from(""),
            plus: NONE,
            hash: NONE,
            children: 0,
            literals: 0,
            value: None,
        };
        Self {
            nodes: vec![root],
            free: Vec::new(),
            names: HashMap::with_hasher(hasher.clone()),
            free_names: Vec::new(),
            edges: HashMap::with_hasher(hasher.clone()),
        }
    }

    pub(super) fn get_mut(&mut self, filter: &str) -> Option<&mut V> {
        let node = self.find(filter)?;
        self.nodes[node as usize].value.as_mut()
    }

    pub(super) fn get(&self, filter: &str) -> Option<&V> {
        let node = self.find(filter)?;
        self.nodes[node as usize].value.as_ref()
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

    /// Takes a filter's value out and prunes nodes that are no longer needed.
    pub(super) fn remove(&mut self, filter: &str) -> Option<V> {
        let mut node = self.find(filter)?;
        let value = self.nodes[node as usize].value.take();
        while node != ROOT {
            let current = &self.nodes[node as usize];
            if current.children > 0 || current.value.is_some() {
                break;
            }
            let parent = current.parent;
            self.remove_child(parent, node);
            node = parent;
        }
        value
    }

    /// Calls `visit` with the value of each filter that matches `topic`.
    pub(super) fn matching<'t>(&'t self, topic: &str, visit: &mut impl FnMut(&'t V)) {
        // [MQTT-4.7.2-1]: wildcards at the first level do not match topics that start with $.
        let wildcards = !topic.starts_with('$');
        self.match_from(ROOT, Some(topic), wildcards, visit);
    }

    fn match_from<'t>(
        &'t self,
        node: NodeId,
        rest: Option<&str>,
        wildcards: bool,
        visit: &mut impl FnMut(&'t V),
    ) {
        let current = &self.nodes[node as usize];
        if wildcards && current.hash != NONE {
            // `a/#` matches `a` too: the rest may be nothing.
            self.nodes[current.hash as usize]
                .value
                .iter()
                .for_each(&mut *visit);
        }
        let Some(rest) = rest else {
            current.value.iter().for_each(visit);
            return;
        };
        let (level, rest) = match rest.split_once('/') {
            Some((level, rest)) => (level, Some(rest)),
            None => (rest, None),
        };
        if current.literals > 0 {
            if let Some(child) = self.literal_child(node, level) {
                self.match_from(child, rest, true, visit);
            }
        }
        if wildcards && current.plus != NONE {
            self.match_from(current.plus, rest, true, visit);
        }
    }

    fn find(&self, filter: &str) -> Option<NodeId> {
        filter
            .split('/')
            .try_fold(ROOT, |node, level| self.child(node, level))
    }

    fn child(&self, node: NodeId, level: &str) -> Option<NodeId> {
        let current = &self.nodes[node as usize];
        match level {
            "+" => Some(current.plus).filter(|child| *child != NONE),
            "#" => Some(current.hash).filter(|child| *child != NONE),
            _ => self.literal_child(node, level),
        }
    }

    fn literal_child(&self, node: NodeId, level: &str) -> Option<NodeId> {
        let (name, _) = self.names.get(level)?;
        self.edges.get(&(node, *name)).copied()
    }

    fn add_child(&mut self, parent: NodeId, level: &str) -> NodeId {
        let is_literal = level != "+" && level != "#";
        let (name, number) = if is_literal {
            self.take_name(level)
        } else {
            (level.into(), 0)
        };
        let node = Node {
            parent,
            name,
            plus: NONE,
            hash: NONE,
            children: 0,
            literals: 0,
            value: None,
        };
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
        above.children += 1;
        match level {
            "+" => above.plus = id,
            "#" => above.hash = id,
            _ => {
                above.literals += 1;
                self.edges.insert((parent, number), id);
            }
        }
        id
    }

    fn remove_child(&mut self, parent: NodeId, child: NodeId) {
        let name = std::mem::replace(&mut self.nodes[child as usize].name, Rc::from(""));
        let above = &mut self.nodes[parent as usize];
        above.children -= 1;
        if above.plus == child {
            above.plus = NONE;
        } else if above.hash == child {
            above.hash = NONE;
        } else {
            above.literals -= 1;
            if let Some(number) = self.drop_name(&name) {
                self.edges.remove(&(parent, number));
            }
        }
        self.free.push(child);
    }

    /// The shared name and number of a level.
    fn take_name(&mut self, level: &str) -> (Rc<str>, u32) {
        if let Some((name, _)) = self.names.get_key_value(level) {
            let name = Rc::clone(name);
            let (number, uses) = self.names.entry(Rc::clone(&name)).or_default();
            *uses += 1;
            return (name, *number);
        }
        let number = self.free_names.pop().unwrap_or(self.names.len() as u32);
        let name: Rc<str> = level.into();
        self.names.insert(Rc::clone(&name), (number, 1));
        (name, number)
    }

    fn drop_name(&mut self, level: &str) -> Option<u32> {
        let (number, uses) = self.names.get_mut(level)?;
        let number = *number;
        *uses -= 1;
        if *uses == 0 {
            self.names.remove(level);
            self.free_names.push(number);
        }
        Some(number)
    }

    #[cfg(test)]
    pub(super) fn node_count(&self) -> usize {
        self.nodes.len() - self.free.len()
    }
}
