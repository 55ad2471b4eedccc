"""The text of a variant is parsed in one place and comes back as it was."""

from __future__ import annotations

import pytest

from pathweave.net.variant import Variant
from pathweave.runtime.fusion import stands_for


@pytest.mark.parametrize("text, own, alone, region, level", [
    ("", "", False, "", None), ("gemm_f32__avx2", "gemm_f32__avx2", False, "", None),
    ("act__avx2+1thread", "act__avx2", True, "", None), ("+1thread", "", True, "", None),
    ("level2/gemm__avx2", "level2/gemm__avx2", False, "", 2), ("level/x", "level/x", False, "", None),
    ("rows for conv1+2", "rows", False, "conv1+2", None), (" for a", "", False, "a", None),
    ("rows+1thread for a for b", "rows", True, "a for b", None), ("rows for ", "rows for ", False, "", None)])
def test_parts(text, own, alone, region, level):
    found = Variant.parse(text)
    assert found == (own, alone, region) and found.level == level and str(found) == text


def test_the_parts_are_put_behind_in_their_order():
    assert str(Variant("a", alone=True).for_region("r")) == "a+1thread for r"


@pytest.mark.parametrize("token, region, stands", [
    ("/a/conv../a/add", "/a/conv../a/add", True), ("/a/conv../a/add/1", "/a/conv../a/add", True), ("a..b", "a", False),
    ("a/1", "a", True), ("b/1", "a", False), ("/1", "", False)])
def test_formats_inside_a_region_name_it_whatever_slashes_are_in_the_name(token, region, stands):
    assert stands_for(token, region) == stands
