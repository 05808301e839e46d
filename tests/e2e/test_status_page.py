#!/usr/bin/python3
"""The status page in a browser, on the embedded API server with real shards: its figures are those of the API server,
it is live, it can be read on a phone and in the dark, and it asks nobody but its own server."""

import collections
import functools
import http.client
import http.server
import json
import threading

import oracle
from browser import Browser
from cluster import ROOT
from demo import is_ours, page_of_leader, ring, secret
from embedded_cluster import EmbeddedCluster
from processes import Failed, free_ports, wait_until
from real_shards import RealShards
from sharder import Sharders, metric
from shards import state
from suite import Suite

RING = "demo"
LONELY = "lonely"  # a ring without shards
LEASE_SECONDS = 15  # no shard crashes here, and none may lose its Lease on a busy machine
SECRETS = 150
PICTURES = ROOT / "build" / "e2e" / "pages"
HOSTILE = '<img src=x onerror="document.title=\'run\'"><script>document.title="run"</script>'


class Plane:
    """An embedded API server, two replicas, three shards with all their objects, and a browser."""

    def __init__(self, short):
        self.short = short
        self.figures = []
        self.keep_logs = False
        self.cluster = EmbeddedCluster()
        self.sharders = self.shards = None
        self.browser = Browser()

    def __enter__(self):
        PICTURES.mkdir(parents=True, exist_ok=True)
        self.cluster.__enter__()
        self.admin.create("namespaces", None, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": RING}})
        self.admin.create("controllerrings", None, ring(RING, RING))
        self.sharders = Sharders(self.cluster, overrides={"controller": {"sharder": {"syncPeriod": "3s"}}})
        for replica in self.sharders.replicas:
            replica.config["status"] = {"bindAddress": f"127.0.0.1:{free_ports(1)[0]}"}
        self.shards = RealShards(self.cluster.kubeconfig, RING, RING, self.sharders.folder, LEASE_SECONDS)
        self.shards.start("shard-a", "shard-b", "shard-c")
        self.sharders.start()
        wait_until(lambda: page_of_leader(self.sharders), 30, "a replica leads")
        wait_until(lambda: len(self.ready()) == 3, 30, "three shards are ready")
        for number in range(SECRETS):
            self.admin.create("secrets", RING, secret(number))
        wait_until(lambda: sum(self.counts().values()) == 2 * SECRETS, 30, "the shards have made the ConfigMaps")
        self.browser.__enter__()
        return self

    def __exit__(self, *_):
        self.browser.__exit__()
        self.shards.__exit__()
        self.sharders.stop()
        self.cluster.__exit__()

    @property
    def admin(self):
        return self.cluster.admin

    # -- what the API server says

    def objects(self):
        return [item for resource in ("secrets", "configmaps") for item in self.admin.list(resource, RING)
                if is_ours(item)]

    def counts(self):
        """{shard: objects}."""
        return collections.Counter(oracle.shard_of(item, RING) for item in self.objects())

    def moves(self, *members):
        """({(from, to): objects that drain}, the same of those that are not where a ring of these shards has them), at
        one moment."""
        owners, drains, misplaced = oracle.Ring(members), collections.Counter(), collections.Counter()
        for item in self.objects():
            metadata = item["metadata"]
            name = metadata["name"].removeprefix("checksums-")
            shard, owner = oracle.shard_of(item, RING), owners.owner(oracle.main_key("", "Secret", RING, name))
            if oracle.drain_label(RING) in metadata["labels"]:
                drains[shard, oracle.target_of(item, RING)] += 1
            if shard != owner:
                misplaced[shard, owner] += 1
        return drains, misplaced

    def states(self):
        return {item["metadata"]["name"]: state(item) for item in self.admin.list("leases", RING)}

    def ready(self):
        return [name for name, value in self.states().items() if value == "ready"]

    def unassigned(self, ring_name, resource):
        """By the leader's metric."""
        texts = [replica.scrape(self.admin.credentials.token) for replica in self.sharders.replicas]
        return metric("\n".join(texts), "controller_sharding_unassigned_objects", controllerring=ring_name,
                      resource=resource)

    # -- the pages

    def leader_page(self):
        return page_of_leader(self.sharders)

    def standby_page(self):
        leader = self.leader_page()
        return next(url for url in (f"http://{replica.config['status']['bindAddress']}/status"
                                    for replica in self.sharders.replicas) if url != leader)

    def get(self, port, path, host):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            connection.putrequest("GET", path, skip_host=True)
            connection.putheader("Host", host)
            connection.endheaders()
            with connection.getresponse() as response:
                return response.status, response.read().decode(), dict(response.getheaders())
        finally:
            connection.close()


suite = Suite("status_page", Plane, parallel=False)

shown_objects = "[data-ring] tr[data-shard]"


def objects_on(page):
    return {row["shard"]: int(row["objects"]) if row["objects"] else None for row in page.shows(shown_objects)}


def wait_live(page):
    page.wait_for("Number(document.body?.dataset.polls || 0) >= 1", "the page has its figures")


def check_quiet(page, server):
    """Nothing went wrong on the page, and it asked its own server alone."""
    asked = {event["request"]["url"] for event in page.events("Network.requestWillBeSent")}
    foreign = [url for url in asked if not url.startswith((server, "data:", "about:"))]
    assert asked and not foreign, foreign
    for kind in ("Runtime.exceptionThrown", "Log.entryAdded", "Runtime.consoleAPICalled"):
        assert not page.events(kind), page.events(kind)


@suite.case("the leader's page: shards, states, shares of the ring and objects are those of the API server")
def figures(env):
    url = env.leader_page()
    page = env.browser.open(url)
    wait_live(page)
    wait_until(lambda: objects_on(page) == dict(env.counts()), 40, "the next pass counts the objects", interval=0.5)
    rows = {row["shard"]: row for row in page.shows(shown_objects)}
    assert {name: row["state"] for name, row in rows.items()} == env.states(), rows
    keys = [oracle.main_key("", "Secret", RING, f"object-{number}") for number in range(20_000)]
    owners = oracle.Ring(rows)
    owned = collections.Counter(owners.owner(key) for key in keys)
    for name, row in rows.items():
        assert abs(float(row["share"]) - owned[name] / len(keys)) < 0.02, (row, owned)
    resources = {row["resource"]: int(row["objects"]) for row in page.shows("tr[data-resource]")}
    assert resources == {"secrets": SECRETS, "configmaps": SECRETS}, resources
    assert page.value("document.getElementById('role').textContent") == "leader"
    assert page.value("document.querySelectorAll('figure svg path').length") > 100  # the arcs
    check_quiet(page, url.removesuffix("status"))
    page.close()


@suite.case("a shard joins while another hangs: the page shows what drains from where to where, and then the result")
def moving(env):
    page = env.browser.open(env.leader_page())
    wait_live(page)
    shards = RealShards(env.cluster.kubeconfig, RING, RING, env.sharders.folder, 60)
    with shards:
        # With a Lease of a minute it is available although it does not acknowledge.
        shards.start("shard-e")
        wait_until(lambda: not any(env.moves("shard-a", "shard-b", "shard-c", "shard-e")), 40,
                   "shard-e has its objects")
        shards.hang("shard-e")
        env.shards.start("shard-d")
        members = ("shard-a", "shard-b", "shard-c", "shard-d", "shard-e")

        def only_hanging():
            draining, misplaced = env.moves(*members)
            return draining if draining == misplaced and set(draining) == {("shard-e", "shard-d")} else None

        drains = wait_until(only_hanging, 40, "what shard-e has drains, and all else is where it belongs")

        def shown():
            return {(row["from"], row["to"]): row["text"] for row in page.shows(".moves li")}

        wanted = {between: f"{between[0]} → {between[1]}: {count} draining" for between, count in drains.items()}
        try:
            wait_until(lambda: shown() == wanted, 60, f"the page shows {wanted}", interval=0.3)
        except Failed as failed:
            raise Failed(f"{failed}; it shows {shown()}") from None
        assert page.value("document.querySelectorAll('.flow').length") == len(wanted)
        for name, width, dark in (("desktop-light", 1280, False), ("desktop-dark", 1280, True),
                                  ("phone-light", 390, False), ("phone-dark", 390, True)):
            page.look(width, 844, dark)
            page.screenshot(PICTURES / f"moving-{name}.png")
        page.look(1280, 900, False)
        shards.all()["shard-e"].process.resume()
        wait_until(lambda: not any(env.moves(*members)), 30, "shard-e acknowledges")
        page.wait_for("!document.querySelector('.moves li')", "the page shows that nothing drains")
        shards.terminate("shard-e")
    env.shards.terminate("shard-d")
    wait_until(lambda: set(env.ready()) == {"shard-a", "shard-b", "shard-c"}, 30, "the ring is as before")
    page.wait_for("document.querySelector('tr[data-shard=shard-d]')?.dataset.state === 'dead'", "the page says so")
    wait_until(lambda: {name: count for name, count in objects_on(page).items() if count} == dict(env.counts()), 40,
               "the page has the counts", interval=0.5)
    page.close()


@suite.case("on a phone, a small one and in the dark it fits, and text stands out from its ground")
def fits(env):
    page = env.browser.open(env.leader_page())
    wait_live(page)
    grounds = {}
    for width in (320, 390, 768, 1280):
        for dark in (False, True):
            page.look(width, 844, dark)
            assert page.value("document.documentElement.scrollWidth") <= width, width
            cut = page.value("[...document.querySelectorAll('td, th, h2, .badge, p')].filter(one => "
                             "one.getBoundingClientRect().right > innerWidth + 0.5).map(one => one.innerText)")
            assert not cut, (width, cut)
            grounds[dark] = page.value("[getComputedStyle(document.body).backgroundColor, "
                                       "getComputedStyle(document.body).color]")
            page.screenshot(PICTURES / f"rest-{width}-{'dark' if dark else 'light'}.png")
    for dark, (ground, text) in grounds.items():
        assert (brightness(ground) < brightness(text)) == dark, grounds
        assert abs(brightness(ground) - brightness(text)) > 150, grounds
    page.close()


def brightness(colour):
    """Of "rgb(1, 2, 3)"."""
    return sum(map(int, colour.removeprefix("rgb(").removesuffix(")").split(","))) / 3


# [text, colour, ground, left, right, height] of the elements, which stand on a card.
LOOKS = """[...document.querySelectorAll({})].map(one => {{
  const box = one.getBoundingClientRect(), colour = one => getComputedStyle(one);
  return [one.innerText, colour(one).color, colour(one.closest('.card')).backgroundColor, box.left, box.right, box.height];
}})"""


@suite.case("a cordoned shard, one in grace and objects without a shard: the page says so in words that can be read")
def out_of_the_ordinary(env):
    page = env.browser.open(env.leader_page())
    wait_live(page)
    env.admin.create("namespaces", None, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": LONELY}})
    env.admin.create("controllerrings", None, ring(LONELY, LONELY))
    for number in range(7):
        env.admin.create("secrets", LONELY, secret(number))
    mark(env, "controllerrings", None, RING, grace_period="1h")
    mark(env, "leases", RING, "shard-c", cordoned="true")
    wait_until(lambda: not env.counts()["shard-c"], 40, "what shard-c has drains")
    env.shards.terminate("shard-b")
    try:
        page.wait_for("!!document.querySelector('tr[data-shard=shard-c][data-cordoned=true][data-state=ready]') && "
                      "!!document.querySelector('tr[data-shard=shard-b][data-in-grace=true][data-state=dead]') && "
                      f"!!document.querySelector('[data-ring={LONELY}] tr[data-resource=secrets][data-unassigned=\"7\"]')",
                      "the page shows the marks and the objects")
        wait_until(lambda: env.unassigned(LONELY, "secrets") == 7, 10, "the metric has the same number")
        rows = {row["shard"]: row for row in page.shows(f"[data-ring={RING}] tr[data-shard]")}
        assert "in grace" in rows["shard-b"]["text"] and float(rows["shard-b"]["share"]) > 0, rows
        assert "cordoned" in rows["shard-c"]["text"] and float(rows["shard-c"]["share"]) == 0, rows
        for width, dark in ((320, False), (320, True), (390, True), (1280, False)):
            page.look(width, 844, dark)
            page.screenshot(PICTURES / f"marks-{width}-{'dark' if dark else 'light'}.png")
            said = page.value(LOOKS.format("'tr[data-shard] .mark, tr[data-unassigned] .bad'"))
            words = {" ".join(text.split()[:5]) for text, *_ in said}
            assert words == {"cordoned", "in grace", "7 without a shard for"}, words
            for text, colour, ground, left, right, height in said:
                assert 0 <= left < right <= width and height < 2 * 15, (width, text, left, right, height)  # one line
                assert contrast(colour, ground) >= 4.5, (text, colour, ground, contrast(colour, ground))
    finally:
        mark(env, "leases", RING, "shard-c", cordoned=None)
        env.shards.start("shard-b")
        env.admin.delete("controllerrings", None, LONELY)
    wait_until(lambda: set(env.ready()) == {"shard-a", "shard-b", "shard-c"}, 30, "the ring is as before")
    mark(env, "controllerrings", None, RING, grace_period=None)
    page.wait_for(f"!document.querySelector('[data-ring={LONELY}], [data-cordoned=true], [data-in-grace=true]')",
                  "nothing is out of the ordinary")
    page.close()


def mark(env, resource, namespace, name, **marks):
    """Sets annotations of ours; None takes one away."""
    env.admin.patch(resource, namespace, name, {"metadata": {"annotations": {
        f"sharder.alpha.sharding.timebertt.dev/{key.replace('_', '-')}": value for key, value in marks.items()}}})


def contrast(text, ground):
    """Of two colours "rgb(1, 2, 3)", by the Web Content Accessibility Guidelines, which ask for 4.5."""
    def luminance(colour):
        parts = [int(part) / 255 for part in colour.removeprefix("rgb(").removesuffix(")").split(",")]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    dark, bright = sorted((luminance(text), luminance(ground)))
    return (bright + 0.05) / (dark + 0.05)


@suite.case("a standby's page says that it does not lead, and shows the ring and the shards")
def standby(env):
    url = env.standby_page()
    page = env.browser.open(url)
    wait_live(page)
    assert page.value("document.getElementById('role').textContent") == "standby"
    assert "does not lead" in page.value("document.getElementById('standby').innerText")
    rows = {row["shard"]: row["state"] for row in page.shows(shown_objects)}
    assert rows == env.states(), rows
    assert set(objects_on(page).values()) == {None}
    assert not page.shows("tr[data-resource]")
    check_quiet(page, url.removesuffix("status"))
    page.close()


class Hostile(http.server.BaseHTTPRequestHandler):
    """The page as the sharder serves it, with figures full of markup."""

    def __init__(self, headers, page, *arguments):
        self.page_headers, self.page = headers, page
        super().__init__(*arguments)

    def do_GET(self):
        figures_path = self.path.endswith(".json")
        body = (hostile_figures() if figures_path else self.page).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json" if figures_path else "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Security-Policy", self.page_headers["Content-Security-Policy"])
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def hostile_figures():
    return json.dumps({"replica": HOSTILE, "version": HOSTILE, "leads": True, "notReady": HOSTILE,
                       "certificateExpires": 1790000000, "rings": [{
                           "name": HOSTILE, "error": HOSTILE, "deleting": True, "webhookReachable": False,
                           "members": [HOSTILE, "b"], "shares": [0.5, 0.5], "arcs": [[0, 360], [1, 360]],
                           "shards": [{"name": HOSTILE, "namespace": HOSTILE, "state": HOSTILE, "available": True,
                                       "objects": 1}],
                           "resources": [{"name": HOSTILE, "main": True, "pending": 1, "draining": 1,
                                          "oldestDrainSeconds": 1, "moves": 1, "objects": 2, "countedSecondsAgo": 1,
                                          "unassigned": 1, "oldestUnassignedSeconds": 1}],
                           "moves": [{"from": HOSTILE, "to": "b", "pending": 1, "draining": 1}]}]})


@suite.case("names are text on the page, whatever stands in them")
def hostile(env):
    port = int(env.leader_page().split(":")[2].split("/")[0])
    _, text, headers = env.get(port, "/status", "localhost")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Hostile, headers, text))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    page = env.browser.open(f"http://127.0.0.1:{server.server_port}/status", width=390)
    wait_live(page)
    assert page.value("document.querySelector('h2').textContent") == HOSTILE
    assert page.value("document.title") == "Sharder"
    assert page.value("document.querySelectorAll('img, main script').length") == 0
    assert page.value("document.documentElement.scrollWidth") <= 390
    check_quiet(page, f"http://127.0.0.1:{server.server_port}/")
    page.close()
    server.shutdown()


@suite.case("the listener on loopback answers this machine's names alone; on the metrics port a token is asked for")
def doors(env):
    port = int(env.leader_page().split(":")[2].split("/")[0])
    for path in ("/status", "/status.json", "/"):
        assert env.get(port, path, f"localhost:{port}")[0] == 200
        for host in ("rebind.example", f"127.0.0.1.example:{port}", "10.0.0.1", ""):
            assert env.get(port, path, host)[0] == 403, host
    assert env.get(port, "/metrics", "localhost")[0] == 404
    replica = env.sharders.replicas[0]
    assert replica.metrics("", "/status.json")[0] == 401
    assert replica.metrics("wrong", "/status.json")[0] == 401
    code, text = replica.metrics(env.admin.credentials.token, "/status.json")
    assert code == 200 and json.loads(text)["rings"][0]["name"] == RING, (code, text)


if __name__ == "__main__":
    suite.main()
