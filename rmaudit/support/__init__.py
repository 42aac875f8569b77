"""Is a text like the feedback? Nearest neighbours, conformal p-values, the support test."""
