"""What a prediction writes beside core's tables: work list, overlays, letters.

Names of files are counted, never taken from a name, a header or a table.
"""

from __future__ import annotations

from apps.retinopathy.exports.letters import write_letters
from apps.retinopathy.exports.overlays import write_overlays
from apps.retinopathy.exports.worklist import write_worklist

__all__ = ["write_letters", "write_overlays", "write_worklist"]
