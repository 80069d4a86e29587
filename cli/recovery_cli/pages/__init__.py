"""Pages to open, print and send on: one self-contained HTML file each."""
