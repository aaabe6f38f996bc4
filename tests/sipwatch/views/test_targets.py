"""The list of targets."""

from __future__ import annotations

from sipwatch.views import targets
from tests.sipwatch.watching import Watching


async def test_no_search_finds_a_part_of_a_password() -> None:
    site = Watching()
    site.target("trunk", "sip:line1:h1dden@203.0.113.9")
    found = {
        search: (await targets.listed(site, search=search))["total"]
        for search in ("trunk", "line1", "203.0.113", "h1", "h1dden")
    }
    assert found == {"trunk": 1, "line1": 1, "203.0.113": 1, "h1": 0, "h1dden": 0}
    (row,) = (await targets.listed(site))["items"]
    assert row["uri"] == "sip:line1:***@203.0.113.9"
    site.close()
