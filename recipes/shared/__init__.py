"""What the recipes share: options, data, networks that measure, and reports."""
