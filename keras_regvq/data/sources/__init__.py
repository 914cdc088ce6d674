"""Where examples come from: folders, data sets, files, arrays."""
