"""From a pick of the search to a bundle that ships."""

from pathlib import Path

CLASSIFY_CODE = Path(__file__).with_name("classify.py")

__all__ = ["CLASSIFY_CODE"]
