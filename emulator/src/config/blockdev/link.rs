//! Nodes that are named by others take their place there.

use std::collections::{BTreeMap, BTreeSet};

use super::{Backing, Blockdev, Child, Source};
use crate::config::options::{OptionError, Problem};

/// The nodes that no other one stands on, with those that they stand on within them; and the names of all nodes that
/// have another on top.
pub(in crate::config) fn link(
    nodes: Vec<Blockdev>,
) -> Result<(Vec<Blockdev>, BTreeSet<String>), OptionError> {
    let names: Vec<String> = nodes.iter().map(|it| it.node_name.clone()).collect();
    let mut used = BTreeSet::new();
    for node in &nodes {
        note(node, &names, &mut used)?;
    }
    let (below, mut roots): (Vec<_>, Vec<_>) = nodes
        .into_iter()
        .partition(|it| used.contains(&it.node_name));
    let mut below: BTreeMap<_, _> = below
        .into_iter()
        .map(|it| (it.node_name.clone(), it))
        .collect();
    for root in &mut roots {
        fill(root, &mut below);
    }
    // Each is named once; so what no root leads to stands on itself.
    if let Some(node) = below.values().next() {
        return Err(node.place.error(Problem::refused(
            format!("node '{}' stands on itself", node.node_name),
            "let file or backing name another node",
        )));
    }
    Ok((roots, used))
}

/// The nodes that `node` stands on.
pub(super) fn children(node: &Blockdev) -> Vec<(&'static str, &Child)> {
    match &node.source {
        Source::Raw { file } | Source::Vmdk { file } => vec![("file", file)],
        Source::Qcow2 {
            file,
            backing,
            data_file,
        } => {
            let mut children = vec![("file", file)];
            if let Backing::Child(child) = backing {
                children.push(("backing", child));
            }
            children.extend(data_file.iter().map(|child| ("data-file", child)));
            children
        }
        Source::File { .. } | Source::Memory { .. } | Source::Null { .. } | Source::Nbd(_) => {
            Vec::new()
        }
    }
}

/// Notes the names that `node` uses, each of which must be there and free.
fn note(node: &Blockdev, names: &[String], used: &mut BTreeSet<String>) -> Result<(), OptionError> {
    for (key, child) in children(node) {
        match child {
            Child::Node(inner) => note(inner, names, used)?,
            Child::Name(name) if !names.contains(name) => {
                let known = names.iter().map(String::as_str);
                let problem = Problem::unknown(key, name, known, "--blockdev");
                return Err(node.place.error(problem));
            }
            Child::Name(name) => {
                if !used.insert(name.clone()) {
                    return Err(node.place.error(Problem::Taken {
                        key,
                        value: name.clone(),
                    }));
                }
            }
        }
    }
    Ok(())
}

/// Puts nodes where their names are.
fn fill(node: &mut Blockdev, below: &mut BTreeMap<String, Blockdev>) {
    let children: Vec<&mut Child> = match &mut node.source {
        Source::Raw { file } | Source::Vmdk { file } => vec![file],
        Source::Qcow2 {
            file,
            backing,
            data_file,
        } => {
            let mut children = vec![file];
            if let Backing::Child(child) = backing {
                children.push(child);
            }
            children.extend(data_file);
            children
        }
        Source::File { .. } | Source::Memory { .. } | Source::Null { .. } | Source::Nbd(_) => {
            Vec::new()
        }
    };
    for child in children {
        if let Child::Name(name) = child
            && let Some(inner) = below.remove(name)
        {
            *child = Child::Node(Box::new(inner));
        }
        if let Child::Node(inner) = child {
            fill(inner, below);
        }
    }
}
