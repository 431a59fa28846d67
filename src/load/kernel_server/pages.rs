//! HTTP over kernel sockets: the files of a folder, read into memory at the start, to GET and HEAD.
//!
//! For comparisons alone: no ranges, no conditions, no dates, and no file is opened for a request, which is less than Ringway's own service does.
//! Made by the server, read by its thread. What a peer can make grow is bounded; nothing a peer sends may panic.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use httparse::{EMPTY_HEADER, Request, Status};

use crate::error::SetupError;
use crate::limits::HTTP_HEAD_BYTES;

/// The answers of a folder, whole.
#[derive(Debug, Default)]
pub struct Pages {
    answers: HashMap<String, Answer>,
}

#[derive(Debug)]
struct Answer {
    head: Vec<u8>,
    body: Vec<u8>,
}

/// What became of the bytes of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// A head has not come whole yet.
    Unfinished,
    /// A request of so many bytes was answered.
    Answered(usize),
    /// A request was answered, and it is the last.
    Last,
}

/// Files of a folder, and the bytes of one, that are read.
const FILES: usize = 1024;
const FILE_BYTES: u64 = 1 << 20;
/// Fields of a head.
const FIELDS: usize = 64;

impl Pages {
    /// Reads the files that lie in a folder itself; `index.html` also answers for `/`.
    ///
    /// # Errors
    /// The folder or a file cannot be read, or they are too many or too large to be kept.
    pub fn read(folder: &Path) -> Result<Self, SetupError> {
        let what = || format!("cannot serve the files of {}", folder.display());
        let failed = |error: std::io::Error| SetupError::environment(what(), error.to_string());
        let mut pages = Self::default();
        for entry in fs::read_dir(folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let metadata = entry.metadata().map_err(failed)?;
            let (true, Ok(name)) = (metadata.is_file(), entry.file_name().into_string()) else { continue };
            if metadata.len() > FILE_BYTES || pages.answers.len() >= FILES {
                let why = format!("kernel sockets serve {FILES} files of 1M at most, out of memory, and {name} is beyond");
                return Err(SetupError::usage(what(), why).mend("--stack ringway"));
            }
            let body = fs::read(entry.path()).map_err(failed)?;
            if name == "index.html" {
                pages.add("/".to_owned(), &body);
            }
            pages.add(format!("/{name}"), &body);
        }
        Ok(pages)
    }

    fn add(&mut self, path: String, body: &[u8]) {
        self.answers.insert(path, Answer { head: head("200 OK", body.len()), body: body.to_vec() });
    }

    /// Answers the first request of `bytes` into `out`.
    pub(super) fn answer(&self, bytes: &[u8], out: &mut Vec<u8>) -> Asked {
        let mut fields = [EMPTY_HEADER; FIELDS];
        let mut request = Request::new(&mut fields);
        match request.parse(bytes) {
            Ok(Status::Complete(length)) => {
                let (method, path) = (request.method.unwrap_or_default(), request.path.unwrap_or_default());
                let is_last = request.version != Some(1)
                    || request.headers.iter().any(|field| {
                        let close = field.name.eq_ignore_ascii_case("connection") && field.value.eq_ignore_ascii_case(b"close");
                        // A body is none of ours: what comes behind it cannot be told from a request.
                        close
                            || field.name.eq_ignore_ascii_case("content-length")
                            || field.name.eq_ignore_ascii_case("transfer-encoding")
                    });
                match (method, self.answers.get(path)) {
                    ("GET", Some(answer)) => {
                        out.extend_from_slice(&answer.head);
                        out.extend_from_slice(&answer.body);
                    }
                    ("HEAD", Some(answer)) => out.extend_from_slice(&answer.head),
                    ("GET" | "HEAD", None) => out.extend(head("404 Not Found", 0)),
                    _ => out.extend(head("405 Method Not Allowed", 0)),
                }
                if is_last { Asked::Last } else { Asked::Answered(length) }
            }
            Ok(Status::Partial) if bytes.len() < HTTP_HEAD_BYTES => Asked::Unfinished,
            _ => {
                out.extend(head("400 Bad Request", 0));
                Asked::Last
            }
        }
    }
}

fn head(status: &str, length: usize) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pages() -> Pages {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("index.html"), "<p>").expect("a file");
        fs::write(folder.path().join("page.txt"), "text").expect("a file");
        fs::create_dir(folder.path().join("inner")).expect("a folder");
        Pages::read(folder.path()).expect("pages")
    }

    fn ask(bytes: &str) -> (Asked, String) {
        let mut out = Vec::new();
        let asked = pages().answer(bytes.as_bytes(), &mut out);
        (asked, String::from_utf8(out).expect("text"))
    }

    #[test]
    fn files_are_answered_and_nothing_else() {
        let get = "GET /page.txt HTTP/1.1\r\nHost: x\r\n\r\n";
        let (asked, answer) = ask(&format!("{get}GET / HT"));
        assert_eq!(asked, Asked::Answered(get.len()));
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n") && answer.ends_with("\r\n\r\ntext"), "{answer}");
        assert!(ask("GET / HTTP/1.1\r\n\r\n").1.ends_with("<p>"));
        let (_, head) = ask("HEAD / HTTP/1.1\r\n\r\n");
        assert!(head.contains("Content-Length: 3") && head.ends_with("\r\n\r\n"), "{head}");
        for (request, status) in
            [("GET /inner HTTP/1.1\r\n\r\n", "404"), ("GET /../x HTTP/1.1\r\n\r\n", "404"), ("PUT / HTTP/1.1\r\n\r\n", "405")]
        {
            assert!(ask(request).1.starts_with(&format!("HTTP/1.1 {status}")), "{request}");
        }
    }

    #[test]
    fn a_connection_ends_where_it_is_asked_to_or_cannot_be_understood() {
        for last in [
            "GET / HTTP/1.0\r\n\r\n",
            "GET / HTTP/1.1\r\nConnection: close\r\n\r\n",
            "GET / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello",
            "\0\0\0\0",
        ] {
            assert_eq!(ask(last).0, Asked::Last, "{last}");
        }
        assert_eq!(ask("GET / HTTP/1.1\r\nHo").0, Asked::Unfinished);
        assert_eq!(ask(&format!("GET /{}", "x".repeat(HTTP_HEAD_BYTES))).0, Asked::Last, "a head has its bounds");
    }

    #[test]
    fn a_folder_that_is_not_there_or_too_large_is_refused() {
        assert_eq!(Pages::read(Path::new("/nonesuch")).expect_err("there is none").exit_code(), 3);
        let folder = tempfile::tempdir().expect("a folder");
        let file = fs::File::create(folder.path().join("large")).expect("a file");
        file.set_len(FILE_BYTES + 1).expect("room");
        assert_eq!(Pages::read(folder.path()).expect_err("it is too large").exit_code(), 2);
    }
}
