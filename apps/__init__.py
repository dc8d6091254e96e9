"""One package per domain; each imports core and never another app."""
