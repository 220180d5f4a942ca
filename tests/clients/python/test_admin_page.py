"""The web page in a real browser against a broker under load: every action once, no error of the console, no
request to another host."""

import json
import os
import shutil
import threading

import pytest
from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select, WebDriverWait

from admin import start_admin
from client import DEADLINE_S, Client

pytestmark = [pytest.mark.ringmq, pytest.mark.timeout(240)]
PICTURES = os.environ.get("PICTURES")


def browser(scheme="light", size="1200,900"):
    options = webdriver.ChromeOptions()
    for argument in ["--headless=new", "--no-sandbox", "--disable-dev-shm-usage", f"--window-size={size}",
                     f"--blink-settings=preferredColorScheme={0 if scheme == 'dark' else 1}"]:
        options.add_argument(argument)
    options.binary_location = shutil.which("chromium")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    service = webdriver.ChromeService(shutil.which("chromedriver"))
    return webdriver.Chrome(options=options, service=service)


class Page:
    """The page, as a person uses it."""

    def __init__(self, driver, admin):
        self.driver, self.base = driver, f"http://127.0.0.1:{admin.port}/"
        driver.get(self.base)

    def wait(self, look):
        """Waits; views replace their elements while they are looked at."""
        waiting = WebDriverWait(self.driver, DEADLINE_S, ignored_exceptions=[StaleElementReferenceException])
        return waiting.until(lambda _: look())

    def text(self):
        return self.driver.find_element(By.ID, "main").text

    def open(self, title):
        self.driver.find_element(By.LINK_TEXT, title).click()
        self.wait(lambda: self.driver.find_element(By.TAG_NAME, "h1").text == title)

    def sees(self, text):
        self.wait(lambda: text in self.text())

    def says(self, text):
        self.wait(lambda: text in self.driver.find_element(By.ID, "message").text)

    def fill(self, name, value, form=0):
        places = self.driver.find_elements(By.CSS_SELECTOR, f"input[name={name}]")
        places[form].clear()
        places[form].send_keys(value)

    def choose(self, name, value):
        Select(self.driver.find_element(By.NAME, name)).select_by_value(value)

    def press(self, text, nth=0):
        def buttons():
            all_buttons = self.driver.find_elements(By.CSS_SELECTOR, "main button")
            return [one for one in all_buttons if one.text.strip() == text]

        def click():
            found = buttons()
            if len(found) <= nth:
                return False
            self.driver.execute_script("arguments[0].click()", found[nth])
            return True

        self.wait(click)

    def confirm(self):
        self.wait(lambda: self.driver.find_element(By.ID, "ask-yes").is_displayed())
        self.driver.find_element(By.ID, "ask-yes").click()

    def picture(self, name):
        if PICTURES:
            self.driver.save_screenshot(os.path.join(PICTURES, name + ".png"))


@pytest.fixture
def page(start):
    """The page of a broker with clients, retained messages and messages on their way."""
    broker, admin = start_admin(start, 2)
    clients = [Client(broker, f"meter-{n}").connect() for n in range(6)]
    stop = threading.Event()
    clients[0].subscribe("plant/#", 1)

    def publish():
        count = 0
        while not stop.wait(0.02):  # enough to see, and the browser's record of it stays small
            count += 1
            clients[1].publish_and_wait(f"plant/hall {count % 3}/temperature", b"%d" % count, 1, True)

    load = threading.Thread(target=publish)
    load.start()
    driver = browser()
    try:
        yield Page(driver, admin)
        entries = driver.get_log("browser")
        assert [one for one in entries if one["level"] in ("SEVERE", "WARNING")] == []
        requests = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
        urls = {request["params"]["request"]["url"] for request in requests
                if request["method"] == "Network.requestWillBeSent"}
        assert urls and all(url.startswith((f"http://127.0.0.1:{admin.port}/", "data:")) for url in urls), urls
    finally:
        stop.set()
        load.join()
        driver.quit()
        for one in clients:
            one.close()


def test_every_action_once(page):
    for card in ["Messages", "Bytes", "Delivery: from read to written", "CONNECT to CONNACK", "Turns of the shards"]:
        page.sees(card)
    page.wait(lambda: "B/s" in page.text() and "p99" in page.text() and "µs" in page.text())
    page.open("Shards")
    page.sees("publications received")
    page.wait(lambda: "/s" in page.text())
    page.picture("shards")
    page.open("Clients")
    page.sees("meter-5")
    page.fill("prefix", "meter-1")
    page.press("Search")
    page.wait(lambda: "meter-5" not in page.text())
    page.fill("prefix", "")
    page.choose("sort", "rate")
    page.press("Search")
    page.sees(" in, ")
    page.picture("clients")
    page.choose("sort", "")
    page.fill("prefix", "meter-5")
    page.press("Search")
    page.sees("1 clients")
    page.press("Disconnect")
    page.confirm()
    page.says("Disconnect: done")
    page.fill("prefix", "meter-0")
    page.press("Search")
    page.sees("meter-0")
    page.driver.find_element(By.LINK_TEXT, "meter-0").click()
    page.sees("plant/#")
    page.sees("session expiry s")
    page.picture("client")
    page.press("Ban for an hour")
    page.confirm()
    page.says("Ban: done")
    page.open("Bans")
    page.sees("meter-0")
    page.press("Lift")
    page.says("Lift: done")
    page.fill("whom", "192.0.2.9")
    page.choose("kind", "address")
    page.fill("minutes", "5")
    page.press("Ban")
    page.confirm()
    page.sees("192.0.2.9")
    page.picture("bans")


