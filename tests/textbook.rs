//! The page of the textbook is what its example prints, and what it claims of each row is true.

#[path = "../examples/textbook.rs"]
mod textbook;

use std::collections::BTreeMap;

#[test]
fn the_page_of_the_documentation_is_what_the_example_prints() {
    textbook::main();
    let page = textbook::page(textbook::SEED);
    let document = include_str!("../docs/textbook.md");
    let shown = document.split("```text\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a block of output");
    assert_eq!(shown, page, "docs/textbook.md has to show:\n{page}");
}

/// The words that stand behind `what` in a claim: `lost 3 4, none twice, late 5`.
fn claimed(claim: &str, what: &str) -> Vec<u32> {
    let part = claim.split(", ").find(|part| part.contains(what)).unwrap_or_else(|| panic!("no {what} in {claim}"));
    part.strip_prefix(&format!("{what} "))
        .map_or_else(Vec::new, |numbers| numbers.split(' ').map(|number| number.parse().expect("a number")).collect())
}

/// Checks a claim about the words of one speaker against the words themselves; gives how many faults there were.
fn check(heard: &[u32], words: u32, claim: &str) -> [usize; 3] {
    let mut times: BTreeMap<u32, usize> = (1..=words).map(|number| (number, 0)).collect();
    heard.iter().for_each(|number| *times.get_mut(number).expect("one that was said") += 1);
    let of = |count: &dyn Fn(usize) -> usize| -> Vec<u32> {
        times.iter().flat_map(|(&number, &n)| std::iter::repeat_n(number, count(n))).collect()
    };
    let [lost, mut twice, late] = ["lost", "twice", "late"].map(|what| claimed(claim, what));
    twice.sort_unstable();
    assert_eq!(lost, of(&|n| usize::from(n == 0)), "{claim}");
    assert_eq!(twice, of(&|n| n.saturating_sub(1)), "{claim}");
    let first: Vec<u32> =
        heard.iter().enumerate().filter(|(at, number)| !heard[..*at].contains(number)).map(|(_, &n)| n).collect();
    let overtaken = first.iter().enumerate().filter(|(at, number)| first[..*at].iter().any(|before| before > number));
    assert_eq!(late, overtaken.map(|(_, &number)| number).collect::<Vec<_>>(), "{claim}");
    [lost.len(), twice.len(), late.len()]
}

#[test]
fn what_is_said_of_each_row_is_true_for_any_seed() {
    for seed in [textbook::SEED, 1, 2, 3] {
        let page = textbook::page(seed);
        assert_eq!(textbook::page(seed), page, "the same seed is the same page");
        let (mut words, mut heard, mut all, mut listeners) = (0, Vec::new(), [0; 3], 0);
        for line in page.lines() {
            if let Some((_, rest)) = line.split_once(" 1 to ") {
                words = rest.split([' ', ',']).next().and_then(|word| word.parse().ok()).expect("a number");
            } else if let Some((_, rest)) = line.split_once(" hears ") {
                heard = rest.split(' ').map(str::to_owned).collect();
                listeners += 1;
            } else if line.contains("twice") {
                let line = line.trim();
                let (letter, claim) = line.strip_prefix("of ").and_then(|rest| rest.split_once(": ")).unwrap_or(("", line));
                let numbers: Vec<u32> = heard.iter().filter_map(|word| word.strip_prefix(letter)?.parse().ok()).collect();
                let found = check(&numbers, words, claim);
                (0..3).for_each(|at| all[at] += found[at]);
            }
        }
        assert_eq!(listeners, 1 + 3 + 1 + 4, "{page}");
        assert!(all.iter().all(|&count| count > 3), "each fault shows: {all:?}\n{page}");
        let expected: Vec<String> = (1..=20).map(|number: u32| number.to_string()).collect();
        assert!(page.contains(&format!("  b reads {}\n", expected.join(" "))), "{page}");
        let waits = page.lines().find_map(|line| line.strip_prefix("  ms from writing to reading: ")).expect("a line of times");
        let waits: Vec<u64> = waits.split(' ').map(|word| word.parse().expect("a time")).collect();
        assert_eq!(waits.len(), 20, "{page}");
        // The page shows what a loss costs; another seed may lose nothing here.
        let held_up = waits.iter().max() >= Some(&20) && !page.contains("segments sent again: 0");
        assert!(seed != textbook::SEED || held_up, "what is lost holds up what is behind it: {waits:?}");
    }
}
