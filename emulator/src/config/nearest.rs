//! Which known name a misspelt one was meant to be.

/// The known name that is nearest, if it is near: at most a third of the letters differ.
pub(super) fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    known
        .iter()
        .map(|candidate| (distance(name, candidate), *candidate))
        .min()
        .filter(|(distance, candidate)| *distance <= candidate.chars().count().div_ceil(3))
        .map(|(_, candidate)| candidate)
}

/// Levenshtein's distance: how many letters to insert, delete or replace.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (removed, letter) in from.chars().enumerate() {
        let mut diagonal = removed;
        let mut left = removed + 1;
        for (above, wanted) in row
            .iter_mut()
            .zip(std::iter::once(None).chain(to.iter().map(Some)))
        {
            let here = match wanted {
                None => left,
                Some(wanted) => (diagonal + usize::from(*wanted != letter))
                    .min(*above + 1)
                    .min(left + 1),
            };
            diagonal = *above;
            *above = here;
            left = here;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (from, to, expected) in [
            ("", "", 0),
            ("", "abc", 3),
            ("abc", "", 3),
            ("kitten", "sitting", 3),
            ("drive", "driver", 1),
            ("file", "fiel", 2),
        ] {
            assert_eq!(distance(from, to), expected, "{from} {to}");
            assert_eq!(distance(to, from), expected, "{to} {from}");
        }
    }

    #[test]
    fn only_near_names_are_offered() {
        let known = ["driver", "node-name", "filename", "read-only"];
        assert_eq!(nearest("drvier", &known), Some("driver"));
        assert_eq!(nearest("nodename", &known), Some("node-name"));
        assert_eq!(nearest("readonly", &known), Some("read-only"));
        assert_eq!(nearest("colour", &known), None);
        assert_eq!(nearest("x", &[]), None);
    }
}