def test_topics_live_and_retained(page):
    page.open("Topics")
    page.press("▸ plant")
    page.press("▸ hall 1")
    page.press("Show temperature")
    page.sees("bytes")
    page.press("Watch")
    page.sees("plant/hall 1/temperature  ")
    page.picture("topics")
    page.press("Stop")
    page.says("stopped")
    page.fill("filter", "a/#/b")
    page.press("Watch")
    page.says("Live: filter: ")
    page.driver.get_log("browser")  # the browser itself writes lines for the answer 400
    page.fill("topic", "from/page")
    page.fill("payload", "<b>hello</b>")
    page.driver.find_element(By.NAME, "retain").click()
    page.press("Publish")
    page.says("Publish: done")
    page.press("▸ from")
    page.press("Show page")
    page.sees("<b>hello</b>")
    page.press("Remove")
    page.confirm()
    page.says("Remove: done")


def test_the_other_views(page):
    page.open("Subscriptions")
    page.sees("plant/#")
    page.fill("topic", "nothing")
    page.press("Who receives it?")
    page.sees("0 subscriptions")
    page.fill("filter", "+/x")
    page.press("Which filters overlap?")
    page.sees("1 subscriptions")
    page.open("Listeners")
    page.sees("tcp")
    page.open("Log")
    page.sees("ready")
    page.choose("level", "debug")
    page.says("Log level: done")
    page.press("Read files again")
    page.says("Reload: done")
    page.sees("accounts and rules were read again")
    page.picture("log")
    page.open("Trace")
    page.choose("kind", "prefix")
    page.fill("whom", "meter-1")
    page.press("Start")
    page.sees("PUBLISH")
    page.picture("trace")
    page.press("Stop")
    page.open("Configuration")
    page.sees("queue-messages-max")
    page.open("Overview")
    page.wait(lambda: "/s" in page.text())
    page.picture("overview")


def birth(seq):
    """A birth of Sparkplug with bdSeq 3."""
    return b"\x08\x07\x12\x0b\x0a\x05bdSeq\x20\x08\x58\x03\x18" + bytes([seq])


def test_sparkplug(start, tmp_path):
    """Nodes, devices and hosts; after a restart nodes are there by their certificates, and their state is not known."""
    options = {"sparkplug": "true", "data_dir": tmp_path / "data", "journal_segment_bytes": "1MiB"}
    driver = browser()
    try:
        for states in (["online", "online"], ["unknown", "unknown"]):
            broker, admin = start_admin(start, 2, **options)
            page = Page(driver, admin)
            if states[0] == "online":
                node = Client(broker, "node").connect()
                for topic, seq in [("NBIRTH/line 1", 0), ("DBIRTH/line 1/<b>press", 1)]:
                    node.publish_and_wait("spBv1.0/plant/" + topic, birth(seq), 1)
                node.publish_and_wait("spBv1.0/STATE/scada", b'{"online": true, "timestamp": 7}', 1, True)
            page.open("Sparkplug")
            page.sees(f"plant/line 1 {states[0]} 3")
            page.sees("scada yes")
            page.picture(f"sparkplug-{states[0]}")
            driver.find_element(By.LINK_TEXT, "plant/line 1").click()
            page.sees(f"<b>press {states[1]}")
            page.sees("bd seq\n3")
            node.close()
            broker.stop()
        broker, admin = start_admin(start, 2)
        page = Page(driver, admin)
        page.open("Sparkplug")
        page.sees("It is off")
        assert [one for one in driver.get_log("browser") if one["level"] == "WARNING"] == []
    finally:
        driver.quit()


def test_a_problem_is_said_and_markup_of_clients_is_text(page):
    page.driver.get(page.base + "#clients/%3Cimg%20src%3Dx%3E")
    page.says("there is no client")
    assert page.driver.find_elements(By.TAG_NAME, "img") == []
    page.driver.get_log("browser")  # the browser itself writes a line for the answer 404


@pytest.mark.parametrize("scheme,size", [("dark", "1200,900"), ("light", "400,850")])
def test_dark_and_on_a_phone(start, scheme, size):
    broker, admin = start_admin(start, 2)
    one = Client(broker, "meter-with-quite-a-long-name").connect()
    driver = browser(scheme, size)
    try:
        shown = Page(driver, admin)
        shown.wait(lambda: "Connections" in shown.text())
        width = driver.execute_script("return [document.documentElement.scrollWidth, innerWidth]")
        assert width[0] <= width[1], "the page is wider than the screen"
        background = driver.execute_script("return getComputedStyle(document.body).backgroundColor")
        is_dark = sum(int(part) for part in background.strip("rgb()").split(",")) < 200
        assert is_dark == (scheme == "dark"), background
        shown.picture(f"overview-{scheme}-{size.split(',', maxsplit=1)[0]}")
        shown.open("Clients")
        shown.sees("meter-with")
        shown.picture(f"clients-{scheme}-{size.split(',', maxsplit=1)[0]}")
        width = driver.execute_script("return [document.documentElement.scrollWidth, innerWidth]")
        assert width[0] <= width[1], "the page is wider than the screen"
    finally:
        driver.quit()
        one.close()
