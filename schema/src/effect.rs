//! What changing a field does to a VM that runs: said once, beside the field, as `#[schemars(extend("x-pinfold-effect" = Effect::…))]`.
//!
//! The JSON Schemas carry it for editors; `pinfold explain`, the reference and the planner's classifier read it from there.

use crate::field::{self, Field};
use crate::finding::Kind;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::OnceLock;

/// What changing a field does to a VM that runs. To a VM that is off, every change is only recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Effect {
    /// The guest keeps running, and the change reaches it, or its host, at once.
    Live,
    /// It waits for the next start of the VM, unless the pool's `changes.restarts` says otherwise.
    Restart,
    /// It starts, pauses or stops the VM: that is what the field is for.
    Power,
    /// It makes another object.
    Recreate,
    /// A commit that changes it is refused.
    Refused,
    /// It is a shorter way to write the fields of its long form, which have effects of their own.
    Parts,
}

impl Effect {
    /// The keyword of JSON Schemas that carries it.
    pub(crate) const KEY: &str = "x-pinfold-effect";

    /// As it stands in the documentation.
    pub fn words(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Restart => "at the next start",
            Self::Power => "starts, pauses or stops the VM",
            Self::Recreate => "a new object",
            Self::Refused => "refused",
            Self::Parts => "see the fields of the long form",
        }
    }
}

/// The effect of a field of a VM, by its path as findings and plans write it: `spec.cpu.weight`, `spec.disks[root].path`.
///
/// A field below one that has an effect, and has none itself, shares it. `None`: there is no such field.
pub fn of_vm(path: &str) -> Option<Effect> {
    static EFFECTS: OnceLock<BTreeMap<String, Effect>> = OnceLock::new();
    let effects = EFFECTS.get_or_init(|| {
        let mut effects = BTreeMap::new();
        collect(&field::of_kind(Kind::VirtualMachine), None, &mut effects);
        effects
    });
    effects.get(&plain(path)).copied()
}

/// Every field of every kind that holds a value and not only other fields, with its effect.
pub fn all() -> Vec<(Kind, String, Option<Effect>)> {
    let of = |kind| {
        let mut fields = Vec::new();
        values(&field::of_kind(kind), None, &mut |path, effect| fields.push((kind, path.to_owned(), effect)));
        fields
    };
    Kind::ALL.into_iter().flat_map(of).collect()
}

fn collect(field: &Field, above: Option<Effect>, effects: &mut BTreeMap<String, Effect>) {
    let effect = field.effect.or(above);
    if let Some(effect) = effect {
        effects.insert(plain(&field.path), effect);
    }
    field.fields.iter().for_each(|field| collect(field, effect, effects));
}

fn values(field: &Field, above: Option<Effect>, found: &mut impl FnMut(&str, Option<Effect>)) {
    let effect = field.effect.or(above);
    if field.fields.is_empty() {
        found(&field.path, effect);
    }
    field.fields.iter().for_each(|field| values(field, effect, found));
}

/// A path without the names and numbers of list items.
fn plain(path: &str) -> String {
    let mut parts = path.split('[');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |plain, part| plain + part.split_once(']').map_or(part, |(_, rest)| rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_of_every_kind_has_an_effect() {
        let undecided: Vec<_> = all().into_iter().filter(|(.., effect)| effect.is_none()).collect();
        assert_eq!(undecided, []);
        assert!(all().len() > 40);
    }

    #[test]
    fn fields_are_found_by_the_paths_of_plans() {
        assert_eq!(of_vm("spec.cpu.weight"), Some(Effect::Live));
        assert_eq!(of_vm("spec.disks[root].path"), Some(Effect::Restart));
        assert_eq!(of_vm("spec.disks[root]"), of_vm("spec.disks"));
        assert_eq!(of_vm("spec.cpu.pins[0].core"), Some(Effect::Live));
        assert_eq!(of_vm("spec.colour"), None);
    }
}
