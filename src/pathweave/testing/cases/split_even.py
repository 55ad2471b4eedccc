"""Cases of split_even."""

from __future__ import annotations

from .. import case

CASES = [case("split_even", (6, 3), parts=3), case("split_even", (2, 7, 5), axis=1, parts=3),
         case("split_even", (1, 16, 5, 5), axis=-1, parts=2), case("split_even", (4, 9), axis=1, parts=1)]
