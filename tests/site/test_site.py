#!/usr/bin/python3
"""The docs site that `make docs` has built: it loads nothing from elsewhere, its pages fit a phone, and the pages that
alerts name are there. The links are checked as it is built (mkdocs.yml). Pictures are left in build/site-pictures/."""

import functools
import http.server
import re
import shutil
import sys
import threading
import unittest
from html.parser import HTMLParser
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "e2e"))

from browser import Browser  # pylint: disable=wrong-import-position

SITE = ROOT / "build" / "site"
PICTURES = ROOT / "build" / "site-pictures"
SHOWN = ("index", "operations", "protocol", "reference/metrics", "operate/alerts/SharderDown", "getting-started/kind")  # in all looks
LOADS = {("link", "href"), ("script", "src"), ("img", "src"), ("iframe", "src"), ("source", "src"), ("use", "href")}
PHONE = 390


class Parsed(HTMLParser):
    """What a page loads, apart from what its scripts do, and its paragraphs."""

    def __init__(self, page):
        super().__init__()
        self.addresses, self.paragraphs = [], [""]
        self.feed((SITE / page).read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        self.addresses += [value for name, value in attrs if (tag, name) in LOADS and value]
        if tag == "p":
            self.paragraphs.append("")

    def handle_endtag(self, tag):
        if tag == "p":
            self.paragraphs.append("")

    def handle_data(self, data):
        if len(self.paragraphs) % 2 == 0:
            self.paragraphs[-1] += data


def pages():
    return sorted(path.relative_to(SITE) for path in SITE.glob("**/*.html"))


class Files(unittest.TestCase):
    def test_no_page_and_no_style_names_a_file_of_elsewhere(self):
        self.assertGreater(len(pages()), 40)
        outside = re.compile(r"(?:[a-z]+:)?//")
        for page in pages():
            for address in Parsed(page).addresses:
                self.assertIsNone(outside.match(address), f"{page}: {address}")
        for style in SITE.glob("**/*.css"):
            for address in re.findall(r"(?:url\(|@import\s+)[\"']?([^\"')\s]+)", style.read_text(encoding="utf-8")):
                self.assertIsNone(outside.match(address), f"{style}: {address}")

    def test_lists_and_code_are_none_of_the_text(self):
        for page in pages():
            for text in Parsed(page).paragraphs:
                self.assertIsNone(re.search(r"^ *(?:[-*]|\d+\.) |```|^\|", text, re.MULTILINE), f"{page}: {text}")

    def test_the_page_of_each_alert_is_there(self):
        rules = yaml.safe_load((ROOT / "manifests/components/monitoring/prometheus_rule.yaml").read_text(encoding="utf-8"))
        for group in rules["spec"]["groups"]:
            for rule in group["rules"]:
                self.assertTrue((SITE / rule["annotations"]["runbook_url"]).is_file(), rule["alert"])


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):  # pylint: disable=arguments-differ
        pass


class InBrowser(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=SITE))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        cls.addClassCleanup(server.server_close)
        cls.addClassCleanup(server.shutdown)
        cls.base = f"http://127.0.0.1:{server.server_port}/"
        cls.browser = cls.enterClassContext(Browser())

    def open(self, name, **look):
        page = self.browser.open(f"{self.base}{name}", **look)
        page.wait_for("document.readyState == 'complete'", f"{name} is loaded")
        return page

    def check(self, name, page):
        asked = [event["request"]["url"] for event in page.events("Network.requestWillBeSent")]
        self.assertEqual([url for url in asked if not url.startswith((self.base, "data:", "blob:"))], [], name)
        self.assertEqual([event for event in page.events("Runtime.exceptionThrown")], [], name)
        self.assertLessEqual(page.value("document.documentElement.scrollWidth"), page.value("window.innerWidth"), name)

    def test_each_page_fits_a_phone_and_loads_nothing_from_elsewhere(self):
        for name in pages():
            page = self.open(name, width=PHONE, height=844)
            self.check(name, page)
            page.close()

    def test_pictures_of_some_pages(self):
        shutil.rmtree(PICTURES, ignore_errors=True)
        PICTURES.mkdir(parents=True)
        for name in SHOWN:
            for look, width in (("desktop", 1280), ("phone", PHONE)):
                for dark in (False, True):
                    page = self.open(f"{name}.html", width=width, height=900, dark=dark)
                    self.check(name, page)
                    background = page.value("getComputedStyle(document.body).backgroundColor")
                    brightness = sum(map(int, re.findall(r"\d+", background)[:3])) / 3
                    self.assertEqual(brightness < 128, dark, f"{name}: {background}")
                    page.screenshot(PICTURES / f"{name.replace('/', '-')}-{look}-{'dark' if dark else 'light'}.png")

    def test_the_search_finds_a_metric(self):
        page = self.open("index.html")
        page.wait_for("document.querySelector('[data-md-component=search-query]') !== null", "there is a search")
        page.value("document.querySelector('[data-md-component=search-query]').focus()")
        page.tell("Input.insertText", text="oldest_drain")
        page.tell("Input.dispatchKeyEvent", type="keyUp", key="n")
        page.wait_for("[...document.querySelectorAll('.md-search-result__link')]"
                      ".some(link => link.href.includes('reference/metrics'))", "the reference of metrics is found")


if __name__ == "__main__":
    unittest.main()
