"""Resume points that survive a kill.

Lightning's own checkpoint writer copies through another file system and swallows a refusal
to write, so resume points go through ``core.base.outputs.atomic_file`` and are read back
before an older one goes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.plugins.io import CheckpointIO

from core.base.outputs import atomic_file

__all__ = ["AtomicCheckpointIO", "latest_resume_point"]

# Resume points kept: the newest may be the one a power cut tore.
KEEP = 2


class AtomicCheckpointIO(CheckpointIO):
    """Resume points that are whole or absent; loading runs no foreign code."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        """Write to the same directory, sync, rename, read back, then drop old ones."""
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(target) as stream:
            torch.save(checkpoint, stream)
        self.load_checkpoint(target)
        for old in sorted(target.parent.glob("step-*.ckpt"))[:-KEEP]:
            old.unlink()

    def load_checkpoint(
        self, path: Any, map_location: Any = "cpu", weights_only: Any = True
    ) -> dict[str, Any]:
        """Read a resume point; only tensors and plain values are accepted."""
        content: dict[str, Any] = torch.load(
            path, map_location=map_location or "cpu", weights_only=True
        )
        return content

    def remove_checkpoint(self, path: Any) -> None:
        """Remove a resume point."""
        Path(path).unlink(missing_ok=True)


def latest_resume_point(folder: Path) -> Path | None:
    """The newest resume point that can be read, or None."""
    for path in sorted(folder.glob("step-*.ckpt"), reverse=True):
        try:
            AtomicCheckpointIO().load_checkpoint(path)
        # A torn file can make the unpickler raise anything; the one before is whole.
        except Exception:
            continue
        return path
    return None
