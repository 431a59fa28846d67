//! Content types: what a file is, by the ending of its name.
//!
//! A table of what web pages are made of, instead of a crate with a thousand types and a build script: nothing here has to know what an
//! `.x_t` is. Called once per answered file. Cannot panic.

/// The content type of a file of that name.
pub(super) fn of(name: &[u8]) -> &'static str {
    let name = name.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
    let Some(dot) = name.iter().rposition(|&byte| byte == b'.') else { return UNKNOWN };
    let ending = &name[dot + 1..];
    let known = TYPES.iter().find(|(endings, _)| endings.iter().any(|known| ending.eq_ignore_ascii_case(known.as_bytes())));
    known.map_or(UNKNOWN, |(_, kind)| kind)
}

/// What stands for a folder.
pub(super) const INDEX: &str = "text/html; charset=utf-8";
/// A browser offers to save it instead of guessing.
const UNKNOWN: &str = "application/octet-stream";

const TYPES: [(&[&str], &str); 38] = [
    (&["html", "htm"], "text/html; charset=utf-8"),
    (&["css"], "text/css; charset=utf-8"),
    (&["js", "mjs"], "text/javascript; charset=utf-8"),
    (&["json", "map"], "application/json"),
    (&["png"], "image/png"),
    (&["jpg", "jpeg"], "image/jpeg"),
    (&["gif"], "image/gif"),
    (&["svg"], "image/svg+xml"),
    (&["webp"], "image/webp"),
    (&["avif"], "image/avif"),
    (&["ico"], "image/x-icon"),
    (&["bmp"], "image/bmp"),
    (&["woff2"], "font/woff2"),
    (&["woff"], "font/woff"),
    (&["ttf"], "font/ttf"),
    (&["otf"], "font/otf"),
    (&["txt", "log"], "text/plain; charset=utf-8"),
    (&["md"], "text/markdown; charset=utf-8"),
    (&["csv"], "text/csv; charset=utf-8"),
    (&["xml"], "application/xml"),
    (&["pdf"], "application/pdf"),
    (&["wasm"], "application/wasm"),
    (&["webmanifest"], "application/manifest+json"),
    (&["atom"], "application/atom+xml"),
    (&["rss"], "application/rss+xml"),
    (&["zip"], "application/zip"),
    (&["gz", "tgz"], "application/gzip"),
    (&["bz2"], "application/x-bzip2"),
    (&["xz"], "application/x-xz"),
    (&["zst"], "application/zstd"),
    (&["tar"], "application/x-tar"),
    (&["mp3"], "audio/mpeg"),
    (&["ogg", "oga"], "audio/ogg"),
    (&["wav"], "audio/wav"),
    (&["mp4", "m4v"], "video/mp4"),
    (&["webm"], "video/webm"),
    (&["ogv"], "video/ogg"),
    (&["ics"], "text/calendar; charset=utf-8"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_ending_decides() {
        let cases = [
            ("index.html", "text/html; charset=utf-8"),
            ("a/b.c/PHOTO.JPeG", "image/jpeg"),
            ("app.min.js", "text/javascript; charset=utf-8"),
            ("x.tar.gz", "application/gzip"),
            ("html", UNKNOWN),
            ("a.html/b", UNKNOWN),
            ("x.", UNKNOWN),
            ("", UNKNOWN),
        ];
        for (name, kind) in cases {
            assert_eq!(of(name.as_bytes()), kind, "{name}");
        }
    }
}
