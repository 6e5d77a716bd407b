//! Reads a type from a [`Node`], and says everything that is wrong with it at once.
//!
//! serde stops at the first error. [`decode`] therefore takes what was wrong out of the tree and reads again, until nothing is wrong: each
//! fault costs one more pass over a small document, and a fault never hides another one elsewhere.

mod de;
mod fault;
mod spanned;

pub(crate) use fault::{Fault, Problem};
pub(crate) use spanned::Spanned;

use crate::node::{Node, Value};
use de::NodeDeserializer;
use serde::de::DeserializeOwned;

/// Faults of one document that are worth showing.
const MAX_FAULTS: usize = 50;

/// What a document says, as far as it can be read, and everything wrong with it.
pub(crate) struct Decoded<T> {
    /// `None` when a fault lies in something that the type cannot do without.
    pub(crate) value: Option<T>,
    pub(crate) faults: Vec<Fault>,
}

/// Reads a `T`.
pub(crate) fn decode<T: DeserializeOwned>(mut node: Node) -> Decoded<T> {
    let mut faults = Vec::new();
    while faults.len() < MAX_FAULTS {
        let mut fault = match T::deserialize(NodeDeserializer::new(&node)) {
            Ok(value) => return Decoded { value: Some(value), faults },
            Err(fault) => fault,
        };
        let path = fault.steps();
        let Some(place) = node.at_mut(&path) else { break };
        // A field that is missing only because it was taken out has been reported already.
        let reported = match &mut fault.problem {
            Problem::MissingField { field, present } => {
                *present = place.keys();
                place.get(field).is_some()
            }
            _ => false,
        };
        place.value = Value::Taken;
        let at_root = path.is_empty();
        if !reported {
            faults.push(fault);
        }
        if at_root {
            break;
        }
    }
    Decoded { value: None, faults }
}
