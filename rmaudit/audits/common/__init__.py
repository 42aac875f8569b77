"""What several audits share: comparisons, samples, surface attributes, the support test."""
