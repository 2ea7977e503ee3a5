use outrigger_emulator::config::{CommandLine, Config};

/// Splits the input at newlines: lines that begin with `b`, `d` or `e` are `--blockdev`, `--device` and `--export`, others are
/// arguments as they are.
///
/// # Panics
/// If what is said of a mistake is not one line, or does not name the option.
pub fn run(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let mut lists: [Vec<String>; 3] = Default::default();
    let mut arguments = vec!["outrigger-emulator".to_owned()];
    for line in text.lines() {
        let mut rest = line.chars();
        match rest.next() {
            Some('b') => lists[0].push(rest.as_str().to_owned()),
            Some('d') => lists[1].push(rest.as_str().to_owned()),
            Some('e') => lists[2].push(rest.as_str().to_owned()),
            _ => arguments.push(line.to_owned()),
        }
    }
    let [blockdevs, devices, exports] = lists;
    match Config::new(&blockdevs, &devices, &exports) {
        Ok(config) => assert!(!config.controllers.is_empty() && !config.exports.is_empty()),
        Err(error) => {
            let line = error.to_string();
            assert_eq!(line.lines().count(), 1, "{line:?}");
            assert!(line.contains("--"), "{line:?}");
        }
    }
    if arguments.len() > 1
        && let Err(answer) = CommandLine::parse_from(arguments.into_iter().map(Into::into))
    {
        assert!(answer.text.ends_with('\n'));
        assert!(
            answer.code == 0 || answer.text.lines().count() == 1,
            "{:?}",
            answer.text
        );
    }
}
