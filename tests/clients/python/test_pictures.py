"""The plot of the README shows the figures that docs/performance.md has."""

import os
import subprocess
import sys

import pytest

from broker import ROOT

pytestmark = pytest.mark.ringmq


def test_the_plot_is_of_the_table():
    script = os.path.join(ROOT, "scripts", "pictures.py")
    done = subprocess.run([sys.executable, script, "plot", "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
