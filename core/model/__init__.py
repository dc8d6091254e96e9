"""From batches to scores: backbone, heads, the Lightning module, the recipe, checkpoints."""
