"""Write the page."""

from __future__ import annotations

from tools.reference.page import PAGE, page

PAGE.write_text(page(), encoding='utf-8')
