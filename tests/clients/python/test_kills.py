"""Kills under load, 21 of them: every promise of docs/durability.md at once. scripts/durable.sh has more."""

import os
import time

import pytest

import kills
from conftest import SHARDS

pytestmark = pytest.mark.ringmq

# 21 together.
KILLS = 7


@pytest.mark.parametrize("shards", SHARDS)
def test_every_promise_is_kept_over_kills(shards):
    seed = int(os.environ.get("KILLS_SEED", time.time()))
    print(f"KILLS_SEED={seed}")
    kills.run(shards, KILLS, seed)
