#!/usr/bin/env python3
"""Looks at pages for scripts/page.sh.

    page.py DIR PAGE...   measures each page in Chromium, as phones, in the dark, on a desk and printed; pictures go to DIR

A line for each look; exit code 1 when something that should be seen is not, or when a page that was broken on purpose is taken for a good one.
"""

import base64
import os
import re
import subprocess
import sys
import tempfile

from selenium import webdriver
from selenium.webdriver.chrome.service import Service

# Name, width and height in CSS pixels, pixels of the device for each, colour scheme.
LOOKS = [
    ("phone", 390, 844, 2, "light"),
    ("small-phone", 360, 640, 2, "light"),
    ("phone-dark", 390, 844, 2, "dark"),
    ("desk", 1280, 900, 1, "light"),
    ("desk-dark", 1280, 900, 1, "dark"),
]
# Letters on a screen, in CSS pixels; those of a ladder shrink with it.
TEXT_MIN = 10
LADDER_TEXT_MIN = 8.5
# Chromium takes no larger picture.
PICTURE_MAX = 16000
PATIENCE = 60

# What each of these does to a page has to be noticed.
DAMAGES = [
    ("without ladders", lambda page: re.sub(r'<svg class="ladder.*?</svg>', "", page, flags=re.S)),
    ("with ladders that have no arrows", lambda page: page.replace("</style>", ".ladder .arrow{display:none}</style>", 1)),
    ("without curves", lambda page: re.sub(r'(<path class="curve [a-z]+" d=")[^"]*', r"\1", page)),
    ("with white curves", lambda page: page.replace("</style>", ".curve{stroke:var(--paper)!important}</style>", 1)),
    ("without cost tables", lambda page: re.sub(r'<table class="cost">.*?</table>', "", page, flags=re.S)),
    ("with tables that stand out of it", lambda page: page.replace('class="wide"', 'class="wild"')),
    ("with letters nobody can read", lambda page: page.replace("</style>", "table{font-size:6px}</style>", 1)),
    ("with something to fetch", lambda page: page.replace("</main>", '<img src="missing.png"></main>', 1)),
]

