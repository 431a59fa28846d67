"""Reads the citations of RFCs in the sources and checks them against the list of requirements and the texts.

Called by scripts/rfc.sh; see there. A citation is a comment:

    //= type=test                      in tests; type=exception or type=todo for a gap, with the reason as an ordinary comment below
    //= rfc9293#3.6.1 MUST-13          RFC, section, and the requirements it meets that the quote does not name itself
    //# When a connection is closed actively, it MUST linger in the TIME-WAIT state for a time 2xMSL [...]
"""

import argparse
import collections
import os
import pathlib
import re
import sys

ID = re.compile(r"\b(?:MUST|SHLD)-\d+\b")
HEAD = re.compile(r"(rfc\d+)(?:#([0-9A-Za-z.]+))?((?:\s+(?:MUST|SHLD)-\d+)*)$")
FOLDERS = ("src", "tests", "benches", "examples")


class Citation:
    """One quoted sentence: where it stands, what it cites, what it says."""

    def __init__(self, place, kind, rfc, section, ids):
        self.place, self.kind, self.rfc, self.section, self.ids = place, kind, rfc, section, set(ids)
        self.words = []

    @property
    def quote(self):
        return " ".join(self.words)


def citations(root):
    """All citations below the source folders, and complaints about malformed ones."""
    found, complaints = [], []
    files = sorted(path for folder in FOLDERS for path in (root / folder).rglob("*.rs"))
    for path in files:
        kind, current = "code", None
        for number, line in enumerate(path.read_text().splitlines(), 1):
            text = line.strip()
            place = f"{path.relative_to(root)}:{number}"
            if text.startswith("//="):
                body, current = text[3:].strip(), None
                if body.startswith("type="):
                    kind = body[5:]
                    if kind not in ("test", "todo", "exception"):
                        complaints.append(f"{place}: no such type: {kind}")
                elif match := HEAD.match(body):
                    current = Citation(place, kind, match[1], match[2], match[3].split())
                    found.append(current)
                else:
                    complaints.append(f"{place}: cannot read the citation: {body}")
                if not body.startswith("type="):
                    kind = "code"
            elif text.startswith("//#"):
                if current is None:
                    complaints.append(f"{place}: a quote without a citation above it")
                else:
                    current.words.append(text[3:].strip())
            else:
                current = None
    for citation in found:
        if not citation.words:
            complaints.append(f"{citation.place}: a citation without a quote")
        if citation.rfc == "rfc9293":
            citation.ids |= set(ID.findall(citation.quote))
    return found, complaints


def requirements(path):
    """The committed list: identifier, section, what it asks for in our words."""
    listed = {}
    for line in path.read_text().splitlines():
        if line and not line.startswith("#"):
            name, section, words = line.split("\t")
            listed[name] = (section, words)
    return listed


def squeezed(text):
    """A text without white space, page breaks and the marks of references and quoted paragraphs."""
    kept = []
    for line in text.replace("\f", "\n").splitlines():
        if re.search(r"\[Page \d+\]\s*$", line) or re.match(r"RFC \d+ .* \d{4}\s*$|-{20,}$|```", line):
            continue
        kept.append(re.sub(r"^\s*>(\s*>)*", "", line))
    return stripped("\n".join(kept))


def stripped(text):
    return re.sub(r"[\s\\*`\[\]]+", "", text)


def wrong_quotes(found, texts):
    """Quotes whose words do not stand in the text of their RFC, and RFCs without a text."""
    wrong, missing, cache = [], set(), {}
    for citation in found:
        path = texts / f"{citation.rfc}.txt"
        if citation.rfc not in cache:
            cache[citation.rfc] = squeezed(path.read_text(errors="replace")) if path.exists() else None
        text = cache[citation.rfc]
        if text is None:
            missing.add(citation.rfc)
            continue
        at = 0
        for part in citation.quote.split("[...]"):
            part = stripped(part)
            at = text.find(part, at)
            if at < 0:
                wrong.append(citation)
                break
            at += len(part)
    return wrong, missing


def main():
    parser = argparse.ArgumentParser(prog="scripts/rfc.sh", description="Checks the citations of RFCs in the sources.")
    parser.add_argument("--texts", type=pathlib.Path, metavar="DIR", help="folder of rfcNNNN.txt files to verify the quotes against")
    parser.add_argument("--gaps", action="store_true", help="print the requirements with a gap alone")
    arguments = parser.parse_args()
    root = pathlib.Path(__file__).resolve().parent.parent
    named = arguments.texts or os.environ.get("RFC_TEXTS")
    texts = pathlib.Path(named) if named else root.parent / "shared" / "rfc"
    if named and not texts.is_dir():
        sys.exit(f"rfc.sh: there is no folder {texts}\n  try: scripts/rfc.sh --texts DIR, with the files rfcNNNN.txt in DIR")

    found, complaints = citations(root)
    listed = requirements(root / "scripts" / "rfc9293.tsv")
    by_id = collections.defaultdict(lambda: collections.defaultdict(list))
    for citation in found:
        for name in citation.ids:
            if name not in listed:
                complaints.append(f"{citation.place}: RFC 9293 has no {name}")
            by_id[name][citation.kind].append(citation)

    gaps, exceptions = 0, 0
    print(f"{'RFC 9293':<9} {'section':<10} {'code':<44} {'test':<44} gap")
    for name, (section, words) in listed.items():
        places = by_id[name]
        code, test, exception = places["code"], places["test"], places["exception"]
        lacks = [word for word, there in (("code", code), ("test", test)) if not there]
        gap = "" if exception else " and ".join(lacks)
        gaps += bool(gap)
        exceptions += bool(exception)
        if arguments.gaps and not gap:
            continue
        where = lambda kind: kind[0].place + (f" +{len(kind) - 1}" if len(kind) > 1 else "") if kind else "-"
        note = f"no {gap}: {words}" if gap else (f"exception: {exception[0].place}" if exception else "")
        print(f"{name:<9} {section:<10} {where(code):<44} {where(test):<44} {note}".rstrip())

    print(f"\n{'RFC':<9} {'code':>5} {'test':>5} {'open':>5}")
    for rfc in sorted({citation.rfc for citation in found}, key=lambda rfc: int(rfc[3:])):
        count = collections.Counter(citation.kind for citation in found if citation.rfc == rfc)
        print(f"{rfc[3:]:<9} {count['code']:>5} {count['test']:>5} {count['todo']:>5}")
    todo = [citation for citation in found if citation.kind == "todo"]
    for citation in todo:
        print(f"open: {citation.place}: {citation.rfc} {citation.section}: {citation.quote}")

    wrong, missing = wrong_quotes(found, texts) if texts.is_dir() else ([], set())
    for citation in wrong:
        complaints.append(f"{citation.place}: not in {citation.rfc}: {citation.quote}")
    for rfc in sorted(missing):
        print(f"{rfc}: no text in {texts}, its quotes are not verified")
    for complaint in complaints:
        print(complaint)
    if texts.is_dir():
        verified = sum(citation.rfc not in missing for citation in found) - len(wrong)
        quotes = f"{verified} of {len(found)} quotes verified"
    else:
        quotes = f"{len(found)} quotes not verified: no texts in {texts}"
    print(f"{len(listed)} requirements of RFC 9293, {gaps} gaps, {exceptions} exceptions; {quotes}; {len(complaints)} complaints, {len(todo)} open")
    sys.exit(1 if gaps or complaints or todo else 0)


main()
