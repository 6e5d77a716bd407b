//! What was probably meant.

/// More near words than this are no help.
const MOST: usize = 3;

/// The known words nearest to the one found, if any is near at all.
pub(crate) fn nearest<'k>(found: &str, known: impl IntoIterator<Item = &'k str>) -> Vec<&'k str> {
    let lower = found.to_lowercase();
    let scored = known.into_iter().map(|word| (strsim::damerau_levenshtein(&lower, &word.to_lowercase()), word));
    // A third of the letters may differ: `vpcus` is `vcpus`, and `disk` is not `nics`.
    let is_near = |distance: usize, word: &str| {
        distance <= word.len().max(found.len()).div_ceil(3).min(4) && distance < word.len()
    };
    let near: Vec<_> = scored.filter(|(distance, word)| is_near(*distance, word)).collect();
    let best = near.iter().map(|(distance, _)| *distance).min();
    near.into_iter().filter(|(distance, _)| Some(*distance) == best).map(|(_, word)| word).take(MOST).collect()
}

/// A sentence that names the nearest known words, or all of them.
pub(crate) fn help(found: &str, known: &[&str]) -> String {
    match (nearest(found, known.iter().copied()).as_slice(), known) {
        ([], []) => "there are none".to_owned(),
        ([], known) => format!("it can be {}", join(known.iter().copied(), "or")),
        (near, _) => format!("did you mean {}?", join(near.iter().copied(), "or")),
    }
}

/// `a`, `b` and `c`.
pub(crate) fn join<'w>(words: impl Iterator<Item = &'w str>, last: &str) -> String {
    let words: Vec<_> = words.map(|word| format!("`{word}`")).collect();
    match words.as_slice() {
        [] => String::new(),
        [one] => one.clone(),
        [many @ .., end] => format!("{} {last} {end}", many.join(", ")),
    }
}
