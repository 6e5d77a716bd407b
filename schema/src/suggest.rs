//! What was probably meant.

/// The known word nearest to the one found, if it is near at all.
pub(crate) fn nearest<'k>(found: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let lower = found.to_lowercase();
    let scored = known.into_iter().map(|word| (strsim::damerau_levenshtein(&lower, &word.to_lowercase()), word));
    // A third of the letters may differ: `vpcus` is `vcpus`, and `disk` is not `nics`.
    let near = scored.filter(|(distance, word)| {
        *distance <= word.len().max(found.len()).div_ceil(3).min(4) && *distance < word.len()
    });
    near.min_by_key(|(distance, _)| *distance).map(|(_, word)| word)
}

/// A sentence that names the nearest known word, or all of them.
pub(crate) fn help(found: &str, known: &[&str]) -> String {
    match nearest(found, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => list(known),
    }
}

fn list(known: &[&str]) -> String {
    let words: Vec<_> = known.iter().map(|word| format!("`{word}`")).collect();
    match words.as_slice() {
        [] => "there is none yet".to_owned(),
        [one] => format!("it can be {one}"),
        [many @ .., last] => format!("it can be {} or {last}", many.join(", ")),
    }
}
