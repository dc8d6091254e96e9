"""What every room stands on: settings, options, tables, outputs, progress, seeds, the machine."""