MEASURE = r"""
const [width, textMin, ladderTextMin] = arguments;
const problems = [];
const all = (query, within = document) => [...within.querySelectorAll(query)];
const box = element => element.getBoundingClientRect();
const size = element => { const {width, height} = box(element); return Math.max(width, height); };
const seen = element => size(element) > 0 && getComputedStyle(element).visibility == "visible";
const complain = (good, text) => { if (!good) problems.push(text); };

// Colours: the contrast of WCAG 2.1 between an element and what is behind it.
const channels = text => text.match(/[\d.]+/g).map(Number);
const luminance = text => {
    const [r, g, b] = channels(text).slice(0, 3).map(c => (c /= 255, c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const behind = element => {
    for (let at = element; at; at = at.parentElement) {
        const colour = getComputedStyle(at).backgroundColor;
        if (!/^rgba\(.*, 0\)$/.test(colour) && colour != "transparent") return colour;
    }
    return "rgb(255, 255, 255)";
};
const contrast = (colour, element) => {
    if (colour == "none") return 1;
    const [a, b] = [luminance(colour), luminance(behind(element))];
    return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
};

// Nothing stands out of the page, and nothing is fetched.
const root = document.documentElement;
complain(root.scrollWidth <= Math.min(width, root.clientWidth), `the page is ${root.scrollWidth} px wide`);
complain(!performance.getEntriesByType("resource").length && !all("script, link, iframe, img").length, "it fetches something");

// Curves.
const drawings = all(".panels figure").filter(figure => all("path.curve", figure).length);
complain(drawings.length > 0, "there is no drawing of curves");
let curves = 0;
for (const figure of drawings) {
    const name = figure.querySelector("figcaption").textContent;
    const shown = all("path.curve", figure).filter(curve => {
        const {width, height, left, right, top, bottom} = box(curve), frame = box(curve.ownerSVGElement);
        const within = left >= frame.left - 2 && right <= frame.right + 2 && top >= frame.top - 2 && bottom <= frame.bottom + 2;
        return width > 60 && height > 0 && within && contrast(getComputedStyle(curve).stroke, curve) >= 3;
    });
    curves += shown.length;
    complain(shown.length >= 2, `${name}: ${shown.length} curves are seen`);
    complain(shown.length == all("path.curve", figure).length, `${name}: a curve is not seen whole`);
}

// Tables: each cell can be read, if need be by scrolling the table alone.
const tables = all("table");
for (const table of tables) {
    const name = (table.caption || table.closest("section").querySelector("h2")).textContent;
    const wide = table.closest(".wide");
    complain(seen(table) && all("tbody tr", table).length > 0, `${name}: the table is empty`);
    complain(all("tbody td", table).every(cell => cell.textContent.trim()), `${name}: a cell is empty`);
    complain(parseFloat(getComputedStyle(table).fontSize) >= textMin, `${name}: its letters are ${getComputedStyle(table).fontSize}`);
    if (!wide) { problems.push(`${name}: it cannot be scrolled`); continue; }
    wide.scrollLeft = wide.scrollWidth;
    const last = all("thead th:last-child, tbody tr:first-child > :last-child", table);
    complain(last.every(cell => box(cell).right <= Math.min(box(wide).right, width) + 1), `${name}: the last column is out of reach`);
    wide.scrollLeft = 0;
}
const costs = all("table.cost").filter(seen);
complain(costs.length >= 2, `${costs.length} cost tables are seen`);
for (const table of costs) {
    complain(table.scrollWidth <= (table.closest(".wide") || root).clientWidth + 1, `${table.caption.textContent}: it is wider than the page`);
}

// Ladders: one of TCP and one of UDP, drawn for this width.
const ladders = all("svg.ladder").filter(seen);
const arrows = ladders.map(ladder => all("line.arrow", ladder).filter(seen).length);
complain(ladders.length == 2, `${ladders.length} ladders are seen`);
complain(arrows[0] >= 6 && arrows[1] == 2, `the ladders have ${arrows} arrows`);
for (const ladder of ladders) {
    const name = ladder.querySelector("title").textContent;
    const frame = box(ladder), scale = frame.width / ladder.viewBox.baseVal.width;
    complain(ladder.classList.contains(width <= 600 ? "narrow" : "broad"), `${name}: it is drawn for another width`);
    complain(all("line.arrow", ladder).every(line => contrast(getComputedStyle(line).stroke, line) >= 3), `${name}: an arrow has no colour`);
    complain(all("path.head", ladder).filter(seen).length >= 2, `${name}: its arrows have no heads`);
    const texts = all("text", ladder);
    for (const text of texts) {
        const pixels = parseFloat(getComputedStyle(text).fontSize) * scale, {left, right, top, bottom} = box(text);
        complain(pixels >= ladderTextMin, `${name}: '${text.textContent}' has letters of ${pixels.toFixed(1)} px`);
        const within = left >= frame.left - 1 && right <= frame.right + 1 && top >= frame.top - 1 && bottom <= frame.bottom + 1;
        complain(within, `${name}: '${text.textContent}' is cut off`);
    }
    // Turned texts have boxes that are larger than they are: those that are turned alike are compared as if they were not.
    texts.forEach((a, nth) => texts.slice(nth + 1).forEach(b => {
        const alike = a.getAttribute("transform") && a.getAttribute("transform") == b.getAttribute("transform");
        const [p, q] = alike ? [a.getBBox(), b.getBBox()] : [box(a), box(b)];
        const across = Math.min(p.x + p.width, q.x + q.width) - Math.max(p.x, q.x);
        const down = Math.min(p.y + p.height, q.y + q.height) - Math.max(p.y, q.y);
        complain(across <= 2 || down <= 4, `${name}: '${a.textContent}' and '${b.textContent}' cover each other`);
    }));
}
if (ladders.length) {
    const states = all("text.state", ladders[0]).map(text => text.textContent);
    for (const state of ["SYN-SENT", "SYN-RECEIVED", "ESTABLISHED", "FIN-WAIT-1", "TIME-WAIT", "CLOSE-WAIT", "LAST-ACK", "CLOSED"]) {
        complain(states.includes(state), `the ladder of TCP never says ${state}`);
    }
    complain(all("rect.bar", ladders[0]).filter(bar => seen(bar) && getComputedStyle(bar).fill != "none").length >= states.length, "a bar is not seen");
}

// Words against what is behind them.
for (const element of all("h1, h2, p, li, td, th, dt, dd, caption, figcaption, text").filter(seen)) {
    const style = getComputedStyle(element);
    const ratio = contrast(element instanceof SVGElement ? style.fill : style.color, element);
    complain(ratio >= 4.5, `'${element.textContent.slice(0, 30)}' has a contrast of ${ratio.toFixed(1)}`);
}
return {
    problems: [...new Set(problems)],
    height: root.scrollHeight,
    background: getComputedStyle(document.body).backgroundColor,
    found: `${curves} curves in ${drawings.length} drawings, ${tables.length} tables, ladders of ${arrows.join(" and ")} arrows, ${root.scrollHeight} px high`,
};
"""


def browser(home):
    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    # Root has no sandbox of Chromium's; what it loads are the pages that were made or named.
    for argument in ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking",
                     "--no-first-run", "--force-color-profile=srgb", f"--user-data-dir={home}/profile"]:
        options.add_argument(argument)
    driver = webdriver.Chrome(service=Service("/usr/bin/chromedriver"), options=options)
    driver.set_page_load_timeout(PATIENCE)
    driver.set_script_timeout(PATIENCE)
    return driver


