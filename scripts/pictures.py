#!/usr/bin/env python3
"""The pictures of README.md.

    scripts/pictures.py plot [--check]       docs/comparison.svg, from a table of docs/performance.md
    scripts/pictures.py page PROGRAM MQLOAD  docs/page.png: the web page of a broker under load, in headless Chromium
                                             (needs chromium, chromedriver and Python's selenium)
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TABLE = "Broker CPU time per delivered message, ns, saturated:"
# Rows and columns of that table; the colours tell apart without colour vision, too.
ROWS = ["10 publishers to 1 subscriber", "1 publisher to 100 subscribers", "100 pairs", "50 pairs, QoS 1, window 64",
        "50 pairs, QoS 2, window 16"]
BROKERS = {"Mosquitto": "#8c8c8c", "rumqttd": "#c58b3b", "RMQTT": "#b25d79", "ringmq, 1 shard": "#1f6fb2"}
LEFT, WIDTH, BAR, GAP, TOP = 190, 460, 11, 12, 44


def figures():
    """Nanoseconds by row and broker; a figure in brackets is of a run that was cut short."""
    text = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8").split(TABLE)[1].strip()
    lines = text.split("\n\n")[0].splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    head, found = cells[0], {}
    for row in cells[2:]:
        numbers = {name: re.sub(r"[(),*]", "", cell) for name, cell in zip(head[1:], row[1:])}
        found.setdefault(row[0], {name: float(text) for name, text in numbers.items() if text not in ("-", "")})
    return found


def plot():
    found = figures()
    height = TOP + len(ROWS) * (len(BROKERS) * BAR + GAP) + 6
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LEFT + WIDTH + 70} {height}" '
           'font-family="sans-serif" font-size="10" fill="#222">',
           '<rect width="100%" height="100%" fill="#fff"/>',
           f'<text x="{LEFT}" y="14" font-size="12">CPU time of the broker per delivered message, in microseconds</text>']
    for index, (name, colour) in enumerate(BROKERS.items()):
        x = LEFT + index * 100
        out += [f'<rect x="{x}" y="22" width="9" height="9" fill="{colour}"/>', f'<text x="{x + 13}" y="30">{name}</text>']
    most = max(found[row][name] for row in ROWS for name in BROKERS)
    y = TOP
    for row in ROWS:
        out.append(f'<text x="{LEFT - 8}" y="{y + len(BROKERS) * BAR / 2 + 4:.0f}" text-anchor="end">{row}</text>')
        for name, colour in BROKERS.items():
            value = found[row][name]
            width = max(1, value / most * WIDTH)
            out += [f'<rect x="{LEFT}" y="{y}" width="{width:.1f}" height="{BAR - 2}" fill="{colour}"/>',
                    f'<text x="{LEFT + width + 4:.1f}" y="{y + 8}" font-size="9">{value / 1000:.3g}</text>']
            y += BAR
        y += GAP
    return "\n".join([*out, "</svg>"]) + "\n"


def page(program, mqload):
    from selenium import webdriver
    from selenium.webdriver.common.by import By

    folder = Path(tempfile.mkdtemp(prefix="ringmq-picture-"))
    mqtt, admin = 28883, 28884
    broker = subprocess.Popen([program, "--listen", f"127.0.0.1:{mqtt}", "--admin-listen", f"127.0.0.1:{admin}"],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    load = driver = None
    try:
        time.sleep(2)
        load = subprocess.Popen([mqload, "fan-in", "--target", f"127.0.0.1:{mqtt}", "--rate", "2000", "--duration", "200s"],
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder)
        options = webdriver.ChromeOptions()
        for argument in ["--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1000,760",
                         "--hide-scrollbars"]:
            options.add_argument(argument)
        options.binary_location = shutil.which("chromium")
        driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
        driver.get(f"http://127.0.0.1:{admin}/")
        driver.find_element(By.ID, "main")
        time.sleep(90)  # until the plots have a history
        driver.save_screenshot(str(ROOT / "docs" / "page.png"))
    finally:
        if driver:
            driver.quit()
        for one in filter(None, [load, broker]):
            one.kill()
            one.wait()
        shutil.rmtree(folder)


def main(words):
    target = ROOT / "docs" / "comparison.svg"
    match words:
        case ["plot"]:
            target.write_text(plot(), encoding="utf-8")
        case ["plot", "--check"]:
            if target.read_text(encoding="utf-8") != plot():
                sys.exit("docs/comparison.svg is out of date: scripts/pictures.py plot")
        case ["page", program, mqload] if os.access(program, os.X_OK):
            page(program, mqload)
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
