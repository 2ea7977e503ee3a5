//! What two devices answered to the same questions, and which differences between them were expected.
//!
//! A script asks with lines `ASK name`, then `| a line of the answer` for each, then `END name exit-status`.

use std::collections::BTreeMap;

use super::Transcript;

/// An answer: lines, and the exit status of the program that asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Answer {
    lines: Vec<String>,
    status: String,
}

/// Answers by name.
#[derive(Clone, Debug, Default)]
pub struct Answers(BTreeMap<String, Answer>);

impl Answers {
    /// The answers in a transcript. Empty lines do not count.
    #[must_use]
    pub fn of(transcript: &Transcript) -> Self {
        let mut answers = BTreeMap::new();
        let mut asked: Option<(String, Answer)> = None;
        for line in transcript.lines() {
            if let Some(name) = line.strip_prefix("ASK ") {
                asked = Some((name.to_owned(), Answer::default()));
            } else if let Some((_, status)) = line
                .strip_prefix("END ")
                .and_then(|end| end.split_once(' '))
            {
                if let Some((name, mut answer)) = asked.take() {
                    status.clone_into(&mut answer.status);
                    answers.insert(name, answer);
                }
            } else if let (Some((_, answer)), Some(text)) = (&mut asked, line.strip_prefix("| ")) {
                answer.lines.push(text.to_owned());
            }
        }
        Self(answers)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// One expected difference.
#[derive(Clone, Debug, Default)]
struct Difference {
    statuses: (String, String),
    /// Lines that only the one or only the other has.
    only: (Vec<String>, Vec<String>),
}

/// The expected differences.
///
/// ```text
/// # Why they differ.
/// name another-name: 0 / 9
/// + a line that only ours has
/// - a line that only the other has
/// ```
/// The numbers are the exit statuses of ours and the other's. If they are the same, the lines are all that differs;
/// otherwise the one is an answer and the other an error, and the lines are some of each.
#[derive(Clone, Debug)]
pub struct Differences(BTreeMap<String, Difference>);

impl Differences {
    /// Parses a list.
    ///
    /// # Panics
    /// If it is none, an entry has no reason, or a name has two.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut all = BTreeMap::new();
        let mut names: Vec<String> = Vec::new();
        let mut explained = false;
        for line in text.lines().filter(|line| !line.is_empty()) {
            if line.starts_with('#') {
                explained = true;
            } else if let Some((side, text)) = ["+ ", "- "]
                .iter()
                .enumerate()
                .find_map(|(side, sign)| Some((side, line.strip_prefix(sign)?)))
            {
                for name in &names {
                    let difference: &mut Difference = all.get_mut(name).expect("an entry");
                    let only = &mut difference.only;
                    if side == 0 { &mut only.0 } else { &mut only.1 }.push(text.to_owned());
                }
            } else {
                let (list, statuses) = line
                    .split_once(": ")
                    .unwrap_or_else(|| panic!("{line}: no statuses"));
                let (ours, theirs) = statuses
                    .split_once(" / ")
                    .unwrap_or_else(|| panic!("{line}: not two statuses"));
                assert!(explained, "{line}: no reason");
                names = list.split(' ').map(str::to_owned).collect();
                for name in &names {
                    let difference = Difference {
                        statuses: (ours.to_owned(), theirs.to_owned()),
                        ..Difference::default()
                    };
                    assert!(
                        all.insert(name.clone(), difference).is_none(),
                        "{name}: listed twice"
                    );
                }
            }
        }
        Self(all)
    }

    /// What is not as expected of these answers, in words. Nothing if all is.
    #[must_use]
    pub fn complaints(&self, ours: &Answers, theirs: &Answers) -> String {
        let mut complaints = String::new();
        for name in self.0.keys().filter(|name| !ours.0.contains_key(*name)) {
            complaints += &format!("{name}: expected to differ, but not asked\n");
        }
        for name in theirs.0.keys().filter(|name| !ours.0.contains_key(*name)) {
            complaints += &format!("{name}: ours did not answer\n");
        }
        for (name, our) in &ours.0 {
            let Some(their) = theirs.0.get(name) else {
                complaints += &format!("{name}: the other did not answer\n");
                continue;
            };
            let as_expected = match self.0.get(name) {
                None => our == their,
                Some(_) if our == their => {
                    complaints += &format!("{name}: expected to differ, but the same\n");
                    continue;
                }
                Some(difference) => difference.is(our, their),
            };
            if !as_expected {
                complaints += &describe(name, our, their);
            }
        }
        complaints
    }
}

impl Difference {
    fn is(&self, our: &Answer, their: &Answer) -> bool {
        if self.statuses != (our.status.clone(), their.status.clone()) {
            return false;
        }
        if our.status == their.status {
            self.only
                == (
                    missing(&our.lines, &their.lines),
                    missing(&their.lines, &our.lines),
                )
        } else {
            missing(&self.only.0, &our.lines).is_empty()
                && missing(&self.only.1, &their.lines).is_empty()
        }
    }
}

/// Those of `lines` that are not in `among`; a line that is there twice must be there twice.
fn missing(lines: &[String], among: &[String]) -> Vec<String> {
    let mut among = among.to_vec();
    let mut missing = Vec::new();
    for line in lines {
        match among.iter().position(|other| other == line) {
            Some(place) => drop(among.swap_remove(place)),
            None => missing.push(line.clone()),
        }
    }
    missing
}

/// An entry as it would have to be.
fn describe(name: &str, our: &Answer, their: &Answer) -> String {
    let mut text = format!("{name}: {} / {}\n", our.status, their.status);
    let sides = [("+ ", our, their), ("- ", their, our)];
    for (sign, one, other) in sides {
        for line in missing(&one.lines, &other.lines) {
            text += &format!("{sign}{line}\n");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(lines: &[&str]) -> Answers {
        let mut transcript = Transcript::default();
        for line in lines {
            transcript.push((*line).to_owned());
        }
        Answers::of(&transcript)
    }

    #[test]
    fn a_difference_must_be_listed_as_it_is() {
        let ours = answers(&[
            "ASK a",
            "| one",
            "[ 1.0] noise",
            "| two",
            "END a 0",
            "ASK b",
            "| good",
            "END b 0",
        ]);
        let theirs = answers(&["ASK a", "| one", "END a 0", "ASK b", "| bad", "END b 9"]);
        assert_eq!(ours.len(), 2);
        let complaints = |list: &str| Differences::parse(list).complaints(&ours, &theirs);
        assert_eq!(complaints("# why\na: 0 / 0\n+ two\nb: 0 / 9\n+ good\n"), "");
        assert_eq!(complaints("# why\na: 0 / 0\n+ two\nb: 0 / 9\n- bad\n"), "");
        assert_eq!(
            complaints("# why\na: 0 / 0\nb: 0 / 9\n"),
            "a: 0 / 0\n+ two\n"
        );
        assert_eq!(
            complaints("# why\na: 0 / 0\n+ two\n- six\nb: 0 / 9\n"),
            "a: 0 / 0\n+ two\n"
        );
        assert_eq!(
            complaints("# why\na: 0 / 0\n+ two\nb: 0 / 5\n"),
            "b: 0 / 9\n+ good\n- bad\n"
        );
        assert_eq!(
            complaints("# why\na: 0 / 0\n+ two\nb: 0 / 9\n+ else\n"),
            "b: 0 / 9\n+ good\n- bad\n"
        );
        assert_eq!(
            complaints("# why\na: 0 / 0\n+ two\nb c: 0 / 9\n"),
            "c: expected to differ, but not asked\n"
        );
    }

    #[test]
    fn what_is_the_same_must_not_be_listed() {
        let answers = answers(&["ASK a", "| one", "END a 0"]);
        let none = Differences::parse("");
        assert_eq!(none.complaints(&answers, &answers), "");
        let listed = Differences::parse("# why\na: 0 / 0\n");
        assert_eq!(
            listed.complaints(&answers, &answers),
            "a: expected to differ, but the same\n"
        );
    }

    #[test]
    fn an_answer_that_is_missing_is_found() {
        let some = answers(&["ASK a", "| one", "END a 0"]);
        let none = answers(&["ASK a", "| one"]);
        assert!(none.is_empty());
        let expected = Differences::parse("");
        assert_eq!(
            expected.complaints(&some, &none),
            "a: the other did not answer\n"
        );
        assert_eq!(
            expected.complaints(&none, &some),
            "a: ours did not answer\n"
        );
    }

    #[test]
    #[should_panic(expected = "no reason")]
    fn each_needs_a_reason() {
        let _ = Differences::parse("a: 0 / 0\n");
    }
}
