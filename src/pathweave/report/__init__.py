"""Reports for people and tools: tables of routes and layers, timing helpers, the interleaved benchmark."""
