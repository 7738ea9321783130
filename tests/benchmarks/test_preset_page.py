"""The page of presets says what the presets say."""

from benchmarks import preset_page


def test_the_page_is_up_to_date():
    """If not: python -m benchmarks.preset_page."""
    assert preset_page.FILE.read_text() == preset_page.page()
