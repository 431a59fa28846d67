//! The word that was most likely meant.
//!
//! Called where an option, a key or a name is refused, by the library and by the command alike, so that all of them suggest the same. Pure; cannot panic.

/// The name most like one that is not there, if one of them could be meant; the last of those that are equally like it.
///
/// Likeness is that of Jaro and Winkler, above 0.75; a single letter that is wrong, missing, too much or exchanged with its neighbour makes two words
/// alike, however short they are.
///
/// ```
/// use ringway::words::nearest;
/// assert_eq!(nearest("cubik", ["cubic", "bbr", "reno"]), Some("cubic"));
/// assert_eq!(nearest("brb", ["cubic", "bbr", "reno"]), Some("bbr"));
/// assert_eq!(nearest("vegas", ["cubic", "bbr", "reno"]), None);
/// ```
pub fn nearest<T: AsRef<str>>(word: &str, names: impl IntoIterator<Item = T>) -> Option<T> {
    let likeness = |name: &T| {
        let name = name.as_ref();
        if strsim::osa_distance(name, word) == 1 { 1.0 } else { strsim::jaro_winkler(name, word) }
    };
    let alike = names.into_iter().map(|name| (likeness(&name), name)).filter(|(like, _)| *like > ALIKE);
    alike.max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, name)| name)
}

/// Below this nobody would have written the one for the other.
const ALIKE: f64 = 0.75;