class Looker:
    def __init__(self, driver, folder):
        self.driver = driver
        self.folder = folder
        self.failures = 0

    def say(self, what, problems, found=""):
        self.failures += bool(problems)
        print(f"{'FAILED' if problems else 'ok'}: {what}{f': {found}' if found else ''}", flush=True)
        for problem in problems:
            print(f"    {problem}", flush=True)

    def command(self, name, **arguments):
        return self.driver.execute_cdp_cmd(name, arguments)

    def measure(self, path, look):
        """What is wrong with a page, and what was found on it."""
        _, width, height, ratio, scheme = look
        self.command("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=ratio, mobile=width < 600)
        self.command("Emulation.setEmulatedMedia", media="screen", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.driver.get("file://" + os.path.abspath(path))
        seen = self.driver.execute_script(MEASURE, width, TEXT_MIN, LADDER_TEXT_MIN)
        is_dark = sum(map(int, re.findall(r"\d+", seen["background"])[:3])) < 3 * 128
        if is_dark != (scheme == "dark"):
            seen["problems"].append(f"it is {seen['background']} where {scheme} is asked for")
        return seen

    def look(self, name, path):
        for look in LOOKS:
            seen = self.measure(path, look)
            self.picture(f"{name}-{look[0]}.png", look[1], seen["height"], look[3])
            self.say(f"{name}, {look[0]} ({look[1]}x{look[2]}, {look[4]})", seen["problems"], seen["found"])
        self.print(name, path)
        self.damage(name, path)

    def picture(self, name, width, height, ratio):
        scale = min(1, PICTURE_MAX / (height * ratio))
        clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": scale}
        answer = self.command("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)
        with open(os.path.join(self.folder, name), "wb") as file:
            file.write(base64.b64decode(answer["data"]))

    def print(self, name, path):
        """On paper everything is within its page, and a ladder is on one of them with what it took."""
        self.command("Emulation.clearDeviceMetricsOverride")
        self.command("Emulation.setEmulatedMedia", media="", features=[])
        self.driver.get("file://" + os.path.abspath(path))
        pdf = os.path.join(self.folder, f"{name}.pdf")
        with open(pdf, "wb") as file:
            file.write(base64.b64decode(self.command("Page.printToPDF", preferCSSPageSize=True)["data"]))
        subprocess.run(["pdftoppm", "-r", "80", "-png", pdf, pdf.removesuffix(".pdf") + "-print"], check=True, timeout=PATIENCE)
        boxes = subprocess.run(["pdftotext", "-bbox", pdf, "-"], check=True, timeout=PATIENCE, capture_output=True, text=True).stdout
        problems, texts = [], []
        for width, height, words in re.findall(r'<page width="([\d.]+)" height="([\d.]+)">(.*?)</page>', boxes, flags=re.S):
            found = re.findall(r'xMin="([-\d.]+)" yMin="([-\d.]+)" xMax="([-\d.]+)" yMax="([-\d.]+)">(.*?)</word>', words)
            texts.append(" ".join(word for *_, word in found))
            for left, top, right, bottom, word in found:
                if float(left) < 0 or float(top) < 0 or float(right) > float(width) or float(bottom) > float(height):
                    problems.append(f"'{word}' stands over the edge of page {len(texts)}")
        if not any("One request and its answer" in text and all(state in text for state in ["SYN-SENT", "LAST-ACK", "TIME-WAIT"])
                   and "What it took" in text for text in texts):
            problems.append("no page has the ladder, the states of both ends and what it took")
        for heading in ["Latency by percentile", "What the connection costs", "Conditions"]:
            if not any(heading in text for text in texts):
                problems.append(f"'{heading}' is on no page")
        self.say(f"{name}, printed", problems, f"{len(texts)} pages")

    def damage(self, name, path):
        """A measurement that finds nothing wrong with anything would be none."""
        with open(path, encoding="utf-8") as file:
            good = file.read()
        for what, harm in DAMAGES:
            bad = harm(good)
            with tempfile.NamedTemporaryFile("w", suffix=".html", encoding="utf-8") as file:
                file.write(bad)
                file.flush()
                noticed = bad != good and self.measure(file.name, LOOKS[0])["problems"]
            self.say(f"{name}, {what}", [] if noticed else ["nobody would notice"], f"noticed, as it should be: {noticed[0]}" if noticed else "")


def main():
    folder, *pages = sys.argv[1:]
    with tempfile.TemporaryDirectory() as home:
        os.environ["HOME"] = home
        driver = browser(home)
        try:
            looker = Looker(driver, folder)
            for path in pages:
                looker.look(os.path.splitext(os.path.basename(path))[0], path)
        finally:
            driver.quit()
    print(f"{looker.failures} failures; pictures and prints are in {folder}")
    sys.exit(1 if looker.failures else 0)


main()
