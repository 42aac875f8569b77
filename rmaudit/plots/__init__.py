"""One function per kind of figure; the only place that imports matplotlib."""
